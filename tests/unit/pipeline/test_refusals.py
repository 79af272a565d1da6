"""Promises about records that are refused alone in their index: believed after a while, if others are accepted."""

from __future__ import annotations

from tests.support.factories import event, log_file
from tests.support.fakes import FakePipeline
from worker.pipeline.refusals import Refusals

OTHER_DAY = "2026-11-20T10:00:00Z"


def refuse_one(pipeline: FakePipeline, cause: str = "mapper_parsing_exception") -> None:
    pipeline.index.refuse = lambda document: cause if document["@timestamp"] == OTHER_DAY else ""


def test_a_record_that_is_refused_alone_is_a_letter_after_a_while(pipeline: FakePipeline) -> None:
    """Forever returned, it would end as `max_receives`, without a position or a reason."""
    refuse_one(pipeline)
    alone = pipeline.announce("alone", log_file(event(1, eventTime=OTHER_DAY)), 1)

    results = [
        pipeline.consume(alone, pipeline.announce(f"good-{n}", log_file(event(10 + n)), 2 + n)) for n in range(8)
    ]

    assert [result.failed for result in results] == [("message-1",)] * 7 + [()]
    assert [letter.reason.value for letter in pipeline.queue.letters] == ["records_rejected"]
    assert pipeline.queue.letters[0].rejected == ((0, "mapper_parsing_exception"),)


def test_no_record_is_blamed_while_nothing_else_is_accepted(pipeline: FakePipeline) -> None:
    """A cluster that refuses everything is not set up as it should be."""
    refuse_one(pipeline)
    alone = pipeline.announce("alone", log_file(event(1, eventTime=OTHER_DAY)), 1)
    pipeline.consume(pipeline.announce("good", log_file(event(10)), 2))

    results = [pipeline.consume(alone) for _ in range(20)]

    assert {result.failed for result in results} == {("message-1",)}
    assert pipeline.queue.letters == []


def test_another_cause_starts_the_count_again(pipeline: FakePipeline) -> None:
    """Then it is the cluster that changes, not the record."""
    alone = pipeline.announce("alone", log_file(event(1, eventTime=OTHER_DAY)), 1)

    for n in range(14):
        refuse_one(pipeline, "mapper_parsing_exception" if n < 7 else "illegal_argument_exception")
        result = pipeline.consume(alone, pipeline.announce(f"good-{n}", log_file(event(10 + n)), 2 + n))
        assert result.failed == ("message-1",)

    assert pipeline.queue.letters == []


def test_the_memory_is_bounded() -> None:
    """A consumer runs for months."""
    with_many = Refusals()
    pipeline = FakePipeline()
    refuse_one(pipeline)
    pipeline.consumer.refusals = with_many

    for n in range(1_100):
        pipeline.consume(pipeline.announce(f"alone-{n}", log_file(event(n, eventTime=OTHER_DAY)), n))

    pipeline.consumer.close()
    assert len(with_many._files) == 1_000  # noqa: SLF001 - what is bounded
