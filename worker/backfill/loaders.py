"""The two ways to load files: announced to the pipeline's queue, or loaded here by consumers."""

from __future__ import annotations

import time
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from worker.backfill.progress import RECORDS, Finished, LoadOutcome, RetryLater
from worker.pipeline.accounting import FileOutcome
from worker.pipeline.notifications import s3_notification
from worker.pipeline.objects import ObjectRef
from worker.pipeline.ports import Message

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from worker.backfill.listing import File
    from worker.backfill.retry import RateLimiter
    from worker.pipeline.accounting import BatchResult, FileTally
    from worker.pipeline.consumer import Consumer
    from worker.pipeline.ports import DeadLetter, HandBack


_DEPTH_SECONDS = 5.0  # between looks at the queue; SQS counts approximately and late anyway


# After a signal, for the batches that are under way.
_FINISH_SECONDS = 20.0


class Loader(Protocol):
    """How files are loaded; `load` is called by several threads at once."""

    batch: int

    def most(self) -> int:
        """Return how many files may start now."""

    def started(self, number: int) -> None:
        """Hear how many do."""

    def load(self, files: Sequence[File]) -> list[Finished | RetryLater]:
        """Load files and say of each how it ended."""


class AnnouncementQueue(Protocol):
    """The queue, as an announcing way needs it."""

    def announce(self, bodies: Sequence[str]) -> list[str]:
        """Send up to ten messages; returns for each "" or why it was not taken."""

    def depth(self) -> tuple[int, int]:
        """Count messages: deliverable ones, and hidden or delayed ones; raises QueueUnavailable."""


class QueueLoader:
    """Announces files to the pipeline's own queue, at a bounded pace, while the queue is not too full.

    One message announces one file, though it could name many: a file that has to go back would bring all its siblings
    back, and its receives would count for them. A message costs less than the download of its file.
    """

    batch = 10

    def __init__(
        self,
        queue: AnnouncementQueue,
        bucket: str,
        pace: RateLimiter,
        max_depth: int,
        *,
        tick: Callable[[], float] = time.monotonic,
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

    def load(self, files: Sequence[File]) -> list[Finished | RetryLater]:
        """Announce files."""
        bodies = [s3_notification(ObjectRef(self._bucket, file.key, size=file.size)) for file in files]
        return [
            RetryLater(cause) if cause else Finished(LoadOutcome.ANNOUNCED) for cause in self._queue.announce(bodies)
        ]


class InMemoryDeadLetters:
    """Takes a consumer's dead letters in place of a queue: they go into the report."""

    def __init__(self) -> None:
        self.sent: list[DeadLetter] = []

    def send_dead_letter(self, letter: DeadLetter) -> None:
        """Keep a letter."""
        self.sent.append(letter)

    def hand_back(self, messages: Sequence[HandBack]) -> None:
        """Do nothing: what goes back is in the batch's result."""


class DirectLoader:
    """Loads files with consumers like the pipeline's own, one per thread: every promise of theirs holds here."""

    batch = 16  # small files share bulk requests; more would make a stop wait

    def __init__(
        self,
        make: Callable[[InMemoryDeadLetters], Consumer],
        bucket: str,
        *,
        workers: int,
        seconds: float,
        stop: threading.Event,
    ) -> None:
        self._bucket, self._seconds, self._stop = bucket, seconds, stop
        self._idle: SimpleQueue[tuple[Consumer, InMemoryDeadLetters]] = SimpleQueue()
        self._consumers: list[Consumer] = []
        self._stopped_at: float | None = None
        for _ in range(workers):
            letters = InMemoryDeadLetters()
            self._consumers.append(make(letters))
            self._idle.put((self._consumers[-1], letters))

    def most(self) -> int:
        """Return how many files may start now: there is no bound but the threads."""
        return self.batch

    def started(self, number: int) -> None:
        """Need not know."""

    def load(self, files: Sequence[File]) -> list[Finished | RetryLater]:
        """Load files."""
        refs = [ObjectRef(self._bucket, file.key, size=file.size) for file in files]
        messages = [Message(str(at), "", s3_notification(ref)) for at, ref in enumerate(refs)]
        with self._consumer() as (consumer, letters):
            result = consumer.consume(messages, self._left(consumer.limits.reserve_seconds))
            return list(_ends(refs, result, letters.sent))

    def close(self) -> None:
        """End the consumers' threads."""
        for consumer in self._consumers:
            consumer.close()

    @contextmanager
    def _consumer(self) -> Iterator[tuple[Consumer, InMemoryDeadLetters]]:
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


def _ends(
    refs: Sequence[ObjectRef], result: BatchResult, letters: Iterable[DeadLetter]
) -> Iterator[Finished | RetryLater]:
    """Say of each file how it ended, from what the consumer says of the batch."""
    tallies = {tally.ref: tally for tally in result.files}
    by_message = {letter.source_message_id: letter for letter in letters}
    for at, ref in enumerate(refs):
        if str(at) in result.failed:
            yield RetryLater(tallies[ref].reason or "crash" if ref in tallies else "crash")
        elif ref not in tallies:
            yield Finished(LoadOutcome.EMPTY, detail="ignored by its name")
        else:
            yield _end(tallies[ref], by_message.get(str(at)))


def _end(tally: FileTally, letter: DeadLetter | None) -> Finished:
    records = tuple(int(getattr(tally, name)) for name in RECORDS)
    if tally.outcome is FileOutcome.DEAD_LETTER:
        detail = letter.detail if letter else ""
        return Finished(LoadOutcome.FAILED, records, tally.reason, detail, tuple(tally.rejections))
    if not tally.read:
        return Finished(LoadOutcome.EMPTY, records)
    new = tally.indexed + tally.degraded
    return Finished(LoadOutcome.LOADED if new else LoadOutcome.DUPLICATE, records)
