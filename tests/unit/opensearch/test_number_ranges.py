"""Promises about ranges of numbers in text: exactly the numbers between the bounds."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.opensearch.number_ranges import integers_between

NUMBERS = st.integers(0, 40) | st.integers(0, 10**6) | st.integers(0, 10**18)


@given(low=NUMBERS, length=NUMBERS, other=NUMBERS)
def test_a_number_matches_exactly_when_it_is_within_the_bounds(low: int, length: int, other: int) -> None:
    """Compared as text, 9 is more than 10."""
    high = low + length
    bounded, unbounded = (re.compile(integers_between(low, end)) for end in (high, None))

    for number in (other, low, low + 1, low - 1, high, high + 1, high - 1, low * 10, high * 10, 0):
        if number >= 0:
            assert bool(bounded.fullmatch(str(number))) is (low <= number <= high)
            assert bool(unbounded.fullmatch(str(number))) is (low <= number)


@pytest.mark.parametrize("text", ["", "-5", "5.0", "05", "5x", "x"])
def test_other_text_never_matches(text: str) -> None:
    """A value that is not a whole number has no place in a range of them."""
    assert not re.fullmatch(integers_between(0, None), text)
    assert not re.fullmatch(integers_between(0, 10), text)
