"""Promises about working on dead letters: looking changes nothing, moving loses nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count

import pytest

from tests.support.fake_dlq import NO_ANSWER, SENT_AT, Office, fails_at, letter, notice
from worker.dlq.eligibility import RedriveAction
from worker.dlq.export import decode_line
from worker.dlq.letters import LetterFilter
from worker.dlq.redrive import RedriveMethod, RedriveOptions, RedrivePlan
from worker.errors import QueueUnavailable, SetupError
from worker.pipeline.objects import ObjectHead

ALL = LetterFilter()
MENDED = ObjectHead("new", 5, "v2", datetime(2027, 1, 16, tzinfo=UTC))
UNTOUCHED = ObjectHead("old", 3, None, datetime(2027, 1, 1, tzinfo=UTC))


@pytest.fixture
def office() -> Office:
    return Office()


def is_whole(office: Office, number: int) -> bool:
    """Whether so many letters are there, none of them hidden from anybody."""
    return office.queue.depth() == (number, 0)


# Looking


def test_a_look_shows_each_letter_once_and_hands_all_back(office: Office) -> None:
    """The next operator must see the same."""
    office.queue.add(*(letter(number, reason) for number, reason in zip(range(237), count_reasons(), strict=False)))
    seen: list[str] = []

    survey = office.desk.look(ALL, lambda one: seen.append(one.id))

    assert sorted(seen) == office.queue.ids
    assert survey.count == 237
    assert {reason: number for reason, (number, _, _) in survey.groups.items()} == {"empty": 119, "truncated": 118}
    assert is_whole(office, 237)
    assert office.queue.receives == {1}


def count_reasons() -> list[str]:
    return ["empty" if number % 2 == 0 else "truncated" for number in range(237)]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), NO_ANSWER], ids=["interrupt", "no answer"])
@pytest.mark.parametrize("number", [1, 3, 6])
def test_a_look_that_is_broken_off_hands_everything_back(office: Office, error: BaseException, number: int) -> None:
    """Whoever stops a look must not hide letters from the next one."""
    office.queue.add(*map(letter, range(50)))
    office.queue.before = fails_at("receive", number, error)

    with pytest.raises(type(error)):
        office.desk.look(ALL)

    assert is_whole(office, 50)


def test_a_caller_that_fails_hands_everything_back(office: Office) -> None:
    """A pipe that nobody reads any more is the commonest."""
    office.queue.add(*map(letter, range(50)))

    def take(_: object) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        office.desk.look(ALL, take)

    assert is_whole(office, 50)


def test_a_slow_look_sees_each_letter_once_though_they_come_again(office: Office) -> None:
    """Letters become visible again when their time is over; the receipt that hands them back is the last one."""
    office.queue.add(*map(letter, range(300)))
    office.queue.receive_seconds = 5.0
    seen: list[str] = []

    survey = office.desk.look(ALL, lambda one: seen.append(one.id))

    assert (len(seen), set(seen)) == (survey.count, set(office.queue.ids))
    assert max(office.queue.receives) > 1
    assert is_whole(office, 300)


def test_letters_are_hidden_longer_the_more_there_are_and_never_beyond_sqs_limit(office: Office) -> None:
    """A look that is killed hides letters no longer than it would have taken."""
    office.queue.add(*map(letter, range(3_000)))

    office.desk.look(ALL)

    assert set(office.queue.hides) == {60 + 3_000 // 50}


def test_a_look_ends_before_sqs_gives_no_more() -> None:
    """At 120,000 in flight SQS would say that the queue is empty, and a part would pass for the whole."""
    office = Office(most_held=30)
    office.queue.add(*map(letter, range(50)))

    survey = office.desk.look(ALL)

    assert (survey.count, survey.complete) == (30, False)
    assert is_whole(office, 50)


def test_letters_in_somebody_elses_hands_are_counted(office: Office) -> None:
    """`No dead letters` would be a lie."""
    office.queue.add(letter(1), letter(2))
    office.queue.receive(60)

    survey = office.desk.look(ALL)

    assert (survey.count, survey.hidden) == (0, 2)


def test_a_look_for_ids_ends_when_it_has_them(office: Office) -> None:
    """To show one letter, not all must be received."""
    office.queue.add(*map(letter, range(200)))

    assert office.desk.find("id-3").id == "id-3"

    assert office.queue.hides == [64]
    assert is_whole(office, 200)


def test_an_id_of_no_letter_is_named(office: Office) -> None:
    """A typing error must not look like success."""
    office.queue.add(letter(1))

    with pytest.raises(SetupError, match=r"^No such letter: id-2\.$"):
        office.desk.find("id-2")


# Moving back


def plan_and_move(
    office: Office, choice: LetterFilter = ALL, policy: RedriveOptions | None = None, rate: int | None = None
) -> RedrivePlan:
    plan = office.desk.plan(choice, policy or RedriveOptions())
    office.desk.move(plan, policy or RedriveOptions(), rate=rate)
    return plan


def test_what_would_only_come_back_stays_and_the_rest_is_moved(office: Office) -> None:
    """One bad letter costs only itself."""
    office.objects.states = {"1.json.gz": MENDED, "2.json.gz": UNTOUCHED}
    office.queue.add(letter(1), letter(2), letter(3, "malformed_message", "{}"), letter(4, "", source="arn:q"))

    plan = plan_and_move(office)

    assert (plan.moved, plan.count(RedriveAction.STAYS)) == (2, 2)
    assert office.queue.ids == ["id-2", "id-3"]
    assert sorted(office.queue.sent) == sorted(
        [notice("1.json.gz", version_id="v2", size=5, etag="new"), notice("4.json.gz", size=3, etag="old")]
    )
    assert is_whole(office, 2)


def test_where_no_letter_is_meant_none_is_moved_or_discarded(office: Office) -> None:
    """`redrive --reason truncated` on a queue without such letters has to leave the others alone."""
    office.queue.add(letter(1, "", source="arn:q"))

    plan = plan_and_move(office, LetterFilter(reasons=frozenset({"truncated"})))
    gone = office.desk.discard(set())

    assert (plan.survey.count, plan.survey.others, plan.moved, gone) == (0, 1, 0, (0, 0))
    assert (office.queue.ids, office.queue.sent) == (["id-1"], [])
    assert is_whole(office, 1)


def test_a_plan_moves_nothing(office: Office) -> None:
    """This is what --dry-run shows."""
    office.objects.states = {"1.json.gz": MENDED}
    office.queue.add(letter(1), letter(2))

    plan = office.desk.plan(ALL, RedriveOptions())

    assert plan.going == {"id-1"}
    assert office.queue.sent == []
    assert is_whole(office, 2)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_killed_between_send_and_delete_nothing_is_lost(office: Office, number: int) -> None:
    """What was sent and not deleted goes twice, which changes nothing; moved again, everything has gone."""
    office.queue.add(*(letter(one) for one in range(50)))
    bodies = {one.body for one in office.queue.letters}
    plan = office.desk.plan(ALL, RedriveOptions(force=True))
    office.queue.before = fails_at("delete", number, KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        office.desk.move(plan, RedriveOptions(force=True))

    still = {one.body for one in office.queue.letters}
    assert still | set(office.queue.sent) == bodies
    assert len(still & set(office.queue.sent)) == 10
    assert is_whole(office, len(still))
    plan_and_move(office, policy=RedriveOptions(force=True))
    assert set(office.queue.sent) == bodies
    assert len(office.queue.sent) == 60
    assert office.queue.ids == []


def test_a_queue_that_takes_no_more_leaves_the_rest_where_it_is(office: Office) -> None:
    """The plan says how far it came."""
    office.queue.add(*map(letter, range(50)))
    plan = office.desk.plan(ALL, RedriveOptions(force=True))
    office.queue.before = fails_at("send", 3, NO_ANSWER)

    with pytest.raises(QueueUnavailable):
        office.desk.move(plan, RedriveOptions(force=True))

    assert (plan.moved, len(office.queue.sent)) == (20, 20)
    assert is_whole(office, 30)


def test_a_letter_that_fails_again_meanwhile_is_not_moved_in_circles(office: Office) -> None:
    """The consumer is quick: while some are moved, the first are back, under other ids."""
    office.queue.add(*map(letter, range(30)))
    numbers = count(100)
    office.queue.before = lambda call: office.queue.add(letter(next(numbers))) if call == "send" else None

    plan = plan_and_move(office, policy=RedriveOptions(force=True))

    assert plan.moved == len(office.queue.sent) == 30
    assert office.queue.ids == ["id-100", "id-101", "id-102"]


def test_only_what_is_meant_is_moved(office: Office) -> None:
    """The others are handed back."""
    office.queue.add(*(letter(number, "too_large" if number % 5 == 0 else "empty") for number in range(40)))
    office.objects.states = {f"{number}.json.gz": UNTOUCHED for number in range(40)}

    plan = plan_and_move(office, LetterFilter(reasons=frozenset({"too_large"})))

    assert plan.moved == 8
    assert is_whole(office, 32)


def test_a_rate_is_kept_and_letters_do_not_come_again_meanwhile(office: Office) -> None:
    """Ten in a second; a step is short beside the time that letters are hidden."""
    office.queue.add(*map(letter, range(95)))

    plan_and_move(office, policy=RedriveOptions(force=True), rate=2)

    assert sum(office.slept) == pytest.approx(95 / 2)
    assert max(office.slept) <= 20
    assert len(office.queue.sent) == 95


def test_the_newest_version_can_be_asked_for_without_s3(office: Office) -> None:
    """For those who may not read the bucket."""
    office.queue.add(letter(1, body=notice("1.json.gz", version_id="v1", size=3, etag="old")))

    plan_and_move(office, policy=RedriveOptions(newest=True))

    assert office.queue.sent == [notice("1.json.gz")]
    assert office.objects.asked == []


def test_sqs_moves_all_only_where_nothing_stays_and_nothing_is_changed(office: Office) -> None:
    """Its move task cannot choose, and cannot announce another version."""
    office.objects.states = {"1.json.gz": MENDED, "2.json.gz": UNTOUCHED}
    office.queue.add(letter(3, "", source="arn:q"))

    def way(policy: RedriveOptions) -> RedriveMethod:
        return office.desk.plan(ALL, policy).way(ALL, one_by_one=False)

    suits = way(RedriveOptions())
    office.queue.add(letter(2))
    with_one_that_stays = way(RedriveOptions())
    forced = way(RedriveOptions(force=True))
    office.queue.add(letter(1))
    with_one_to_announce_anew = way(RedriveOptions(force=True))

    assert (suits, with_one_that_stays) == (RedriveMethod.MOVE_TASK, RedriveMethod.ONE_BY_ONE)
    assert (forced, with_one_to_announce_anew) == (RedriveMethod.MOVE_TASK, RedriveMethod.ONE_BY_ONE)


# SQS's own move


def test_a_move_task_is_followed_to_its_end(office: Office) -> None:
    """What it says comes from SQS."""
    office.queue.add(*map(letter, range(9)))

    task = office.desk.move_all(100)

    assert (task.status, task.moved, len(office.queue.sent)) == ("COMPLETED", 9, 9)
    assert "4 of about 9 letters moved to trail ..." in office.said


def test_an_interrupt_cancels_the_move_task_and_says_how_far_it_came(office: Office) -> None:
    """The rest stays where it is."""
    office.queue.add(*map(letter, range(20)))
    office.queue.before = fails_at("tasks", 4, KeyboardInterrupt())

    task = office.desk.move_all(None)

    assert (task.status, task.cancelled, task.moved) == ("CANCELLED", True, len(office.queue.sent))
    assert 0 < task.moved < 20
    assert len(office.queue.ids) == 20 - task.moved


def test_a_cancelled_task_that_is_listed_no_more_ends_with_what_its_cancellation_said(office: Office) -> None:
    """Not every server keeps such a task."""
    office.queue.add(*map(letter, range(20)))
    office.queue.forgets = True
    office.queue.start_move(None)

    ended = office.desk.cancel()

    assert ended
    assert (ended.status, ended.cancelled, ended.moved) == ("CANCELLED", True, 2)


def test_an_interrupt_after_the_last_letter_is_no_cancellation(office: Office) -> None:
    """Cancelling what is over is refused by SQS; what counts is how it ended."""
    office.queue.add(letter(1))
    office.queue.before = fails_at("tasks", 2, KeyboardInterrupt())
    office.queue.moves_each_poll = 5

    task = office.desk.move_all(None)

    assert (task.status, task.cancelled, task.moved) == ("COMPLETED", False, 1)


def test_an_interrupt_while_nothing_has_begun_is_just_one(office: Office) -> None:
    """No task is cancelled that was not started."""
    office.queue.add(letter(1))
    office.queue.before = fails_at("start", 1, KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        office.desk.move_all(None)

    assert is_whole(office, 1)


def test_a_task_of_somebody_else_is_left_alone_and_can_be_followed_or_ended(office: Office) -> None:
    """SQS allows one at a time; a second start would only be refused."""
    office.queue.add(*map(letter, range(20)))
    office.queue.start_move(None)

    with pytest.raises(
        SetupError, match=r"running already: 2 of about 20 letters moved to trail\. .*--attach.*--cancel"
    ):
        office.desk.move_all(None)
    office.queue.before = fails_at("tasks", 3, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        office.desk.attach()
    after_interrupt = office.queue.tasks[0].status
    ended = office.desk.cancel()

    assert after_interrupt == "RUNNING"
    assert ended
    assert ended.status == "CANCELLED"
    assert office.desk.attach() is office.desk.cancel() is None


def test_a_task_that_sqs_does_not_list_yet_is_waited_for_but_not_for_ever(office: Office) -> None:
    """Lists lag behind; a command must end all the same."""
    office.queue.add(letter(1))
    office.queue.unlisted = 1_000

    with pytest.raises(SetupError, match="does not list"):
        office.desk.move_all(None)

    assert 10 <= sum(office.slept) <= 60


def test_the_end_of_an_earlier_task_is_not_taken_for_that_of_this_one(office: Office) -> None:
    """Ended tasks are listed without their handle: their start tells them apart."""
    office.queue.add(*map(letter, range(3)))
    office.desk.move_all(None)
    office.queue.add(*map(letter, range(5)))
    office.queue.before = lambda call: setattr(office.queue, "unlisted", 9) if call == "start" else None

    assert office.desk.move_all(None).moved == 5


# Files


def test_discarding_deletes_what_was_written_and_nothing_that_came_since(office: Office) -> None:
    """A letter that nobody has read must not go with the others."""
    office.queue.add(*map(letter, range(25)))
    lines: list[bytes] = []
    survey = office.desk.export(ALL, lines.append)
    assert is_whole(office, 25)
    office.queue.add(letter(99))

    gone = office.desk.discard(survey.ids)

    assert gone == (25, 0)
    assert {decode_line(line, 1).body for line in lines} == {letter(number).body for number in range(25)}
    assert office.queue.ids == ["id-99"]
    assert is_whole(office, 1)


def test_what_comes_in_is_what_went_out(office: Office) -> None:
    """An export is a backup only if this holds, for a letter that SQS moved, too."""
    office.queue.add(*map(letter, range(25)), letter(50, "truncated", source="arn:q", receives=41))
    lines: list[bytes] = []
    office.desk.export(ALL, lines.append)
    other = Office()

    done = other.desk.bring_in((decode_line(line, 1) for line in lines), to_source=False)

    def essence(here: Office) -> set[tuple[object, ...]]:
        return {(one.body, one.reason, one.rejected) for one in here.queue.letters}

    assert done == 26
    assert essence(other) == essence(office)
    assert {one.attempts for one in other.queue.letters if one.reason == "max_receives"} == {1}


def test_bodies_can_be_brought_to_the_source_queue(office: Office) -> None:
    """The consumer then tries them; nothing is put into the dead-letter queue."""
    lines = [decode_line(b'{"body":"one"}', 1), decode_line(b'{"body":"two","id":"x","unknown":1}', 2)]

    assert office.desk.bring_in(lines, to_source=True) == 2
    assert (office.queue.sent, office.queue.ids) == (["one", "two"], [])


def test_an_import_that_breaks_off_says_how_far_it_came(office: Office) -> None:
    """Then the operator knows what a second run doubles."""
    office.queue.before = fails_at("put", 2, NO_ANSWER)

    with pytest.raises(SetupError, match="10 letters were sent before that"):
        office.desk.bring_in([decode_line(b'{"body":"x"}', 1)] * 15, to_source=False)


def test_unknown_ids_mention_letters_that_cannot_be_seen(office: Office) -> None:
    """The letter may be there, in the hands of another command."""
    office.queue.add(letter(1))
    office.queue.receive(60)
    survey = office.desk.look(LetterFilter(ids=frozenset({"id-1"})))

    with pytest.raises(SetupError, match=r"id-1 \(in somebody else's hands: 1;"):
        survey.refuse_unknown(LetterFilter(ids=frozenset({"id-1"})))


def test_letters_are_counted_from_the_oldest_to_the_newest(office: Office) -> None:
    """The summary's two columns."""
    office.queue.add(letter(1, sent_at=SENT_AT), letter(2, sent_at=SENT_AT - 60), letter(3, sent_at=SENT_AT + 60))

    (group,) = office.desk.look(ALL).as_groups()

    assert (group.letters, group.oldest, group.newest) == (3, "2027-01-15T07:59:00Z", "2027-01-15T08:01:00Z")
