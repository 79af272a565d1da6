"""Promises about how many requests are under way at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.gate import Gate


def forever() -> float:
    return 60.0


def enter(gate: Gate) -> int:
    entered = gate.enter(forever)
    assert entered is not None
    return entered


def opened(most: int) -> Gate:
    """A gate that good answers have opened as far as it goes."""
    gate = Gate(most)
    while gate.places < most:
        inside = [enter(gate) for _ in range(gate.places)]
        gate.leave(inside[0], strained=False)
        for entered in inside[1:]:
            gate.leave(entered, strained=False)
    return gate


def test_good_answers_open_it_place_by_place() -> None:
    """A cluster that takes all it gets is given more, a step at a time."""
    gate, seen = Gate(8), []
    for _ in range(7):
        inside = [enter(gate) for _ in range(gate.places)]
        for entered in inside:
            gate.leave(entered, strained=False)
        seen.append(gate.places)

    assert seen == [2, 2, 3, 3, 3, 4, 4]


def test_requests_refused_together_halve_it_once() -> None:
    """Eight refused at once are one sign; eight halvings would stop the consumer for minutes."""
    gate = opened(8)

    for entered in [enter(gate) for _ in range(8)]:
        gate.leave(entered, strained=True)

    assert gate.places == 4


def test_it_never_closes() -> None:
    """With no request under way nobody would find out that the cluster is well again."""
    gate = Gate(8)
    for _ in range(20):
        gate.leave(enter(gate), strained=True)

    assert gate.places == 1
    good = 0
    while gate.places == 1:
        gate.leave(enter(gate), strained=False)
        good += 1
    assert 8 <= good <= 16


def test_places_that_nobody_uses_do_not_grow() -> None:
    """A quiet trail proves nothing about what the cluster could bear."""
    gate = Gate(8)
    for _ in range(100):
        gate.leave(enter(gate), strained=False)

    assert gate.places == 2


@pytest.mark.parametrize("most", [1, 2, 5])
def test_no_more_than_allowed_are_ever_inside(most: int) -> None:
    """Threads that wait are let in one for one."""
    gate, inside, worst, lock = Gate(most), 0, 0, threading.Lock()

    def visit(number: int) -> None:
        nonlocal inside, worst
        entered = enter(gate)
        with lock:
            inside += 1
            worst = max(worst, inside)
        with lock:
            inside -= 1
        gate.leave(entered, strained=number % 7 == 0)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(visit, range(600)))

    assert 1 <= worst <= most
    assert inside == 0


def test_who_has_no_time_left_is_not_let_in() -> None:
    """A deadline or a stop ends the wait, although no answer comes."""
    gate = Gate(1)
    entered = enter(gate)
    looks = iter([0.01, 0.01, 0.0])

    assert gate.enter(lambda: next(looks)) is None

    gate.leave(entered, strained=False)
    gate.leave(enter(gate), strained=False)


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 16))
def test_the_places_stay_within_their_bounds(answers: list[bool], most: int) -> None:
    """Whatever the cluster says."""
    gate = Gate(most)
    for strained in answers:
        inside = [enter(gate) for _ in range(gate.places)]
        for entered in inside:
            gate.leave(entered, strained=strained)
        assert 1 <= gate.places <= most
