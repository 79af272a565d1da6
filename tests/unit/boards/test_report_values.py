"""Promises about a report's scope: its interval, the range before it, and commands that can be pasted into a shell."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta

import pytest

from worker.boards.report_values import ReportScope

END = datetime(2026, 3, 8, tzinfo=UTC)


def scope(length: timedelta, *accounts: str) -> ReportScope:
    return ReportScope("trail", END - length, END, list(accounts))


@pytest.mark.parametrize(
    ("length", "interval"),
    [
        (timedelta(minutes=5), 60),
        (timedelta(hours=1), 60),
        (timedelta(days=1), 1_800),
        (timedelta(days=7), 10_800),
        (timedelta(days=365), 604_800),
    ],
)
def test_a_chart_has_few_enough_points_to_be_read(length: timedelta, interval: int) -> None:
    """And an axis whose points are those of the server's answer: whole multiples of the interval."""
    starts = scope(length).starts

    assert scope(length).interval_seconds == starts.step == interval
    assert len(starts) <= 61
    assert starts[0] % interval == 0
    assert starts[0] <= (END - length).timestamp() < starts[0] + interval
    assert starts[-1] < END.timestamp() <= starts[-1] + interval


def test_the_range_before_is_as_long() -> None:
    """What is new is compared with it."""
    assert scope(timedelta(days=7)).before == END - timedelta(days=14)


def test_a_command_finds_the_same_events() -> None:
    """Of the same accounts and range, whatever quotes the query has."""
    week = scope(timedelta(days=7), "111111111111", "222222222222")

    words = shlex.split(week.command("""userAgent:"it's" OR errorCode:*"""))

    assert words == [
        "trailsink",
        "search",
        """(userAgent:"it's" OR errorCode:*) AND recipientAccountId:(111111111111 OR 222222222222)""",
        "--since",
        "2026-03-01T00:00:00Z",
        "--until",
        "2026-03-08T00:00:00Z",
    ]
    assert shlex.split(scope(timedelta(days=7)).command(""))[2] == "*"
