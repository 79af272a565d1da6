"""The road: a batch of messages in, every object and record accounted for, verdicts per message out.

Per file, always: read = indexed + duplicate + degraded + rejected. A message is done only when that holds for all its
files; whatever else happens, it goes back to the queue. Nothing here knows SQS, S3 or OpenSearch: the doors bring them.
"""

from __future__ import annotations

from collections import Counter, deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

from worker.cloudtrail.inflate import read_text
from worker.cloudtrail.keys import Ignored, classify
from worker.cloudtrail.records import Record, Rejection, read_records
from worker.cloudtrail.split import cut
from worker.errors import MalformedMessage, OutOfTime, QueueUnavailable, Reason, Unavailable, UnreadableObject
from worker.pipeline.bulk import Outcome, Receipt, Verdict, requests
from worker.pipeline.documents import Action, Origin, Partition, Routing, actions
from worker.pipeline.notifications import Announcement, ObjectRef, announce, read_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

# Rejected records that a dead letter can name: more than fit into its attribute anyway.
_NAMED_REJECTIONS = 1_000

_RECORDS_BETWEEN_LOOKS = 4_096  # at the clock: some tens of milliseconds
_SHOWN_REJECTIONS = 5  # in the one line for people

# A message that could not be started for want of time is no worse than the others: it comes back at once.
# Not for ever, though: on a cluster that is too slow all day, it must not use up its receives.
_NOT_STARTED_SECONDS = 5
_PATIENT_RECEIVES = 3

# CloudTrail's first month: a file name with an earlier date is not CloudTrail's.
_FIRST_FILES = datetime(2013, 11, 1, tzinfo=UTC)

# An object of at most so much waits in a socket's buffer until it is read: Linux begins with 128 KiB, of which half may
# be data (docs.kernel.org/networking/ip-sysctl.html, tcp_rmem and tcp_adv_win_scale).
_SMALL_BYTES = 64 << 10

# Before the end, when not even dead letters are sent any more.
_LAST_SECONDS = 2.0

_DETAIL_CHARACTERS = 1_000


class Message(msgspec.Struct, frozen=True):
    """One SQS message of a batch."""

    id: str
    receipt: str
    body: str
    receive_count: int = 1


class Stored(msgspec.Struct, frozen=True):
    """An object as S3 keeps it."""

    content: bytes | bytearray
    modified_at: datetime


class DeadLetter(msgspec.Struct, frozen=True):
    """What goes to the dead-letter queue: a body that can be moved back as it is, and why it is there."""

    body: str
    reason: Reason
    detail: str
    source_message_id: str
    attempts: int
    rejected: tuple[tuple[int, str], ...] = ()


class HandBack(msgspec.Struct, frozen=True):
    """A message that stays in the queue, and the seconds until it may be received again."""

    message: Message
    seconds: int


class Store(Protocol):
    """Where objects are kept."""

    def fetch(self, ref: ObjectRef, limit: int) -> Stored:
        """Read an object of at most `limit` bytes; raises UnreadableObject or StoreUnavailable."""

    def ask(self, ref: ObjectRef, limit: int) -> Asked | None:
        """Ask for a small object and do not wait for it; None where it has to be fetched. Never raises."""


class Asked(Protocol):
    """A small object that was asked for: to be taken without another thread, or to be fetched after all."""

    def take(self, seconds: float) -> Stored | None:
        """Wait at most so long for it; None when it has to be fetched. Never raises."""

    def fetch(self) -> Stored:
        """Read it, as `Store.fetch` does."""

    def cancel(self) -> None:
        """Leave it."""


Arrival: TypeAlias = "Future[None] | Asked"  # an object on its way: with a thread that waits for it, or without


class Index(Protocol):
    """Where documents go."""

    def deliver(self, request: Sequence[Action], left: Callable[[], float]) -> Receipt:
        """Send one bulk request, retrying while `left` says that there is time; never raises for an answer."""


class Queue(Protocol):
    """Where messages come from and dead letters go."""

    def dead_letter(self, letter: DeadLetter) -> None:
        """Send to the dead-letter queue; raises QueueUnavailable."""

    def hand_back(self, messages: Sequence[HandBack]) -> None:
        """Set when messages may be received again; a failure here changes nothing but the time, so none is raised."""


class Limits(msgspec.Struct, frozen=True):
    """The bounds of one consumer; `settings` says why each number is what it is."""

    index_prefix: str = "cloudtrail"
    index_partition: Partition = Partition.DAY
    max_inflated_bytes: int = 256 << 20
    max_depth: int = 64
    max_days_per_file: int = 100
    bulk_bytes: int = 5 << 20
    bulk_max_bytes: int = 19 << 19
    bulk_actions: int = 2_000
    bulk_in_flight: int = 8
    bulk_in_flight_bytes: int = 24 << 20
    fetch_ahead: int = 8
    fetch_ahead_bytes: int = 32 << 20
    reserve_seconds: float = 10.0
    backoff_seconds: int = 30
    backoff_max_seconds: int = 3_600


class FileOutcome(StrEnum):
    """How one object that was read ended."""

    INDEXED = "indexed"
    HANDED_BACK = "handed_back"
    DEAD_LETTER = "dead_letter"


class FileTally(msgspec.Struct):
    """The account of one object in one batch."""

    ref: ObjectRef
    delivered_at: datetime | None
    read: int = 0
    indexed: int = 0
    duplicate: int = 0
    degraded: int = 0
    rejected: int = 0
    complete: bool = False  # all its records are read, and handed on
    problem: UnreadableObject | None = None
    unavailable: str = ""  # why it has to go back
    note: str = ""
    rejections: list[tuple[int, str]] = msgspec.field(default_factory=list)
    fetch_seconds: float = 0.0
    stored_bytes: int = 0
    text_bytes: int = 0
    oldest: str | None = None  # event time, ISO 8601 in UTC

    def take(self, position: int, outcome: Outcome) -> None:
        """Count the outcome of one record."""
        match outcome.verdict:
            case Verdict.INDEXED:
                self.indexed += 1
            case Verdict.DUPLICATE:
                self.duplicate += 1
            case Verdict.DEGRADED:
                self.degraded += 1
            case Verdict.REJECTED:
                self.reject(position, outcome.cause)
            case Verdict.UNAVAILABLE:
                self.unavailable = self.unavailable or outcome.cause

    def reject(self, position: int, reason: str) -> None:
        """Count one rejected record."""
        self.rejected += 1
        if len(self.rejections) < _NAMED_REJECTIONS:
            self.rejections.append((position, reason))

    def refuse(self, problem: UnreadableObject) -> None:
        """Count the object as refused whole: none of its records is handed on."""
        self.problem, self.read, self.rejected = problem, 0, 0
        self.rejections.clear()

    @property
    def balanced(self) -> bool:
        """Whether every record has ended: the invariant."""
        return self.complete and self.read == self.indexed + self.duplicate + self.degraded + self.rejected

    @property
    def outcome(self) -> FileOutcome:
        """How the object ended, as far as anyone knows now: handed back unless all of it is accounted for."""
        if self.unavailable or not (self.balanced or (self.problem and not self.read)):
            return FileOutcome.HANDED_BACK
        return FileOutcome.DEAD_LETTER if self.problem or self.rejected else FileOutcome.INDEXED

    @property
    def reason(self) -> str:
        """Why it did not end well, "" if it did."""
        match self.outcome:
            case FileOutcome.HANDED_BACK:
                return self.unavailable
            case FileOutcome.DEAD_LETTER:
                return self.problem.reason if self.problem else Reason.RECORDS_REJECTED
            case _:
                return ""


class Effort(msgspec.Struct):
    """What one batch cost: requests, bytes, and seconds by stage (stages overlap, so they can add up to more).

    Of an object that was asked for ahead, `fetch_seconds` are those in which nothing else was done.
    """

    bulk_requests: int = 0
    bulk_retries: int = 0
    bulk_throttled: int = 0
    bulk_bytes: int = 0
    fetch_seconds: float = 0.0
    read_seconds: float = 0.0
    send_seconds: float = 0.0
    total_seconds: float = 0.0


class BatchResult(msgspec.Struct, frozen=True):
    """What became of a batch: `failed` are the ids of the messages that must stay in the queue."""

    failed: tuple[str, ...]
    messages: int
    files: tuple[FileTally, ...]
    ignored: Counter[str]
    malformed: tuple[tuple[str, str], ...]  # message id, detail
    dead_letters: int
    crashes: tuple[str, ...]
    unburied: tuple[str, ...]  # why dead letters could not be sent
    effort: Effort
    ended_at: datetime


class Consumer:
    """Takes batches of messages from a queue to an index. One instance serves many batches, one after the other.

    `now` is the wall clock in UTC, `tick` a monotonic one in seconds, `jitter` a random factor between 0 and 1.
    """

    def __init__(  # noqa: PLR0913 - three neighbours, the limits, and what makes a core testable: clocks and chance
        self,
        store: Store,
        index: Index,
        queue: Queue,
        limits: Limits,
        *,
        now: Callable[[], datetime],
        tick: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self.store, self.index, self.queue, self.limits = store, index, queue, limits
        self.now, self.tick, self.jitter = now, tick, jitter
        self.fetchers = ThreadPoolExecutor(limits.fetch_ahead, "fetch")
        self.senders = ThreadPoolExecutor(limits.bulk_in_flight, "send")

    def consume(self, messages: Sequence[Message], left: Callable[[], float]) -> BatchResult:
        """Take one batch down the road; `left` is the seconds until it must have ended (0 stops it gently)."""
        return _Batch(self, messages, left).run()

    def close(self) -> None:
        """End the threads."""
        self.fetchers.shutdown(cancel_futures=True)
        self.senders.shutdown(cancel_futures=True)


class _Batch:
    """One batch on its way."""

    def __init__(self, consumer: Consumer, messages: Sequence[Message], left: Callable[[], float]) -> None:
        self._to = consumer
        self._limits = consumer.limits
        self._messages = {message.id: message for message in messages}
        self._left = left
        self._began = consumer.tick()
        self._announcements: dict[str, Announcement | MalformedMessage] = {}
        self._files: list[FileTally] = []
        self._places: dict[ObjectRef, int] = {}  # the same object announced twice is read once
        self._ignored: Counter[str] = Counter()
        self._ahead: deque[tuple[int, int, Arrival]] = deque()  # file, expected bytes, on its way
        self._stored: dict[int, Stored] = {}  # fetched, and not yet read
        self._flights: dict[Future[Receipt], list[Action]] = {}
        self._flying = 0  # bytes, uncompressed
        self._halted = ""  # why nothing more is started
        self._crashes: list[str] = []
        self._crashed: set[str] = set()  # the ids of messages that a fault of ours kept from a verdict
        self._letters: set[int] = set()  # the files whose dead letter is sent
        self._buried = 0
        self._unburied: set[str] = set()
        self._effort = Effort()

    def run(self) -> BatchResult:
        self._read_messages()
        for request in requests(self._actions(), self._limits.bulk_bytes, self._limits.bulk_actions):
            self._send(request)
            if self._halted:
                break
        self._land_all()
        return self._settle()

    # Messages to objects

    def _read_messages(self) -> None:
        for message in self._messages.values():
            with self._border(partial(self._crashed.add, message.id)):
                self._read_message(message)

    def _read_message(self, message: Message) -> None:
        try:
            announcement = read_message(message.body)
        except MalformedMessage as cause:
            self._announcements[message.id] = cause
            return
        for ref in announcement.objects:
            self._place(ref)
        self._ignored.update(announcement.ignored)
        self._announcements[message.id] = announcement

    def _place(self, ref: ObjectRef) -> None:
        found = classify(ref.key, ref.size)
        if isinstance(found, Ignored):
            self._ignored[found.name] += 1
        elif ref not in self._places:
            self._places[ref] = len(self._files)
            self._files.append(FileTally(ref, found.delivered_at))

    # Objects to actions

    def _actions(self) -> Iterator[Action]:
        """Yield the actions of all files, in order."""
        for file, arrival in self._arrivals():
            if self._must_stop():
                arrival.cancel()
                return
            with self._border(partial(self._crash, [file])):
                yield from self._actions_of(file, arrival)

    def _arrivals(self) -> Iterator[tuple[int, Arrival]]:
        """Fetch objects a little ahead of their use: so many, and so many bytes, however large the batch."""
        ahead, waiting = self._ahead, deque(range(len(self._files)))
        try:
            while waiting or ahead:
                while waiting and self._fits(waiting[0]) and not self._must_stop():
                    file = waiting.popleft()
                    ahead.append((file, self._expected(file), self._start(file)))
                if not ahead:
                    return
                file, _, arrival = ahead.popleft()
                yield file, arrival
        finally:
            for _, _, arrival in ahead:
                arrival.cancel()

    def _expected(self, file: int) -> int:
        size = self._files[file].ref.size
        return self._limits.fetch_ahead_bytes if size is None else size

    def _ahead_limit(self, file: int) -> int:
        """Bound what one fetch may read while others are held: what was announced, or all that is fetched ahead."""
        return min(self._limits.max_inflated_bytes, max(self._limits.fetch_ahead_bytes, self._expected(file)))

    def _fits(self, file: int) -> bool:
        if not self._ahead:
            return True
        total = sum(size for _, size, _ in self._ahead) + self._expected(file)
        return len(self._ahead) < self._limits.fetch_ahead and total <= self._limits.fetch_ahead_bytes

    def _must_stop(self) -> bool:
        if not self._halted and self._left() <= self._limits.reserve_seconds:
            self._halted = "deadline"
        return bool(self._halted)

    def _start(self, file: int) -> Arrival:
        ref, limit = self._files[file].ref, self._ahead_limit(file)
        if self._expected(file) <= _SMALL_BYTES and (asked := self._ask(file, ref, limit)):
            return asked
        return self._start_fetch(file, partial(self._to.store.fetch, ref, limit))

    def _ask(self, file: int, ref: ObjectRef, limit: int) -> Asked | None:
        with self._border(lambda: None), self._timed(file):  # nothing to blame: it is fetched
            return self._to.store.ask(ref, limit)
        return None

    def _start_fetch(self, file: int, fetch: Callable[[], Stored]) -> Future[None]:
        return self._to.fetchers.submit(self._fetch, file, fetch)

    def _fetch(self, file: int, fetch: Callable[[], Stored]) -> None:
        with self._timed(file):
            self._stored[file] = fetch()

    @contextmanager
    def _timed(self, file: int) -> Iterator[None]:
        began = self._to.tick()
        try:
            yield
        finally:
            self._files[file].fetch_seconds += self._to.tick() - began

    def _actions_of(self, file: int, arrival: Arrival) -> Iterator[Action]:
        tally = self._files[file]
        try:
            self._await(file, arrival)
            began = self._to.tick()
            records = self._records(tally, self._stored.pop(file))
            routing = self._routing(tally)
            routing.check(records)
        except TimeoutError:
            tally.unavailable = "deadline"
            return
        except Unavailable as cause:
            tally.unavailable = str(cause)
            return
        except UnreadableObject as cause:
            self._refuse(tally, cause)
            return
        self._effort.read_seconds += self._to.tick() - began
        yield from actions(records, file, self._origin(tally), routing)
        tally.complete = True

    def _await(self, file: int, arrival: Arrival) -> None:
        """Wait for an object; one that is larger than its notice said is fetched anew, alone."""
        if not isinstance(arrival, Future):
            with self._timed(file):
                stored = arrival.take(max(0.0, self._patience()))
            if stored:
                self._stored[file] = stored
                return
            if self._patience() <= 0:
                raise TimeoutError
            arrival = self._start_fetch(file, arrival.fetch)
            self._hand_over()
        try:
            arrival.result(max(0.0, self._patience()))
        except UnreadableObject as cause:
            most = self._limits.max_inflated_bytes
            if cause.reason is not Reason.TOO_LARGE or self._ahead_limit(file) == most:
                raise
            again = partial(self._to.store.fetch, self._files[file].ref, most)
            self._start_fetch(file, again).result(max(0.0, self._patience()))

    def _hand_over(self) -> None:
        """Let threads wait for what else was asked for: what keeps one object waiting may keep all of them."""
        for at, (file, size, arrival) in enumerate(self._ahead):
            if not isinstance(arrival, Future):
                taking = self._start_fetch(file, partial(self._take_or_fetch, arrival))
                taking.add_done_callback(partial(_leave, arrival))
                self._ahead[at] = file, size, taking

    def _take_or_fetch(self, asked: Asked) -> Stored:
        return asked.take(max(0.0, self._patience())) or asked.fetch()

    def _records(self, tally: FileTally, stored: Stored) -> list[Record]:
        if not (tally.delivered_at and _FIRST_FILES <= tally.delivered_at <= stored.modified_at + timedelta(days=1)):
            tally.delivered_at = stored.modified_at  # a name can say anything; S3's own time is later than the truth
        tally.stored_bytes = len(stored.content)
        text = read_text(stored.content, self._limits.max_inflated_bytes)
        del stored  # nobody else holds it: memory is one file's text
        tally.text_bytes, tally.note = len(text.content), text.note
        slices = cut(text, lambda: not self._must_stop())
        tally.problem, tally.read = slices.problem, len(slices.records)
        deepest, longest = self._limits.max_depth, self._limits.bulk_max_bytes
        records: list[Record] = []
        for first in range(0, len(slices.records), _RECORDS_BETWEEN_LOOKS):
            if self._must_stop():
                raise OutOfTime(self._halted)
            some = slices.records[first : first + _RECORDS_BETWEEN_LOOKS]
            for found in read_records(some, first, max_depth=deepest, max_bytes=longest):
                if isinstance(found, Rejection):
                    tally.reject(found.position, found.reason)
                else:
                    records.append(found)
        tally.oldest = min({record.time for record in records if record.time}, default=None)
        return records

    def _refuse(self, tally: FileTally, problem: UnreadableObject) -> None:
        if problem.reason is Reason.EMPTY and tally.ref.key.endswith("/"):
            self._ignored["folder_marker"] += 1  # its notice did not say that it is empty
            tally.complete = True
        else:
            tally.refuse(problem)

    def _origin(self, tally: FileTally) -> Origin:
        uri = f"s3://{tally.ref.bucket}/{tally.ref.key}"
        return Origin(uri, _iso(tally.delivered_at or self._to.now()), _iso(self._to.now()))

    def _routing(self, tally: FileTally) -> Routing:
        # Held against the file's own time, not the clock's: delivered again next week, a record goes where it went.
        latest = _iso((tally.delivered_at or self._to.now()) + timedelta(days=1))
        return Routing(self._limits.index_prefix, self._limits.index_partition, latest, self._limits.max_days_per_file)

    # Actions to outcomes

    def _send(self, request: list[Action]) -> None:
        size = _size(request)
        while self._flights and not self._has_room(size):
            self._land()
        if not self._must_stop():
            flight = self._to.senders.submit(self._to.index.deliver, request, self._patience)
            self._flights[flight] = request
            self._flying += size

    def _has_room(self, size: int) -> bool:
        limits = self._limits
        return len(self._flights) < limits.bulk_in_flight and self._flying + size <= limits.bulk_in_flight_bytes

    def _patience(self) -> float:
        return self._left() - self._limits.reserve_seconds

    def _land_all(self) -> None:
        while self._flights:
            self._land()

    def _land(self) -> None:
        """Wait for an answer, and settle all that are there."""
        landed, _ = wait(self._flights, return_when=FIRST_COMPLETED)
        for flight in landed:
            self._settle_flight(flight, self._flights.pop(flight))

    def _settle_flight(self, flight: Future[Receipt], request: list[Action]) -> None:
        self._flying -= _size(request)
        with self._border(partial(self._crash, {action.file for action in request})):
            receipt = flight.result()
            for action, outcome in zip(request, receipt.outcomes, strict=True):
                self._files[action.file].take(action.position, outcome)
            self._halted = self._halted or receipt.halt
            self._count(receipt)

    def _count(self, receipt: Receipt) -> None:
        effort = self._effort
        effort.bulk_requests += receipt.requests
        effort.bulk_retries += receipt.retries
        effort.bulk_throttled += receipt.throttled
        effort.bulk_bytes += receipt.wire_bytes
        effort.send_seconds += receipt.seconds

    @contextmanager
    def _border(self, blame: Callable[[], object]) -> Iterator[None]:
        """Keep a fault of ours from costing more than what `blame` marks: that goes back, and it is reported."""
        try:
            yield
        except Exception as fault:  # noqa: BLE001 - the one place that catches everything
            blame()
            self._crashes.append(_place_of(fault))

    def _crash(self, files: Iterable[int]) -> None:
        for file in files:
            self._files[file].unavailable = "crash"

    # Outcomes to verdicts

    def _settle(self) -> BatchResult:
        for tally in self._files:
            if tally.outcome is FileOutcome.HANDED_BACK and not tally.unavailable:
                tally.unavailable = self._halted or "unfinished"
            self._effort.fetch_seconds += tally.fetch_seconds
        back = [HandBack(message, delay) for message in self._messages.values() if (delay := self._verdict(message))]
        if back:
            self._to.queue.hand_back(back)
        self._effort.total_seconds = self._to.tick() - self._began
        return BatchResult(
            failed=tuple(one.message.id for one in back),
            messages=len(self._messages),
            files=tuple(self._files),
            ignored=self._ignored,
            malformed=tuple((id_, detail) for id_ in self._messages if (detail := self._malformed(id_))),
            dead_letters=self._buried,
            crashes=tuple(self._crashes),
            unburied=tuple(sorted(self._unburied)),
            effort=self._effort,
            ended_at=self._to.now(),
        )

    def _verdict(self, message: Message) -> int:
        """Decide on one message: 0 when it is done, else the seconds until it may come back."""
        causes = ["crash"]
        with self._border(partial(self._crashed.add, message.id)):
            causes = self._causes(message)
        return backoff(self._limits, message.receive_count, set(causes), self._to.jitter()) if causes else 0

    def _causes(self, message: Message) -> list[str]:
        """Say why a message must go back; [] when all of it has ended."""
        if message.id in self._crashed:
            return ["crash"]
        files = self._files_of(message)
        causes = [file.unavailable for _, file in files if file.outcome is FileOutcome.HANDED_BACK]
        return causes if causes or self._bury(message, files) else ["dead_letter_queue"]

    def _files_of(self, message: Message) -> list[tuple[int, FileTally]]:
        announcement = self._announcements[message.id]
        if isinstance(announcement, MalformedMessage):
            return []
        places = dict.fromkeys(self._places[ref] for ref in announcement.objects if ref in self._places)
        return [(place, self._files[place]) for place in places]

    def _malformed(self, id_: str) -> str:
        match self._announcements.get(id_):
            case MalformedMessage() as cause:
                return str(cause)
            case Announcement(malformed=parts):
                return "; ".join(parts)[:_DETAIL_CHARACTERS]
            case _:
                return ""

    def _bury(self, message: Message, files: Iterable[tuple[int, FileTally]]) -> bool:
        """Send the dead letters of a message that is otherwise settled; False when one could not be sent.

        Not earlier: a message that goes back would bring the same letters again each time.
        """
        try:
            if detail := self._malformed(message.id):
                self._to.queue.dead_letter(
                    DeadLetter(message.body, Reason.MALFORMED_MESSAGE, detail, message.id, message.receive_count)
                )
                self._buried += 1
            for place, file in files:
                if file.outcome is FileOutcome.DEAD_LETTER and place not in self._letters:
                    if self._left() <= _LAST_SECONDS:
                        return False  # a notice of a thousand missing objects; its letters come again, harmlessly
                    self._to.queue.dead_letter(_letter(file, message))
                    self._letters.add(place)
                    self._buried += 1
        except QueueUnavailable as cause:
            self._unburied.add(str(cause))
            return False
        return True


def backoff(limits: Limits, receives: int, causes: set[str], jitter: float) -> int:
    """Return the seconds until a message that goes back for these causes, received so often, may be received again."""
    if causes == {"deadline"} and receives <= _PATIENT_RECEIVES:
        return _NOT_STARTED_SECONDS
    # Doubling with each receive: a neighbour that is down all day costs fewer than the 40 receives that SQS allows.
    # The jitter keeps a burst from coming back as one.
    doubled = limits.backoff_seconds << min(max(receives - 1, 0), 20)
    return max(1, round(min(doubled, limits.backoff_max_seconds) * (0.75 + 0.25 * jitter)))


def _letter(file: FileTally, message: Message) -> DeadLetter:
    if file.problem:
        reason, detail = file.problem.reason, file.problem.detail
    else:
        first = ", ".join(f"{position} {why}" for position, why in file.rejections[:_SHOWN_REJECTIONS])
        more = ", ..." if file.rejected > _SHOWN_REJECTIONS else ""
        reason = Reason.RECORDS_REJECTED
        detail = f"{file.rejected} of {file.read} records were rejected, by position: {first}{more}"
    return DeadLetter(announce(file.ref), reason, detail, message.id, message.receive_count, tuple(file.rejections))


def _leave(asked: Asked, taking: Future[None]) -> None:
    """Leave what no thread has begun to take."""
    if taking.cancelled():
        asked.cancel()


def _size(request: Iterable[Action]) -> int:
    return sum(len(action.lines) for action in request)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _place_of(fault: Exception) -> str:
    """Say what and where, without the text: it may quote a record."""
    place = fault.__traceback__
    while place and place.tb_next:
        place = place.tb_next
    where = f"{place.tb_frame.f_globals.get('__name__')}:{place.tb_lineno}" if place else "?"
    return f"{type(fault).__name__} at {where}"
