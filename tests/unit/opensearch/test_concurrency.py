"""Promises about how many requests are under way at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.opensearch.concurrency import AdaptiveLimiter, AimdWindow, Permit


def forever() -> float:
    return 60.0


def enter(gate: AdaptiveLimiter) -> Permit:
    entered = gate.acquire(forever)
    assert entered is not None
    return entered


def opened(most: int) -> AdaptiveLimiter:
    """A gate that good answers have opened as far as it goes."""
    gate = AdaptiveLimiter(most)
    while gate.limit < most:
        inside = [enter(gate) for _ in range(gate.limit)]
        gate.release(inside[0], overload=False)
        for entered in inside[1:]:
            gate.release(entered, overload=False)
    return gate


def test_good_answers_open_it_place_by_place() -> None:
    """A cluster that takes all it gets is given more, a step at a time."""
    gate, seen = AdaptiveLimiter(8), []
    for _ in range(7):
        inside = [enter(gate) for _ in range(gate.limit)]
        for entered in inside:
            gate.release(entered, overload=False)
        seen.append(gate.limit)

    assert seen == [2, 2, 3, 3, 3, 4, 4]


def test_requests_refused_together_halve_it_once() -> None:
    """Eight refused at once are one sign; eight halvings would stop the consumer for minutes."""
    gate = opened(8)

    for entered in [enter(gate) for _ in range(8)]:
        gate.release(entered, overload=True)

    assert gate.limit == 4


def test_what_is_halved_is_what_was_under_way() -> None:
    """Places that nobody uses bear nothing: one request refused beside no other is one too many."""
    gate = opened(8)
    inside = [enter(gate) for _ in range(3)]
    gate.release(inside[0], overload=True)

    assert gate.limit == 1

    window = AimdWindow(8)
    window.on_success(2.0, full=False)
    window.on_overload(0, 1)

    assert (window.limit, window.pause) == (1, 2.0)


def test_the_last_one_of_a_round_was_not_alone() -> None:
    """Eight were asked together, and seven have been answered when the last one is given up after a minute."""
    gate = opened(8)
    inside = [enter(gate) for _ in range(8)]
    for entered in inside[:7]:
        gate.release(entered, overload=False)
    gate.release(inside[7], overload=True)

    assert gate.limit == 4


def test_it_never_closes() -> None:
    """With no request under way nobody would find out that the cluster is well again."""
    gate = AdaptiveLimiter(8)
    for _ in range(20):
        gate.release(enter(gate), overload=True)

    assert gate.limit == 1
    good = 0
    while gate.limit == 1:
        gate.release(enter(gate), overload=False)
        good += 1
    assert 8 <= good <= 16


def test_refused_with_one_at_a_time_it_asks_less_often() -> None:
    """Twenty consumers before room for eight: what is refused in vain takes the cluster's time from the others."""
    window = AimdWindow(8)
    window.on_success(2.0, full=False)
    pauses = []
    for asked in range(6):
        window.on_overload(asked, window.limit)
        pauses.append(window.pause)

    assert pauses == [0, 2.0, 6.0, 14.0, 14.0, 14.0]
    assert window.limit == 1


def test_what_is_not_refused_for_want_of_room_makes_no_pauses() -> None:
    """What was only too large comes again in halves; in an outage, waits that double are pauses enough."""
    window = AimdWindow(8)
    window.on_success(2.0, full=False)
    for asked in range(6):
        window.on_overload(asked, window.limit, over_capacity=False)

    assert (window.limit, window.pause) == (1, 0.0)

    window.on_overload(window.round, window.limit)
    pause = window.pause
    window.on_success(2.0, full=True)
    shorter = window.pause
    window.on_overload(window.round, window.limit, over_capacity=False)

    assert pause > window.pause == shorter > 0


def shortening(seconds: float) -> list[float]:
    """The pauses of a window that knew answers of 2 s and was refused six times, while answers take so long."""
    window = AimdWindow(8)
    window.on_success(2.0, full=False)
    for asked in range(6):
        window.on_overload(asked, window.limit)

    pauses = [window.pause]
    while window.pause:
        window.on_success(seconds, full=True)
        pauses.append(window.pause)
    return pauses


def test_good_answers_end_the_pauses() -> None:
    """What was learned in a burst must not slow down the day after it."""
    pauses = shortening(0.1)  # sooner than ever

    assert pauses == sorted(pauses, reverse=True)
    assert len(pauses) < 6
    assert sum(pauses) < 16 * 2.0


def test_pauses_shorten_little_by_little_while_answers_take_as_long_as_ever() -> None:
    """Others are there, too: who comes back at once is refused once more. In the end no pause is left all the same."""
    pauses = shortening(2.0)

    assert pauses == sorted(pauses, reverse=True)
    assert pauses[4] > pauses[0] / 2
    assert len(pauses) < 20
    assert sum(pauses) < 60 * 2.0


def test_a_slow_cluster_is_asked_all_the_same() -> None:
    """One that takes a minute for an answer would else be asked once in four."""
    window = AimdWindow(8)
    window.on_success(60.0, full=False)
    for asked in range(6):
        window.on_overload(asked, window.limit)

    assert window.pause == 20.0


class Clock:
    """Goes on by `step` at each look."""

    def __init__(self) -> None:
        self.now = self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def in_a_pause(clock: Clock) -> AdaptiveLimiter:
    """A gate that lets nobody in for seven times the 0.1 s that an answer took, more or less by a half."""
    gate = AdaptiveLimiter(8, clock)
    good = enter(gate)
    clock.now += 0.1
    gate.release(good, overload=False)
    for _ in range(6):
        gate.release(enter(gate), overload=True)
        clock.now += 1_000.0
    clock.now -= 1_000.0
    return gate


def test_who_comes_in_a_pause_waits_for_its_end() -> None:
    """A request that is held back is late; one that is let in would be refused."""
    clock = Clock()
    gate, began = in_a_pause(clock), clock.now

    clock.step = 0.1
    entered = enter(gate)

    assert 0.45 <= entered.acquired_at - began <= 1.25  # without a pause 0.2: two looks at the clock


def test_who_has_less_time_left_than_the_pause_lasts_does_not_wait() -> None:
    """Its messages go back to the queue sooner that way."""
    gate = in_a_pause(Clock())

    assert gate.acquire(lambda: 0.1) is None


def test_a_request_that_was_not_sent_says_nothing() -> None:
    """The wait for a place may use up the time: nothing was asked, so nothing was learned."""
    gate = opened(8)

    for _ in range(20):
        gate.release(enter(gate), overload=None)

    assert gate.limit == 8


def test_places_that_nobody_uses_do_not_grow() -> None:
    """A quiet trail proves nothing about what the cluster could bear."""
    gate = AdaptiveLimiter(8)
    for _ in range(100):
        gate.release(enter(gate), overload=False)

    assert gate.limit == 2


@pytest.mark.parametrize("most", [1, 2, 5])
def test_no_more_than_allowed_are_ever_inside(most: int) -> None:
    """Threads that wait are let in one for one."""
    gate, inside, worst, lock = AdaptiveLimiter(most), 0, 0, threading.Lock()

    def visit(number: int) -> None:
        nonlocal inside, worst
        entered = enter(gate)
        with lock:
            inside += 1
            worst = max(worst, inside)
        with lock:
            inside -= 1
        gate.release(entered, overload=number % 7 == 0)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(visit, range(600)))

    assert 1 <= worst <= most
    assert inside == 0


def test_who_has_no_time_left_is_not_let_in() -> None:
    """A deadline or a stop ends the wait, although no answer comes."""
    gate = AdaptiveLimiter(1)
    entered = enter(gate)
    looks = iter([0.01, 0.01, 0.0])

    assert gate.acquire(lambda: next(looks)) is None

    gate.release(entered, overload=False)
    gate.release(enter(gate), overload=False)


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 16))
def test_the_places_stay_within_their_bounds(answers: list[bool], most: int) -> None:
    """Whatever the cluster says."""
    gate = AdaptiveLimiter(most)
    for strained in answers:
        inside = [enter(gate) for _ in range(gate.limit)]
        for entered in inside:
            gate.release(entered, overload=strained)
        assert 1 <= gate.limit <= most
