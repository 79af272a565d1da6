"""Promises about retries: a file is given up only for a reason, and no burst reaches the queue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_backfill import selected_file
from worker.backfill.retry import LoadTask, RateLimiter, RetryDecision, decide, retry_delay


@pytest.mark.parametrize(
    ("cause", "attempts", "seconds", "last_success", "decision"),
    [
        ("429", 1, 5, None, RetryDecision.RETRY),
        ("429", 50, 599, 500, RetryDecision.RETRY),
        ("429", 50, 600, 500, RetryDecision.GIVE_UP),
        ("no_connection", 50, 600, None, RetryDecision.STOP),
        ("s3:SlowDown", 4, 60, 50, RetryDecision.RETRY),
        ("s3:SlowDown", 5, 60, 50, RetryDecision.GIVE_UP),
        ("s3:SlowDown", 5, 60, None, RetryDecision.RETRY),
        ("s3:AccessDenied", 2, 5, 3, RetryDecision.RETRY),
        ("s3:AccessDenied", 3, 5, 3, RetryDecision.GIVE_UP),
        ("s3:AccessDenied", 3, 5, None, RetryDecision.STOP),
        ("crash", 5, 60, 50, RetryDecision.GIVE_UP),
        ("sts:AccessDenied", 5, 60, 50, RetryDecision.RETRY),
    ],
)
def test_a_file_is_given_up_when_others_are_loaded_and_the_run_stops_when_none_is(
    cause: str, attempts: int, seconds: float, last_success: float | None, decision: RetryDecision
) -> None:
    """A cluster that is down for an hour must not make a million files fail. Times count from the first try."""
    task = LoadTask(0, selected_file(0), first_try=1_000.0, attempts=attempts)
    success = None if last_success is None else 1_000.0 + last_success

    assert decide(task, cause, now=1_000.0 + seconds, last_success=success, patience=600) is decision


def test_delays_double_up_to_a_minute() -> None:
    """A service in trouble is asked less and less often, but it is asked."""
    assert [retry_delay(attempts, 2.0) for attempts in (1, 2, 3, 6, 7, 1_000)] == [2, 4, 8, 60, 60, 60]


@given(st.integers(1, 500), st.lists(st.floats(0.001, 3.0), min_size=1, max_size=60))
def test_no_second_exceeds_its_rate_by_more_than_a_second_and_a_batch(rate: int, steps: list[float]) -> None:
    """The limit that keeps live files from waiting behind last year's."""
    limiter, now, started = RateLimiter(rate, 10), 1_000.0, []
    for step in steps:
        now += step
        number = min(10, limiter.available(now))
        limiter.consume(number)
        started.append((now, number))

    for start, _ in started:
        within = sum(number for moment, number in started if start <= moment < start + 1.0)
        assert within <= 2 * rate + 10
