"""A dead-letter queue in memory that behaves like SQS's: visibility, receipt handles, receive counts, move tasks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from worker.dlq.letters import Attribute, Letter
from worker.dlq.move_task import MoveTask
from worker.dlq.service import DeadLetterService
from worker.errors import QueueUnavailable, StoreUnavailable
from worker.pipeline.notifications import s3_notification
from worker.pipeline.objects import FetchedObject, ObjectRef

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.pipeline.objects import ObjectHead

BUCKET = "trail"
SENT_AT = 1_800_000_000.0
NO_RESPONSE = QueueUnavailable("The queue cannot be used")


def notification(
    key: str = "a.json.gz", *, version_id: str | None = None, size: int | None = None, etag: str | None = None
) -> str:
    return s3_notification(ObjectRef(BUCKET, key, version_id, size, etag))


def letter(  # noqa: PLR0913 - one per member that a test varies
    number: int = 0,
    reason: str = "empty",
    body: str | None = None,
    *,
    source: str = "",
    receives: int = 1,
    sent_at: float = SENT_AT,
) -> Letter:
    """A letter that the consumer sent, by default about an object of 3 bytes that nobody has replaced since."""
    return Letter(
        id=f"id-{number}",
        receipt_handle="",
        body=notification(f"{number}.json.gz", size=3, etag="old") if body is None else body,
        attributes={"reason": Attribute("String", reason), "attempts": Attribute("String", "2")} if reason else {},
        sent_at=sent_at,
        source=source,
        receives=receives,
    )


@dataclass
class _StoredLetter:
    letter: Letter
    visible_at: float = 0.0
    receipt_handle: str = ""
    receives: int = 0


@dataclass
class MemoryDeadLetterQueue:
    """Both queues. Each receive takes `receive_seconds` of the clock; `before_call` gets the name of each call."""

    clock_seconds: float = 0.0
    receive_seconds: float = 0.02
    before_call: Callable[[str], None] = lambda _: None
    source_bodies: list[str] = field(default_factory=list)
    refused_bodies: set[str] = field(default_factory=set)  # the source queue does not take them
    tasks: list[MoveTask] = field(default_factory=list)
    moved_per_poll: int = 2
    unlisted_polls: int = 0  # the number of polls that do not list the newest task yet
    forgets_cancelled: bool = False  # a cancelled task is no longer listed
    visibility_timeouts: list[int] = field(default_factory=list)
    _stored: list[_StoredLetter] = field(default_factory=list)
    _counter: int = 0

    def add(self, *letters: Letter) -> None:
        self._stored += [_StoredLetter(letter) for letter in letters]

    @property
    def ids(self) -> list[str]:
        """The letters in the queue, visible or not."""
        return sorted(stored.letter.id for stored in self._stored)

    @property
    def letters(self) -> list[Letter]:
        return [stored.letter for stored in self._stored]

    @property
    def receive_counts(self) -> set[int]:
        return {stored.receives for stored in self._stored}

    def depth(self) -> tuple[int, int]:
        self.before_call("depth")
        visible = sum(stored.visible_at <= self.clock_seconds for stored in self._stored)
        return visible, len(self._stored) - visible

    def receive(self, visibility_seconds: int) -> list[Letter]:
        self.before_call("receive")
        self.clock_seconds += self.receive_seconds
        self.visibility_timeouts.append(visibility_seconds)
        received = [stored for stored in self._stored if stored.visible_at <= self.clock_seconds][:10]
        for stored in received:
            self._counter += 1
            stored.visible_at, stored.receives = self.clock_seconds + visibility_seconds, stored.receives + 1
            stored.receipt_handle = f"receipt-handle-{self._counter}"
        return [
            replace(stored.letter, receipt_handle=stored.receipt_handle, receives=stored.receives)
            for stored in received
        ]

    def release(self, receipt_handles: Sequence[str]) -> None:
        self.before_call("release")
        for stored in self._stored:
            if stored.receipt_handle in receipt_handles:
                stored.visible_at = 0.0

    def delete(self, receipt_handles: Sequence[str]) -> int:
        self.before_call("delete")
        remaining = [stored for stored in self._stored if stored.receipt_handle not in receipt_handles]
        deleted = len(self._stored) - len(remaining)
        self._stored = remaining
        return len(receipt_handles) - deleted

    def send_to_source(self, bodies: Sequence[str]) -> list[bool]:
        self.before_call("send_to_source")
        accepted = [body not in self.refused_bodies for body in bodies]
        self.source_bodies += [body for body, is_accepted in zip(bodies, accepted, strict=True) if is_accepted]
        return accepted

    def send_to_dead_letters(self, letters: Sequence[tuple[str, Mapping[str, Attribute]]]) -> list[bool]:
        self.before_call("send_to_dead_letters")
        for body, attributes in letters:
            self._counter += 1
            self.add(Letter(f"new-{self._counter}", "", body, attributes, SENT_AT))
        return [True] * len(letters)

    def start_move_task(self, per_second: int | None) -> str:
        self.before_call("start_move_task")
        assert per_second is None or 1 <= per_second <= 500
        task = MoveTask("RUNNING", 0, len(self._stored), "trail", "", "handle", 1000 + len(self.tasks))
        self.tasks.insert(0, task)
        return "handle"

    def list_move_tasks(self) -> list[MoveTask]:
        self.before_call("list_move_tasks")
        if self.tasks and self.tasks[0].is_running:
            self._advance()
        self.unlisted_polls -= self.unlisted_polls > 0 and bool(self.tasks)
        return self.tasks[1:] if self.unlisted_polls else list(self.tasks)

    def _advance(self) -> None:
        task = self.tasks[0]
        moved = self._stored[: self.moved_per_poll] if task.status == "RUNNING" else []
        del self._stored[: len(moved)]
        self.source_bodies += [stored.letter.body for stored in moved]
        self.tasks[0] = replace(task, moved=task.moved + len(moved))
        if not self._stored:
            self.tasks[0] = replace(self.tasks[0], status="COMPLETED", task_handle="")
        elif task.status == "CANCELLING":
            self.tasks[0] = replace(self.tasks[0], status="CANCELLED", task_handle="")

    def cancel_move_task(self, task_handle: str) -> int | None:
        self.before_call("cancel_move_task")
        if not self.tasks or self.tasks[0].task_handle != task_handle:
            return None
        self.tasks[0] = replace(self.tasks[0], status="CANCELLING")
        if self.forgets_cancelled:
            del self.tasks[0]
            return 2
        return self.tasks[0].moved


@dataclass
class MemoryObjectHeads:
    """S3: the state of objects by key. A text instead of a state says why the object cannot be checked."""

    states: dict[str, ObjectHead | str] = field(default_factory=dict)
    requested_keys: list[str] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)

    def fetch_verified(self, ref: ObjectRef, _limit: int) -> FetchedObject:
        if ref.key not in self.contents:
            raise StoreUnavailable("s3:slow")
        return FetchedObject(self.contents[ref.key], datetime(2026, 1, 1, tzinfo=UTC))

    def head(self, ref: ObjectRef) -> ObjectHead | None:
        self.requested_keys.append(ref.key)
        state = self.states.get(ref.key)
        if isinstance(state, str):
            raise StoreUnavailable(state)
        return state


@dataclass
class FakeDlq:
    """The service with its neighbours, the progress it reported, and the pauses it made."""

    queue: MemoryDeadLetterQueue = field(default_factory=MemoryDeadLetterQueue)
    objects: MemoryObjectHeads = field(default_factory=MemoryObjectHeads)
    progress: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    max_held: int = 100_000

    def __post_init__(self) -> None:
        self.service = DeadLetterService(
            self.queue,
            self.objects,
            max_inflated=1_000_000,
            sleep=self._sleep,
            report_progress=self.progress.append,
            max_held=self.max_held,
        )
        self.redriver, self.move_tasks = self.service.redriver, self.service.move_tasks

    def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.queue.clock_seconds += seconds

    def is_whole(self, number: int) -> bool:
        """Whether the queue holds this many letters, all of them visible."""
        return self.queue.depth() == (number, 0)


def fail_at(call: str, number: int, error: BaseException) -> Callable[[str], None]:
    """Return a `before_call` that raises at the n-th call of that name."""
    calls = 0

    def before_call(name: str) -> None:
        nonlocal calls
        calls += name == call
        if name == call and calls == number:
            raise error

    return before_call
