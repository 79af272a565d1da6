"""What a redrive would do with which letters, by which way, and what it did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from worker.dlq.eligibility import RedriveAction
from worker.dlq.letters import counted
from worker.dlq.summary import LetterSummary
from worker.errors import SetupError

if TYPE_CHECKING:
    from worker.dlq.eligibility import Assessment
    from worker.dlq.letters import Letter, LetterFilter
    from worker.dlq.move_task import MoveTask


@dataclass(frozen=True, slots=True)
class RedriveOptions:
    """How letters are judged: `force` moves what would come back, `newest` has the newest version announced."""

    force: bool = False
    newest: bool = False


class RedriveMethod(StrEnum):
    """How letters go: by SQS's own message move task, or received, sent and deleted here."""

    MOVE_TASK = "move_task"
    ONE_BY_ONE = "one_by_one"
    NONE = "none"


class PlanLine(msgspec.Struct, frozen=True):
    """Letters that are treated alike, and why."""

    reason: str
    letters: int
    verdict: RedriveAction
    why: str


@dataclass(slots=True)
class RedrivePlan:
    """What a redrive would do, judged letter by letter; then what it did: `moved` letters were sent back."""

    survey: LetterSummary = field(default_factory=LetterSummary)
    going: set[str] = field(default_factory=set)  # the ids of the letters that do not stay
    moved: int = 0
    undeleted: int = 0  # of those moved: still in the dead-letter queue
    _alike: Counter[tuple[str, RedriveAction, str]] = field(default_factory=Counter)  # reason, verdict and why

    def add(self, letter: Letter, judged: Assessment) -> None:
        """Count one judged letter."""
        self._alike[letter.reason, judged.verdict, judged.why] += 1
        self.survey.add(letter)
        if judged.verdict is not RedriveAction.STAYS:
            self.going.add(letter.id)

    @property
    def lines(self) -> list[PlanLine]:
        """Which letters are treated how, and why."""
        return [PlanLine(reason, number, how, why) for (reason, how, why), number in sorted(self._alike.items())]

    @property
    def left(self) -> list[str]:
        """The letters that stay, and why, as parts of a sentence."""
        return [f"{one.letters:,} {one.reason}: {one.why}" for one in self.lines if one.verdict is RedriveAction.STAYS]

    def count(self, verdict: RedriveAction) -> int:
        """How many letters have this verdict."""
        return sum(number for (_, found, _), number in self._alike.items() if found is verdict)

    def check(self, choice: LetterFilter, *, force: bool, dry_run: bool) -> None:
        """Refuse what would surprise: ids of no letter, named letters that stay, letters that nobody could look at."""
        self.survey.refuse_unknown(choice, "; nothing was moved")
        if choice.is_everything and not self.survey.complete and not force:
            raise SetupError(
                f"There are more than {self.survey.count:,} letters, and SQS lets no more be looked at at once:"
                " --force moves them all, unseen; --reason moves some."
            )
        stays = self.count(RedriveAction.STAYS)
        if stays and not dry_run and (choice.ids or not self.going):
            raise SetupError(
                f"Nothing was moved: {counted(stays)} would only come back ({'; '.join(self.left)}). Mend the object"
                " first, or say --force."
            )

    def way(self, choice: LetterFilter, *, one_by_one: bool) -> RedriveMethod:
        """Choose how letters go: SQS's own move moves everything, and changes nothing on the way."""
        if not self.going:
            return RedriveMethod.NONE
        same = self.survey.others == 0 and self.count(RedriveAction.AS_IT_IS) == self.survey.count
        if choice.is_everything and not one_by_one and (same or not self.survey.complete):
            return RedriveMethod.MOVE_TASK
        return RedriveMethod.ONE_BY_ONE

    def check_moved(self) -> None:
        """Raise SetupError unless all that was to go one by one went."""
        if lost := len(self.going) - self.moved:
            raise SetupError(f"{counted(lost)} could not be moved: SQS did not take them, or somebody else has them.")
        if self.undeleted:
            raise SetupError(
                f"Moved, but not deleted here: {counted(self.undeleted)}. Moved again, they change nothing."
            )


class RedriveReport(msgspec.Struct, frozen=True):
    """What `redrive --json` prints."""

    moved: int
    left: int
    way: RedriveMethod
    status: str
    dry_run: bool
    plan: list[PlanLine]

    @classmethod
    def planned(cls, plan: RedrivePlan, way: RedriveMethod) -> RedriveReport:
        """Tell what would be done."""
        return cls(0, plan.survey.count, way, "PLANNED", dry_run=True, plan=plan.lines)

    @classmethod
    def here(cls, plan: RedrivePlan, way: RedriveMethod) -> RedriveReport:
        """Tell what was moved one by one."""
        return cls(plan.moved, plan.survey.count - plan.moved, way, "COMPLETED", dry_run=False, plan=plan.lines)

    @classmethod
    def by_sqs(cls, task: MoveTask, left: int, plan: RedrivePlan) -> RedriveReport:
        """Tell what a move task came to."""
        status = "CANCELLED" if task.is_cancelled else task.status
        return cls(task.moved, left, RedriveMethod.MOVE_TASK, status, dry_run=False, plan=plan.lines)
