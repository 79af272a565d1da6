"""What OpenSearch's refusals and silences are in one sentence, for commands whose user has to do something about it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import OpenSearchException, SSLError, TransportError

from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator


def missing_permission(error: TransportError) -> str:
    """Return the permission for want of which a cluster refused, "" where it does not say."""
    found = re.search(r"no permissions for \[([^\]]+\]?)\] and", str(error.info))
    return found[1] if found else ""


_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "record layer failure", "wrong version number")


_REASON_CHARACTERS = 160


_BUSY = (429, 502, 503, 504)


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Turn what OpenSearch raises inside into a SetupError; `what` names what was asked for, as in "the events"."""
    try:
        yield
    except OpenSearchException as error:
        raise SetupError(f"OpenSearch cannot be asked for {what}: {describe_error(error)}.") from error


def describe_error(error: OpenSearchException) -> str:
    """Put an error of the client into words, a part of a sentence."""
    if isinstance(error, (NoConnection, SSLError)):
        return connection_fault(error)
    if not isinstance(error, TransportError):
        return "what answers at this address does not speak OpenSearch"
    if error.status_code in (401, 403):
        return f"it refuses with {error.status_code}, the user or role may not do this"
    return f"it refuses with {error.status_code}, {error.error}"


def is_busy(error: BaseException) -> bool:
    """Say whether a cluster, or what stands before it, answered that it cannot now and may in a moment."""
    return isinstance(error, TransportError) and error.status_code in _BUSY


def connection_fault(error: TransportError) -> str:
    """Say why there is no answer at all."""
    if isinstance(error, SSLError):
        if any(text in str(error.error) for text in _NO_TLS):
            return "it does not speak TLS; is it http://"
        return "its certificate is not trusted (TRAILSINK_OPENSEARCH_CA_FILE names a private authority)"
    return "the time is over" if error.status_code == "TIMEOUT" else "no connection"


def first_cause(info: Any) -> tuple[str, str]:  # noqa: ANN401 - a foreign answer
    """Read type and reason of the first root cause of a refused search, ("", "") where there is none.

    The reason can quote what was sent: for a search that is the user's own query.
    """
    match info:
        case {"error": {"root_cause": [{"type": str(kind), "reason": str(reason)}, *_]}}:
            return kind, reason.splitlines()[0][:_REASON_CHARACTERS]
    return "", ""
