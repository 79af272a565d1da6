"""Promises about which days a time names: `--until` is the first day that is left alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.support.opensearch_server import connected
from worker.opensearch.reindex.days import IndexState, between, read_states

NAMES = ("2026-01-31", "2026-02-01", "undated-2026-02-01", "2026-02-02", "2026-02", "undated")


def chosen(since: datetime | None, until: datetime | None) -> list[str]:
    states = [IndexState(f"trail-{name}", f"trail-{name}", {}, {}, {}) for name in NAMES]
    return [state.name.removeprefix("trail-") for state in between(states, "trail", since, until)]


def test_without_a_time_every_index_is_named() -> None:
    """The one of events without any time, too."""
    assert chosen(None, None) == sorted(NAMES)


@pytest.mark.parametrize(
    ("since", "until", "names"),
    [
        ("2026-02-01", "2026-02-02", ["2026-02", "2026-02-01", "undated-2026-02-01"]),
        ("2026-02-01T12:00", "2026-02-02T12:00", ["2026-02", "2026-02-01", "2026-02-02", "undated-2026-02-01"]),
        ("2026-01-01", "2026-02-01", ["2026-01-31"]),
        ("2026-02-02", "2026-03-01", ["2026-02", "2026-02-02"]),
    ],
)
def test_a_time_names_the_indices_that_it_touches(since: str, until: str, names: list[str]) -> None:
    """From a day on, and before another."""
    times = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (since, until)]

    assert chosen(*times) == names


def test_what_cannot_be_copied_says_why() -> None:
    """And what to do: a closed index, a snapshot, warm storage, and a block that forbids the swap."""
    for settings in (
        {"verified_before_close": "true"},
        {"store": {"type": "remote_snapshot"}},
        {"routing": {"allocation": {"require": {"box_type": "warm"}}}},
        {"blocks": {"read_only": "true"}},
    ):
        assert IndexState("n", "n", {}, settings, {}).obstacle
    assert not IndexState("n", "n", {}, {"blocks": {"write": "true"}}, {}).obstacle


def test_an_operators_alias_is_no_name_of_an_index() -> None:
    """All days of a month behind cloudtrail-2026-01: each would be counted and copied twice, under one name."""
    settings = {"settings": {"index": {"uuid": "u"}}}
    month: dict[str, dict[str, object]] = {"trail-2026-01": {}}
    found = {
        "trail-2026-01-01": settings | {"aliases": month},
        "trailsink-reindexed1-trail-2026-01-02": settings | {"aliases": month | {"trail-2026-01-02": {}}},
        "corp-archive": settings | {"aliases": month},
    }

    with connected(lambda *_: (200, found)) as client:
        states = read_states(client, "trail")

    assert [(state.name, state.index) for state in states] == [
        ("trail-2026-01-01", "trail-2026-01-01"),
        ("trail-2026-01-02", "trailsink-reindexed1-trail-2026-01-02"),
    ]
    assert all(state.aliases == month for state in states)
