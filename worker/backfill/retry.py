"""Whether a file that could not be loaded is retried, and how many files may start per second."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.backfill.listing import SelectedFile

_MAX_DELAY = 60.0  # seconds

_MAX_DENIALS = 3  # access that is denied is retried twice: a changed policy takes seconds to apply
_MAX_ATTEMPTS = 5


@dataclass(slots=True)
class LoadTask:
    """A file in progress: when it was first tried, in seconds of a monotonic clock, and how often."""

    number: int
    file: SelectedFile
    first_try: float = 0.0
    attempts: int = 0


class RetryDecision(StrEnum):
    """What to do with a file that could not be loaded."""

    RETRY = "retry"
    GIVE_UP = "give_up"
    STOP = "stop"  # end the run: no file can be loaded


def decide(task: LoadTask, cause: str, *, now: float, last_success: float | None, patience: float) -> RetryDecision:
    """Decide on a file that could not be loaded; `last_success` is when a file last was, None for never.

    A file is given up when others can be loaded and it cannot. When none can, the fault is not in the files: they are
    retried for `patience` seconds, then the run stops, and no file is recorded as failed.
    """
    if _is_denied(cause) and task.attempts >= _MAX_DENIALS:
        return RetryDecision.STOP if last_success is None else RetryDecision.GIVE_UP
    others_succeed = last_success is not None and last_success > task.first_try
    if others_succeed and task.attempts >= _MAX_ATTEMPTS and cause.startswith(("s3:", "sqs:", "file:", "crash")):
        return RetryDecision.GIVE_UP
    if now - task.first_try < patience:
        return RetryDecision.RETRY
    return RetryDecision.GIVE_UP if others_succeed else RetryDecision.STOP


def _is_denied(cause: str) -> bool:
    return cause.startswith(("s3:AccessDenied", "s3:KMS", "s3:403", "file:Permission"))


def retry_delay(attempts: int, first: float) -> float:
    """Return the seconds before the next attempt: `first` after one attempt, then doubling, at most a minute."""
    return min(_MAX_DELAY, first * 2.0 ** min(attempts - 1, 20))


class RateLimiter:
    """A token bucket: limits how many files start per second, in batches of `batch_size` where the rate allows that.

    Times are seconds of a monotonic clock.
    """

    def __init__(self, per_second: float, batch_size: int) -> None:
        self._per_second, self._minimum = per_second, min(float(batch_size), max(1.0, per_second))
        self._tokens, self._refilled_at = 0.0, 0.0

    def available(self, now: float) -> int:
        """Return how many files may start now; 0 until there are tokens for a batch."""
        # Tokens of one second are the limit: after a pause there is no burst.
        earned = (now - self._refilled_at) * self._per_second
        self._tokens = min(self._tokens + earned, max(self._minimum, self._per_second))
        self._refilled_at = now
        return int(self._tokens) if self._tokens >= self._minimum else 0

    def consume(self, files: int) -> None:
        """Take the tokens of files that start."""
        self._tokens -= files
