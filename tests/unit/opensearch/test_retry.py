"""Promises about retries of reads: while a cluster is busy, as often as the caller allows, and never in vain."""

from __future__ import annotations

from typing import Any

import pytest
from opensearchpy.exceptions import (
    AuthorizationException,
    ConnectionTimeout,
    NotFoundError,
    RequestError,
    SerializationError,
    SSLError,
    TransportError,
)
from opensearchpy.exceptions import ConnectionError as NoConnection

from worker.opensearch.retry import is_busy, retry_while_busy

BUSY = [
    *(TransportError(status, "busy", {}) for status in (429, 502, 503, 504)),
    NoConnection("N/A", "connection reset", OSError()),
    ConnectionTimeout("TIMEOUT", "read timed out", OSError()),
]
FINAL = [
    RequestError(400, "parsing_exception", {}),
    AuthorizationException(403, "security_exception", {}),
    NotFoundError(404, "search_context_missing_exception", {}),
    TransportError(500, "internal", {}),
    SSLError("N/A", "certificate verify failed", OSError()),
    SerializationError("<html>", ValueError()),
]


class Requests:
    """A request that fails a number of times, and the pauses between its attempts."""

    def __init__(self, errors: list[Exception]) -> None:
        self.errors, self.attempts = list(errors), 0
        self.pauses: list[float] = []

    def send(self) -> str:
        self.attempts += 1
        if self.errors:
            raise self.errors.pop(0)
        return "response"

    def retry(self, attempts: int) -> Any:
        return retry_while_busy(self.send, attempts, sleep=self.pauses.append)


@pytest.mark.parametrize("error", BUSY, ids=repr)
def test_a_busy_cluster_is_asked_again(error: Exception) -> None:
    """An export of millions must not end with one refused page."""
    requests = Requests([error, error])

    assert requests.retry(3) == "response"
    assert (requests.attempts, len(requests.pauses)) == (3, 2)


@pytest.mark.parametrize("error", FINAL, ids=repr)
def test_an_error_that_would_repeat_itself_is_raised_at_once(error: Exception) -> None:
    """A bad query, a missing permission or an untrusted certificate does not get better by waiting."""
    requests = Requests([error])

    with pytest.raises(type(error)):
        requests.retry(4)

    assert (requests.attempts, requests.pauses) == (1, [])
    assert not is_busy(error)


def test_the_last_error_is_raised_after_all_attempts() -> None:
    """The pauses are random, so that clients do not return together, and bounded: they double from 1 s up to 20 s."""
    requests = Requests([TransportError(429, "busy", {})] * 9)

    with pytest.raises(TransportError, match="429"):
        requests.retry(8)

    assert requests.attempts == 8
    assert all(0 <= pause <= limit for pause, limit in zip(requests.pauses, (1, 2, 4, 8, 16, 20, 20), strict=True))
