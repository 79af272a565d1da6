"""Redrive: which letters would be moved, by which method, the move one by one, and the report of what happened.

A letter is sent first and deleted after that. If the command is killed between the two, the letter is in both queues,
which changes nothing, and it is never lost.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import msgspec

from worker.dlq.browse import batched
from worker.dlq.eligibility import (
    Assessment,
    RedriveAction,
    StoreError,
    announce_latest_version,
    assess,
    depends_on_s3,
    must_be_read,
)
from worker.dlq.summary import LetterSummary
from worker.errors import SetupError, StoreUnavailable
from worker.humanize import pluralize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.dlq.browse import DeadLetterPort, QueueBrowser
    from worker.dlq.eligibility import ObjectState
    from worker.dlq.letters import Letter, LetterFilter
    from worker.dlq.move_task import MoveTask
    from worker.dlq.views import FileNow
    from worker.pipeline.objects import ObjectHead, ObjectRef

_BATCH = 100  # letters assessed and moved at once: their bodies are what is held in memory

# With a rate, a batch is what is moved in this time, which is far shorter than letters stay hidden.
_STEP_SECONDS = 20

_S3_THREADS = 8

# Letters of one send and one delete: what can be in both queues after a crash between them.
LETTERS_PER_SEND = 10


@dataclass(frozen=True, slots=True)
class RedriveOptions:
    """How letters are assessed: `force` moves those that would fail again, `newest` announces the newest version."""

    force: bool = False
    newest: bool = False


class RedriveMethod(StrEnum):
    """How letters are moved: by SQS's own message move task, or received, sent and deleted by this command."""

    MOVE_TASK = "move_task"
    ONE_BY_ONE = "one_by_one"
    NONE = "none"


class PlanLine(msgspec.Struct, frozen=True):
    """Letters of one reason that are treated alike, and why."""

    reason: str
    letters: int
    action: RedriveAction = msgspec.field(name="verdict")
    why: str


@dataclass(slots=True)
class RedrivePlan:
    """What a redrive would do, letter by letter; later also what it did: `moved` letters were sent back.

    `movable` are the ids of the letters that do not stay. `undeleted` letters were moved, and are still in the
    dead-letter queue.
    """

    summary: LetterSummary = field(default_factory=LetterSummary)
    movable: set[str] = field(default_factory=set)
    moved: int = 0
    undeleted: int = 0
    _counts: Counter[tuple[str, RedriveAction, str]] = field(default_factory=Counter)  # by reason, action and why

    def add(self, letter: Letter, assessment: Assessment) -> None:
        """Count a letter that was assessed."""
        self._counts[letter.reason, assessment.action, assessment.why] += 1
        self.summary.add(letter)
        if assessment.action is not RedriveAction.STAYS:
            self.movable.add(letter.id)

    @property
    def lines(self) -> list[PlanLine]:
        """Which letters are treated how, and why."""
        return [PlanLine(reason, number, action, why) for (reason, action, why), number in sorted(self._counts.items())]

    @property
    def staying(self) -> list[str]:
        """The letters that stay, and why, as parts of a sentence."""
        return [
            f"{line.letters:,} {line.reason}: {line.why}" for line in self.lines if line.action is RedriveAction.STAYS
        ]

    def count(self, action: RedriveAction) -> int:
        """Return the number of letters with this action."""
        return sum(line.letters for line in self.lines if line.action is action)

    def check(self, letter_filter: LetterFilter, *, force: bool, dry_run: bool) -> None:
        """Raise SetupError for what would surprise the operator, before a letter is moved.

        That is an unknown id, a letter that was selected by id and stays, or a queue too large to be checked.
        """
        self.summary.require_ids(letter_filter, "; nothing was moved")
        if letter_filter.selects_all and not self.summary.complete and not force:
            raise SetupError(
                f"There are more than {pluralize(self.summary.count, 'letter')}, and SQS lets no more be in flight at"
                " once: --force moves all of them unchecked, --reason moves some of them."
            )
        stays = self.count(RedriveAction.STAYS)
        if stays and not dry_run and (letter_filter.ids or not self.movable):
            raise SetupError(
                f"Nothing was moved: {pluralize(stays, 'letter')} would fail again ({'; '.join(self.staying)}). Fix the"
                " object, or pass --force."
            )

    def method(self, letter_filter: LetterFilter, *, one_by_one: bool) -> RedriveMethod:
        """Choose how letters are moved: SQS's own move task takes all letters, and changes none of them."""
        if not self.movable:
            return RedriveMethod.NONE
        all_as_they_are = self.summary.others == 0 and self.count(RedriveAction.AS_IT_IS) == self.summary.count
        if letter_filter.selects_all and not one_by_one and (all_as_they_are or not self.summary.complete):
            return RedriveMethod.MOVE_TASK
        return RedriveMethod.ONE_BY_ONE

    def check_moved(self) -> None:
        """Raise SetupError unless every letter that was to be moved one by one was moved, and deleted."""
        if missing := len(self.movable) - self.moved:
            raise SetupError(
                f"{pluralize(missing, 'letter')} could not be moved: rejected by SQS, or received by another consumer."
            )
        if self.undeleted:
            raise SetupError(
                f"Moved, but not deleted from the dead-letter queue: {pluralize(self.undeleted, 'letter')}. Moving"
                " again is harmless."
            )


class RedriveReport(msgspec.Struct, frozen=True):
    """What `redrive --json` prints."""

    moved: int
    remaining: int = msgspec.field(name="left")
    method: RedriveMethod = msgspec.field(name="way")
    status: str
    dry_run: bool
    plan: list[PlanLine]

    @classmethod
    def of_plan(cls, plan: RedrivePlan, method: RedriveMethod) -> RedriveReport:
        """Report what would be done."""
        return cls(0, plan.summary.count, method, "PLANNED", dry_run=True, plan=plan.lines)

    @classmethod
    def of_move(cls, plan: RedrivePlan, method: RedriveMethod) -> RedriveReport:
        """Report what was moved one by one."""
        return cls(plan.moved, plan.summary.count - plan.moved, method, "COMPLETED", dry_run=False, plan=plan.lines)

    @classmethod
    def of_move_task(cls, task: MoveTask, remaining: int, plan: RedrivePlan) -> RedriveReport:
        """Report how a move task ended."""
        status = "CANCELLED" if task.is_cancelled else task.status
        return cls(task.moved, remaining, RedriveMethod.MOVE_TASK, status, dry_run=False, plan=plan.lines)


class ObjectHeads(Protocol):
    """S3, as far as the object of a letter needs it."""

    def head(self, ref: ObjectRef) -> ObjectHead | None:
        """Describe the newest version under the key, None when there is none; raises StoreUnavailable."""


class Redriver:
    """Assesses letters, and moves them back to the source queue one by one.

    `browse` begins a pass over the queue, `read` reads the object of a letter.
    """

    def __init__(
        self,
        queue: DeadLetterPort,
        objects: ObjectHeads,
        *,
        browse: Callable[[], QueueBrowser],
        read: Callable[[Letter], FileNow],
        sleep: Callable[[float], None],
    ) -> None:
        self._queue, self._objects, self._browse, self._sleep = queue, objects, browse, sleep
        self._read, self._reading = read, Lock()

    def assess(self, letters: Sequence[Letter], options: RedriveOptions) -> list[Assessment]:
        """Decide what to do with letters, describing several objects in S3 at once."""
        if options.newest:
            return [announce_latest_version(letter) for letter in letters]
        with ThreadPoolExecutor(_S3_THREADS) as pool:
            return list(pool.map(partial(self._assess, force=options.force), letters))

    def _assess(self, letter: Letter, *, force: bool) -> Assessment:
        state = self._object_state(letter)
        problem = None if force or not must_be_read(letter, state) else self._problem(letter)
        return assess(letter, state, problem=problem, force=force)

    def _problem(self, letter: Letter) -> str:
        """Read the object of a letter; returns why it cannot be loaded, "" when it can."""
        with self._reading:  # a file can take half a gigabyte of memory
            try:
                return self._read(letter).reason or ""
            except StoreUnavailable as cause:
                return str(cause)

    def _object_state(self, letter: Letter) -> ObjectState:
        ref = depends_on_s3(letter)
        try:
            return self._objects.head(ref) if ref else None
        except StoreUnavailable as cause:
            return StoreError(str(cause))

    def plan(self, letter_filter: LetterFilter, options: RedriveOptions) -> RedrivePlan:
        """Assess the letters that a filter selects, and leave them in the queue."""
        plan = RedrivePlan()
        with self._browse() as browser:
            for letters in batched(browser.matching(letter_filter), _BATCH):
                for letter, assessment in zip(letters, self.assess(letters, options), strict=True):
                    plan.add(letter, assessment)
            browser.record_totals(plan.summary)
        return plan

    def move(self, plan: RedrivePlan, options: RedriveOptions, *, rate: int | None = None) -> None:
        """Move the letters that do not stay, at most `rate` per second, and count them in the plan.

        Moves only letters that were planned. One that fails again meanwhile comes back under another id, and would be
        moved in circles. Raises QueueUnavailable when SQS takes no more; `plan.moved` is right then, too.
        """
        size = _BATCH if rate is None else max(1, min(_BATCH, rate * _STEP_SECONDS))
        with self._browse() as browser:
            for letters in batched(browser.with_ids(plan.movable), size):
                # A plan keeps no bodies, and an object may have been replaced since: assess again.
                bodies = [
                    (letter, assessment.body)
                    for letter, assessment in zip(letters, self.assess(letters, options), strict=True)
                    if assessment.action is not RedriveAction.STAYS
                ]
                for start in range(0, len(bodies), LETTERS_PER_SEND):
                    self._move_batch(browser, bodies[start : start + LETTERS_PER_SEND], plan)
                if rate is not None:
                    self._sleep(len(letters) / rate)

    def _move_batch(self, browser: QueueBrowser, bodies: Sequence[tuple[Letter, str]], plan: RedrivePlan) -> None:
        accepted = self._queue.send_to_source([body for _, body in bodies])
        sent = [letter for (letter, _), is_sent in zip(bodies, accepted, strict=True) if is_sent]
        plan.moved += len(sent)
        plan.undeleted += self._queue.delete([browser.receipt_handle(letter) for letter in sent])
        browser.drop(sent)
