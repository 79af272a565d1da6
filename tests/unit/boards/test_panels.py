"""Promises about the panels: each question has one, and each counts only what the mapping can answer."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from worker.boards.index_pattern import event_fields, ledger_fields, verdict_fields
from worker.boards.panels import BOARD_COLUMNS, Board, Controls, Panel, Pattern
from worker.boards.saved_objects import BOARDS
from worker.opensearch.field_kinds import FieldKinds
from worker.opensearch.query import translate
from worker.opensearch.unsearchable import searched_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS = {field["name"]: field for field in event_fields("cloudtrail")}
FIELDS = {
    Pattern.EVENTS: EVENTS,
    Pattern.INDEXED: EVENTS,
    Pattern.FILES: {field["name"]: field for field in ledger_fields("cloudtrail")},
    Pattern.VERDICTS: {field["name"]: field for field in verdict_fields()},
}
PANELS = [panel for board in BOARDS for panel in board.data_panels]

every_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.id)
every_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.id)


def queries(panel: Panel) -> Iterator[str]:
    yield panel.query
    for agg in panel.groups:
        yield from (case["input"]["query"] for case in agg["params"].get("filters", []))


def kinds(pattern: Pattern) -> FieldKinds:
    fields = FIELDS[pattern].values()
    return FieldKinds({field["name"]: field["esTypes"][0] for field in fields if "esTypes" in field}, ())


@pytest.mark.parametrize(
    ("board", "expected"),
    [
        (
            "overview",
            {
                "Use of root",
                "Logins without MFA",
                "Failed logins",
                "Denied calls",
                "Trail or Config changed",
                "IAM changed",
                "Network changed",
                "Bucket access changed",
                "Keys disabled or deleted",
                "Roles assumed from other accounts",
                "Insights",
                "Degraded records",
                "Outcome over time",
                "Changes by service over time",
                "Denied calls by principal",
                "Successful logins",
                "Who assumed what",
                "Roles assumed by AWS services",
                "Busiest callers",
                "Errors",
                "Calls by source address",
                "Calls by user agent",
                "Calls by account and region",
                "Calls of users without MFA",
                "Data events by bucket",
            },
        ),
        (
            "investigate",
            {
                "Events",
                "First and last event",
                "Calls by service over time",
                "What was called",
                "What failed, and why",
                "Callers",
                "From where",
                "Roles assumed",
                "Resources",
                "Buckets",
                "Instances",
            },
        ),
        (
            "pipeline",
            {
                "Indexed",
                "Events by the time they were indexed",
                "Seconds from event to index",
                "Accounts and regions, silent ones first",
                "Files indexed last",
                "Newest events by account and region",
                "Degraded records by cause",
                "Values that cannot be searched",
                "Records by outcome",
                "Files in dead letters, by reason",
                "What trailsink verify found, the last first",
            },
        ),
    ],
)
def test_there_is_a_panel_for_each_question(board: str, expected: set[str]) -> None:
    """What an engineer on call asks first, what one caller did, and how the pipeline is."""
    (panels,) = (found.data_panels for found in BOARDS if found.id == board)

    assert {panel.title for panel in panels} == expected


def test_each_panel_has_an_id_of_its_own() -> None:
    """Two of one id would be one saved object, on two boards, with the content of the second."""
    ids = Counter(panel.id for board in BOARDS for panel in board.panels)

    assert ids.most_common(1)[0][1] == 1


@every_panel
def test_a_panel_groups_by_fields_that_can_be_grouped(panel: Panel) -> None:
    """Grouping by a path of a flat_object, or by a text, is answered wrongly or not at all."""
    names = [agg["params"]["field"] for agg in (*panel.groups, *panel.metrics) if "field" in agg["params"]]

    for name in names:
        assert FIELDS[panel.pattern][name]["aggregatable"], name


@every_panel
def test_a_panel_queries_only_fields_that_can_be_searched(panel: Panel) -> None:
    """A query for a misspelt field never finds anything, and never fails."""
    for query in queries(panel):
        for name in searched_fields(translate(query, kinds(panel.pattern))):
            assert FIELDS[panel.pattern][name]["searchable"], name


@every_panel
def test_a_time_axis_is_the_time_of_the_pattern(panel: Panel) -> None:
    """Dashboards clips the axis to the board's range, which is about the pattern's own time field."""
    times = {Pattern.EVENTS: "@timestamp", Pattern.INDEXED: "trailsink.indexed_at"}
    axes = [agg["params"]["field"] for agg in panel.groups if agg["type"] == "date_histogram"]

    assert axes in ([], [times.get(panel.pattern)])


@every_panel
def test_the_first_metric_orders_the_groups_and_has_a_name(panel: Panel) -> None:
    """Without a name of ours the column is headed "Count", and the alarm on a board says what it counts nowhere."""
    assert panel.metrics[0]["params"]["customLabel"]
    assert {agg["params"]["orderBy"] for agg in panel.groups if agg["type"] == "terms"} <= {"1"}


@every_panel
def test_a_group_by_callers_says_why_a_caller_has_no_name(panel: Panel) -> None:
    """An AWS service and a caller of another account have no ARN; another column must tell them apart."""
    names = [agg["params"].get("field") for agg in panel.groups if agg["params"].get("missingBucket")]
    kinds_shown = {agg["params"].get("field") for agg in panel.groups}
    explained = {"failed-logins", "successful-logins", "without-mfa", "roles-assumed"}  # of one kind, or one call

    if "userIdentity.arn" in names and panel.id not in explained:
        assert "userIdentity.type" in kinds_shown


@every_board
def test_panels_fill_a_board_without_overlap(board: Board) -> None:
    """Dashboards moves panels that overlap, and nobody recognises the order."""
    grids = [panel.grid for panel in board.panels] + ([board.search_grid] if board.search_grid else [])
    occupied: set[tuple[int, int]] = set()
    for x, y, width, height in grids:
        cells = {(column, row) for column in range(x, x + width) for row in range(y, y + height)}

        assert x + width <= BOARD_COLUMNS == 48
        assert not cells & occupied
        occupied |= cells


@every_board
def test_a_board_is_about_one_time(board: Board) -> None:
    """A range that means the time of the call on one panel, and the time of indexing on the next, misleads."""
    patterns = {panel.pattern for panel in board.data_panels} - {Pattern.FILES, Pattern.VERDICTS}

    assert len(patterns) == 1


@every_board
def test_a_drop_down_list_is_of_values_that_can_be_listed(board: Board) -> None:
    """Its values are an aggregation, and choosing one is a search."""
    names = [name for panel in board.panels if isinstance(panel, Controls) for name in panel.fields.values()]

    assert all(EVENTS[name]["aggregatable"] and EVENTS[name]["searchable"] for name in names)


def test_what_a_counter_is_red_from_is_a_count() -> None:
    """Red from 0 would be red always."""
    counters: list[Any] = [panel for panel in PANELS if panel.kind == "counter"]

    assert len(counters) == 12
    assert all(panel.red_from >= 1 for panel in counters)
