"""Promises about OpenSearch's errors: one sentence for each, and waiting only where it helps."""

from __future__ import annotations

from socket import gaierror

import pytest
from opensearchpy.exceptions import (
    AuthenticationException,
    AuthorizationException,
    ConnectionTimeout,
    OpenSearchException,
    SerializationError,
    SSLError,
    TransportError,
)
from opensearchpy.exceptions import ConnectionError as NoConnection
from urllib3.exceptions import NameResolutionError

from worker.errors import IndexUnavailable, SetupError
from worker.opensearch.errors import classify_error, describe_error, first_cause, missing_permission, translate_errors

LACKS = "no permissions for [indices:data/write/bulk[s]] and User [name=ada, backend_roles=[]]"
DISTRUST = "its certificate is not trusted (TRAILSINK_OPENSEARCH_CA_FILE names a private authority)"
SILENT = NoConnection("N/A", "refused", OSError())
UNKNOWN_HOST = NoConnection("N/A", "x", NameResolutionError("search.example", None, gaierror()))  # type: ignore[arg-type]
SLOW = ConnectionTimeout("TIMEOUT", "read timed out", OSError())
UNTRUSTED = SSLError("N/A", "certificate verify failed", OSError())
PLAIN_TEXT = SSLError("N/A", "[SSL: WRONG_VERSION_NUMBER] wrong version number", OSError())
DENIED = AuthorizationException(403, "security_exception", {"error": {"reason": "no"}})
LACKING = AuthorizationException(403, "security_exception", {"error": {"reason": LACKS}})
STRANGER = AuthenticationException(401, "Unauthorized", "Unauthorized")
FAILING = TransportError(503, "cluster_block_exception", {})
FOREIGN = SerializationError("<html>", ValueError())


@pytest.mark.parametrize(
    ("error", "clause", "sentence"),
    [
        (SILENT, "no connection", "OpenSearch does not answer: no connection"),
        (
            UNKNOWN_HOST,
            "no connection: its host name is not known",
            "OpenSearch does not answer: no connection: its host name is not known",
        ),
        (SLOW, "the request timed out", "OpenSearch does not answer: the request timed out"),
        (
            UNTRUSTED,
            DISTRUST,
            f"OpenSearch does not answer: {DISTRUST}",
        ),
        (
            PLAIN_TEXT,
            "it does not speak TLS: use http:// instead of https://",
            "OpenSearch does not answer: it does not speak TLS: use http:// instead of https://",
        ),
        (
            DENIED,
            "it refuses with 403, security_exception; the user or role may not do this",
            "OpenSearch refuses with 403: security_exception; the user or role may not do this",
        ),
        (
            LACKING,
            "it refuses with 403, the user or role lacks indices:data/write/bulk[s]",
            "OpenSearch refuses with 403: the user or role lacks indices:data/write/bulk[s]",
        ),
        (
            STRANGER,
            "it refuses with 401, Unauthorized; the user or role may not do this",
            "OpenSearch refuses with 401: Unauthorized; the user or role may not do this",
        ),
        (
            FAILING,
            "it refuses with 503, cluster_block_exception",
            "OpenSearch refuses with 503: cluster_block_exception",
        ),
        (
            FOREIGN,
            "the server at this address does not speak OpenSearch",
            "The server at this address does not speak OpenSearch",
        ),
    ],
)
def test_an_error_has_one_text_wherever_it_happens(error: OpenSearchException, clause: str, sentence: str) -> None:
    """Searches, setup and removal name the same fault in the same words."""
    with pytest.raises(SetupError) as with_failure, translate_errors("The indices cannot be listed"):
        raise error
    with pytest.raises(SetupError) as without_failure, translate_errors():
        raise error

    assert describe_error(error) == clause
    assert str(with_failure.value) == f"The indices cannot be listed: {clause}."
    assert str(without_failure.value) == f"{sentence}."
    assert with_failure.value.__cause__ is error
    assert str(classify_error(error)).rstrip(".") == sentence


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SILENT, IndexUnavailable),
        (SLOW, IndexUnavailable),
        (FAILING, IndexUnavailable),
        (TransportError(429, "too_many_requests", {}), IndexUnavailable),
        (DENIED, SetupError),
        (STRANGER, SetupError),
        (FOREIGN, SetupError),
    ],
    ids=repr,
)
def test_waiting_helps_against_silence_and_not_against_a_refused_user(
    error: OpenSearchException, expected: type[Exception]
) -> None:
    """`trailsink run` goes on while the cluster is down, and ends at once when somebody must act."""
    assert type(classify_error(error)) is expected


@pytest.mark.parametrize(
    ("error", "hints"), [(SILENT, "Try again."), (DENIED, "Try again. Ask for a role."), (FOREIGN, "Try again.")]
)
def test_a_hint_about_permissions_follows_only_a_refusal(error: OpenSearchException, hints: str) -> None:
    """A role does not help against a cluster that is down."""
    with (
        pytest.raises(SetupError) as caught,
        translate_errors("It failed", hint="Try again.", refusal_hint="Ask for a role."),
    ):
        raise error

    assert str(caught.value) == f"It failed: {describe_error(error)}. {hints}"


def test_other_errors_pass_unchanged() -> None:
    """A sentence that was written inside is not wrapped into another."""
    with pytest.raises(SetupError, match=r"^As it was\.$"), translate_errors("It failed"):
        raise SetupError("As it was.")


def test_a_page_of_html_becomes_one_short_line() -> None:
    """A proxy in front of the cluster answers for it."""
    page = "<html>\n  <body>\n" + "<p>Forbidden</p>\n" * 500 + "</body></html>"

    text = describe_error(AuthorizationException(403, page, page))

    assert text.startswith("it refuses with 403, <html> <body> <p>Forbidden</p>")
    assert text.endswith("; the user or role may not do this")
    assert "\n" not in text
    assert len(text) < 500


@pytest.mark.parametrize(
    ("info", "permission"),
    [
        (LACKS, "indices:data/write/bulk[s]"),
        ("no permissions for [cluster:monitor/main] and User", "cluster:monitor/main"),
        ("no permissions for [] and associated roles", ""),
        ("Unauthorized", ""),
        (None, ""),
    ],
)
def test_the_missing_permission_is_read_from_the_reason(info: str | None, permission: str) -> None:
    """An action can have brackets itself."""
    assert missing_permission(AuthorizationException(403, "security_exception", info)) == permission


@pytest.mark.parametrize(
    ("info", "cause"),
    [
        (
            {"error": {"root_cause": [{"type": "parse_exception", "reason": "bad\nand more"}]}},
            ("parse_exception", "bad"),
        ),
        ({"error": {"root_cause": [{"type": "x", "reason": "y" * 999}]}}, ("x", "y" * 160)),
        ({"error": {"root_cause": [{"type": "x", "reason": ""}]}}, ("x", "")),
        ({"error": {"root_cause": []}}, ("", "")),
        ({"error": "no handler found"}, ("", "")),
        ("<html>", ("", "")),
        (None, ("", "")),
    ],
)
def test_the_first_cause_is_one_short_line(info: object, cause: tuple[str, str]) -> None:
    """Lucene's reason has forty lines."""
    assert first_cause(info) == cause
