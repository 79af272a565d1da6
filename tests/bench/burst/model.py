"""The model behind `burst`: a queue, functions and a cluster as discrete events, the same for the same seed.

Files are announced at an even pace, or all at once, each with a size drawn as in `trail`. A queue hands out up to ten
visible messages at a time, oldest first by when they became visible, as long as SQS's limit of messages in flight
allows. Each of MaximumConcurrency functions takes one batch after the other: fetches its files, several at a time,
reads them, and cuts their records into bulk requests, so many files to a request as fit.

The cluster works requests off one after the other at a fixed pace. It refuses a request that does not fit beside those
under way (indexing pressure), which costs it some time, too, and every request while it is away. A refused request is
sent again after a random wait that doubles, a large one in halves, as in the pipeline's own sender, until
nothing is taken for `retry_seconds` or the invocation nears its end; then nothing more of the batch is started, files
that are in are done, and the other messages wait in the queue, twice as long with each receive, as in worker.pipeline.
A message that was received too often becomes a letter; one that grew too old is lost.

The window of bulk requests in flight is a function's own: fixed, or that of worker.opensearch.concurrency. Left out
are: messages that SQS delivers twice, functions that crash, cold starts, trouble of S3 and SQS, requests that hang,
and that what one function sends again waits for a place, too.
"""

from __future__ import annotations

import heapq
import json
import random
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.cluster.trail import size
from worker.opensearch.concurrency import AimdWindow
from worker.opensearch.sender import FIRST_WAIT, MAX_WAIT
from worker.pipeline.bulk import BulkResponse, should_split
from worker.pipeline.settlement import backoff
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SHIPPED = Settings()

# docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
_MOST_IN_FLIGHT = 120_000

# CloudTrail writes a file for each account and region about every five minutes.
# docs.aws.amazon.com/awscloudtrail/latest/userguide/how-cloudtrail-works.html
DELIVERY_SECONDS = 300
_ARRIVAL_SECONDS = 5  # so long are arrivals gathered

_RECORD_BYTES = 1_480  # in a bulk body, of tests/data


@dataclass(frozen=True, slots=True)
class Queue:
    """What the template says of queue and function."""

    batch: int
    invocation_seconds: float
    receives: int
    retention_seconds: float

    @classmethod
    @cache
    def deployed(cls) -> Queue:
        """Read it from infra/template.yaml."""
        from cfnlint.decode.cfn_yaml import loads  # noqa: PLC0415 - takes a second, which the tests do not have

        text = (Path(__file__).parents[3] / "infra" / "template.yaml").read_text(encoding="utf-8")
        resources: dict[str, Any] = json.loads(json.dumps(loads(text)))["Resources"]
        queue = resources["SourceQueue"]["Properties"]
        return cls(
            batch=resources["LoaderSource"]["Properties"]["BatchSize"],
            invocation_seconds=resources["LoaderFunction"]["Properties"]["Timeout"],
            receives=queue["RedrivePolicy"]["maxReceiveCount"],
            retention_seconds=queue["MessageRetentionPeriod"],
        )


@dataclass(frozen=True)
class World:
    """What is simulated. Seconds, bytes and records unless said otherwise."""

    sources: int = 4_000  # accounts x regions, each with a file every five minutes; 0 for none
    announced: tuple[int, ...] = ()  # records of each file that is there at the beginning
    concurrency: int = 5
    capacity: float = 4_000.0  # records a second
    pressure_bytes: int = 400 << 20  # indexing_pressure.memory.limit: a tenth of 4 GiB of heap
    held_bytes: int = 0  # of that, by others, all the time
    away_from: float = 3_600.0
    away_for: float = 0.0
    fetch_seconds: float = 0.04  # one object
    read_seconds: float = 50e-6  # one record: twice what `make bench` measures, for a Lambda processor
    answer_seconds: float = 0.02  # of the cluster, beside its work
    call_seconds: float = 0.02  # one call of SQS
    # What a request costs the node whatever is in it, in records: of 100 it took the node of burst.load, held to a
    # quarter of a processor, 97 to 108 us a record, of 450 85 to 94, of 2,000 78 to 80. One that is refused costs that,
    # too, and has been read: 5 us of CPU time a record where taking it was 72, by Flight Recorder's samples.
    request_cost: float = 35.0
    refusal_cost: float = 0.07  # of taking a record
    window: int | None = None  # bulk requests in flight, of each function; None adapts
    settings: Settings = SHIPPED
    queue: Queue = field(default_factory=Queue.deployed)

    def is_away(self, now: float) -> bool:
        """Say whether the cluster answers nothing."""
        return self.away_from <= now < self.away_from + self.away_for

    @property
    def back_at(self) -> float:
        """When the cluster answers again."""
        return self.away_from + self.away_for


@dataclass(frozen=True, slots=True)
class Sample:
    """The queue at one moment. Each message that was announced is in exactly one of the six places."""

    at: float
    announced: int
    done: int
    visible: int
    hidden: int  # waiting for its next turn
    working: int
    letters: int
    lost: int
    oldest: float  # seconds since the oldest message that is not done was announced

    @property
    def depth(self) -> int:
        """Messages in the queue."""
        return self.visible + self.hidden + self.working

    @property
    def accounted(self) -> int:
        """What `announced` must be."""
        return self.done + self.depth + self.letters + self.lost


@dataclass(slots=True)
class Message:
    """One message, which announces one file; numbered in the order of announcement."""

    number: int
    announced: float
    records: int
    receives: int = 0
    done: float | None = None


@dataclass(slots=True)
class Sending:
    """One bulk request until all its pieces are in: how many records each has, and which messages they belong to."""

    messages: list[Message]
    ready: float  # when it is read
    now: deque[int]
    later: list[int] = field(default_factory=list)
    tried_since: float | None = None  # as in worker.opensearch.sender
    crowded: bool = False  # the same
    attempt: int = 0
    round: int = 0  # of the window, when it was last asked
    asked: float = 0.0
    inside: int = 0  # requests that were under way then, this one among them


@dataclass(slots=True)
class Batch:
    """One invocation."""

    function: Function
    messages: list[Message]
    until: float
    waiting: deque[Sending]
    flights: int = 0
    halted: str = ""
    back: dict[int, str] = field(default_factory=dict)  # why, by the message's identity


class Fixed(AimdWindow):
    """A window that does not go by the answers."""

    def on_overload(self, sent_in: int, in_flight: int, *, over_capacity: bool = True) -> None:
        """Stay as it is."""

    def on_success(self, seconds: float, *, full: bool) -> None:
        """Stay as it is."""

    @property
    def limit(self) -> int:
        """So many, always."""
        return self._maximum


@dataclass(slots=True)
class Function:
    """One of MaximumConcurrency; it keeps its window between invocations."""

    window: AimdWindow
    opens: float = 0.0  # after the window's pause
    inside: int = 0  # requests asked and not answered
    took: float = 0.0  # when something was last taken


class Simulation:
    """A world that runs."""

    def __init__(self, world: World, seed: int = 1) -> None:
        self.world, self.chance = world, random.Random(seed)
        self.limits = world.settings.limits
        self.now = 0.0
        self.messages: list[Message] = []
        self.lateness: list[float] = []  # from announced to done, of what is done
        self.receives: Counter[int] = Counter()  # of what is done
        self.requests = self.refused_for_room = self.handed_back = 0
        self.letters = self.lost = self.working = 0
        self._visible: deque[Message] = deque()
        self._hidden: list[tuple[float, int, Message]] = []
        self._idle = [Function(self._window()) for _ in range(world.concurrency)]
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0  # of events: what is planned for one moment happens in the order of planning
        self._oldest = 0  # the first message that may not be at its end
        self._ended: set[int] = set()
        self._pending_bytes = 0
        self._free_at = 0.0
        self._alarm = 0.0  # when the hidden messages are looked at next
        self._owed = 0.0  # files, of the present interval
        self._announce(world.announced)
        if world.sources:
            self._plan(0.0, self._arrive)
        self._wake()

    def run(self, until: float, every: float) -> Iterator[Sample]:
        """Go on until that moment; yields the state of the queue every so many seconds."""
        at = self.now
        while at <= until:
            while self._events and self._events[0][0] <= at:
                self.now, _, happen, values = heapq.heappop(self._events)
                happen(*values)
            self.now = at
            yield self.sample()
            at += every

    def sample(self) -> Sample:
        """Look at the queue."""
        while self._oldest < len(self.messages) and self._oldest in self._ended:
            self._ended.discard(self._oldest)
            self._oldest += 1
        oldest = self.now - self.messages[self._oldest].announced if self._oldest < len(self.messages) else 0.0
        return Sample(
            self.now,
            len(self.messages),
            len(self.lateness),
            len(self._visible),
            len(self._hidden),
            self.working,
            self.letters,
            self.lost,
            oldest,
        )

    def _plan(self, at: float, happen: Callable[..., None], *values: Any) -> None:
        self._number += 1
        heapq.heappush(self._events, (at, self._number, happen, values))

    # The queue

    def _arrive(self) -> None:
        self._owed += self.world.sources / DELIVERY_SECONDS * _ARRIVAL_SECONDS
        self._announce([size(self.chance) for _ in range(int(self._owed))])
        self._owed %= 1.0
        self._plan(self.now + _ARRIVAL_SECONDS, self._arrive)
        self._wake()

    def _announce(self, files: Sequence[int]) -> None:
        for records in files:
            message = Message(len(self.messages), self.now, records)
            self.messages.append(message)
            self._visible.append(message)

    def _wake(self) -> None:
        """Give batches to idle functions, as long as there is something to give."""
        while self._hidden and self._hidden[0][0] <= self.now:
            self._visible.append(heapq.heappop(self._hidden)[2])
        while self._idle and self._visible and self.working + len(self._hidden) < _MOST_IN_FLIGHT:
            batch = list(filter(None, (self._receive() for _ in range(self.world.queue.batch) if self._visible)))
            if batch:
                self._begin(self._idle.pop(0), batch)
        if self._idle and self._hidden and not self.now < self._alarm <= self._hidden[0][0]:
            self._alarm = self._hidden[0][0]
            self._plan(self._alarm, self._wake)

    def _receive(self) -> Message | None:
        """Take the next message; None when it was received too often or has grown too old."""
        message, queue = self._visible.popleft(), self.world.queue
        if self.now - message.announced > queue.retention_seconds:
            self.lost += 1
        elif message.receives >= queue.receives:
            self.letters += 1
        else:
            message.receives += 1
            self.working += 1
            return message
        self._ended.add(message.number)
        return None

    # One invocation

    def _begin(self, function: Function, messages: list[Message]) -> None:
        began = self.now + self.world.call_seconds
        until = began + self.world.queue.invocation_seconds - self.limits.reserve_seconds
        batch = Batch(function, messages, until, deque(self._cut(messages, began)))
        self._send(batch)

    def _cut(self, messages: Sequence[Message], began: float) -> Iterator[Sending]:
        """Cut the records of a batch into bulk requests, each with the moment at which it has been read."""
        most = min(self.limits.bulk_actions, self.limits.bulk_bytes // _RECORD_BYTES)
        held: list[Message] = []
        count, at = 0, began
        for place, message in enumerate(messages):
            fetched = began + (place // self.limits.fetch_ahead + 1) * self.world.fetch_seconds
            at, left = max(at, fetched), message.records
            while left:
                taken = min(left, most - count)
                count, left, at = count + taken, left - taken, at + taken * self.world.read_seconds
                held.append(message)
                if count == most:
                    yield Sending(held, at, deque([count]))
                    held, count = [], 0
        if count:
            yield Sending(held, at, deque([count]))

    def _send(self, batch: Batch) -> None:
        """Start as many requests as the window has room for; end the batch when none is left."""
        while batch.waiting and not batch.halted and batch.flights < batch.function.window.limit:
            if max(self.now, batch.waiting[0].ready) >= batch.until:
                batch.halted = "deadline"
                break
            sending = batch.waiting.popleft()
            batch.flights += 1
            self._plan(max(self.now, sending.ready), self._offer, batch, sending)
        if not batch.flights:
            for sending in batch.waiting:
                self._give_back(batch, sending)
            self._plan(self.now + self.world.call_seconds, self._end, batch)

    def _offer(self, batch: Batch, sending: Sending) -> None:
        """Send the next piece of a request; when there is none, wait for those that were refused, or be done."""
        if not sending.now:
            self._rest(batch, sending)
        elif max(self.now, batch.function.opens) >= batch.until:
            self._give_up(batch, sending, "deadline")
        elif self.now < batch.function.opens:
            self._plan(batch.function.opens, self._offer, batch, sending)
        else:
            self.requests += 1
            function = batch.function
            function.inside += 1
            sending.round, sending.asked, sending.inside = function.window.round, self.now, function.inside
            sending.tried_since = self.now if sending.tried_since is None else sending.tried_since
            records = sending.now.popleft()
            amount = records * _RECORD_BYTES
            if self.world.is_away(self.now):
                self._plan(self.now + self.world.answer_seconds, self._refused, batch, sending, [records])
            elif self.world.held_bytes + self._pending_bytes + amount > self.world.pressure_bytes:
                self.refused_for_room += 1
                self._work(records * self.world.refusal_cost)
                large = should_split(BulkResponse(429, memory=self.world.pressure_bytes), amount, sending.attempt)
                pieces = [records // 2, records - records // 2] if large else [records]
                self._plan(self.now + self.world.answer_seconds, self._refused, batch, sending, pieces)
            else:
                self._pending_bytes += amount
                self._work(records)
                self._plan(self._free_at, self._worked, amount)
                answered = self._free_at + self.world.answer_seconds
                if answered < batch.until:
                    self._plan(answered, self._taken, batch, sending)
                else:  # nobody waits for the answer any more; the records will be sent again, and be there
                    self._plan(batch.until, self._time_out, batch, sending)

    def _work(self, records: float) -> None:
        """Give the cluster a request's work to do after what it has."""
        self._free_at = max(self.now, self._free_at) + (records + self.world.request_cost) / self.world.capacity

    def _refused(self, batch: Batch, sending: Sending, pieces: list[int]) -> None:
        function = batch.function
        sending.crowded = not self.world.is_away(sending.asked)
        crowded = sending.crowded and len(pieces) == 1
        function.window.on_overload(sending.round, max(sending.inside, function.inside), over_capacity=crowded)
        self._leave(function)
        sending.later += pieces
        self._offer(batch, sending)

    def _worked(self, amount: int) -> None:
        self._pending_bytes -= amount

    def _taken(self, batch: Batch, sending: Sending) -> None:
        function = batch.function
        function.window.on_success(self.now - sending.asked, full=batch.flights >= function.window.limit)
        function.took = sending.tried_since = self.now
        self._leave(function)
        self._offer(batch, sending)

    def _window(self) -> AimdWindow:
        """Make the window of a function that has run before: it knows how long a small request takes."""
        window = Fixed(self.world.window) if self.world.window else AimdWindow(self.limits.bulk_in_flight)
        window.on_success(self.world.answer_seconds + self.world.request_cost / self.world.capacity, full=False)
        return window

    def _leave(self, function: Function) -> None:
        function.inside -= 1
        function.opens = self.now + function.window.pause * self.chance.uniform(0.5, 1.5)

    def _rest(self, batch: Batch, sending: Sending) -> None:
        """Wait, and send again what was refused; or end the flight, when all is in or the patience is over."""
        if not sending.later:
            batch.flights -= 1
            self._send(batch)
            return
        wait = self.chance.uniform(0, min(FIRST_WAIT * 2**sending.attempt, MAX_WAIT))
        since = max(sending.tried_since or 0.0, batch.function.took if sending.crowded else 0.0)
        if self.now - since >= self.world.settings.retry_seconds or batch.until - self.now <= wait:
            self._give_up(batch, sending, "refused")
            return
        sending.attempt += 1
        sending.now.extend(sending.later)
        sending.later = []
        self._plan(self.now + wait, self._offer, batch, sending)

    def _time_out(self, batch: Batch, sending: Sending) -> None:
        batch.function.inside -= 1
        self._give_up(batch, sending, "timeout")

    def _give_up(self, batch: Batch, sending: Sending, why: str) -> None:
        batch.halted = batch.halted or why
        self._give_back(batch, sending)
        batch.flights -= 1
        self._send(batch)

    def _give_back(self, batch: Batch, sending: Sending) -> None:
        for message in sending.messages:
            batch.back[message.number] = batch.halted

    def _end(self, batch: Batch) -> None:
        for message in batch.messages:
            self.working -= 1
            if cause := batch.back.get(message.number):
                wait = backoff(self.world.settings.limits, message.receives, {cause}, self.chance.random())
                self.handed_back += 1
                heapq.heappush(self._hidden, (self.now + wait, message.number, message))
            else:
                message.done = self.now
                self.lateness.append(self.now - message.announced)
                self.receives[message.receives] += 1
                self._ended.add(message.number)
        self._idle.append(batch.function)
        self._wake()
