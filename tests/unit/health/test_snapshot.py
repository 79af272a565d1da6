"""The values of a snapshot."""

from __future__ import annotations

from itertools import combinations

import pytest

from worker.health.snapshot import EventSourceMapping, Missing, Unobserved, Unreachable


@pytest.mark.parametrize("qualifier", ["", ":live", ":7"])
def test_a_mapping_names_its_function_without_a_qualifier(qualifier: str) -> None:
    """Concurrency is reserved for the function, whatever alias is invoked."""
    arn = f"arn:aws:lambda:eu-west-1:123456789012:function:loader{qualifier}"

    assert EventSourceMapping("u", "Enabled", arn).function == "loader"


def test_why_something_is_not_observed_is_compared_by_kind_and_reason() -> None:
    """The cause is for whoever has to know more."""
    assert Unobserved("x", ValueError()) == Unobserved("x")
    kinds: list[Unobserved] = [Unobserved("x"), Unreachable("x"), Missing("x")]
    assert all(first != second for first, second in combinations(kinds, 2))
    assert "ValueError" not in repr(Unobserved("x", ValueError()))
