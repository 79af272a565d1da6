"""Promises about a redrive: what is refused before a letter moves, by which method letters move, none is lost."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count

import msgspec
import pytest

from tests.support.fake_dlq import NO_RESPONSE, FakeDlq, fail_at, letter, notification
from worker.dlq.eligibility import Assessment, RedriveAction
from worker.dlq.letters import Letter, LetterFilter
from worker.dlq.move_task import MoveTask
from worker.dlq.redrive import PlanLine, RedriveMethod, RedriveOptions, RedrivePlan, RedriveReport
from worker.errors import QueueUnavailable, SetupError
from worker.pipeline.objects import ObjectHead

ALL, TWO = LetterFilter(), LetterFilter(ids=frozenset({"id-0", "id-1"}))
MOVES, STAYS, NEWEST = RedriveAction.AS_IT_IS, RedriveAction.STAYS, RedriveAction.NEWEST
FORCE = RedriveOptions(force=True)
REPLACED = ObjectHead("new", 5, "v2", datetime(2027, 1, 16, tzinfo=UTC))
UNCHANGED = ObjectHead("old", 3, None, datetime(2027, 1, 1, tzinfo=UTC))


# The plan


def plan_of(*actions: RedriveAction, others: int = 0, complete: bool = True) -> RedrivePlan:
    """A plan with one letter per action; `others` letters were received and not selected."""
    plan = RedrivePlan()
    for number, action in enumerate(actions):
        plan.add(letter(number), Assessment(action, "because", ""))
    plan.summary.finish(received=plan.summary.count + others, in_flight=0, complete=complete)
    return plan


@pytest.mark.parametrize(
    ("plan", "letter_filter", "one_by_one", "method"),
    [
        (plan_of(MOVES, MOVES), ALL, False, RedriveMethod.MOVE_TASK),
        (plan_of(MOVES, MOVES), ALL, True, RedriveMethod.ONE_BY_ONE),
        (plan_of(MOVES, MOVES), TWO, False, RedriveMethod.ONE_BY_ONE),
        (plan_of(MOVES, STAYS), ALL, False, RedriveMethod.ONE_BY_ONE),
        (plan_of(MOVES, NEWEST), ALL, False, RedriveMethod.ONE_BY_ONE),
        (plan_of(MOVES, others=1), ALL, False, RedriveMethod.ONE_BY_ONE),
        # More than can be in flight at once, which needs --force:
        (plan_of(MOVES, STAYS, complete=False), ALL, False, RedriveMethod.MOVE_TASK),
        (plan_of(STAYS), ALL, False, RedriveMethod.NONE),
        (plan_of(), ALL, False, RedriveMethod.NONE),
    ],
)
def test_sqs_moves_letters_itself_only_where_that_makes_no_difference(
    plan: RedrivePlan, letter_filter: LetterFilter, *, one_by_one: bool, method: RedriveMethod
) -> None:
    """Its move task takes everything that is in the queue, as it is."""
    assert plan.method(letter_filter, one_by_one=one_by_one) is method


@pytest.mark.parametrize(
    ("plan", "letter_filter", "sentence"),
    [
        (plan_of(MOVES), TWO, r"^No such letter: id-1; nothing was moved\.$"),
        (
            plan_of(MOVES, STAYS),
            TWO,
            r"^Nothing was moved: 1 letter would fail again \(1 empty: because\)\. Fix the object, or pass --force\.$",
        ),
        (plan_of(STAYS, STAYS), ALL, r"^Nothing was moved: 2 letters would fail again \(2 empty: because\)\."),
        (
            plan_of(MOVES, complete=False),
            ALL,
            r"^There are more than 1 letter, .* --force moves all of them unchecked,",
        ),
    ],
)
def test_what_would_surprise_is_refused_before_a_letter_moves(
    plan: RedrivePlan, letter_filter: LetterFilter, sentence: str
) -> None:
    """The operator would notice only days later that half of the letters were moved."""
    with pytest.raises(SetupError, match=sentence):
        plan.check(letter_filter, force=False, dry_run=False)


def test_a_dry_run_and_a_queue_with_other_letters_that_move_are_not_refused() -> None:
    """A dry run is there to show which letters stay, and letters that can move need not wait for them."""
    plan_of(STAYS).check(ALL, force=False, dry_run=True)
    plan_of(MOVES, STAYS).check(ALL, force=False, dry_run=False)
    plan_of(MOVES, complete=False).check(ALL, force=True, dry_run=False)


def test_a_move_that_differs_from_its_plan_is_a_fault() -> None:
    """Cron must report letters that are still in the queue, or in both queues."""
    lost, twice, complete = plan_of(MOVES, MOVES), plan_of(MOVES), plan_of(MOVES)
    lost.moved, twice.moved, twice.undeleted, complete.moved = 1, 1, 1, 1

    with pytest.raises(SetupError, match=r"^1 letter could not be moved: "):
        lost.check_moved()
    with pytest.raises(SetupError, match=r"^Moved, but not deleted from the dead-letter queue: 1 letter\. "):
        twice.check_moved()
    complete.check_moved()


# The report


def test_the_report_has_one_shape_for_a_plan_and_for_both_methods() -> None:
    """Letters that are treated alike are one line, with the reason why."""
    plan = plan_of(MOVES, STAYS, MOVES)
    lines = [PlanLine("empty", 2, MOVES, "because"), PlanLine("empty", 1, STAYS, "because")]
    plan.moved = 2

    planned = RedriveReport.of_plan(plan, RedriveMethod.ONE_BY_ONE)
    moved = RedriveReport.of_move(plan, RedriveMethod.ONE_BY_ONE)
    by_sqs = RedriveReport.of_move_task(MoveTask("RUNNING", 1, 3, cancelled=True), 2, plan)

    assert planned == RedriveReport(0, 3, RedriveMethod.ONE_BY_ONE, "PLANNED", dry_run=True, plan=lines)
    assert moved == RedriveReport(2, 1, RedriveMethod.ONE_BY_ONE, "COMPLETED", dry_run=False, plan=lines)
    assert by_sqs == RedriveReport(1, 2, RedriveMethod.MOVE_TASK, "CANCELLED", dry_run=False, plan=lines)


def test_the_report_keeps_the_keys_that_scripts_read() -> None:
    """The names in the code may change, those in the document may not."""
    report = RedriveReport.of_plan(plan_of(MOVES), RedriveMethod.MOVE_TASK)

    assert msgspec.json.encode(report) == (
        b'{"moved":0,"left":1,"way":"move_task","status":"PLANNED","dry_run":true,'
        b'"plan":[{"reason":"empty","letters":1,"verdict":"as_it_is","why":"because"}]}'
    )


# Assessing and moving


def plan_and_move(
    dlq: FakeDlq, letter_filter: LetterFilter = ALL, options: RedriveOptions | None = None, rate: int | None = None
) -> RedrivePlan:
    plan = dlq.redriver.plan(letter_filter, options or RedriveOptions())
    dlq.redriver.move(plan, options or RedriveOptions(), rate=rate)
    return plan


def test_letters_that_would_fail_again_stay_and_the_others_are_moved(dlq: FakeDlq) -> None:
    """One bad letter costs only itself."""
    dlq.objects.states = {"1.json.gz": REPLACED, "2.json.gz": UNCHANGED}
    dlq.queue.add(letter(1), letter(2), letter(3, "malformed_message", "{}"), letter(4, "", source="arn:q"))

    plan = plan_and_move(dlq)

    assert (plan.moved, plan.count(STAYS)) == (2, 2)
    assert dlq.queue.ids == ["id-2", "id-3"]
    assert sorted(dlq.queue.source_bodies) == sorted(
        [notification("1.json.gz", version_id="v2", size=5, etag="new"), notification("4.json.gz", size=3, etag="old")]
    )
    assert dlq.is_whole(2)


def test_where_no_letter_is_selected_none_is_moved(dlq: FakeDlq) -> None:
    """`redrive --reason truncated` on a queue without such letters has to leave the others alone."""
    dlq.queue.add(letter(1, "", source="arn:q"))

    plan = plan_and_move(dlq, LetterFilter(reasons=frozenset({"truncated"})))

    assert (plan.summary.count, plan.summary.others, plan.moved) == (0, 1, 0)
    assert (dlq.queue.ids, dlq.queue.source_bodies) == (["id-1"], [])
    assert dlq.is_whole(1)


def test_a_plan_moves_nothing(dlq: FakeDlq) -> None:
    """This is what --dry-run shows."""
    dlq.objects.states = {"1.json.gz": REPLACED}
    dlq.queue.add(letter(1), letter(2))

    plan = dlq.redriver.plan(ALL, RedriveOptions())

    assert plan.movable == {"id-1"}
    assert dlq.queue.source_bodies == []
    assert dlq.is_whole(2)


def test_an_object_that_s3_does_not_describe_decides_nothing_wrongly(dlq: FakeDlq) -> None:
    """A missing permission must not stop the command, and the plan names it."""
    dlq.objects.states = {"1.json.gz": "s3:403"}
    dlq.queue.add(letter(1))

    plan = dlq.redriver.plan(ALL, RedriveOptions())

    assert plan.staying == ["1 empty: the object cannot be checked in S3 (s3:403)"]


@pytest.mark.parametrize("number", [1, 2, 5])
def test_killed_between_send_and_delete_nothing_is_lost(dlq: FakeDlq, number: int) -> None:
    """What was sent and not deleted is sent twice, which changes nothing; after a second redrive all is moved."""
    dlq.queue.add(*map(letter, range(50)))
    bodies = {letter.body for letter in dlq.queue.letters}
    plan = dlq.redriver.plan(ALL, FORCE)
    dlq.queue.before_call = fail_at("delete", number, KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        dlq.redriver.move(plan, FORCE)

    remaining = {letter.body for letter in dlq.queue.letters}
    assert remaining | set(dlq.queue.source_bodies) == bodies
    assert len(remaining & set(dlq.queue.source_bodies)) == 10
    assert dlq.is_whole(len(remaining))
    plan_and_move(dlq, options=FORCE)
    assert set(dlq.queue.source_bodies) == bodies
    assert len(dlq.queue.source_bodies) == 60
    assert dlq.queue.ids == []


def test_a_queue_that_takes_no_more_leaves_the_rest_where_it_is(dlq: FakeDlq) -> None:
    """The plan says how many letters were moved."""
    dlq.queue.add(*map(letter, range(50)))
    plan = dlq.redriver.plan(ALL, FORCE)
    dlq.queue.before_call = fail_at("send_to_source", 3, NO_RESPONSE)

    with pytest.raises(QueueUnavailable):
        dlq.redriver.move(plan, FORCE)

    assert (plan.moved, len(dlq.queue.source_bodies)) == (20, 20)
    assert dlq.is_whole(30)


def test_a_letter_that_sqs_does_not_take_is_not_deleted(dlq: FakeDlq) -> None:
    """Nothing else holds it."""
    dlq.queue.add(*map(letter, range(5)))
    dlq.queue.refused_bodies = {letter(3).body}

    plan = plan_and_move(dlq, options=FORCE)

    assert (plan.moved, plan.undeleted) == (4, 0)
    assert dlq.queue.ids == ["id-3"]
    assert dlq.is_whole(1)


def test_a_letter_that_fails_again_meanwhile_is_not_moved_in_circles(dlq: FakeDlq) -> None:
    """The consumer is quick: while letters are moved, the first are back, under other ids."""
    dlq.queue.add(*map(letter, range(30)))
    numbers = count(100)
    dlq.queue.before_call = lambda call: dlq.queue.add(letter(next(numbers))) if call == "send_to_source" else None

    plan = plan_and_move(dlq, options=FORCE)

    assert plan.moved == len(dlq.queue.source_bodies) == 30
    assert dlq.queue.ids == ["id-100", "id-101", "id-102"]


def test_only_letters_that_are_selected_are_moved(dlq: FakeDlq) -> None:
    """The others are handed back."""
    dlq.queue.add(*(letter(number, "too_large" if number % 5 == 0 else "empty") for number in range(40)))
    dlq.objects.states = {f"{number}.json.gz": UNCHANGED for number in range(40)}

    plan = plan_and_move(dlq, LetterFilter(reasons=frozenset({"too_large"})))

    assert plan.moved == 8
    assert dlq.is_whole(32)


def test_a_rate_is_kept_and_no_letter_becomes_visible_again_meanwhile(dlq: FakeDlq) -> None:
    """Two per second; a step is far shorter than the visibility timeout."""
    dlq.queue.add(*map(letter, range(95)))

    plan_and_move(dlq, options=FORCE, rate=2)

    assert sum(dlq.pauses) == pytest.approx(95 / 2)
    assert max(dlq.pauses) <= 20
    assert len(dlq.queue.source_bodies) == 95


def test_the_newest_version_can_be_announced_without_s3(dlq: FakeDlq) -> None:
    """For operators who may not read the bucket."""
    dlq.queue.add(letter(1, body=notification("1.json.gz", version_id="v1", size=3, etag="old")))

    plan_and_move(dlq, options=RedriveOptions(newest=True))

    assert dlq.queue.source_bodies == [notification("1.json.gz")]
    assert dlq.objects.requested_keys == []


def test_sqs_moves_all_only_where_nothing_stays_and_nothing_is_changed(dlq: FakeDlq) -> None:
    """Its move task cannot choose, and cannot announce another version."""
    dlq.objects.states = {"1.json.gz": REPLACED, "2.json.gz": UNCHANGED}
    dlq.queue.add(letter(3, "", source="arn:q"))

    def method(options: RedriveOptions) -> RedriveMethod:
        return dlq.redriver.plan(ALL, options).method(ALL, one_by_one=False)

    all_move = method(RedriveOptions())
    dlq.queue.add(letter(2))
    with_a_letter_that_stays = method(RedriveOptions())
    forced = method(FORCE)
    dlq.queue.add(letter(1))
    with_an_object_that_was_replaced = method(FORCE)

    assert (all_move, with_a_letter_that_stays) == (RedriveMethod.MOVE_TASK, RedriveMethod.ONE_BY_ONE)
    assert (forced, with_an_object_that_was_replaced) == (RedriveMethod.MOVE_TASK, RedriveMethod.ONE_BY_ONE)


# A second look


@pytest.mark.parametrize(
    ("content", "moves", "why"),
    [
        (b'{"Records":[{}]}', True, "the object can be read now"),
        (b"<Error>", False, "the object has not changed, and was read again: not_json"),
        (None, False, "the object has not changed, and was read again: s3:slow"),
    ],
    ids=["good now", "still bad", "cannot be read"],
)
def test_an_unchanged_object_is_read_again(content: bytes | None, *, moves: bool, why: str) -> None:
    """Its letter may be a proxy's fault: the eTag alone cannot tell."""
    it = FakeDlq()
    about = letter(1, "truncated", notification("a/b"))
    it.objects.states[about.objects[0].key] = unchanged_head(about)
    if content is not None:
        it.objects.contents[about.objects[0].key] = content

    (assessment,) = it.redriver.assess([about], RedriveOptions())

    assert (assessment.action is not RedriveAction.STAYS, assessment.why) == (moves, why)


def unchanged_head(about: Letter) -> ObjectHead:
    """What S3 says of the object that a letter is about, unchanged."""
    ref = about.objects[0]
    return ObjectHead(ref.etag or "", ref.size or 0, ref.version_id, datetime(2020, 1, 1, tzinfo=UTC))
