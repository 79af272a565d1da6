"""The two ways to load files: announce them to the pipeline's queue, or load them here with consumers."""

from __future__ import annotations

import time
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from worker.backfill.progress import RECORD_COUNTS, Finished, LoadOutcome, RetryLater
from worker.errors import QueueUnavailable
from worker.pipeline.accounting import FileOutcome
from worker.pipeline.notifications import s3_notification
from worker.pipeline.objects import ObjectRef
from worker.pipeline.ports import Message

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from worker.backfill.listing import SelectedFile
    from worker.backfill.retry import RateLimiter
    from worker.pipeline.accounting import BatchResult, FileTally
    from worker.pipeline.consumer import Consumer
    from worker.pipeline.ports import DeadLetter, HandBack

_DEPTH_SECONDS = 5.0  # between two reads of the queue's depth: SQS counts approximately, and late anyway

# How long batches in progress may take after a stop, in seconds.
_STOP_SECONDS = 20.0


class Loader(Protocol):
    """Loads files. `load` is called by several threads at once, the other methods by one."""

    batch_size: int

    def capacity(self) -> int:
        """Return how many files may start now."""

    def record_started(self, files: int) -> None:
        """Record how many files start."""

    def load(self, files: Sequence[SelectedFile]) -> list[Finished | RetryLater]:
        """Load files; returns for each how it ended."""


class AnnouncementQueue(Protocol):
    """The source queue, as `QueueLoader` uses it."""

    def announce(self, bodies: Sequence[str]) -> list[str]:
        """Send up to ten messages; returns for each "" or why it was not taken."""

    def depth(self) -> tuple[int, int]:
        """Count messages: visible ones, and in-flight or delayed ones; raises QueueUnavailable."""


class QueueLoader:
    """Announces files to the pipeline's own queue, at a limited rate and only while the queue is not too full.

    One message announces one file, though it could name many. A file that is handed back would bring all files of its
    message back, and its receives would count for them. A message costs less than the download of its file.
    """

    batch_size = 10

    def __init__(
        self,
        queue: AnnouncementQueue,
        bucket: str,
        limiter: RateLimiter,
        max_depth: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue, self._bucket, self._limiter, self._max_depth = queue, bucket, limiter, max_depth
        self._monotonic = monotonic
        self._room, self._depth_read_at, self._full_since = 0, float("-inf"), 0.0
        self.depth = 0

    @property
    def full_seconds(self) -> float:
        """How long the queue has been too full to announce anything."""
        return self._monotonic() - self._full_since if self._full_since else 0.0

    def capacity(self) -> int:
        """Return how many files may be announced now, by the rate and by the room in the queue."""
        now = self._monotonic()
        if now - self._depth_read_at >= _DEPTH_SECONDS:
            self.depth = sum(self._queue.depth())
            self._room, self._depth_read_at = self._max_depth - self.depth, self._monotonic()
            self._full_since = 0.0 if self._room > 0 else self._full_since or now
        return max(0, min(self._limiter.available(now), self._room))

    def record_started(self, files: int) -> None:
        """Count files that are announced against the rate and the room."""
        self._limiter.consume(files)
        self._room -= files

    def load(self, files: Sequence[SelectedFile]) -> list[Finished | RetryLater]:
        """Announce files."""
        bodies = [s3_notification(ObjectRef(self._bucket, file.key, size=file.size)) for file in files]
        return [
            RetryLater(cause) if cause else Finished(LoadOutcome.ANNOUNCED) for cause in self._queue.announce(bodies)
        ]


class InMemoryDeadLetters:
    """Takes a consumer's dead letters in place of a queue: a backfill puts them into its report."""

    def __init__(self) -> None:
        self.sent: list[DeadLetter] = []

    def send_dead_letter(self, letter: DeadLetter) -> None:
        """Keep a letter."""
        self.sent.append(letter)

    def announce_again(self, bodies: Sequence[str]) -> None:  # noqa: ARG002
        """Refuse: there is no queue, and a backfill names one file in a message."""
        raise QueueUnavailable("no_queue")

    def hand_back(self, messages: Sequence[HandBack]) -> None:
        """Do nothing: the batch's result names the messages that are handed back."""


class DirectLoader:
    """Loads files with consumers like the pipeline's own, one per thread: all their promises hold here too."""

    batch_size = 16  # small files share bulk requests; more files would delay a stop

    def __init__(
        self,
        make_consumer: Callable[[InMemoryDeadLetters], Consumer],
        bucket: str,
        *,
        workers: int,
        batch_seconds: float,
        stop: threading.Event,
    ) -> None:
        self._bucket, self._batch_seconds, self._stop = bucket, batch_seconds, stop
        self._idle: SimpleQueue[tuple[Consumer, InMemoryDeadLetters]] = SimpleQueue()
        self._consumers: list[Consumer] = []
        self._stopped_at: float | None = None
        for _ in range(workers):
            letters = InMemoryDeadLetters()
            self._consumers.append(make_consumer(letters))
            self._idle.put((self._consumers[-1], letters))

    def capacity(self) -> int:
        """Return the size of a batch: only the threads limit how many files start."""
        return self.batch_size

    def record_started(self, files: int) -> None:
        """Do nothing: no rate limits this loader."""

    def load(self, files: Sequence[SelectedFile]) -> list[Finished | RetryLater]:
        """Load files."""
        refs = [ObjectRef(self._bucket, file.key, size=file.size) for file in files]
        messages = [Message(str(number), "", s3_notification(ref)) for number, ref in enumerate(refs)]
        with self._idle_consumer() as (consumer, letters):
            result = consumer.consume(messages, self._remaining(consumer.limits.reserve_seconds))
            return list(_outcomes(refs, result, letters.sent))

    def close(self) -> None:
        """End the consumers' threads."""
        for consumer in self._consumers:
            consumer.close()

    @contextmanager
    def _idle_consumer(self) -> Iterator[tuple[Consumer, InMemoryDeadLetters]]:
        consumer, letters = self._idle.get()
        try:
            letters.sent.clear()
            yield consumer, letters
        finally:
            self._idle.put((consumer, letters))

    def _remaining(self, reserve: float) -> Callable[[], float]:
        """Return the clock of a batch: the seconds that remain, fewer after a stop."""
        end = time.monotonic() + self._batch_seconds

        def remaining() -> float:
            now = time.monotonic()
            if not self._stop.is_set():
                return end - now
            if self._stopped_at is None:
                self._stopped_at = now
            return min(end, self._stopped_at + _STOP_SECONDS + reserve) - now

        return remaining


def _outcomes(
    refs: Sequence[ObjectRef], result: BatchResult, letters: Iterable[DeadLetter]
) -> Iterator[Finished | RetryLater]:
    """Yield how each file ended. Its message's id is its position."""
    tallies = {tally.ref: tally for tally in result.files}
    letter_by_message = {letter.source_message_id: letter for letter in letters}
    for number, ref in enumerate(refs):
        if str(number) in result.failed:
            yield RetryLater(tallies[ref].reason or "crash" if ref in tallies else "crash")
        elif ref not in tallies:
            yield Finished(LoadOutcome.EMPTY, detail="ignored by its name")
        else:
            yield _finished(tallies[ref], letter_by_message.get(str(number)))


def _finished(tally: FileTally, letter: DeadLetter | None) -> Finished:
    records = tuple(int(getattr(tally, name)) for name in RECORD_COUNTS)
    if tally.outcome is FileOutcome.DEAD_LETTER:
        detail = letter.detail if letter else ""
        return Finished(LoadOutcome.FAILED, records, tally.reason, detail, tuple(tally.rejections))
    if tally.outcome is FileOutcome.IGNORED:
        return Finished(LoadOutcome.EMPTY, detail=f"ignored: {tally.ignored}")
    if not tally.read:
        return Finished(LoadOutcome.EMPTY, records)
    if tally.indexed + tally.degraded:
        return Finished(LoadOutcome.LOADED, records)
    return Finished(LoadOutcome.DUPLICATE if tally.duplicate else LoadOutcome.FILTERED, records)
