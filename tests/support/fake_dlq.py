"""A dead-letter queue in memory that behaves like SQS's: visibility, receipts, receive counts, move tasks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tests.support.fakes import Clock
from worker.dlq.letters import Attribute, Letter
from worker.dlq.move_task import MoveTask
from worker.dlq.service import DeadLetterService
from worker.errors import QueueUnavailable, StoreUnavailable
from worker.pipeline.notifications import s3_notification
from worker.pipeline.objects import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.pipeline.objects import ObjectHead

BUCKET = "trail"
SENT_AT = 1_800_000_000.0


def notice(name: str = "a.json.gz", **members: object) -> str:
    return s3_notification(ObjectRef(BUCKET, name, **members))  # type: ignore[arg-type]


def letter(number: int = 0, reason: str = "empty", body: str | None = None, **members: object) -> Letter:
    """A letter that the consumer sent, by default about an object of 3 bytes that nobody has touched since."""
    text = notice(f"{number}.json.gz", size=3, etag="old") if body is None else body
    attributes = {"reason": Attribute("String", reason), "attempts": Attribute("String", "2")} if reason else {}
    whole = Letter(f"id-{number}", "", text, attributes, SENT_AT)
    return replace(whole, **members)  # type: ignore[arg-type]


@dataclass
class _Stored:
    letter: Letter
    visible_at: float = 0.0
    receipt: str = ""
    receives: int = 0


@dataclass
class MemoryLetters:
    """Both queues. Each receive takes `receive_seconds` of the clock; `before` is called with each call's name."""

    clock: Clock = field(default_factory=Clock)
    receive_seconds: float = 0.02
    before: Callable[[str], None] = lambda _: None
    sent: list[str] = field(default_factory=list)
    tasks: list[MoveTask] = field(default_factory=list)
    moves_each_poll: int = 2
    unlisted: int = 0  # so many lists do not yet have the newest task
    forgets: bool = False  # a cancelled task is listed no more
    hides: list[int] = field(default_factory=list)
    _stored: list[_Stored] = field(default_factory=list)
    _numbers: int = 0

    def add(self, *letters: Letter) -> None:
        self._stored += [_Stored(one) for one in letters]

    @property
    def ids(self) -> list[str]:
        """The letters that are in the queue, seen or not."""
        return sorted(one.letter.id for one in self._stored)

    @property
    def letters(self) -> list[Letter]:
        return [one.letter for one in self._stored]

    @property
    def receives(self) -> set[int]:
        return {one.receives for one in self._stored}

    def depth(self) -> tuple[int, int]:
        self.before("depth")
        visible = sum(one.visible_at <= self.clock.tick() for one in self._stored)
        return visible, len(self._stored) - visible

    def receive(self, hidden_seconds: int) -> list[Letter]:
        self.before("receive")
        self.clock.move(self.receive_seconds)
        self.hides.append(hidden_seconds)
        found = [one for one in self._stored if one.visible_at <= self.clock.tick()][:10]
        for one in found:
            self._numbers += 1
            one.visible_at, one.receives = self.clock.tick() + hidden_seconds, one.receives + 1
            one.receipt = f"receipt-{self._numbers}"
        return [replace(one.letter, receipt=one.receipt, receives=one.receives) for one in found]

    def release(self, receipts: Sequence[str]) -> None:
        self.before("release")
        for one in self._stored:
            if one.receipt in receipts:
                one.visible_at = 0.0

    def delete(self, receipts: Sequence[str]) -> int:
        self.before("delete")
        kept = [one for one in self._stored if one.receipt not in receipts]
        gone = len(self._stored) - len(kept)
        self._stored = kept
        return len(receipts) - gone

    def send_back(self, bodies: Sequence[str]) -> list[bool]:
        self.before("send")
        self.sent += bodies
        return [True] * len(bodies)

    def put(self, letters: Sequence[tuple[str, Mapping[str, Attribute]]]) -> list[bool]:
        self.before("put")
        for body, attributes in letters:
            self._numbers += 1
            self.add(Letter(f"new-{self._numbers}", "", body, attributes, SENT_AT))
        return [True] * len(letters)

    def start_move(self, per_second: int | None) -> str:
        self.before("start")
        assert per_second is None or 1 <= per_second <= 500
        self.tasks.insert(0, MoveTask("RUNNING", 0, len(self._stored), "trail", "", "handle", 1000 + len(self.tasks)))
        return "handle"

    def move_tasks(self) -> list[MoveTask]:
        self.before("tasks")
        if self.tasks and self.tasks[0].status in ("RUNNING", "CANCELLING"):
            self._advance()
        self.unlisted -= self.unlisted > 0 and bool(self.tasks)
        return self.tasks[1:] if self.unlisted else list(self.tasks)

    def _advance(self) -> None:
        task = self.tasks[0]
        moved = self._stored[: self.moves_each_poll] if task.status == "RUNNING" else []
        del self._stored[: len(moved)]
        self.sent += [one.letter.body for one in moved]
        self.tasks[0] = replace(task, moved=task.moved + len(moved))
        if not self._stored:
            self.tasks[0] = replace(self.tasks[0], status="COMPLETED", handle="")
        elif task.status == "CANCELLING":
            self.tasks[0] = replace(self.tasks[0], status="CANCELLED", handle="")

    def cancel_move(self, handle: str) -> int | None:
        self.before("cancel")
        if not self.tasks or self.tasks[0].handle != handle:
            return None
        self.tasks[0] = replace(self.tasks[0], status="CANCELLING")
        if self.forgets:
            del self.tasks[0]
            return 2
        return self.tasks[0].moved


@dataclass
class MemoryObjects:
    """S3: the state of objects by key; one that is a text cannot be asked about, and the text says why."""

    states: dict[str, ObjectHead | str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def head(self, ref: ObjectRef) -> ObjectHead | None:
        self.asked.append(ref.key)
        found = self.states.get(ref.key)
        if isinstance(found, str):
            raise StoreUnavailable(found)
        return found


@dataclass
class Office:
    """A desk with its neighbours, and what it said."""

    queue: MemoryLetters = field(default_factory=MemoryLetters)
    objects: MemoryObjects = field(default_factory=MemoryObjects)
    said: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    most_held: int = 100_000

    def __post_init__(self) -> None:
        self.desk = DeadLetterService(
            self.queue, self.objects, sleep=self._sleep, say=self.said.append, most_held=self.most_held
        )

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.queue.clock.move(seconds)


def fails_at(call: str, number: int, error: BaseException) -> Callable[[str], None]:
    """Raise at the so-manieth call of that name."""
    seen = 0

    def before(name: str) -> None:
        nonlocal seen
        seen += name == call
        if name == call and seen == number:
            raise error

    return before


NO_ANSWER = QueueUnavailable("The queue cannot be asked")
