"""How to reach one cluster: connections that sign, verify certificates and read answers fast."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec
from opensearchpy import OpenSearch, RequestsHttpConnection
from opensearchpy.exceptions import SerializationError
from opensearchpy.serializer import JSONSerializer
from requests_aws4auth import AWS4Auth

from worker.opensearch.interruptible import InterruptibleAdapter, InterruptibleUrllib3Connection

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# The client logs a line per request at INFO, whole bodies at DEBUG, and each of our retries as a warning.
logging.getLogger("opensearch").setLevel(logging.CRITICAL)


class _SignedConnection(RequestsHttpConnection):
    """RequestsHttpConnection that obeys its own `ca_certs`.

    With REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE in the environment, requests prefers those to the session's setting
    (github.com/psf/requests/issues/3829).
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - passed through
        super().__init__(**options)
        self.session.trust_env = False
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, InterruptibleAdapter())


class _FastSerializer(JSONSerializer):
    """Reads answers in a third of the time that `json` takes: a bulk response has an item for each document."""

    def loads(self, s: str) -> Any:  # noqa: ANN401 - a foreign answer
        try:
            return msgspec.json.decode(s)
        except (msgspec.DecodeError, RecursionError) as cause:
            raise SerializationError(s, cause) from cause


class Client:
    """How to reach one cluster. `sign_in` returns what `http_auth` takes, and is called for every connection.

    The client's own retries are switched off: tenacity is the one retry layer, so attempts add up, not multiply.
    """

    def __init__(
        self,
        url: str,
        *,
        sign_in: Callable[[], AWS4Auth | tuple[str, str] | None],
        ca_file: Path | None,
        seconds: float,
    ) -> None:
        self._url, self._sign_in, self._ca_file, self._seconds = url, sign_in, ca_file, seconds

    def connect(self) -> OpenSearch:
        """Open a client of one connection; AWS4Auth is not thread-safe, so each thread has its own."""
        auth = self._sign_in()
        tls: dict[str, Any] = {"use_ssl": self._url.startswith("https://")}
        if tls["use_ssl"]:
            tls |= {"verify_certs": True} | ({"ca_certs": str(self._ca_file)} if self._ca_file else {})
        return OpenSearch(
            [self._url],
            http_auth=auth,
            connection_class=_SignedConnection if isinstance(auth, AWS4Auth) else InterruptibleUrllib3Connection,
            timeout=self._seconds,
            max_retries=0,
            retry_on_status=(),
            retry_on_timeout=False,
            serializer=_FastSerializer(),
            **tls,
        )
