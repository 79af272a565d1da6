"""Promises about one bulk request: every action gets exactly one outcome, whatever the server answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import action, bulk_actions, event
from worker.pipeline.bulk import DUPLICATE, INDEXED, BulkResponse, Outcome, Verdict
from worker.pipeline.delivery import Delivery

if TYPE_CHECKING:
    from random import Random

MIB = 1 << 20


def delivery(count: int = 3, *, max_bytes: int = 10 * MIB) -> Delivery:
    return Delivery(bulk_actions(count), max_bytes=max_bytes)


def items(*several: tuple[int, str]) -> BulkResponse:
    return BulkResponse(200, items=several)


def ids(body: bytes | None) -> list[int]:
    """Which of `bulk_actions` a body holds, by number."""
    assert body is not None
    return [int(line.split(b'"eventID":"')[1].split(b'"')[0][-12:]) for line in body.split(b"\n")[1::2]]


def test_outcomes_are_paired_with_actions_by_position() -> None:
    """Ids repeat within a request; positions do not."""
    one = delivery(4)
    one.next_body()

    one.apply(items(CREATED, CONFLICT, (429, "cluster_block_exception"), CREATED))

    assert one.next_body() is None
    assert one.finish("") == [INDEXED, DUPLICATE, Outcome(Verdict.UNAVAILABLE, "cluster_block_exception"), INDEXED]


def test_the_same_id_twice_in_a_request_has_an_outcome_each() -> None:
    """A file may hold an event twice: the first is indexed, the second is the duplicate."""
    one = Delivery([action(event(1), 0), action(event(1), 1)], max_bytes=MIB)
    one.next_body()

    one.apply(items(CREATED, CONFLICT))

    assert one.finish("") == [INDEXED, DUPLICATE]


@pytest.mark.parametrize("count", [0, 1, 2, 4, 100])
def test_an_answer_of_another_number_of_items_is_no_answer(count: int) -> None:
    """Old servers skip what they do not know: outcomes would slide onto their neighbours."""
    one = delivery(3)
    body = one.next_body()

    one.apply(items(*[CREATED] * count))

    assert one.next_body() is None
    assert one.has_retries
    one.release_retries()
    assert one.next_body() == body
    assert {outcome.verdict for outcome in one.finish("x")} == {Verdict.UNAVAILABLE}


def test_only_what_was_throttled_is_sent_again() -> None:
    """Sending the others again would be answered 409, and be counted as duplicates."""
    one = delivery(4)
    one.next_body()
    one.apply(items(CREATED, (429, PRESSURE), CREATED, (503, "unavailable_shards_exception")))

    one.release_retries()
    body = one.next_body()
    one.apply(items(CREATED, CREATED))

    assert ids(body) == [1, 3]
    assert one.finish("") == [INDEXED] * 4
    assert not one.has_retries


def test_what_is_throttled_waits_for_its_turn() -> None:
    """Backing off is the edge's business: nothing is offered again before `resume`."""
    one = delivery(2)
    one.next_body()

    one.apply(items((429, PRESSURE), (429, PRESSURE)))

    assert one.next_body() is None
    assert one.has_retries
    assert one.retry_cause == PRESSURE


def test_what_is_throttled_for_ever_is_unavailable() -> None:
    """Not the record's fault: it goes back to the queue, with the cause."""
    one = delivery(2)
    for _ in range(50):
        one.release_retries()
        one.next_body()
        one.apply(items((429, PRESSURE), CREATED) if one.finish("")[1] is not INDEXED else items((429, PRESSURE)))

    assert one.finish(one.retry_cause) == [Outcome(Verdict.UNAVAILABLE, PRESSURE), INDEXED]


def test_a_refused_record_is_sent_once_more_in_degraded_form() -> None:
    """What the mapping cannot hold is still an event; it is indexed in the form that always passes."""
    one = delivery(3)
    one.next_body()
    one.apply(items(CREATED, (400, MAPPING), CREATED))

    body = one.next_body()
    one.apply(items(CREATED))

    assert ids(body) == [1]
    assert body is not None
    assert b'"degraded":"mapper_parsing_exception"' in body
    assert one.finish("") == [INDEXED, Outcome(Verdict.DEGRADED, MAPPING), INDEXED]


def test_a_record_that_is_refused_in_degraded_form_too_is_rejected() -> None:
    """Once, not for ever; the dead letter names it by position and cause."""
    one = delivery(2)
    one.next_body()
    one.apply(items(CREATED, (400, MAPPING)))
    one.next_body()

    one.apply(items((400, "illegal_argument_exception")))

    assert one.next_body() is None
    assert not one.has_retries
    assert one.finish("") == [INDEXED, Outcome(Verdict.REJECTED, "illegal_argument_exception")]


def test_a_record_already_in_degraded_form_is_rejected_at_once() -> None:
    """There is no third form."""
    odd = b'{"eventID":"1","trailsink":1}'
    one = Delivery([action(odd, 0), action(b'{"eventID":"2"}', 1)], max_bytes=MIB)
    one.next_body()

    one.apply(items((400, MAPPING), CREATED))

    assert one.next_body() is None
    assert one.finish("")[0] == Outcome(Verdict.REJECTED, MAPPING)


def test_a_degraded_record_that_is_there_already_is_a_duplicate() -> None:
    """The second delivery of a degraded record changes nothing either."""
    one = delivery(1)
    one.next_body()
    one.apply(items((400, MAPPING)))
    one.next_body()

    one.apply(items(CONFLICT))

    assert one.finish("") == [DUPLICATE]


def test_a_throttled_degraded_record_keeps_its_form() -> None:
    """It must not go back to the form that was refused."""
    one = delivery(1)
    one.next_body()
    one.apply(items((400, MAPPING)))
    degraded = one.next_body()
    one.apply(items((429, PRESSURE)))

    one.release_retries()
    again = one.next_body()
    one.apply(items(CREATED))

    assert again == degraded
    assert one.finish("") == [Outcome(Verdict.DEGRADED, MAPPING)]


@pytest.mark.parametrize("count", [1, 19, 30])
def test_records_that_are_all_refused_are_no_bad_records(count: int) -> None:
    """The degraded form always passes: an index that refuses it from everybody is not set up as it should be."""
    one = delivery(count)
    for _ in range(2):
        one.next_body()
        one.apply(items(*[(400, "illegal_argument_exception")] * count))

    assert one.finish("") == [Outcome(Verdict.UNAVAILABLE, "illegal_argument_exception")] * count


CONFLICT = (409, "version_conflict_engine_exception")
CREATED = (201, "")


@pytest.mark.parametrize("neighbour", [CREATED, CONFLICT])
def test_one_good_record_shows_that_its_index_is_well(neighbour: tuple[int, str]) -> None:
    """Then those that are refused are bad, however many they are."""
    one = delivery(30)
    one.next_body()
    one.apply(items(neighbour, *[(400, MAPPING)] * 29))
    one.next_body()
    one.apply(items(*[(400, MAPPING)] * 29))

    assert [outcome.verdict for outcome in one.finish("")][1:] == [Verdict.REJECTED] * 29


def test_a_good_record_says_nothing_of_another_index() -> None:
    """An alias without write index, a pipeline that is missing: it may be the other index alone."""
    other_day = action(event(1, eventTime="2026-11-22T10:00:00Z"), 1)
    one = Delivery([action(event(0), 0), other_day], max_bytes=MIB)
    one.next_body()
    one.apply(items(CREATED, (400, MAPPING)))
    one.next_body()
    one.apply(items((400, MAPPING)))

    assert one.finish("") == [INDEXED, Outcome(Verdict.UNAVAILABLE, MAPPING)]


def test_a_request_that_is_too_large_is_sent_in_halves_at_once() -> None:
    """A proxy's limit may be smaller than the cluster's; nothing is lost, and nothing waits."""
    one = delivery(5)
    one.next_body()
    one.apply(BulkResponse(413))

    first = one.next_body()
    one.apply(items(*[CREATED] * len(ids(first))))
    second = one.next_body()
    one.apply(items(*[CREATED] * len(ids(second))))

    assert ids(first) + ids(second) == [0, 1, 2, 3, 4]
    assert one.finish("") == [INDEXED] * 5


def test_a_single_record_that_is_too_large_is_rejected() -> None:
    """It cannot be halved; its degraded form is longer still."""
    one = delivery(1)
    one.next_body()

    one.apply(BulkResponse(413))

    assert one.next_body() is None
    assert one.finish("") == [Outcome(Verdict.REJECTED, "too_large")]


def bisect(one: Delivery, bad: set[int], answer: BulkResponse) -> int:
    """Be a server that refuses every request that holds a bad record; returns the number of requests."""
    rounds = 0
    while not one.deferred_cause and (body := one.next_body()) is not None:
        rounds += 1
        found = set(ids(body))
        one.apply(answer if found & bad else items(*[CREATED] * len(found)))
    return rounds


@pytest.mark.parametrize("bad", [0, 7, 15])
def test_a_bad_action_is_found_by_bisection(bad: int) -> None:
    """A request refused whole costs one record, and a handful of requests."""
    one = delivery(16)

    rounds = bisect(one, {bad}, BulkResponse(400, "illegal_argument_exception"))

    outcomes = one.finish("")
    assert outcomes[bad] == Outcome(Verdict.REJECTED, "illegal_argument_exception")
    assert [outcome for at, outcome in enumerate(outcomes) if at != bad] == [INDEXED] * 15
    assert rounds <= 10


@given(count=st.integers(3, 40), bad=st.sets(st.integers(0, 39), max_size=2), status=st.sampled_from([400, 413]))
def test_bisection_finds_every_bad_action_and_no_other(count: int, bad: set[int], status: int) -> None:
    """Wherever they stand, each good neighbour is indexed."""
    one = delivery(count)

    bisect(one, bad, BulkResponse(status, "illegal_argument_exception"))

    verdicts = [outcome.verdict for outcome in one.finish("")]
    assert verdicts == [Verdict.REJECTED if at in bad else Verdict.INDEXED for at in range(count)]
    assert one.deferred_cause == ""


def test_a_search_that_finds_nothing_but_bad_actions_is_given_up() -> None:
    """A request that is refused whatever it holds is no fault of its records: asking for each would take hours."""
    one = delivery(2_000)

    rounds = bisect(one, set(range(2_000)), BulkResponse(400, "illegal_argument_exception"))

    assert one.deferred_cause == "illegal_argument_exception"
    assert rounds < 50
    assert {outcome.verdict for outcome in one.finish(one.deferred_cause)} == {Verdict.UNAVAILABLE}


def test_a_refused_single_action_gets_its_degraded_form_first() -> None:
    """What breaks the request may be the record's own text."""
    one = delivery(1)
    one.next_body()
    one.apply(BulkResponse(400, "illegal_argument_exception"))

    one.next_body()
    one.apply(items(CREATED))

    assert one.finish("") == [Outcome(Verdict.DEGRADED, "illegal_argument_exception")]


@pytest.mark.parametrize(
    "answer",
    [
        BulkResponse(401),
        BulkResponse(403, "security_exception"),
        BulkResponse(403, "cluster_block_exception"),
        BulkResponse(404),
        BulkResponse(400),
    ],
)
def test_a_fault_of_the_set_up_rejects_no_record(answer: BulkResponse) -> None:
    """Credentials, policy, address or a proxy: every message goes back, nothing is dead-lettered."""
    one = delivery(25)
    one.next_body()

    one.apply(answer)

    assert one.next_body() is None
    assert not one.has_retries
    assert {outcome.verdict for outcome in one.finish("")} == {Verdict.UNAVAILABLE}


@pytest.mark.parametrize(
    "answer", [BulkResponse(0, "timeout"), BulkResponse(502), BulkResponse(503, "x"), BulkResponse(403, "throttled")]
)
def test_a_request_without_an_answer_is_sent_again_whole(answer: BulkResponse) -> None:
    """The documents may be in already: then the second answer is 409, and nothing is doubled."""
    one = delivery(3)
    body = one.next_body()
    one.apply(answer)

    one.release_retries()

    assert one.next_body() == body
    one.apply(items(CONFLICT, CONFLICT, CREATED))
    assert one.finish("") == [DUPLICATE, DUPLICATE, INDEXED]


def large_body() -> tuple[Delivery, bytes]:
    """Four records of 300 kB, asked for once."""
    one = Delivery([action(event(number, userAgent="x" * 300_000), number) for number in range(4)], max_bytes=10 * MIB)
    body = one.next_body()
    assert body
    return one, body


def test_a_body_above_the_indexing_pressure_comes_again_in_halves() -> None:
    """One that is larger than the node's limit could never pass whole, however long it waits."""
    one, _ = large_body()

    one.apply(BulkResponse(429, PRESSURE))
    one.release_retries()
    halves = []
    while (body := one.next_body()) is not None:
        halves.append(ids(body))
        one.apply(items(*[CREATED] * len(halves[-1])))

    assert halves == [[0, 1], [2, 3]]
    assert one.finish("") == [INDEXED] * 4


def test_a_body_that_is_a_small_part_of_the_nodes_memory_comes_again_whole() -> None:
    """Others fill it; twice as many requests would be refused twice as often."""
    one, body = large_body()
    for _ in range(4):
        one.apply(BulkResponse(429, PRESSURE, memory=4 * len(body)))
        one.release_retries()

        assert one.next_body() == body


def test_a_body_that_is_a_large_part_of_the_nodes_memory_comes_again_in_halves() -> None:
    """The node would have to be nearly idle to take it."""
    one, body = large_body()
    one.apply(BulkResponse(429, PRESSURE, memory=4 * len(body) - 4))
    one.release_retries()

    assert ids(one.next_body()) == [0, 1]


def test_a_body_that_is_refused_again_and_again_comes_in_halves_all_the_same() -> None:
    """Where others hold all but a little of the node's memory for good, only what is smaller gets in."""
    one, body = large_body()
    for _ in range(5):
        one.apply(BulkResponse(429, PRESSURE, memory=100 * len(body)))
        one.release_retries()
        last = one.next_body()

    assert ids(last) == [0, 1]


def test_a_single_large_record_comes_again_whole() -> None:
    """It has no halves, and the gate has to know."""
    one = Delivery([action(event(userAgent="x" * 600_000))], max_bytes=10 * MIB)
    body = one.next_body()

    assert not one.should_split(BulkResponse(429, PRESSURE))

    one.apply(BulkResponse(429, PRESSURE))
    one.release_retries()

    assert one.next_body() == body


def test_a_small_body_comes_again_whole() -> None:
    """Halving small requests would multiply them without sparing the node anything."""
    one = delivery(4)
    one.next_body()

    one.apply(BulkResponse(429, PRESSURE))
    one.release_retries()

    assert ids(one.next_body()) == [0, 1, 2, 3]


def test_degraded_forms_that_have_grown_are_sent_within_the_limit() -> None:
    """The degraded form holds the text as a string: quotes make it longer."""
    actions = [action(event(number, requestParameters={"q": '"' * 2_000}), number) for number in range(8)]
    limit = sum(len(one.lines) for one in actions)
    one = Delivery(actions, max_bytes=limit)
    one.next_body()
    one.apply(items(*[(400, MAPPING)] * 8))

    bodies = []
    while (body := one.next_body()) is not None:
        bodies.append(body)
        one.apply(items(*[CREATED] * len(ids(body))))

    assert len(bodies) > 1
    assert all(len(body) <= limit for body in bodies)
    assert [at for body in bodies for at in ids(body)] == list(range(8))


STATUSES = [(201, ""), (409, "v"), (429, "r"), (503, "u"), (400, "m"), (404, "index_not_found_exception"), (403, "")]

ANSWERS = [
    BulkResponse(0),
    BulkResponse(429, "r"),
    BulkResponse(413),
    BulkResponse(400, "i"),
    BulkResponse(503),
    BulkResponse(403, "x"),
    BulkResponse(200),
]


@given(count=st.integers(1, 12), chance=st.randoms(use_true_random=False))
def test_every_action_has_exactly_one_outcome_whatever_the_server_says(count: int, chance: Random) -> None:
    """No mixture of answers may lose an action, double one, or go on for ever."""
    one = delivery(count)
    sent = 0
    for _ in range(30):
        one.release_retries()
        while (body := one.next_body()) is not None:
            sent += 1
            whole = chance.random() < 0.3
            several = [chance.choice(STATUSES) for _ in ids(body)]
            one.apply(chance.choice(ANSWERS) if whole else items(*several))

    outcomes = one.finish("over")
    assert len(outcomes) == count
    assert all(isinstance(outcome, Outcome) for outcome in outcomes)
    assert sent < 30 * count * 4


PRESSURE = "rejected_execution_exception"
MAPPING = "mapper_parsing_exception"
