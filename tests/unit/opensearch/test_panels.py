"""Promises about the panels: each question has one, and each counts only what the mapping can answer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.dashboards_client import search_body, visualizations
from worker.opensearch.dashboards import ndjson
from worker.opensearch.panels import DASHBOARD_COLUMNS, OVERVIEW, PIPELINE, Panel
from worker.opensearch.schema import index_template

PANELS = visualizations(ndjson("cloudtrail"))


def fields(properties: dict[str, Any], path: str = "") -> dict[str, dict[str, Any]]:
    """The mapping's fields by their dotted names, multi-fields among them."""
    by_name: dict[str, dict[str, Any]] = {}
    for name, field in properties.items():
        by_name[path + name] = field
        by_name |= fields(field.get("properties", {}), f"{path}{name}.")
        by_name |= fields(field.get("fields", {}), f"{path}{name}.")
    return by_name


MAPPING = fields(index_template("cloudtrail")["template"]["mappings"]["properties"])


def test_there_is_a_panel_for_each_question() -> None:
    """What an engineer on call asks first, and how the pipeline is."""
    assert set(PANELS) == {
        "Events",
        "Calls by service over time",
        "Calls by service",
        "Errors",
        "Console logins",
        "Use of root",
        "Who assumed what",
        "Denied calls by principal",
        "Calls by region",
        "Calls by source address",
        "Calls by user agent",
        "Calls of users without MFA",
        "Data events by bucket",
        "Indexed",
        "Events by the time they were indexed",
        "Seconds from event to index",
        "Degraded records by cause",
        "Newest by account and region",
    }


@pytest.mark.parametrize("title", PANELS)
def test_a_panel_groups_by_fields_that_can_be_grouped(title: str) -> None:
    """Grouping by a path of a flat_object, or by a text, is answered wrongly or not at all."""
    names = [agg["params"]["field"] for agg in PANELS[title]["state"]["aggs"] if "field" in agg["params"]]

    for name in names:
        assert MAPPING[name]["type"] in ("keyword", "date", "integer", "ip"), name
        assert MAPPING[name].get("doc_values", True), name


@pytest.mark.parametrize("title", PANELS)
def test_a_panel_queries_only_fields_that_exist(title: str) -> None:
    """A query for a misspelt field never finds anything, and never fails."""
    panel = PANELS[title]
    queries = [panel["query"]["query"]]
    for agg in panel["state"]["aggs"]:
        queries += [case["input"]["query"] for case in agg["params"].get("filters", [])]

    for query in queries:
        words = query.replace("_exists_:", "").replace("NOT ", "").replace("(", " ").replace(")", " ").split()
        for word in words:
            name = word.partition(":")[0]
            assert name in MAPPING or name in ("AND", "OR") or ":" not in word, query
    assert search_body(panel)["aggs"]


@pytest.mark.parametrize("panels", [OVERVIEW, PIPELINE])
def test_panels_fill_a_dashboard_without_overlap(panels: tuple[Panel, ...]) -> None:
    """Dashboards moves panels that overlap, and nobody recognises the order."""
    occupied: set[tuple[int, int]] = set()
    for panel in panels:
        x, y, width, height = panel.grid
        cells = {(column, row) for column in range(x, x + width) for row in range(y, y + height)}

        assert x + width <= DASHBOARD_COLUMNS == 48
        assert not cells & occupied
        occupied |= cells
