"""Promises about how panels are drawn."""

from __future__ import annotations

import pytest

from worker.opensearch.charts import chart_params
from worker.opensearch.panels import OVERVIEW, PIPELINE, Panel

# Every version of Dashboards since 7.10 has these.
KINDS = {"metric", "pie", "line", "histogram", "table"}


@pytest.mark.parametrize("panel", [*OVERVIEW, *PIPELINE], ids=lambda panel: panel.id)
def test_a_panel_is_of_a_kind_that_every_dashboards_draws(panel: Panel) -> None:
    """An unknown kind is imported, and shows an error in place of the panel."""
    assert panel.kind in KINDS
    assert chart_params(panel).get("type", "table") == panel.kind


def test_the_axis_of_a_chart_names_its_unit() -> None:
    """The lag is in seconds, every other chart counts events."""
    titles = {
        panel.id: chart_params(panel)["valueAxes"][0]["title"]["text"]
        for panel in (*OVERVIEW, *PIPELINE)
        if panel.kind in ("line", "histogram")
    }

    assert titles == {"calls-over-time": "Events", "indexed-over-time": "Events", "lag": "Seconds"}
