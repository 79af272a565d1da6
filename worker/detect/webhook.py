"""Posts findings to a webhook, which takes JSON over HTTPS."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from worker.errors import SetupError
from worker.opensearch.address import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECONDS = 20
_ATTEMPTS = 4
_BUSY = (429, 500, 502, 503, 504)


class _BusyError(Exception):
    """The receiver may take the same request in a moment."""


class Webhook:
    """An address that receives findings. Its path and query may hold a secret, so that errors name the host only."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SetupError("The webhook must be an address such as https://host/path.")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise SetupError(f"Findings would go to http://{parts.hostname} in clear text: use https://.")
        self._url, self._host = url, parts.hostname

    def post(self, text: str, findings: Mapping[str, Any]) -> None:
        """Post findings, with a text for chats that show one; raises SetupError."""
        documents = [{"id": id_} | finding for id_, finding in findings.items()]
        retrying = Retrying(
            retry=retry_if_exception_type(_BusyError),
            wait=wait_random_exponential(multiplier=0.5, max=10),
            stop=stop_after_attempt(_ATTEMPTS),
            reraise=True,
        )
        try:
            retrying(self._post_once, json.dumps({"text": text, "findings": documents}))
        except _BusyError as error:
            raise SetupError(f"The webhook at {self._host} takes no finding: {error}.") from error

    def _post_once(self, body: str) -> None:
        try:
            response = requests.post(
                self._url,
                data=body,
                headers={"Content-Type": "application/json"},
                timeout=_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise _BusyError("no answer") from error
        if response.status_code in _BUSY:
            raise _BusyError(f"it answers {response.status_code}")
        if not response.ok or response.is_redirect:
            raise SetupError(f"The webhook at {self._host} takes no finding: it answers {response.status_code}.")
