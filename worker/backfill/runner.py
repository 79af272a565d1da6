"""Runs a backfill: batches of files to a few threads, failures that can pass tried again, ends settled in order.

There are two ways for a batch: announced to the queue, for the pipeline that is there, or loaded here by consumers like
the pipeline's own. Both are handed in.
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

    from worker.backfill.listing import File
    from worker.backfill.loaders import Loader
    from worker.backfill.progress import OrderedProgress


# Files entered and not settled: what is loaded twice if the process is killed, and all that is in memory.
_WINDOW = 2_000


_BEAT_SECONDS = 0.2


_IDLE_SECONDS = 0.05


@dataclass(order=True, slots=True)
class _ScheduledRetry:
    at: float
    number: int
    task: LoadTask


class BackfillRun:
    """One run over `source`: files to load, and files with the end they have already.

    `patience` is how long, in seconds, a file is tried while nothing goes through; `first_wait` the wait before its
    second attempt, which doubles. `stop` ends the run gently.
    """

    def __init__(  # noqa: PLR0913 - the parts, and what bounds them
        self,
        way: Loader,
        source: Iterable[tuple[File, Finished | None]],
        ledger: OrderedProgress,
        *,
        workers: int,
        patience: float,
        stop: threading.Event,
        first_wait: float = 2.0,
    ) -> None:
        self._way, self._source, self.ledger = way, iter(source), ledger
        self._workers, self._patience, self._first_wait = workers, patience, first_wait
        self._stop = stop
        self._flights: dict[Future[list[Finished | RetryLater]], list[LoadTask]] = {}
        self._due: list[_ScheduledRetry] = []
        self._listed_all = False
        # What went through before an interruption shows that not everything is refused.
        self._went_through: float | None = time.monotonic() if ledger.tally.files else None
        self.retries: Counter[str] = Counter()  # by cause

    def go(self) -> Iterator[list[tuple[File, Finished]]]:
        """Run to the end, or until stopped; yields what was settled, several times a second, if nothing then [].

        Raises SetupError when nothing goes through any more.
        """
        with ThreadPoolExecutor(self._workers, "backfill") as pool:
            while True:
                self._start(pool)
                self._land()
                yield list(self.ledger.settle())
                if not self._flights and (self._stop.is_set() or self.is_complete):
                    return

    @property
    def is_complete(self) -> bool:
        """Whether all files of the source are settled."""
        return self._listed_all and not self.ledger.open

    def _start(self, pool: ThreadPoolExecutor) -> None:
        while len(self._flights) < self._workers and not self._stop.is_set():
            tasks = self._next()
            if not tasks:
                return
            self._flights[pool.submit(self._way.load, [task.file for task in tasks])] = tasks

    def _next(self) -> list[LoadTask]:
        """Choose the files of one batch: those whose time has come again, then new ones."""
        most, now = min(self._way.batch, self._way.most()), time.monotonic()
        tasks: list[LoadTask] = []
        while len(tasks) < most and self._due and self._due[0].at <= now:
            tasks.append(heapq.heappop(self._due).task)
        while len(tasks) < most and self.ledger.open < _WINDOW and (task := self._enter(now)):
            tasks.append(task)
        self._way.started(len(tasks))
        return tasks

    def _enter(self, now: float) -> LoadTask | None:
        while self.ledger.open < _WINDOW:
            file, ended = next(self._source, (None, None))
            if file is None:
                self._listed_all = True
                return None
            number = self.ledger.enter(file)
            if ended is None:
                return LoadTask(number, file, now)
            self.ledger.end(number, ended)
        return None

    def _land(self) -> None:
        if not self._flights:
            self._stop.wait(_IDLE_SECONDS)
            return
        for flight in wait(self._flights, _BEAT_SECONDS, FIRST_COMPLETED).done:
            for task, end in zip(self._flights.pop(flight), flight.result(), strict=True):
                self._take(task, end)

    def _take(self, task: LoadTask, end: Finished | RetryLater) -> None:
        now = time.monotonic()
        if isinstance(end, Finished):
            self._went_through = now
            self.ledger.end(task.number, end)
            return
        task.attempts += 1
        self.retries[end.cause] += 1
        choice = decide(task, end.cause, now=now, went_through=self._went_through, patience=self._patience)
        if choice is RetryDecision.STOP:
            self._stop.set()
            raise SetupError(f"Nothing goes through: {end.cause}.")
        if choice is RetryDecision.GIVE_UP:
            detail = f"given up after {task.attempts} attempts in {now - task.began:.0f} s"
            self.ledger.end(task.number, Finished(LoadOutcome.FAILED, reason=end.cause, detail=detail))
            return
        heapq.heappush(
            self._due, _ScheduledRetry(now + retry_delay(task.attempts, self._first_wait), task.number, task)
        )
