"""Fakes that behave as their originals: a store, an index and a queue in memory, and a clock that a test moves."""

from __future__ import annotations

import json
import threading
import time
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from tests.support.factories import BUCKET, NOW, key, message, s3_entry, s3_notice
from worker.backfill.listing import ListedKey, Page
from worker.errors import QueueUnavailable, Reason, StoreUnavailable, UnreadableObject
from worker.pipeline.bulk import BulkResponse, DeliveryResult
from worker.pipeline.consumer import Consumer
from worker.pipeline.delivery import Delivery
from worker.pipeline.limits import Limits
from worker.pipeline.objects import FetchedObject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from worker.cloudtrail.filters.matching import RecordFilter
    from worker.cutoff import Cutoff
    from worker.pipeline.accounting import BatchResult
    from worker.pipeline.documents import Action
    from worker.pipeline.objects import ObjectRef
    from worker.pipeline.ports import DeadLetter, HandBack, Message, PendingGet


@dataclass
class Clock:
    """A wall clock and a monotonic one, that stand until they are moved."""

    seconds: float = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def tick(self) -> float:
        return self.seconds

    def move(self, seconds: float) -> None:
        self.seconds += seconds


class FetchMode(Enum):
    """How MemoryStore delivers an object: on the thread that fetches it, or by a GET that was started ahead."""

    THREAD = auto()
    PENDING = auto()
    PENDING_FAILS = auto()


@dataclass
class MemoryStore:
    """S3: objects by bucket and key; one that is an exception is raised instead of read.

    `fetch_mode` says how an object comes. `started`, `finished` and `cancelled` are the keys of GETs started ahead.
    """

    objects: dict[tuple[str, str], bytes | Exception] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)
    on_fetch: Callable[[ObjectRef], None] = lambda _: None
    fetch_mode: Callable[[ObjectRef], FetchMode] = lambda _: FetchMode.THREAD
    started: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    verified: list[str] = field(default_factory=list)
    silent: Callable[[ObjectRef], bool] = lambda _: False
    on_wait: Callable[[], object] = lambda: None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, name: str, content: bytes | Exception, bucket: str = BUCKET) -> None:
        self.objects[bucket, name] = content

    def fetch(self, ref: ObjectRef, limit: int, cutoff: Cutoff | None = None) -> FetchedObject:  # noqa: ARG002
        with self._lock:
            self.fetched.append(ref.key)
        self.on_fetch(ref)
        content = self.objects.get((ref.bucket, ref.key))
        if content is None:
            raise UnreadableObject(Reason.NOT_FOUND, "S3 says NoSuchKey")
        if isinstance(content, Exception):
            raise content
        if len(content) > limit:
            raise UnreadableObject(Reason.TOO_LARGE, "more than the limit")
        return FetchedObject(content, NOW)

    def fetch_verified(self, ref: ObjectRef, limit: int, cutoff: Cutoff | None = None) -> FetchedObject:
        self.verified.append(ref.key)
        return self.fetch(ref, limit, cutoff)

    def wait_any(self, pending: Sequence[PendingGet], seconds: float) -> Sequence[int]:
        """Wait for nothing: what is ready is ready at once."""
        ready = [get.fileno() for get in pending if get.is_ready]
        if not ready:
            time.sleep(min(seconds, 0.01))
        return ready

    def start_get(self, ref: ObjectRef, limit: int) -> MemoryGet | None:
        mode = self.fetch_mode(ref)
        if mode is FetchMode.THREAD:
            return None
        self.started.append(ref.key)
        return MemoryGet(self, ref, limit, fails=mode is FetchMode.PENDING_FAILS)


@dataclass
class MemoryGet:
    """A GET of MemoryStore that was started ahead."""

    store: MemoryStore
    ref: ObjectRef
    limit: int
    fails: bool

    @property
    def is_ready(self) -> bool:
        return not self.store.silent(self.ref)

    def fileno(self) -> int:
        return id(self)

    def wait(self, seconds: float) -> FetchedObject | None:
        self.store.on_wait()
        content = self.store.objects.get((self.ref.bucket, self.ref.key))
        if self.fails or seconds <= 0 or not isinstance(content, bytes) or len(content) > self.limit:
            return None
        self.store.finished.append(self.ref.key)
        return FetchedObject(content, NOW)

    def fetch(self, cutoff: Cutoff) -> FetchedObject:
        return self.store.fetch(self.ref, self.limit, cutoff)

    def cancel(self) -> None:
        self.store.cancelled.append(self.ref.key)


class _Refused(ValueError):  # noqa: N818 - named for what the parser does
    """What a JSON parser of the server's strictness says."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise _Refused("duplicate key")
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise _Refused(name)


@dataclass
class MemoryIndex:
    """OpenSearch: documents by index and id; `create` of an id that is there is a conflict.

    `refuse` says with which error type a document is refused for its content, "" for none. `script` holds answers to
    whole requests, given before any other; `throttle` so many requests are answered 429 for each item. A delivery ends
    after `rounds` rounds, as it does when the patience of the real edge is over. The ledger is apart; `ledger_refusal`
    is the answer to each of its documents while it cannot be written.
    """

    refuse: Callable[[dict[str, Any]], str] = lambda _: ""
    script: deque[BulkResponse] = field(default_factory=deque)
    throttle: int = 0
    rounds: int = 4
    max_bytes: int = 19 << 19
    on_deliver: Callable[[], None] = lambda: None
    on_answer: Callable[[], None] = lambda: None
    documents: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    ledger: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    ledger_refusal: tuple[int, str] | None = None
    ledger_requests: int = 0
    bodies: list[bytes] = field(default_factory=list)
    deliveries: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def deliver(self, request: Sequence[Action], left: Callable[[], float]) -> DeliveryResult:
        if b"trailsink-files-" in request[0].lines.partition(b"\n")[0]:
            return self._record(request)
        with self._lock:
            self.deliveries += 1
        self.on_deliver()
        delivery, requests, halt = Delivery(request, max_bytes=self.max_bytes), 0, ""
        with self._lock:
            for _ in range(self.rounds):
                delivery.release_retries()
                while (body := delivery.next_body()) is not None:
                    if left() <= 0:
                        return DeliveryResult(delivery.finish("deadline"), "deadline", requests)
                    delivery.apply(self.bulk(body))
                    self.on_answer()
                    requests += 1
                    if delivery.deferred_cause:
                        return DeliveryResult(
                            delivery.finish(delivery.deferred_cause), delivery.deferred_cause, requests
                        )
                if not delivery.has_retries:
                    break
            else:
                halt = delivery.retry_cause
        outcomes = delivery.finish(halt)
        retries = max(0, requests - 1)
        return DeliveryResult(outcomes, halt, requests, retries, wire_bytes=100, refused=delivery.unproven)

    def bulk(self, body: bytes) -> BulkResponse:
        """Answer one request as the server does."""
        self.bodies.append(body)
        if self.script:
            return self.script.popleft()
        *lines, end = body.split(b"\n")
        if end or len(lines) % 2:
            return BulkResponse(400, "illegal_argument_exception")
        pairs = list(zip(lines[::2], lines[1::2], strict=True))
        if any(len(json.loads(line)["create"]["_id"].encode()) > 512 for line, _ in pairs):
            return BulkResponse(400, "action_request_validation_exception")
        if self.throttle:
            self.throttle -= 1
            return BulkResponse(200, items=tuple((429, "rejected_execution_exception") for _ in pairs))
        return BulkResponse(200, items=tuple(self._create(json.loads(line)["create"], text) for line, text in pairs))

    def _create(self, place: dict[str, str], text: bytes) -> tuple[int, str]:
        try:
            document = json.loads(text.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
            datetime.fromisoformat(document["@timestamp"])
        except (ValueError, KeyError):
            return 400, "mapper_parsing_exception"
        if refusal := self.refuse(document):
            return 400, refusal
        if (place["_index"], place["_id"]) in self.documents:
            return 409, "version_conflict_engine_exception"
        self.documents[place["_index"], place["_id"]] = document
        return 201, ""

    def _record(self, request: Sequence[Action]) -> DeliveryResult:
        delivery = Delivery(request, max_bytes=self.max_bytes)
        with self._lock:
            self.ledger_requests += 1
            while (body := delivery.next_body()) is not None:
                lines = body.split(b"\n")[:-1]
                pairs = zip(lines[::2], lines[1::2], strict=True)
                items = tuple(self._create_entry(json.loads(line)["create"], json.loads(text)) for line, text in pairs)
                delivery.apply(BulkResponse(200, items=items))
        return DeliveryResult(delivery.finish(delivery.retry_cause), refused=delivery.unproven)

    def _create_entry(self, place: dict[str, str], entry: dict[str, Any]) -> tuple[int, str]:
        if self.ledger_refusal:
            return self.ledger_refusal
        if (place["_index"], place["_id"]) in self.ledger:
            return 409, "version_conflict_engine_exception"
        self.ledger[place["_index"], place["_id"]] = entry
        return 201, ""

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The documents of the ledger."""
        return list(self.ledger.values())

    @property
    def event_ids(self) -> set[str]:
        return {event_id_of(document, id_) for (_, id_), document in self.documents.items()}

    def find(self, index: str, event_id: str) -> dict[str, Any]:
        """The only document of an event in an index."""
        (document,) = (
            document
            for (name, id_), document in self.documents.items()
            if (name, event_id_of(document, id_)) == (index, event_id)
        )
        return document


def event_id_of(document: dict[str, Any], document_id: str) -> str:
    """The event's own id, or the document's where the record has none."""
    return str(document.get("eventID") or document.get("eventId") or document_id)


@dataclass
class MemoryQueue:
    """SQS: what was handed back and what was dead-lettered; a broken one takes no letters."""

    broken: bool = False
    letters: list[DeadLetter] = field(default_factory=list)
    handed_back: list[HandBack] = field(default_factory=list)
    announced: list[str] = field(default_factory=list)

    def announce_again(self, bodies: Sequence[str]) -> None:
        if self.broken:
            raise QueueUnavailable("sqs:ServiceUnavailable")
        self.announced += bodies

    def send_dead_letter(self, letter: DeadLetter) -> None:
        if self.broken:
            raise QueueUnavailable("sqs:ServiceUnavailable")
        self.letters.append(letter)

    def hand_back(self, messages: Sequence[HandBack]) -> None:
        self.handed_back += messages

    @property
    def reasons(self) -> Counter[str]:
        return Counter(letter.reason.value for letter in self.letters)


@dataclass
class FakePipeline:
    """A consumer with its neighbours; by default there is all the time in the world."""

    limits: Limits = field(default_factory=Limits)
    store: MemoryStore = field(default_factory=MemoryStore)
    index: MemoryIndex = field(default_factory=MemoryIndex)
    queue: MemoryQueue = field(default_factory=MemoryQueue)
    clock: Clock = field(default_factory=Clock)
    jitter: float = 1.0
    left: Callable[[], float] = lambda: 900.0
    record_filter: RecordFilter | None = None

    def __post_init__(self) -> None:
        self.consumer = Consumer(
            self.store,
            self.index,
            self.queue,
            self.limits,
            now=self.clock.now,
            monotonic=self.clock.tick,
            jitter=lambda: self.jitter,
            current_filter=lambda: self.record_filter,
        )

    def consume(self, *messages: Message) -> BatchResult:
        return self.consumer.consume(messages, self.left)

    def put(self, name: str, content: bytes | Exception, **changes: Any) -> dict[str, Any]:
        """Store an object; returns the entry that announces it."""
        self.store.put(key(name), content)
        entry = s3_entry(key(name), **changes)
        entry["s3"]["object"]["size"] = len(content) if isinstance(content, bytes) else 1
        return entry

    def announce(self, name: str, content: bytes | Exception, number: int = 1, *, receive_count: int = 1) -> Message:
        """Store an object; returns the message that announces it alone."""
        return message(s3_notice(self.put(name, content)), number, receive_count=receive_count)


@contextmanager
def make_pipeline(limits: Limits | None = None, **parts: Any) -> Iterator[FakePipeline]:
    """Make a pipeline, and end its threads afterwards."""
    pipeline = FakePipeline(limits or Limits(), **parts)
    try:
        yield pipeline
    finally:
        pipeline.consumer.close()


class MemoryBucket:
    """The keys of a bucket, listed as S3 does; `requested` are the prefixes, `returned` counts the keys of pages."""

    def __init__(self, keys: Sequence[str], *, page_size: int = 1_000) -> None:
        self._keys, self._page_size = sorted(keys), page_size
        self.requested: list[str] = []
        self.returned = 0
        self._lock = threading.Lock()

    def folders(self, prefix: str) -> list[str]:
        self.requested.append(prefix)
        suffixes = (key.removeprefix(prefix) for key in self._keys if key.startswith(prefix))
        return sorted({prefix + suffix.partition("/")[0] + "/" for suffix in suffixes if "/" in suffix})

    def survey(self, folder: str, is_match: Callable[[str], bool]) -> tuple[list[str], bool]:
        return self.folders(folder), any(is_match(listed.key) for listed in self.files(folder, ""))

    def files(self, folder: str, after: str) -> Iterator[ListedKey]:
        keys = (key for key in self._keys if key.startswith(folder) and key > after)
        return (ListedKey(key, len(key)) for key in keys if "/" not in key.removeprefix(folder))

    def page(self, prefix: str, after: str) -> Page:
        self.requested.append(prefix)
        start = bisect_left(self._keys, prefix) if prefix > after else bisect_right(self._keys, after)
        following = self._keys[start : start + self._page_size + 1]
        keys = [ListedKey(key, len(key)) for key in following if key.startswith(prefix)]
        with self._lock:
            self.returned += len(keys[: self._page_size])
        return Page(keys[: self._page_size], len(keys) > self._page_size)


DOWN = StoreUnavailable("s3:SlowDown")
