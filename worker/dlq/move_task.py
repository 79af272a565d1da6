"""SQS's own message move task: started, followed to its end, cancelled."""

from __future__ import annotations

from dataclasses import dataclass

from worker.dlq.letters import counted
from worker.errors import SetupError


@dataclass(frozen=True, slots=True)
class MoveTask:
    """What SQS says of a message move task; `handle` only while it runs, `started` in epoch milliseconds."""

    status: str
    moved: int
    to_move: int
    destination: str = ""
    failure: str = ""
    handle: str = ""
    started: int = 0
    cancelled: bool = False  # by us, whatever its status is called

    @property
    def is_cancelled(self) -> bool:
        """Whether anybody has cancelled it."""
        return self.cancelled or self.status == "CANCELLED"

    def check(self, left: int) -> None:
        """Raise SetupError unless it has moved all there was; `left` letters are still there."""
        if self.status == "FAILED":
            why = self.failure or "SQS gives no reason"
            raise SetupError(f"The move task failed after {counted(self.moved)}: {why}.")
        if self.is_cancelled:
            raise SetupError(f"Cancelled after {counted(self.moved)}; about {left:,} stay.")
