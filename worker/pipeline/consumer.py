"""The consumer: a batch of messages in, every object and record accounted for, verdicts per message out.

Per file, always: read = indexed + duplicate + degraded + rejected. A message is done only when that holds for all its
files; whatever else happens, it goes back to the queue. Nothing here knows SQS, S3 or OpenSearch: the entry points
bring them.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from worker.cloudtrail.keys import Ignored, classify, is_marker, is_query_result
from worker.errors import MalformedMessage, NoEvents, Reason, Unavailable, UnreadableObject
from worker.pipeline.accounting import BatchResult, BatchStats, FileOutcome, FileTally
from worker.pipeline.bulk import cut_requests
from worker.pipeline.deadline import Deadline
from worker.pipeline.documents import to_actions
from worker.pipeline.inflight import InFlight
from worker.pipeline.notifications import parse_notification
from worker.pipeline.ports import HandBack
from worker.pipeline.prefetch import Prefetcher
from worker.pipeline.reader import FileReader
from worker.pipeline.settlement import Settlement, backoff, malformed_detail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime

    from worker.pipeline.bulk import DeliveryResult
    from worker.pipeline.documents import Action
    from worker.pipeline.limits import Limits
    from worker.pipeline.notifications import Notification
    from worker.pipeline.objects import ObjectRef
    from worker.pipeline.ports import Index, Message, Queue, Store
    from worker.pipeline.prefetch import Prefetch

    Notifications = Mapping[str, Notification | MalformedMessage]  # by message id

_CRASH = "crash"

# A whole file of another format, not a damaged log file.
_NO_LOG_FILE = (Reason.EMPTY, Reason.NOT_JSON, Reason.NO_RECORDS)


class Consumer:
    """Takes batches of messages from a queue to an index. One instance serves many batches, one after the other.

    `now` is the wall clock in UTC, `monotonic` a clock in seconds, `jitter` a random factor between 0 and 1.
    """

    def __init__(  # noqa: PLR0913 - three neighbours, the limits, and what makes a core testable: clocks and chance
        self,
        store: Store,
        index: Index,
        queue: Queue,
        limits: Limits,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self.store, self.index, self.queue, self.limits = store, index, queue, limits
        self.now, self.monotonic, self.jitter = now, monotonic, jitter
        self.fetchers = ThreadPoolExecutor(limits.fetch_ahead, "fetch")
        self.senders = ThreadPoolExecutor(limits.bulk_in_flight, "send")

    def consume(self, messages: Sequence[Message], remaining: Callable[[], float]) -> BatchResult:
        """Process one batch; `remaining` returns the seconds until it must have ended (0 stops it gracefully)."""
        return Batch(self, messages, remaining).run()

    def close(self) -> None:
        """End the threads."""
        self.fetchers.shutdown(cancel_futures=True)
        self.senders.shutdown(cancel_futures=True)


class Batch:
    """One batch: notifications to files, files to actions, actions to outcomes, outcomes to verdicts."""

    def __init__(self, consumer: Consumer, messages: Sequence[Message], remaining: Callable[[], float]) -> None:
        self._consumer = consumer
        self._messages = {message.id: message for message in messages}
        self._deadline = Deadline(remaining, consumer.limits.reserve_seconds)
        self._tallies: list[FileTally] = []
        self._ignored: Counter[str] = Counter()
        self._stats = BatchStats()
        self._crashes: list[str] = []
        self._crashed_messages: set[str] = set()

    def run(self) -> BatchResult:
        """Process the batch to its end."""
        consumer, limits = self._consumer, self._consumer.limits
        started = consumer.monotonic()
        files: dict[ObjectRef, FileTally] = {}
        notifications = self._parse(files)
        self._tallies = list(files.values())
        in_flight = InFlight(consumer.index, consumer.senders, limits, self._deadline, self._record)
        for request in cut_requests(self._actions(), limits.bulk_bytes, limits.bulk_actions):
            in_flight.send(request)
            if self._deadline.stop_reason:
                break
        in_flight.drain()
        return self._settle(notifications, files, started)

    # Messages to files

    def _parse(self, files: dict[ObjectRef, FileTally]) -> Notifications:
        """Parse every message, and open an account in `files` for each object that has to be read."""
        notifications: dict[str, Notification | MalformedMessage] = {}
        for message in self._messages.values():
            with self._crash_guard(partial(self._crashed_messages.add, message.id)):
                try:
                    notification = parse_notification(message.body)
                except MalformedMessage as cause:
                    notifications[message.id] = cause
                    continue
                self._open_accounts(notification, files)
                notifications[message.id] = notification
        return notifications

    def _open_accounts(self, notification: Notification, files: dict[ObjectRef, FileTally]) -> None:
        self._ignored.update(notification.ignored)
        for ref in notification.objects:
            kind = classify(ref.key, ref.size)
            if isinstance(kind, Ignored):
                self._ignored[kind.name] += 1
            elif ref not in files:  # one that is announced twice is read once
                files[ref] = FileTally(ref, kind.delivered_at)

    # Files to actions

    def _actions(self) -> Iterator[Action]:
        """Yield the actions of all files, in order."""
        consumer = self._consumer
        prefetcher = Prefetcher(
            consumer.store,
            consumer.fetchers,
            consumer.limits,
            self._deadline,
            monotonic=consumer.monotonic,
            crash_guard=partial(self._crash_guard, lambda: None),  # nothing to mark: the object is fetched
        )
        reader = FileReader(consumer.limits, self._deadline, consumer.now)
        for file, prefetch in enumerate(prefetcher.in_order(self._tallies)):
            with self._crash_guard(partial(self._mark_crashed, [file])):
                yield from self._actions_of(file, prefetch, reader)

    def _actions_of(self, file: int, prefetch: Prefetch, reader: FileReader) -> Iterator[Action]:
        tally, started = self._tallies[file], self._consumer.monotonic()
        try:
            records = reader.read(tally, prefetch.take())
            naming = reader.index_naming(tally)
            naming.check(records)
        except Unavailable as cause:
            tally.unavailable = str(cause)
            return
        except (NoEvents, UnreadableObject) as cause:
            self._refuse(tally, cause)
            return
        self._stats.read_seconds += self._consumer.monotonic() - started
        yield from to_actions(records, file, reader.provenance(tally), naming)
        tally.complete = True

    def _refuse(self, tally: FileTally, cause: NoEvents | UnreadableObject) -> None:
        match _no_events(tally.ref.key, cause):
            case NoEvents(name=name):
                self._ignored[name] += 1
                tally.ignore(name)
            case UnreadableObject() as problem:
                tally.refuse(problem)

    # Actions to outcomes

    def _record(self, request: list[Action], future: Future[DeliveryResult]) -> None:
        """Count the outcomes of one bulk request."""
        with self._crash_guard(partial(self._mark_crashed, {action.file for action in request})):
            result = future.result()
            for action, outcome in zip(request, result.outcomes, strict=True):
                self._tallies[action.file].record(action.position, outcome)
            self._deadline.stop(result.stop_reason)
            self._stats.add(result)

    @contextmanager
    def _crash_guard(self, on_crash: Callable[[], object]) -> Iterator[None]:
        """Keep a fault of ours from costing more than what `on_crash` marks: that goes back, and it is reported."""
        try:
            yield
        except Exception as fault:  # noqa: BLE001 - the one place that catches everything
            on_crash()
            self._crashes.append(_origin_of(fault))

    def _mark_crashed(self, files: Iterable[int]) -> None:
        for file in files:
            self._tallies[file].unavailable = _CRASH

    # Outcomes to verdicts

    def _settle(
        self, notifications: Notifications, files: Mapping[ObjectRef, FileTally], started: float
    ) -> BatchResult:
        for tally in self._tallies:
            if tally.outcome is FileOutcome.HANDED_BACK and not tally.unavailable:
                tally.unavailable = self._deadline.stop_reason or "unfinished"
            self._stats.fetch_seconds += tally.fetch_seconds
        settlement = Settlement(files, self._consumer.queue, self._deadline)
        handed_back: list[HandBack] = []
        for message in self._messages.values():
            if causes := self._causes(message, notifications, settlement):
                delay = backoff(self._consumer.limits, message.receive_count, set(causes), self._consumer.jitter())
                handed_back.append(HandBack(message, delay))
        if handed_back:
            self._consumer.queue.hand_back(handed_back)
        self._stats.total_seconds = self._consumer.monotonic() - started
        return BatchResult(
            failed=tuple(entry.message.id for entry in handed_back),
            messages=len(self._messages),
            files=tuple(self._tallies),
            ignored=self._ignored,
            malformed=self._malformed(notifications),
            dead_letters=settlement.dead_letters,
            crashes=tuple(self._crashes),
            dead_letters_unsent=tuple(sorted(settlement.unsent)),
            stats=self._stats,
            ended_at=self._consumer.now(),
        )

    def _causes(self, message: Message, notifications: Notifications, settlement: Settlement) -> list[str]:
        """Return why a message must go back, [] when it is done; a crash of ours is a cause."""
        if message.id not in self._crashed_messages:
            with self._crash_guard(partial(self._crashed_messages.add, message.id)):
                return settlement.settle(message, notifications[message.id])
        return [_CRASH]

    def _malformed(self, notifications: Notifications) -> tuple[tuple[str, str], ...]:
        details = ((id_, malformed_detail(notifications.get(id_))) for id_ in self._messages)
        return tuple((id_, detail) for id_, detail in details if detail)


def _no_events(key: str, cause: NoEvents | UnreadableObject) -> NoEvents | UnreadableObject:
    """Return NoEvents where the key of an unreadable object shows that it was never a log file."""
    if isinstance(cause, UnreadableObject):
        if cause.reason is Reason.EMPTY and is_marker(key):
            return NoEvents("folder_marker")  # its notification did not say that it is empty
        if cause.reason in _NO_LOG_FILE and is_query_result(key):
            return NoEvents("query_result")
    return cause


def _origin_of(fault: Exception) -> str:
    """Return type and line of a fault, without its text: that may quote a record."""
    frame = fault.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    line = f"{frame.tb_frame.f_globals.get('__name__')}:{frame.tb_lineno}" if frame else "?"
    return f"{type(fault).__name__} at {line}"
