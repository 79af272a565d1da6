"""Promises about how panels are drawn."""

from __future__ import annotations

import pytest

from worker.boards.charts import VISUALIZATIONS, chart_params, ui_state
from worker.boards.panels import Panel
from worker.boards.saved_objects import BOARDS

# Every version of Dashboards since 7.10 has these.
KINDS = {"metric", "line", "histogram", "horizontal_bar", "table"}
PANELS = [panel for board in BOARDS for panel in board.data_panels]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.id)
def test_a_panel_is_of_a_kind_that_every_dashboards_draws(panel: Panel) -> None:
    """An unknown kind is imported, and shows an error in place of the panel."""
    kind = VISUALIZATIONS[panel.kind]

    assert kind in KINDS
    assert chart_params(panel).get("type", "table") == kind


def test_the_axis_of_a_chart_names_its_unit() -> None:
    """The lag is in seconds, every other chart counts events."""
    titles = {
        panel.id: chart_params(panel)["valueAxes"][0]["title"]["text"]
        for panel in PANELS
        if panel.kind in ("line", "histogram", "horizontal_bar")
    }

    assert titles.pop("lag") == "Seconds"
    assert len(titles) == 5
    assert set(titles.values()) == {"Events"}


def test_a_counter_is_red_from_its_number_on() -> None:
    """Below it is green: nothing needs a look."""
    panel = Panel("x", "X", "counter", (0, 0, 8, 5), red_from=5)

    metric = chart_params(panel)["metric"]

    assert [(part["from"], part["to"]) for part in metric["colorsRange"]] == [(0, 5), (5, 1_000_000_000)]
    assert (metric["metricColorMode"], metric["colorSchema"]) == ("Background", "Green to Red")


@pytest.mark.parametrize("panel", [panel for panel in PANELS if panel.kind == "table"], ids=lambda panel: panel.id)
def test_a_table_has_a_width_for_each_column_and_shows_a_page_whole(panel: Panel) -> None:
    """OpenSearch Dashboards 2.x gives all columns the same width, and cuts the part that tells two ARNs apart."""
    widths = ui_state(panel)["vis"]["columnsWidth"]

    assert [width["colIndex"] for width in widths] == list(range(len(panel.groups) + len(panel.metrics)))
    for agg, width in zip(panel.groups, widths, strict=False):
        assert not agg["params"].get("field", "").endswith(".arn") or width["width"] >= 430
    assert "sortColumn" not in ui_state(panel)["vis"]
    assert 3 <= chart_params(panel)["perPage"] <= (panel.grid[3] - 4) // 2


def test_denied_calls_are_red_in_the_chart_of_outcomes() -> None:
    """The eye goes there first."""
    (panel,) = (panel for panel in PANELS if panel.id == "outcome-over-time")

    assert ui_state(panel) == {"vis": {"colors": panel.colors}}
    assert set(panel.colors) == {case["label"] for case in panel.groups[0]["params"]["filters"]}
