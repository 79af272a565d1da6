"""Promises about the number of bulk requests in flight."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.opensearch.concurrency import AdaptiveLimiter, AimdWindow, Permit


def plenty() -> float:
    """Seconds left for a request: enough."""
    return 60.0


def acquire(limiter: AdaptiveLimiter) -> Permit:
    permit = limiter.acquire(plenty)
    assert permit is not None
    return permit


def at_maximum(maximum: int) -> AdaptiveLimiter:
    """A limiter that good responses have raised to its maximum."""
    limiter = AdaptiveLimiter(maximum)
    while limiter.limit < maximum:
        permits = [acquire(limiter) for _ in range(limiter.limit)]
        for permit in permits:
            limiter.release(permit, overload=False)
    return limiter


def test_good_responses_raise_the_limit_one_by_one() -> None:
    """A cluster that accepts everything is given more, a step at a time."""
    limiter, limits = AdaptiveLimiter(8), []
    for _ in range(7):
        permits = [acquire(limiter) for _ in range(limiter.limit)]
        for permit in permits:
            limiter.release(permit, overload=False)
        limits.append(limiter.limit)

    assert limits == [2, 2, 3, 3, 3, 4, 4]


def test_requests_rejected_together_halve_the_limit_once() -> None:
    """Eight rejections at once are one signal. Eight halvings would stop the consumer for minutes."""
    limiter = at_maximum(8)

    for permit in [acquire(limiter) for _ in range(8)]:
        limiter.release(permit, overload=True)

    assert limiter.limit == 4


def test_the_number_in_flight_is_halved_not_the_limit() -> None:
    """Unused slots carry nothing: if a request is rejected while it is alone, one is too many."""
    limiter = at_maximum(8)
    permits = [acquire(limiter) for _ in range(3)]
    limiter.release(permits[0], overload=True)

    assert limiter.limit == 1

    window = AimdWindow(8)
    window.on_success(2.0, full=False)
    window.on_overload(0, 1)

    assert (window.limit, window.pause) == (1, 2.0)


def test_the_last_request_of_a_round_was_not_alone() -> None:
    """Eight were sent together, and seven have been answered when the last one is given up after a minute."""
    limiter = at_maximum(8)
    permits = [acquire(limiter) for _ in range(8)]
    for permit in permits[:7]:
        limiter.release(permit, overload=False)
    limiter.release(permits[7], overload=True)

    assert limiter.limit == 4


def test_one_request_may_always_be_in_flight() -> None:
    """Without a request nobody would notice that the cluster has recovered."""
    limiter = AdaptiveLimiter(8)
    for _ in range(20):
        limiter.release(acquire(limiter), overload=True)

    assert limiter.limit == 1
    good = 0
    while limiter.limit == 1:
        limiter.release(acquire(limiter), overload=False)
        good += 1
    assert 8 <= good <= 16


def test_overloads_with_one_request_in_flight_add_pauses() -> None:
    """With twenty consumers on a cluster that takes eight, a rejected request still uses the cluster's time."""
    window = AimdWindow(8)
    window.on_success(2.0, full=False)
    pauses = []
    for round_ in range(6):
        window.on_overload(round_, window.limit)
        pauses.append(window.pause)

    assert pauses == [0, 2.0, 6.0, 14.0, 14.0, 14.0]
    assert window.limit == 1


def test_overloads_for_other_reasons_than_capacity_add_no_pauses() -> None:
    """A request that was too large is sent in halves; in an outage, the doubling waits are pauses enough."""
    window = AimdWindow(8)
    window.on_success(2.0, full=False)
    for round_ in range(6):
        window.on_overload(round_, window.limit, over_capacity=False)

    assert (window.limit, window.pause) == (1, 0.0)

    window.on_overload(window.round, window.limit)
    pause = window.pause
    window.on_success(2.0, full=True)
    shorter = window.pause
    window.on_overload(window.round, window.limit, over_capacity=False)

    assert pause > window.pause == shorter > 0


def pauses_until_recovery(seconds: float) -> list[float]:
    """The pauses of a window after responses of 2 s and six rejections, while good responses take `seconds`."""
    window = AimdWindow(8)
    window.on_success(2.0, full=False)
    for round_ in range(6):
        window.on_overload(round_, window.limit)

    pauses = [window.pause]
    while window.pause:
        window.on_success(seconds, full=True)
        pauses.append(window.pause)
    return pauses


def test_fast_responses_end_the_pauses() -> None:
    """The lesson of a burst must not slow down the day after it."""
    pauses = pauses_until_recovery(0.1)

    assert pauses == sorted(pauses, reverse=True)
    assert len(pauses) < 6
    assert sum(pauses) < 16 * 2.0


def test_pauses_shorten_gradually_while_responses_are_as_slow_as_before() -> None:
    """Other consumers are still there, so a fast return would be rejected again. But the pauses end."""
    pauses = pauses_until_recovery(2.0)

    assert pauses == sorted(pauses, reverse=True)
    assert pauses[4] > pauses[0] / 2
    assert len(pauses) < 20
    assert sum(pauses) < 60 * 2.0


def test_pauses_are_bounded_for_a_slow_cluster() -> None:
    """A cluster that takes a minute for a response would get a request only every eight minutes."""
    window = AimdWindow(8)
    window.on_success(60.0, full=False)
    for round_ in range(6):
        window.on_overload(round_, window.limit)

    assert window.pause == 20.0


class Clock:
    """Advances by `step` each time it is read."""

    def __init__(self) -> None:
        self.now = self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def in_a_pause(clock: Clock) -> AdaptiveLimiter:
    """A limiter in a pause of seven times the 0.1 s that a response took, or up to 50 % more."""
    limiter = AdaptiveLimiter(8, clock)
    permit = acquire(limiter)
    clock.now += 0.1
    limiter.release(permit, overload=False)
    for _ in range(6):
        limiter.release(acquire(limiter), overload=True)
        clock.now += 1_000.0
    clock.now -= 1_000.0
    return limiter


def test_a_request_in_a_pause_waits_for_its_end() -> None:
    """A delayed request is late, but a request during the pause would be rejected."""
    clock = Clock()
    limiter, started = in_a_pause(clock), clock.now

    clock.step = 0.1
    permit = acquire(limiter)

    assert 0.45 <= permit.acquired_at - started <= 1.25  # without a pause 0.2: two readings of the clock


def test_a_request_with_less_time_than_the_pause_does_not_wait() -> None:
    """Its messages return to the queue sooner that way."""
    limiter = in_a_pause(Clock())

    assert limiter.acquire(lambda: 0.1) is None


def test_a_request_that_was_not_sent_changes_nothing() -> None:
    """The wait for a slot may use up the time. Without a request, nothing was learned."""
    limiter = at_maximum(8)

    for _ in range(20):
        limiter.release(acquire(limiter), overload=None)

    assert limiter.limit == 8


def test_unused_slots_do_not_raise_the_limit() -> None:
    """A quiet trail proves nothing about the cluster's capacity."""
    limiter = AdaptiveLimiter(8)
    for _ in range(100):
        limiter.release(acquire(limiter), overload=False)

    assert limiter.limit == 2


@pytest.mark.parametrize("maximum", [1, 2, 5])
def test_the_number_in_flight_never_exceeds_the_maximum(maximum: int) -> None:
    """Each release admits one waiting thread."""
    limiter, in_flight, highest, lock = AdaptiveLimiter(maximum), 0, 0, threading.Lock()

    def send(number: int) -> None:
        nonlocal in_flight, highest
        permit = acquire(limiter)
        with lock:
            in_flight += 1
            highest = max(highest, in_flight)
        with lock:
            in_flight -= 1
        limiter.release(permit, overload=number % 7 == 0)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(send, range(600)))

    assert 1 <= highest <= maximum
    assert in_flight == 0


def test_a_request_without_time_left_gets_no_slot() -> None:
    """A deadline or a stop ends the wait, even if no response arrives."""
    limiter = AdaptiveLimiter(1)
    permit = acquire(limiter)
    remaining = iter([0.01, 0.01, 0.0])

    assert limiter.acquire(lambda: next(remaining)) is None

    limiter.release(permit, overload=False)
    limiter.release(acquire(limiter), overload=False)


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 16))
def test_the_limit_stays_within_its_bounds(overloads: list[bool], maximum: int) -> None:
    """Whatever the cluster answers."""
    limiter = AdaptiveLimiter(maximum)
    for overload in overloads:
        permits = [acquire(limiter) for _ in range(limiter.limit)]
        for permit in permits:
            limiter.release(permit, overload=overload)
        assert 1 <= limiter.limit <= maximum
