"""Promises about names: a copy is in no search until it is in place, and is known by its day's name from then on."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from worker.errors import SetupError
from worker.opensearch.index_names import (
    MARKS,
    abandoned_mark,
    check_prefix,
    copies_pattern,
    is_own_name,
    lease_index,
    marked_name,
    next_copy,
    period_of,
    public_name,
    unfinished_mark,
)

DAYS = ("trail-2026-01-31", "trail-2026-01", "trail-undated", "trail-undated-2026-01-31")


@pytest.mark.parametrize("name", DAYS)
def test_no_search_of_events_matches_a_copy(name: str) -> None:
    """Else each event would be found twice while the copy grows."""
    first = next_copy(name, name)
    second = next_copy(name, first)

    assert first != second
    for other in (first, second, unfinished_mark(name, "a1"), abandoned_mark(name), lease_index("trail")):
        assert not fnmatchcase(other, "trail-*")
    assert fnmatchcase(second, copies_pattern("trail"))
    assert {public_name(index) for index in (name, first, second)} == {name}


@pytest.mark.parametrize("name", DAYS)
def test_a_mark_says_which_index_a_copy_is_of(name: str) -> None:
    """By it, an interrupted run is gone on with; the copy of a process has a mark that no other process knows."""
    assert marked_name(unfinished_mark(name, "a1")) == (name, False)
    assert marked_name(abandoned_mark(name)) == (name, True)
    assert unfinished_mark(name, "a1") != unfinished_mark(name, "b2")
    assert marked_name(name) == ("", False)
    assert all(mark.endswith("-") for mark in MARKS)


def test_only_names_of_trailsink_are_its_own() -> None:
    """An index of another tool, or of a longer prefix, is never replaced or deleted."""
    assert [is_own_name(name, "trail") for name in DAYS] == [True] * 4
    others = ("trail-insights-2026", "trail-eu-2026-01-31", "audit-2026-01-31", "trail-2026-01-31-old")
    assert not any(is_own_name(name, "trail") for name in others)
    assert not is_own_name(public_name(next_copy("trail-eu-2026-01-31", "")), "trail")


def test_the_time_of_an_index_is_in_its_name() -> None:
    """It decides which days `--since` and `--until` name."""
    assert [period_of(name, "trail") for name in DAYS] == ["2026-01-31", "2026-01", "", "2026-01-31"]


def test_a_prefix_that_matches_the_copies_is_refused() -> None:
    """The copies of `trailsink` would be among its events."""
    check_prefix("cloudtrail")
    for prefix in ("trailsink", "trailsink-reindexed1"):
        with pytest.raises(SetupError, match="cannot be reindexed"):
            check_prefix(prefix)
