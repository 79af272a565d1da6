"""Runs a backfill: batches of files to a few threads, failures that can pass tried again, ends settled in order.

There are two ways for a batch: announced to the queue, for the pipeline that is there, or loaded here by consumers like
the pipeline's own. Both are handed in.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from worker.backfill.progress import RECORDS, Decision, Ended, Later, Outcome, Task, decide, wait_before
from worker.errors import SetupError
from worker.pipeline.consumer import FileOutcome, Message
from worker.pipeline.notifications import ObjectRef, announce

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from worker.backfill.listing import File
    from worker.backfill.progress import Ledger, Pace
    from worker.pipeline.consumer import BatchResult, Consumer, DeadLetter, FileTally, HandBack

# Files entered and not settled: what is loaded twice if the process is killed, and all that is in memory.
_WINDOW = 2_000

_BEAT_SECONDS = 0.2
_IDLE_SECONDS = 0.05

_DEPTH_SECONDS = 5.0  # between looks at the queue; SQS counts approximately and late anyway

# After a signal, for the batches that are under way.
_FINISH_SECONDS = 20.0


class Way(Protocol):
    """How files are loaded; `load` is called by several threads at once."""

    batch: int

    def most(self) -> int:
        """Return how many files may start now."""

    def started(self, number: int) -> None:
        """Hear how many do."""

    def load(self, files: Sequence[File]) -> list[Ended | Later]:
        """Load files and say of each how it ended."""


@dataclass(order=True, slots=True)
class _Due:
    at: float
    number: int
    task: Task


class Run:
    """One run over `source`: files to load, and files with the end they have already.

    `patience` is how long, in seconds, a file is tried while nothing goes through; `first_wait` the wait before its
    second attempt, which doubles. `stop` ends the run gently.
    """

    def __init__(  # noqa: PLR0913 - the parts, and what bounds them
        self,
        way: Way,
        source: Iterable[tuple[File, Ended | None]],
        ledger: Ledger,
        *,
        workers: int,
        patience: float,
        stop: threading.Event,
        first_wait: float = 2.0,
    ) -> None:
        self._way, self._source, self.ledger = way, iter(source), ledger
        self._workers, self._patience, self._first_wait = workers, patience, first_wait
        self._stop = stop
        self._flights: dict[Future[list[Ended | Later]], list[Task]] = {}
        self._due: list[_Due] = []
        self._listed_all = False
        # What went through before an interruption shows that not everything is refused.
        self._went_through: float | None = time.monotonic() if ledger.tally.files else None
        self.retries: Counter[str] = Counter()  # by cause

    def go(self) -> Iterator[list[tuple[File, Ended]]]:
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

    def _next(self) -> list[Task]:
        """Choose the files of one batch: those whose time has come again, then new ones."""
        most, now = min(self._way.batch, self._way.most()), time.monotonic()
        tasks: list[Task] = []
        while len(tasks) < most and self._due and self._due[0].at <= now:
            tasks.append(heapq.heappop(self._due).task)
        while len(tasks) < most and self.ledger.open < _WINDOW and (task := self._enter(now)):
            tasks.append(task)
        self._way.started(len(tasks))
        return tasks

    def _enter(self, now: float) -> Task | None:
        while self.ledger.open < _WINDOW:
            file, ended = next(self._source, (None, None))
            if file is None:
                self._listed_all = True
                return None
            number = self.ledger.enter(file)
            if ended is None:
                return Task(number, file, now)
            self.ledger.end(number, ended)
        return None

    def _land(self) -> None:
        if not self._flights:
            self._stop.wait(_IDLE_SECONDS)
            return
        for flight in wait(self._flights, _BEAT_SECONDS, FIRST_COMPLETED).done:
            for task, end in zip(self._flights.pop(flight), flight.result(), strict=True):
                self._take(task, end)

    def _take(self, task: Task, end: Ended | Later) -> None:
        now = time.monotonic()
        if isinstance(end, Ended):
            self._went_through = now
            self.ledger.end(task.number, end)
            return
        task.attempts += 1
        self.retries[end.cause] += 1
        choice = decide(task, end.cause, now=now, went_through=self._went_through, patience=self._patience)
        if choice is Decision.STOP:
            self._stop.set()
            raise SetupError(f"Nothing goes through: {end.cause}.")
        if choice is Decision.GIVE_UP:
            detail = f"given up after {task.attempts} attempts in {now - task.began:.0f} s"
            self.ledger.end(task.number, Ended(Outcome.FAILED, reason=end.cause, detail=detail))
            return
        heapq.heappush(self._due, _Due(now + wait_before(task.attempts, self._first_wait), task.number, task))


class Announced(Protocol):
    """The queue, as an announcing way needs it."""

    def announce(self, bodies: Sequence[str]) -> list[str]:
        """Send up to ten messages; returns for each "" or why it was not taken."""

    def depth(self) -> tuple[int, int]:
        """Count messages: deliverable ones, and hidden or delayed ones; raises QueueUnavailable."""


class ByQueue:
    """Announces files to the pipeline's own queue, at a bounded pace, while the queue is not too full.

    One message announces one file, though it could name many: a file that has to go back would bring all its siblings
    back, and its receives would count for them. A message costs less than the download of its file.
    """

    batch = 10

    def __init__(
        self, queue: Announced, bucket: str, pace: Pace, max_depth: int, *, tick: Callable[[], float] = time.monotonic
    ) -> None:
        self._queue, self._bucket, self._pace, self._max_depth, self._tick = queue, bucket, pace, max_depth, tick
        self._room, self._asked, self._full_since = 0, float("-inf"), 0.0
        self.depth = 0

    @property
    def full_seconds(self) -> float:
        """How long the queue has been too full to announce anything."""
        return self._tick() - self._full_since if self._full_since else 0.0

    def most(self) -> int:
        """Return how many files may be announced now, by pace and by the room in the queue."""
        now = self._tick()
        if now - self._asked >= _DEPTH_SECONDS:
            self.depth = sum(self._queue.depth())
            self._room, self._asked = self._max_depth - self.depth, self._tick()
            self._full_since = 0.0 if self._room > 0 else self._full_since or now
        return max(0, min(self._pace.most(now), self._room))

    def started(self, number: int) -> None:
        """Count what is announced."""
        self._pace.spend(number)
        self._room -= number

    def load(self, files: Sequence[File]) -> list[Ended | Later]:
        """Announce files."""
        bodies = [announce(ObjectRef(self._bucket, file.key, size=file.size)) for file in files]
        return [Later(cause) if cause else Ended(Outcome.ANNOUNCED) for cause in self._queue.announce(bodies)]


class LetterBox:
    """Takes a consumer's dead letters in place of a queue: they go into the report."""

    def __init__(self) -> None:
        self.sent: list[DeadLetter] = []

    def dead_letter(self, letter: DeadLetter) -> None:
        """Keep a letter."""
        self.sent.append(letter)

    def hand_back(self, messages: Sequence[HandBack]) -> None:
        """Do nothing: what goes back is in the batch's result."""


class Directly:
    """Loads files with consumers like the pipeline's own, one per thread: every promise of theirs holds here."""

    batch = 16  # small files share bulk requests; more would make a stop wait

    def __init__(
        self,
        make: Callable[[LetterBox], Consumer],
        bucket: str,
        *,
        workers: int,
        seconds: float,
        stop: threading.Event,
    ) -> None:
        self._bucket, self._seconds, self._stop = bucket, seconds, stop
        self._idle: SimpleQueue[tuple[Consumer, LetterBox]] = SimpleQueue()
        self._consumers: list[Consumer] = []
        self._stopped_at: float | None = None
        for _ in range(workers):
            letters = LetterBox()
            self._consumers.append(make(letters))
            self._idle.put((self._consumers[-1], letters))

    def most(self) -> int:
        """Return how many files may start now: there is no bound but the threads."""
        return self.batch

    def started(self, number: int) -> None:
        """Need not know."""

    def load(self, files: Sequence[File]) -> list[Ended | Later]:
        """Load files."""
        refs = [ObjectRef(self._bucket, file.key, size=file.size) for file in files]
        messages = [Message(str(at), "", announce(ref)) for at, ref in enumerate(refs)]
        with self._consumer() as (consumer, letters):
            result = consumer.consume(messages, self._left(consumer.limits.reserve_seconds))
            return list(_ends(refs, result, letters.sent))

    def close(self) -> None:
        """End the consumers' threads."""
        for consumer in self._consumers:
            consumer.close()

    @contextmanager
    def _consumer(self) -> Iterator[tuple[Consumer, LetterBox]]:
        consumer, letters = self._idle.get()
        try:
            letters.sent.clear()
            yield consumer, letters
        finally:
            self._idle.put((consumer, letters))

    def _left(self, reserve: float) -> Callable[[], float]:
        """Return the clock of a batch: its seconds, and after a signal what finishing may take."""
        until = time.monotonic() + self._seconds

        def left() -> float:
            now = time.monotonic()
            if not self._stop.is_set():
                return until - now
            if self._stopped_at is None:
                self._stopped_at = now
            return min(until, self._stopped_at + _FINISH_SECONDS + reserve) - now

        return left


def _ends(refs: Sequence[ObjectRef], result: BatchResult, letters: Iterable[DeadLetter]) -> Iterator[Ended | Later]:
    """Say of each file how it ended, from what the consumer says of the batch."""
    tallies = {tally.ref: tally for tally in result.files}
    by_message = {letter.source_message_id: letter for letter in letters}
    for at, ref in enumerate(refs):
        if str(at) in result.failed:
            yield Later(tallies[ref].reason or "crash" if ref in tallies else "crash")
        elif ref not in tallies:
            yield Ended(Outcome.EMPTY, detail="ignored by its name")
        else:
            yield _end(tallies[ref], by_message.get(str(at)))


def _end(tally: FileTally, letter: DeadLetter | None) -> Ended:
    records = tuple(int(getattr(tally, name)) for name in RECORDS)
    if tally.outcome is FileOutcome.DEAD_LETTER:
        detail = letter.detail if letter else ""
        return Ended(Outcome.FAILED, records, tally.reason, detail, tuple(tally.rejections))
    if not tally.read:
        return Ended(Outcome.EMPTY, records)
    new = tally.indexed + tally.degraded
    return Ended(Outcome.LOADED if new else Outcome.DUPLICATE, records)
