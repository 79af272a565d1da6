"""Promises about the links to the boards; tests/unit/cli/test_dashboards.py imports into a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from worker.boards.importer import board_links
from worker.boards.panels import Pattern

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
OLD = datetime(2023, 7, 10, 12, 3, tzinfo=UTC)


def links(**newest: datetime | None) -> dict[str, str]:
    by_pattern = {Pattern(name): time for name, time in newest.items()}
    return dict(board_links("https://d", "live", by_pattern, NOW))


def test_a_board_of_old_events_is_linked_with_a_range_that_holds_some() -> None:
    """Whoever tries the sample files of 2023 would open a board of the last 24 hours, with nothing on it."""
    by_title = links(events=OLD, indexed=NOW)

    old = "?_g=(time:(from:'2023-07-09T12:04:00Z',to:'2023-07-10T12:04:00Z'))"
    assert by_title == {
        "CloudTrail live-*: overview": f"https://d/app/dashboards#/view/trailsink-live-overview{old}",
        "CloudTrail live-*: investigate": f"https://d/app/dashboards#/view/trailsink-live-investigate{old}",
        "CloudTrail live-*: pipeline": "https://d/app/dashboards#/view/trailsink-live-pipeline",
    }


def test_a_board_of_fresh_or_no_events_is_linked_as_it_is() -> None:
    """Its own range is right, or the cluster could not be asked."""
    for newest in (NOW - timedelta(hours=23), None):
        assert not any("_g=" in link for link in links(events=newest, indexed=newest).values())
