"""Promises about the wait of a message that goes back."""

from __future__ import annotations

import pytest

from tests.support.factories import message
from tests.support.fakes import DOWN, FakePipeline, make_pipeline
from worker.pipeline.deadline import DEADLINE
from worker.pipeline.limits import MAX_RECEIVE_COUNT, Limits
from worker.pipeline.settlement import backoff


@pytest.mark.parametrize(
    ("receives", "seconds"),
    [(1, 30), (2, 60), (3, 120), (4, 240), (5, 480), (6, 960), (7, 1920), (8, 3600), (9, 3600), (40, 3600)],
)
def test_the_wait_doubles_with_each_receive_from_30_seconds_to_an_hour(
    pipeline: FakePipeline, receives: int, seconds: int
) -> None:
    """A neighbour that is down all day must not use up the receives that SQS allows."""
    pipeline.consume(pipeline.announce("one", DOWN, receive_count=receives))

    assert [one.seconds for one in pipeline.queue.handed_back] == [seconds]


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 90), (0.5, 105), (1.0, 120)])
def test_the_wait_is_jittered(jitter: float, seconds: int) -> None:
    """A burst that failed together must not come back together."""
    with make_pipeline(jitter=jitter) as pipeline:
        pipeline.consume(pipeline.announce("one", DOWN, receive_count=3))

        assert [one.seconds for one in pipeline.queue.handed_back] == [seconds]


def test_a_day_of_outage_fits_into_the_receives_that_sqs_allows() -> None:
    """Forty receives, then SQS would move the message to the dead letters for no fault of its own."""
    with make_pipeline(jitter=0.0) as pipeline:
        one = pipeline.announce("one", DOWN)
        for receives in range(1, 41):
            pipeline.consume(message(one.body, receive_count=receives))

        assert sum(waited.seconds for waited in pipeline.queue.handed_back) > 24 * 3600


@pytest.mark.parametrize("causes", [{"no_connection"}, {DEADLINE}, {"s3:slow"}])
def test_receives_outlast_a_day_and_a_half(causes: set[str]) -> None:
    """At the shortest delays that chance can give: a longer outage than a day must not make a dead letter."""
    receives = range(1, MAX_RECEIVE_COUNT + 1)

    hours = sum(backoff(Limits(), number, causes, jitter=0.0) for number in receives) / 3_600

    assert hours > 36
