"""Promises about the stream of actions: a doubtful file is read twice, and a part of a file never counts as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from tests.support.factories import event, event_id, key, log_file, message, packed, s3_entry, s3_notice
from tests.support.fakes import make_pipeline
from worker.errors import Reason
from worker.pipeline.limits import Limits

if TYPE_CHECKING:
    from tests.support.fakes import FakePipeline
    from worker.pipeline.objects import ObjectRef

GOOD = log_file(event(1), event(2))

DOUBTFUL = {
    Reason.EMPTY: b"",
    Reason.TRUNCATED: GOOD[:-20],
    Reason.CORRUPT: GOOD[:-8] + b"\0" * 8,
    Reason.NOT_JSON: b"<Error><Code>InternalError</Code></Error>",
    Reason.NO_RECORDS: packed(b"{}"),
}


def answer_first(pipeline: FakePipeline, *contents: bytes) -> None:
    """Have the store answer the next reads of the file with these, and then with the file."""
    answers = [*contents, GOOD]

    def change(ref: ObjectRef) -> None:
        pipeline.store.put(ref.key, answers.pop(0) if len(answers) > 1 else answers[0])

    pipeline.store.on_fetch = change


@pytest.mark.parametrize("reason", DOUBTFUL)
def test_a_doubtful_file_is_read_again_and_the_second_look_counts(pipeline: FakePipeline, reason: Reason) -> None:
    """What a proxy made up once is no property of the object."""
    announcement = pipeline.announce("one", GOOD)
    answer_first(pipeline, DOUBTFUL[reason])

    result = pipeline.consume(announcement)

    assert (result.failed, result.dead_letters, len(pipeline.index.event_ids)) == ((), 0, 2)
    assert pipeline.store.verified == [key("one")]
    assert (result.files[0].read, result.files[0].indexed, result.files[0].rejected) == (2, 2, 0)


@pytest.mark.parametrize("reason", DOUBTFUL)
def test_what_two_looks_agree_on_is_a_letter(pipeline: FakePipeline, reason: Reason) -> None:
    """The object itself is at fault; a third look would find the same."""
    content = DOUBTFUL[reason]
    pipeline.store.put(key("one"), content)
    entry = s3_entry(key("one"))
    entry["s3"]["object"].pop("size", None)

    result = pipeline.consume(message(s3_notice(entry)))

    assert (result.failed, pipeline.queue.reasons) == ((), {reason.value: 1})
    assert pipeline.store.verified == [key("one")]


def test_two_looks_that_disagree_send_the_message_back(pipeline: FakePipeline) -> None:
    """Nobody knows what the object holds: a later look will."""
    announcement = pipeline.announce("one", GOOD)
    answer_first(pipeline, DOUBTFUL[Reason.NOT_JSON], DOUBTFUL[Reason.CORRUPT])

    result = pipeline.consume(announcement)

    assert (result.failed, result.files[0].unavailable) == (("message-1",), "s3:mismatch")
    assert pipeline.queue.letters == []


def test_a_sound_file_is_read_once(pipeline: FakePipeline) -> None:
    """The second look costs nothing where there is nothing to doubt."""
    pipeline.consume(pipeline.announce("one", GOOD))

    assert (pipeline.store.fetched, pipeline.store.verified) == ([key("one")], [])


def test_a_file_that_could_not_be_handed_on_whole_goes_back() -> None:
    """The time ends between two of its requests: part of it is in, and its message is not done."""
    remaining = [900.0]
    events = [event(n, requestParameters={"text": "x" * 200_000}) for n in range(8)]
    with make_pipeline(replace(Limits(), bulk_actions=1)) as pipeline:
        pipeline.left = lambda: remaining[0]
        pipeline.index.on_deliver = lambda: remaining.__setitem__(0, 1.0)

        result = pipeline.consume(pipeline.announce("one", log_file(*events)))

        assert result.failed == ("message-1",)
        assert not result.files[0].complete


def test_what_was_read_before_the_reserve_is_still_sent() -> None:
    """Half of the reserve is for that: records that were fetched, inflated and validated are not thrown away."""
    remaining = [900.0]
    with make_pipeline(Limits(fetch_ahead=1)) as pipeline:
        pipeline.left = lambda: remaining[0]
        pipeline.store.on_fetch = lambda ref: remaining.__setitem__(0, 8.0) if "late" in ref.key else None

        result = pipeline.consume(pipeline.announce("one", GOOD, 1), pipeline.announce("late", log_file(event(3)), 2))

        assert result.failed == ("message-2",)
        assert pipeline.index.event_ids == {event_id(1), event_id(2)}


def test_nothing_is_sent_in_the_part_of_the_reserve_that_settles() -> None:
    """Handing back must not come too late, whatever was read."""
    remaining = [900.0]
    with make_pipeline(Limits(fetch_ahead=1)) as pipeline:
        pipeline.left = lambda: remaining[0]
        pipeline.store.on_fetch = lambda ref: remaining.__setitem__(0, 4.0) if "late" in ref.key else None

        result = pipeline.consume(pipeline.announce("one", GOOD, 1), pipeline.announce("late", log_file(event(3)), 2))

        assert result.failed == ("message-1", "message-2")
        assert pipeline.index.deliveries == 0
