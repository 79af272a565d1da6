"""SQS's own message move task: started, followed to its end, cancelled.

docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worker.errors import SetupError
from worker.humanize import pluralize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.dlq.browse import DeadLetterPort

_POLL_SECONDS = 1.0

_UNLISTED_POLLS = 30  # SQS may list a task only some time after it was started


@dataclass(frozen=True, slots=True)
class MoveTask:
    """A message move task as SQS describes it: `task_handle` only while it runs, `started` in epoch milliseconds."""

    status: str
    moved: int
    to_move: int
    destination: str = ""
    failure: str = ""
    task_handle: str = ""
    started: int = 0
    cancelled: bool = False  # by this command, whatever status SQS reports

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self.status in ("RUNNING", "CANCELLING")

    @property
    def is_cancelled(self) -> bool:
        """Whether anyone has cancelled it."""
        return self.cancelled or self.status == "CANCELLED"

    @property
    def progress(self) -> str:
        """How far it is, in words."""
        destination = f" to {self.destination}" if self.destination else ""
        return f"{self.moved:,} of about {pluralize(max(self.to_move, self.moved), 'letter')} moved{destination}"

    def check(self, remaining: int) -> None:
        """Raise SetupError unless it has moved all letters; `remaining` letters are still in the queue."""
        if self.status == "FAILED":
            cause = self.failure or "SQS gives no reason"
            raise SetupError(f"The move task failed after {pluralize(self.moved, 'letter')}: {cause}.")
        if self.is_cancelled:
            raise SetupError(f"Cancelled after {pluralize(self.moved, 'letter')}; about {remaining:,} remain.")


class MoveTaskRunner:
    """Starts, follows and cancels the move tasks of one queue. SQS runs one task for each queue at a time.

    `report_progress` takes one line for people.
    """

    def __init__(
        self, queue: DeadLetterPort, *, sleep: Callable[[float], None], report_progress: Callable[[str], None]
    ) -> None:
        self._queue, self._sleep, self._report_progress = queue, sleep, report_progress

    def run(self, rate: int | None) -> MoveTask:
        """Have SQS move all letters, at most `rate` per second, and wait for the end; returns the task as it ended.

        An interrupt cancels the task. The task that is returned then says how many letters it has moved.
        """
        earlier = self.require_idle()
        try:
            return self._follow(self._queue.start_move_task(rate), earlier)
        except KeyboardInterrupt:
            self._report_progress("Cancelling the move task ...")
            task = self._find(earlier)
            if task is None:
                raise
            return self._cancel(task.task_handle, earlier) if task.is_running else task

    def require_idle(self) -> list[MoveTask]:
        """Return the earlier tasks; raises SetupError when one is running.

        Call it before a pass over the queue. Letters that a pass holds are hidden from the task, which then ends early.
        """
        tasks = self._queue.list_move_tasks()
        if running := _running(tasks):
            raise SetupError(
                f"A move task of this queue is already running: {running.progress}. Follow it with --attach, or cancel"
                " it with --cancel."
            )
        return tasks

    def attach(self) -> MoveTask | None:
        """Follow the move task that is running to its end, None when none is. After an interrupt the task runs on."""
        tasks = self._queue.list_move_tasks()
        running = _running(tasks)
        return self._follow(running.task_handle, tasks[1:]) if running else None

    def cancel(self) -> MoveTask | None:
        """Cancel the move task that is running, None when none is; returns it with what it has moved."""
        tasks = self._queue.list_move_tasks()
        running = _running(tasks)
        return self._cancel(running.task_handle, tasks[1:]) if running else None

    def _cancel(self, task_handle: str, earlier: Sequence[MoveTask]) -> MoveTask:
        moved = self._queue.cancel_move_task(task_handle)
        if moved is None:
            return self._follow(task_handle, earlier)
        task = MoveTask("CANCELLED", moved, moved)  # stands if the cancelled task is no longer listed, as in ElasticMQ
        for _ in range(_UNLISTED_POLLS):
            task = self._find(earlier, task_handle) or task
            if not task.is_running:
                break
            self._sleep(_POLL_SECONDS)
        return replace(task, cancelled=True)

    def _follow(self, task_handle: str, earlier: Sequence[MoveTask]) -> MoveTask:
        """Poll until the task has ended."""
        unlisted_polls = 0
        while True:
            task = self._find(earlier, task_handle)
            if task and not task.is_running:
                return task
            if task:
                self._report_progress(f"{task.progress} ...")
            else:
                unlisted_polls += 1
                if unlisted_polls > _UNLISTED_POLLS:
                    raise SetupError(
                        "SQS does not list the move task that it started; trailsink dlq list shows the letters that"
                        " remain."
                    )
            self._sleep(_POLL_SECONDS)

    def _find(self, earlier: Sequence[MoveTask], task_handle: str = "") -> MoveTask | None:
        """Return the task of this handle or, because an ended task has none, the task that is not an earlier one."""
        earlier_starts = {task.started for task in earlier}
        for task in self._queue.list_move_tasks():
            if (task_handle and task.task_handle == task_handle) or task.started not in earlier_starts:
                return task
        return None


def _running(tasks: Sequence[MoveTask]) -> MoveTask | None:
    """Return the task that is running: SQS allows one for each queue, and lists the newest first."""
    return tasks[0] if tasks and tasks[0].is_running else None
