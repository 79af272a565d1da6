"""Promises about a redrive's plan: what is refused before a letter moves, which way they go, and what is told."""

from __future__ import annotations

import pytest

from tests.support.fake_dlq import letter
from worker.dlq.eligibility import Assessment, RedriveAction
from worker.dlq.letters import LetterFilter
from worker.dlq.move_task import MoveTask
from worker.dlq.redrive import PlanLine, RedriveMethod, RedrivePlan, RedriveReport
from worker.errors import SetupError

ALL, TWO = LetterFilter(), LetterFilter(ids=frozenset({"id-0", "id-1"}))


def planned(*verdicts: RedriveAction, others: int = 0, complete: bool = True) -> RedrivePlan:
    """A plan of so many letters; `others` were seen and not meant."""
    plan = RedrivePlan()
    for number, verdict in enumerate(verdicts):
        plan.add(letter(number), Assessment(verdict, "because", ""))
    plan.survey.end(seen=plan.survey.count + others, hidden=0, complete=complete)
    return plan


GOES, STAYS, ANEW = RedriveAction.AS_IT_IS, RedriveAction.STAYS, RedriveAction.NEWEST


@pytest.mark.parametrize(
    ("plan", "choice", "one_by_one", "way"),
    [
        (planned(GOES, GOES), ALL, False, RedriveMethod.MOVE_TASK),
        (planned(GOES, GOES), ALL, True, RedriveMethod.ONE_BY_ONE),
        (planned(GOES, GOES), TWO, False, RedriveMethod.ONE_BY_ONE),
        (planned(GOES, STAYS), ALL, False, RedriveMethod.ONE_BY_ONE),
        (planned(GOES, ANEW), ALL, False, RedriveMethod.ONE_BY_ONE),
        (planned(GOES, others=1), ALL, False, RedriveMethod.ONE_BY_ONE),
        (
            planned(GOES, STAYS, complete=False),
            ALL,
            False,
            RedriveMethod.MOVE_TASK,
        ),  # more than can be looked at: forced
        (planned(STAYS), ALL, False, RedriveMethod.NONE),
        (planned(), ALL, False, RedriveMethod.NONE),
    ],
)
def test_sqs_moves_letters_itself_only_where_that_is_the_same(
    plan: RedrivePlan, choice: LetterFilter, *, one_by_one: bool, way: RedriveMethod
) -> None:
    """Its move task takes everything that is in the queue, as it is."""
    assert plan.way(choice, one_by_one=one_by_one) is way


@pytest.mark.parametrize(
    ("plan", "choice", "sentence"),
    [
        (planned(GOES), TWO, r"^No such letter: id-1; nothing was moved\.$"),
        (planned(GOES, STAYS), TWO, r"^Nothing was moved: 1 letter would only come back \(1 empty: because\)\. Mend"),
        (planned(STAYS, STAYS), ALL, r"^Nothing was moved: 2 letters would only come back \(2 empty: because\)\."),
        (planned(GOES, complete=False), ALL, r"^There are more than 1 letters, .* --force moves them all, unseen;"),
    ],
)
def test_what_would_surprise_is_refused_before_a_letter_moves(
    plan: RedrivePlan, choice: LetterFilter, sentence: str
) -> None:
    """Half of what was asked for, done in silence, would be found out days later."""
    with pytest.raises(SetupError, match=sentence):
        plan.check(choice, force=False, dry_run=False)


def test_a_dry_run_and_a_queue_with_others_that_go_are_not_refused() -> None:
    """To be told which letters stay is what a dry run is for; and those that can go need not wait for them."""
    planned(STAYS).check(ALL, force=False, dry_run=True)
    planned(GOES, STAYS).check(ALL, force=False, dry_run=False)
    planned(GOES, complete=False).check(ALL, force=True, dry_run=False)


def test_what_went_another_way_than_planned_is_a_fault() -> None:
    """Cron must hear of letters that are still there, or there twice."""
    lost, twice, well = planned(GOES, GOES), planned(GOES), planned(GOES)
    lost.moved, twice.moved, twice.undeleted, well.moved = 1, 1, 1, 1

    with pytest.raises(SetupError, match=r"^1 letter could not be moved: "):
        lost.check_moved()
    with pytest.raises(SetupError, match=r"^Moved, but not deleted here: 1 letter\. "):
        twice.check_moved()
    well.check_moved()


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        (MoveTask("FAILED", 3, 9, failure="AccessDenied"), r"^The move task failed after 3 letters: AccessDenied\.$"),
        (MoveTask("FAILED", 0, 9), r"^The move task failed after 0 letters: SQS gives no reason\.$"),
        (MoveTask("CANCELLED", 1, 9), r"^Cancelled after 1 letter; about 8 stay\.$"),
        (MoveTask("COMPLETED", 1, 9, cancelled=True), r"^Cancelled after 1 letter; about 8 stay\.$"),
    ],
)
def test_a_move_task_that_did_not_move_all_is_a_fault(task: MoveTask, sentence: str) -> None:
    """Whatever SQS calls its end, when it was us who cancelled it."""
    with pytest.raises(SetupError, match=sentence):
        task.check(8)


def test_programs_are_told_the_same_of_a_plan_and_of_both_ways() -> None:
    """Letters that are treated alike are one line, with the reason why."""
    plan = planned(GOES, STAYS, GOES)
    lines = [PlanLine("empty", 2, GOES, "because"), PlanLine("empty", 1, STAYS, "because")]
    plan.moved = 2

    dry = RedriveReport.planned(plan, RedriveMethod.ONE_BY_ONE)
    here = RedriveReport.here(plan, RedriveMethod.ONE_BY_ONE)
    by_sqs = RedriveReport.by_sqs(MoveTask("RUNNING", 1, 3, cancelled=True), 2, plan)

    assert dry == RedriveReport(0, 3, RedriveMethod.ONE_BY_ONE, "PLANNED", dry_run=True, plan=lines)
    assert here == RedriveReport(2, 1, RedriveMethod.ONE_BY_ONE, "COMPLETED", dry_run=False, plan=lines)
    assert by_sqs == RedriveReport(1, 2, RedriveMethod.MOVE_TASK, "CANCELLED", dry_run=False, plan=lines)
