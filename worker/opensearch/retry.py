"""Retries reads while the cluster is busy. Bulk requests have a retry policy of their own, in the sender."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import SSLError, TransportError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# What a cluster, or a proxy in front of it, answers when it cannot serve a request now.
_BUSY = (429, 502, 503, 504)

# Seconds before a request is sent again: at random up to the first, doubling up to the maximum.
_FIRST_WAIT, _MAX_WAIT = 1, 20


def retry_while_busy(request: Callable[[], T], attempts: int, *, sleep: Callable[[float], None] = time.sleep) -> T:
    """Call `request` up to `attempts` times, while the cluster is busy or cannot be reached; raises the last error."""
    retrying = Retrying(
        retry=retry_if_exception(is_busy),
        wait=wait_random_exponential(multiplier=_FIRST_WAIT, max=_MAX_WAIT),
        stop=stop_after_attempt(attempts),
        sleep=sleep,
        reraise=True,
    )
    return retrying(request)


def is_busy(error: BaseException) -> bool:
    """Return whether the same request may succeed in a moment: a busy cluster, or a lost connection.

    A certificate that is not trusted stays so.
    """
    if isinstance(error, NoConnection):
        return not isinstance(error, SSLError)
    return isinstance(error, TransportError) and error.status_code in _BUSY
