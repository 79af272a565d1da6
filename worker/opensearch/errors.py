"""Describes OpenSearch's errors to the operator, and decides whether waiting can help."""

from __future__ import annotations

import re
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import OpenSearchException, SSLError, TransportError
from urllib3.exceptions import NameResolutionError, ProxyError

from worker.errors import IndexUnavailable, SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DENIED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)

_REDIRECTS = range(300, 400)

# How OpenSSL and Python name a server that answers TLS with plain text.
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "record layer failure", "wrong version number")

# trailsink follows none: whoever answers at the other address would get events and credentials.
REDIRECTED = "a redirect, which is not followed; the address must be the cluster's own"

_MAX_CAUSES = 5  # of an error, inside each other

_CAUSE_CHARACTERS = 160  # of the reason that Lucene gives for a refused query
_ERROR_CHARACTERS = 400  # the error of a proxy can be a whole page of HTML

NOT_OPENSEARCH = "server at this address does not speak OpenSearch"


@contextmanager
def translate_errors(failure: str = "", *, hint: str = "", refusal_hint: str = "") -> Iterator[None]:
    """Raise SetupError in place of an error of the client: what failed, why, and what to do.

    `failure` starts the sentence, as in "The indices cannot be listed". Without it, OpenSearch is the subject. `hint`
    follows every error, `refusal_hint` only when the server answered with an error.
    """
    try:
        yield
    except OpenSearchException as error:
        sentence = f"{failure}: {describe_error(error)}." if failure else f"{_full_sentence(error)}."
        hints = (hint, refusal_hint if is_refusal(error) else "")
        raise SetupError(" ".join(filter(None, (sentence, *hints)))) from error


def classify_error(error: OpenSearchException) -> IndexUnavailable | SetupError:
    """Return what to raise: IndexUnavailable when waiting can help, SetupError when the operator must act."""
    if isinstance(error, TransportError) and error.status_code not in _DENIED and not is_redirect(error):
        return IndexUnavailable(_full_sentence(error))
    return SetupError(f"{_full_sentence(error)}.")


def describe_error(error: OpenSearchException) -> str:
    """Describe an error of the client as a part of a sentence, in which "it" is the server."""
    if isinstance(error, NoConnection):
        return connection_fault(error)
    if isinstance(error, TransportError):
        return f"it refuses with {error.status_code}, {_refusal(error)}"
    return f"the {NOT_OPENSEARCH}"


def _full_sentence(error: OpenSearchException) -> str:
    """Describe an error of the client as a sentence about OpenSearch, without its full stop."""
    if isinstance(error, NoConnection):
        return f"OpenSearch does not answer: {connection_fault(error)}"
    if isinstance(error, TransportError):
        return f"OpenSearch refuses with {error.status_code}: {_refusal(error)}"
    return f"The {NOT_OPENSEARCH}"


def connection_fault(error: TransportError) -> str:
    """Return why there was no response at all."""
    if isinstance(error, SSLError):
        if speaks_no_tls(error):
            return "it does not speak TLS: use http:// instead of https://"
        return "its certificate is not trusted (TRAILSINK_OPENSEARCH_CA_FILE names a private authority)"
    if any(isinstance(cause, ProxyError) for cause in _causes(error.info)):
        return "no connection through the proxy that HTTPS_PROXY or HTTP_PROXY names"
    if error.status_code == "TIMEOUT":
        return "the request timed out"
    is_unknown = any(isinstance(cause, NameResolutionError) for cause in _causes(error.info))
    return "no connection: its host name is not known" if is_unknown else "no connection"


def _causes(error: object) -> Iterator[object]:
    """Yield an error of requests or urllib3, and what it was raised for."""
    depth = 0
    while isinstance(error, BaseException) and depth < _MAX_CAUSES:
        yield error
        error = getattr(error, "reason", None) or next(iter(error.args), None)
        depth += 1


def speaks_no_tls(error: TransportError) -> bool:
    """Return whether the server answered TLS with plain text."""
    return any(text in str(error.error) for text in _NO_TLS)


def is_redirect(error: TransportError) -> bool:
    """Return whether the server named another address; none is ever followed."""
    return error.status_code in _REDIRECTS


def is_refusal(error: OpenSearchException) -> bool:
    """Return whether the server answered with an error, as opposed to no response or an unreadable one."""
    return isinstance(error, TransportError) and not isinstance(error, NoConnection)


def _refusal(error: TransportError) -> str:
    if is_redirect(error):
        return REDIRECTED
    if permission := missing_permission(error):
        return f"the user or role lacks {permission}"
    text = " ".join(str(error.error).split())[:_ERROR_CHARACTERS]
    return f"{text}; the user or role may not do this" if error.status_code in _DENIED else text


def missing_permission(error: TransportError) -> str:
    """Return the permission that the user lacks; "" when the error does not name one."""
    match = re.search(r"no permissions for \[([^\]]+\]?)\] and", str(error.info))
    return match[1] if match else ""


def first_cause(info: Any) -> tuple[str, str]:  # noqa: ANN401 - a foreign answer
    """Return type and reason of the first root cause of a refused search; ("", "") when there is none.

    The reason can quote the request: for a search, the user's own query.
    """
    match info:
        case {"error": {"root_cause": [{"type": str(kind), "reason": str(reason)}, *_]}}:
            return kind, next(iter(reason.splitlines()), "")[:_CAUSE_CHARACTERS]
    return "", ""
