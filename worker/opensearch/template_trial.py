"""Asks a server whether it takes a template: by a simulation, or by an index that is deleted again at once.

A version number does not say it. Serverless reports none, and Amazon's optimized engine has fewer field types than the
OpenSearch of its version.
docs.aws.amazon.com/opensearch-service/latest/developerguide/optimized-log-analytics-prerequisites.html
"""

from __future__ import annotations

import secrets
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import TransportError

from worker.opensearch.errors import is_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opensearchpy import OpenSearch

_SIMULATE = "/_index_template/_simulate"

# The operator chooses these, and every server takes them or manages them itself.
_NO_FEATURES = frozenset(("number_of_shards", "number_of_replicas", "refresh_interval"))

# Of a refusal, as much as fits in a sentence.
_REASON_CHARACTERS = 160


class TrialResult(Enum):
    """What a server says about a template; `UNKNOWN` when it cannot be asked."""

    ACCEPTED = auto()
    REFUSED = auto()
    UNKNOWN = auto()


class TemplateTrial:
    """Tries templates on a server, under a name that no index and no other template has."""

    def __init__(self, client: OpenSearch) -> None:
        self._client, self._name = client, f"trailsink-trial-{secrets.token_hex(4)}"
        self._can_simulate, self._is_forbidden = True, False
        self.reason = ""  # why the server refused the last template

    def result(self, template: Mapping[str, Any]) -> TrialResult:
        """Ask about a template; raises OpenSearchException when the server does not answer."""
        self.reason = ""
        if self._can_simulate:
            result = self._ask(self._simulate, template)
            # Who may not ask may be one who creates an index, and cannot delete it.
            if result is not TrialResult.UNKNOWN or self._is_forbidden:
                return result
            self._can_simulate = False
        return self._ask(self._create_index, template)

    def _ask(self, request: Callable[[dict[str, Any]], None], template: Mapping[str, Any]) -> TrialResult:
        body = template["template"]
        settings = {name: value for name, value in body["settings"].items() if name not in _NO_FEATURES}
        try:
            request(body | {"settings": settings})
        except TransportError as error:
            if not is_refusal(error):
                raise
            self._is_forbidden = error.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
            if error.status_code != HTTPStatus.BAD_REQUEST or _is_unknown_path(error):
                return TrialResult.UNKNOWN
            self.reason = innermost_reason(error.info)
            return TrialResult.REFUSED
        return TrialResult.ACCEPTED

    def _simulate(self, template: dict[str, Any]) -> None:
        """Let the server validate a template as when it is put, and keep nothing."""
        body = {"index_patterns": [f"{self._name}*"], "template": template}
        self._client.transport.perform_request("POST", _SIMULATE, body=body)

    def _create_index(self, template: dict[str, Any]) -> None:
        self._client.indices.create(index=self._name, body=template)
        self._client.indices.delete(index=self._name, ignore_unavailable=True)


def _is_unknown_path(error: TransportError) -> bool:
    """Return whether the server does not have the API at all."""
    return "no handler found" in str(error.info)


def innermost_reason(info: Any) -> str:  # noqa: ANN401 - a foreign answer
    """Return the reason that is nested most deeply in an error: the outer ones only say that something is invalid."""
    match info:
        case {"error": {} as cause}:
            pass
        case _:
            return ""
    reason = ""
    while isinstance(cause, dict):
        reason = str(cause.get("reason") or reason)
        cause = cause.get("caused_by")
    return " ".join(reason.split())[:_REASON_CHARACTERS].rstrip(".")
