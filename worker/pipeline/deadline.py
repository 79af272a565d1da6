"""The clock of one batch: how long it may go on, and why it stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = "deadline"


class Deadline:
    """The time of one batch. `remaining` returns the seconds until it must have ended; `reserve` of them are kept.

    The reserve is for the end of a batch: outcomes, dead letters, handing back. Nothing is started in it.
    """

    def __init__(self, remaining: Callable[[], float], reserve: float) -> None:
        self.remaining, self._reserve = remaining, reserve
        self.stop_reason = ""

    def seconds(self) -> float:
        """Return the seconds before the reserve begins; negative within it."""
        return self.remaining() - self._reserve

    def stop(self, reason: str) -> None:
        """Start nothing more in this batch; the first reason counts, "" is none."""
        self.stop_reason = self.stop_reason or reason

    def must_stop(self) -> bool:
        """Return whether nothing more may be started."""
        if not self.stop_reason and self.seconds() <= 0:
            self.stop_reason = DEADLINE
        return bool(self.stop_reason)
