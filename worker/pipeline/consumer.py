"""The consumer: a batch of messages in, every object and record accounted for, verdicts per message out.

Per file, always: read = indexed + duplicate + degraded + rejected + filtered. A message is done only when that holds
for all its files; whatever else happens, it goes back to the queue. Nothing here knows SQS, S3 or OpenSearch: the entry
points bring them.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from worker.cloudtrail.keys import Ignored, classify
from worker.cutoff import Cutoff
from worker.errors import MalformedMessage
from worker.pipeline.accounting import BatchResult, BatchStats, FileOutcome, FileTally
from worker.pipeline.bulk import cut_requests
from worker.pipeline.deadline import Deadline
from worker.pipeline.inflight import InFlight
from worker.pipeline.ledger import Ledger
from worker.pipeline.notifications import parse_notification
from worker.pipeline.ports import HandBack
from worker.pipeline.refusals import Refusals
from worker.pipeline.settlement import Settlement, backoff, malformed_detail
from worker.pipeline.splitting import MAX_OBJECTS, Splitter
from worker.pipeline.stream import CRASH, ActionStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime

    from worker.cloudtrail.filters.matching import RecordFilter
    from worker.pipeline.bulk import DeliveryResult
    from worker.pipeline.documents import Action
    from worker.pipeline.limits import Limits
    from worker.pipeline.notifications import Notification
    from worker.pipeline.objects import ObjectRef
    from worker.pipeline.ports import Index, Message, Queue, Store

    Notifications = Mapping[str, Notification | MalformedMessage]  # by message id

# Handing back ends this long before the batch must have ended. It may take this long when a batch is stopped or late.
_LAST_SECONDS, _HAND_BACK_SECONDS = 0.5, 5.0


class Consumer:
    """Takes batches of messages from a queue to an index. One instance serves many batches, one after the other.

    `now` is the wall clock in UTC, `monotonic` a clock in seconds, `jitter` a random factor between 0 and 1.
    `current_filter` returns the filter for a batch, None to index everything.
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
        current_filter: Callable[[], RecordFilter | None] = lambda: None,
    ) -> None:
        self.store, self.index, self.queue, self.limits = store, index, queue, limits
        self.now, self.monotonic, self.jitter = now, monotonic, jitter
        self.current_filter = current_filter
        self.fetchers = _fetchers(limits)
        self.refusals = Refusals()
        self.ledger = Ledger(index, limits, now=now, monotonic=monotonic)
        self.senders = ThreadPoolExecutor(limits.bulk_in_flight, "send")

    def consume(self, messages: Sequence[Message], remaining: Callable[[], float]) -> BatchResult:
        """Process one batch; `remaining` returns the seconds until it must have ended (0 stops it gracefully)."""
        return Batch(self, messages, remaining).run()

    def replace_fetchers(self) -> None:
        """Use other threads for the next batch: one that hangs must not take the place of those."""
        self.fetchers.shutdown(wait=False, cancel_futures=True)
        self.fetchers = _fetchers(self.limits)

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
        self._splitter = Splitter(consumer.queue, self._deadline)

    def run(self) -> BatchResult:
        """Process the batch to its end."""
        consumer, limits = self._consumer, self._consumer.limits
        started = consumer.monotonic()
        files: dict[ObjectRef, FileTally] = {}
        notifications = self._parse(files)
        self._tallies = list(files.values())
        in_flight = InFlight(consumer.index, consumer.senders, limits, self._deadline, self._record)
        stream = ActionStream(
            consumer.store,
            consumer.fetchers,
            limits,
            self._deadline,
            now=consumer.now,
            monotonic=consumer.monotonic,
            crash_guard=self._crash_guard,
            record_filter=consumer.current_filter(),
        )
        with closing(stream.actions(self._tallies)) as actions:
            for request in cut_requests(actions, limits.bulk_bytes, limits.bulk_actions):
                in_flight.send(request)
                if not self._deadline.may_send():
                    break
        in_flight.drain()
        if stream.abandoned:
            consumer.replace_fetchers()
        self._ignored += stream.ignored
        self._stats.read_seconds = stream.read_seconds
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
                self._open_accounts(message, notification, files)
                notifications[message.id] = notification
        return notifications

    def _open_accounts(self, message: Message, notification: Notification, files: dict[ObjectRef, FileTally]) -> None:
        self._ignored.update(notification.ignored)
        tallies: dict[ObjectRef, FileTally] = {}
        for ref in notification.objects:
            kind = classify(ref.key, ref.size)
            if isinstance(kind, Ignored):
                self._ignored[kind.name] += 1
            else:
                tallies[ref] = FileTally(ref, kind.delivered_at)
        if len(tallies) > MAX_OBJECTS:
            self._splitter.split(message.id, list(tallies))
            self._ignored["announced_again"] += len(tallies)
        else:
            for ref, tally in tallies.items():
                files.setdefault(ref, tally)  # one that is announced twice is read once

    # Actions to outcomes

    def _record(self, request: list[Action], future: Future[DeliveryResult]) -> None:
        """Count the outcomes of one bulk request."""
        with self._crash_guard(partial(self._mark_crashed, {action.file for action in request})):
            result = future.result()
            for place, (action, outcome) in enumerate(zip(request, result.outcomes, strict=True)):
                if place in result.refused:
                    self._tallies[action.file].unproven.append((action.position, outcome.cause))
                else:
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
            self._tallies[file].unavailable = CRASH

    # Outcomes to verdicts

    def _settle(
        self, notifications: Notifications, files: Mapping[ObjectRef, FileTally], started: float
    ) -> BatchResult:
        self._consumer.refusals.judge(self._tallies)
        self._record_files()
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
            seconds = self._deadline.remaining() - _LAST_SECONDS
            with Cutoff(seconds if seconds > 0 else _HAND_BACK_SECONDS):
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

    def _record_files(self) -> None:
        """Write the ledger: after a file's records are acknowledged, and before its message is."""
        with self._crash_guard(partial(self._mark_crashed, range(len(self._tallies)))):
            self._consumer.ledger.record(self._tallies, self._deadline)

    def _causes(self, message: Message, notifications: Notifications, settlement: Settlement) -> list[str]:
        """Return why a message must go back, [] when it is done; a crash of ours is a cause."""
        if cause := self._splitter.cause(message.id):
            return [cause]
        if message.id not in self._crashed_messages:
            with self._crash_guard(partial(self._crashed_messages.add, message.id)):
                return settlement.settle(message, notifications[message.id])
        return [CRASH]

    def _malformed(self, notifications: Notifications) -> tuple[tuple[str, str], ...]:
        details = ((id_, malformed_detail(notifications.get(id_))) for id_ in self._messages)
        return tuple((id_, detail) for id_, detail in details if detail)


def _fetchers(limits: Limits) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(limits.fetch_ahead, "fetch")


def _origin_of(fault: Exception) -> str:
    """Return type and line of a fault, without its text: that may quote a record."""
    frame = fault.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    line = f"{frame.tb_frame.f_globals.get('__name__')}:{frame.tb_lineno}" if frame else "?"
    return f"{type(fault).__name__} at {line}"
