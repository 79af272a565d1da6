"""When a file that could not be loaded is tried again or given up, and how fast files may start."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.backfill.listing import File


_LONGEST_WAIT = 60.0


_DENIALS = 3  # a refusal for good is tried again twice: a policy just changed takes some seconds to hold


_ATTEMPTS = 5


@dataclass(slots=True)
class LoadTask:
    """A file under way: when it was first tried, in seconds of a monotonic clock, and how often."""

    number: int
    file: File
    began: float = 0.0
    attempts: int = 0


class RetryDecision(StrEnum):
    """What to do with a file that could not be loaded."""

    AGAIN = "again"
    GIVE_UP = "give_up"
    STOP = "stop"  # it is not the file: nothing goes through


def decide(task: LoadTask, cause: str, *, now: float, went_through: float | None, patience: float) -> RetryDecision:
    """Decide on a file that could not be loaded; `went_through` is when another one last was, None for never.

    A file is given up when others go through and it does not. When none does, the fault is not the files': they are
    tried for `patience` seconds, then the run stops, and nothing is written down as failed.
    """
    if _is_denied(cause) and task.attempts >= _DENIALS:
        return RetryDecision.STOP if went_through is None else RetryDecision.GIVE_UP
    others = went_through is not None and went_through > task.began
    if others and task.attempts >= _ATTEMPTS and cause.startswith(("s3:", "sqs:", "file:", "crash")):
        return RetryDecision.GIVE_UP
    if now - task.began < patience:
        return RetryDecision.AGAIN
    return RetryDecision.GIVE_UP if others else RetryDecision.STOP


def _is_denied(cause: str) -> bool:
    return cause.startswith(("s3:AccessDenied", "s3:KMS", "s3:403", "file:Permission"))


def retry_delay(attempts: int, first: float) -> float:
    """Return the seconds before the next attempt: doubling from `first`, a minute at most."""
    return min(_LONGEST_WAIT, first * 2.0 ** min(attempts - 1, 20))


class RateLimiter:
    """Bounds how many files start in a second; `batch` is how many like to start together."""

    def __init__(self, per_second: float, batch: int) -> None:
        self._per_second, self._least = per_second, min(float(batch), max(1.0, per_second))
        self._allowed, self._at = 0.0, 0.0

    def most(self, now: float) -> int:
        """Return how many may start, `now` in seconds of a monotonic clock: none before there is enough for a batch."""
        # A second's worth is all that is saved up: after a pause there is no burst.
        earned = (now - self._at) * self._per_second
        self._allowed = min(self._allowed + earned, max(self._least, self._per_second))
        self._at = now
        return int(self._allowed) if self._allowed >= self._least else 0

    def spend(self, started: int) -> None:
        """Count files that were started."""
        self._allowed -= started
