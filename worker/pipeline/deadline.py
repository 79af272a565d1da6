"""The clock of one batch: how long it may go on, and why it stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = "deadline"


# The part of the reserve that is for settling: dead letters and handing back. Before it, what was read is still sent.
_SETTLE_SHARE = 0.5

# The part of the reserve that is left for dead letters and handing back when the ledger is written.
_LETTERS_SHARE = 0.25

# A batch that was stopped may take this long to record the files that are done: they would come again otherwise.
_RECORD_SECONDS = 3.0


class Deadline:
    """The time of one batch. `remaining` returns the seconds until it must have ended; `reserve` of them are kept.

    The reserve is for the end of a batch. Nothing is started in it: what was read is sent, then messages are settled.
    """

    def __init__(self, remaining: Callable[[], float], reserve: float) -> None:
        self.remaining, self._reserve = remaining, reserve
        self.stop_reason = ""

    def seconds(self) -> float:
        """Return the seconds before the reserve begins; negative within it."""
        return self.remaining() - self._reserve

    def send_seconds(self) -> float:
        """Return the seconds in which records that were read may still be sent."""
        return self.remaining() - self._reserve * _SETTLE_SHARE

    @property
    def may_record(self) -> bool:
        """Whether the ledger can be written: the cluster has not refused what was sent before."""
        return self.stop_reason in ("", DEADLINE)

    def record_seconds(self) -> float:
        """Return the seconds in which the ledger may be written."""
        remaining = self.remaining()
        if remaining <= 0:
            return _RECORD_SECONDS
        return max(remaining - self._reserve * _LETTERS_SHARE, remaining / 2)

    def stop(self, reason: str) -> None:
        """Start nothing more in this batch; the first reason counts, "" is none."""
        self.stop_reason = self.stop_reason or reason

    def must_stop(self) -> bool:
        """Return whether nothing more may be started."""
        if not self.stop_reason and self.seconds() <= 0:
            self.stop_reason = DEADLINE
        return bool(self.stop_reason)

    def may_send(self) -> bool:
        """Return whether records that were read may still be sent: the cluster has not refused, and time remains."""
        if not self.stop_reason and self.send_seconds() <= 0:
            self.stop_reason = DEADLINE
        return self.stop_reason in ("", DEADLINE) and self.send_seconds() > 0
