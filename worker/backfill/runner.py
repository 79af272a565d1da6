"""Runs a backfill: hands batches of files to a few threads, retries what can pass, and commits files in order.

How a batch is loaded is up to the loader: worker.backfill.loaders.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.backfill.progress import Finished, LoadOutcome, RetryLater
from worker.backfill.retry import LoadTask, RetryDecision, decide, retry_delay
from worker.errors import SetupError

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator

    from worker.backfill.listing import SelectedFile
    from worker.backfill.loaders import Loader
    from worker.backfill.progress import OrderedProgress

# Files that are not committed: a killed process loads them twice, and no others are in memory.
_MAX_UNCOMMITTED = 2_000

_WAIT_SECONDS = 0.2  # for a batch to end
_IDLE_SECONDS = 0.05  # while no batch is in flight


@dataclass(order=True, slots=True)
class _ScheduledRetry:
    due_at: float
    number: int
    task: LoadTask


class BackfillRun:
    """One run over `source`: files to load (with None), and files that need no loading, with how they ended.

    `patience` is how long, in seconds, a file is retried while no file can be loaded. `first_wait` is the wait before
    the second attempt, in seconds; it doubles. `stop` ends the run gracefully.
    """

    def __init__(  # noqa: PLR0913 - the parts, and what bounds them
        self,
        loader: Loader,
        source: Iterable[tuple[SelectedFile, Finished | None]],
        progress: OrderedProgress,
        *,
        workers: int,
        patience: float,
        stop: threading.Event,
        first_wait: float = 2.0,
    ) -> None:
        self._loader, self._source, self.progress = loader, iter(source), progress
        self._workers, self._patience, self._first_wait = workers, patience, first_wait
        self._stop = stop
        self._in_flight: dict[Future[list[Finished | RetryLater]], list[LoadTask]] = {}
        self._scheduled: list[_ScheduledRetry] = []  # a heap, the earliest first
        self._source_exhausted = False
        # A file that was loaded before an interruption proves that files can be loaded.
        self._last_success: float | None = time.monotonic() if progress.tally.files else None
        self.retries: Counter[str] = Counter()  # by cause

    def execute(self) -> Iterator[list[tuple[SelectedFile, Finished]]]:
        """Run to the end, or until stopped; yields the files just committed several times a second, [] for none.

        Raises SetupError when no file can be loaded any more.
        """
        with ThreadPoolExecutor(self._workers, "backfill") as pool:
            while True:
                self._submit_batches(pool)
                self._collect()
                yield list(self.progress.commit())
                if not self._in_flight and (self._stop.is_set() or self.is_complete):
                    return

    @property
    def is_complete(self) -> bool:
        """Whether all files of the source are committed."""
        return self._source_exhausted and not self.progress.uncommitted

    def _submit_batches(self, pool: ThreadPoolExecutor) -> None:
        while len(self._in_flight) < self._workers and not self._stop.is_set():
            tasks = self._next_batch()
            if not tasks:
                return
            self._in_flight[pool.submit(self._loader.load, [task.file for task in tasks])] = tasks

    def _next_batch(self) -> list[LoadTask]:
        """Return the files of one batch: first the retries that are due, then new files."""
        size, now = min(self._loader.batch_size, self._loader.capacity()), time.monotonic()
        tasks: list[LoadTask] = []
        while len(tasks) < size and self._scheduled and self._scheduled[0].due_at <= now:
            tasks.append(heapq.heappop(self._scheduled).task)
        while len(tasks) < size and self._has_room() and (task := self._next_task(now)):
            tasks.append(task)
        self._loader.record_started(len(tasks))
        return tasks

    def _next_task(self, now: float) -> LoadTask | None:
        """Return the next file to load, and pass over files that need no loading."""
        while self._has_room():
            file, finished = next(self._source, (None, None))
            if file is None:
                self._source_exhausted = True
                return None
            number = self.progress.add(file)
            if finished is None:
                return LoadTask(number, file, now)
            self.progress.finish(number, finished)
        return None

    def _has_room(self) -> bool:
        return self.progress.uncommitted < _MAX_UNCOMMITTED

    def _collect(self) -> None:
        """Record the batches that ended; waits a moment where none has."""
        if not self._in_flight:
            self._stop.wait(_IDLE_SECONDS)
            return
        for future in wait(self._in_flight, _WAIT_SECONDS, FIRST_COMPLETED).done:
            for task, outcome in zip(self._in_flight.pop(future), future.result(), strict=True):
                self._record(task, outcome)

    def _record(self, task: LoadTask, outcome: Finished | RetryLater) -> None:
        if isinstance(outcome, Finished):
            self._last_success = time.monotonic()
            self.progress.finish(task.number, outcome)
            return
        task.attempts += 1
        self.retries[outcome.cause] += 1
        self._retry(task, outcome.cause)

    def _retry(self, task: LoadTask, cause: str) -> None:
        """Schedule another attempt, or give the file up, or stop the run."""
        now = time.monotonic()
        match decide(task, cause, now=now, last_success=self._last_success, patience=self._patience):
            case RetryDecision.STOP:
                self._stop.set()
                raise SetupError(f"No file can be loaded: {cause}.")
            case RetryDecision.GIVE_UP:
                detail = f"given up after {task.attempts} attempts in {now - task.first_try:.0f} s"
                self.progress.finish(task.number, Finished(LoadOutcome.FAILED, reason=cause, detail=detail))
            case RetryDecision.RETRY:
                due_at = now + retry_delay(task.attempts, self._first_wait)
                heapq.heappush(self._scheduled, _ScheduledRetry(due_at, task.number, task))
