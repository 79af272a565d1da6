"""Promises about the saved objects: Dashboards can take them, and they ask only what the mapping can answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.dashboards_client import body, visualizations
from worker.opensearch.dashboards import ndjson, saved_objects
from worker.opensearch.panels import OVERVIEW, PIPELINE
from worker.opensearch.schema import index_template

OBJECTS = saved_objects("cloudtrail")
PANELS = visualizations(ndjson("cloudtrail"))

# The newest that both Kibana 7.10 and OpenSearch Dashboards 2.19 take without a 422.
NEWEST = {"index-pattern": (7, 6, 0), "visualization": (7, 10, 0), "dashboard": (7, 9, 3), "search": (7, 9, 3)}
# Dashboards has them since 7.10 and still today.
KINDS = {"metric", "pie", "line", "histogram", "table"}


def fields(properties: dict[str, Any], path: str = "") -> dict[str, dict[str, Any]]:
    """The mapping's fields by their dotted names, multi-fields among them."""
    found: dict[str, dict[str, Any]] = {}
    for name, one in properties.items():
        found[path + name] = one
        found |= fields(one.get("properties", {}), f"{path}{name}.")
        found |= fields(one.get("fields", {}), f"{path}{name}.")
    return found


MAPPING = fields(index_template("cloudtrail")["template"]["mappings"]["properties"])


def test_there_is_a_panel_for_each_question() -> None:
    """What an engineer on call asks first, and how the pipeline is."""
    assert set(PANELS) == {
        "Events", "Calls by service over time", "Calls by service", "Errors", "Console logins", "Use of root",
        "Who assumed what", "Denied calls by principal", "Calls by region", "Calls by source address",
        "Calls by user agent", "Calls of users without MFA", "Data events by bucket",
        "Indexed", "Events by the time they were indexed", "Seconds from event to index",
        "Degraded records by cause", "Newest by account and region",
    }  # fmt: skip


def test_each_object_says_a_version_that_every_dashboards_takes() -> None:
    """A newer one is refused with 422, and the whole file with it."""
    for one in OBJECTS:
        (kind, version), *others = one["migrationVersion"].items()

        assert (kind, others) == (one["type"], [])
        assert tuple(map(int, version.split("."))) <= NEWEST[kind]


def test_each_reference_is_to_an_object_of_the_file_that_comes_before() -> None:
    """Dashboards refuses what refers to nothing, and shows an empty panel for a name that does not match."""
    seen: set[tuple[str, str]] = set()
    for one in OBJECTS:
        assert {(of["type"], of["id"]) for of in one["references"]} <= seen
        assert (one["type"], one["id"]) not in seen
        seen.add((one["type"], one["id"]))
        text = json.dumps(one["attributes"])
        named = [of["name"] for of in one["references"]]
        assert len(set(named)) == len(named)
        assert all(f'"{name}' in text for name in named)
        assert text.count("RefName") == len(named)


def test_json_inside_json_is_text() -> None:
    """An object in place of text is stored, and breaks whatever opens it."""
    texts = ("visState", "uiStateJSON", "panelsJSON", "optionsJSON")
    for one in OBJECTS:
        for name in texts:
            assert isinstance(json.loads(one["attributes"].get(name, "{}")), (dict, list))
        meta = one["attributes"].get("kibanaSavedObjectMeta")
        assert meta is None or isinstance(json.loads(meta["searchSourceJSON"]), dict)


@pytest.mark.parametrize("title", PANELS)
def test_a_panel_groups_by_what_can_be_grouped(title: str) -> None:
    """Grouping by a path of a flat_object, or by a text, is answered wrongly or not at all."""
    state = PANELS[title]["state"]
    named = [one["params"]["field"] for one in state["aggs"] if "field" in one["params"]]

    assert state["type"] in KINDS
    for name in named:
        assert MAPPING[name]["type"] in ("keyword", "date", "integer", "ip"), name
        assert MAPPING[name].get("doc_values", True), name


@pytest.mark.parametrize("title", PANELS)
def test_a_panel_asks_only_for_fields_that_exist(title: str) -> None:
    """A query for a field that is misspelt finds nothing, for ever, and says nothing."""
    panel = PANELS[title]
    texts = [panel["query"]["query"]]
    for one in panel["state"]["aggs"]:
        texts += [each["input"]["query"] for each in one["params"].get("filters", [])]

    for text in texts:
        words = text.replace("_exists_:", "").replace("NOT ", "").replace("(", " ").replace(")", " ").split()
        for word in words:
            name = word.partition(":")[0]
            assert name in MAPPING or name in ("AND", "OR") or ":" not in word, text
    assert body(panel)["aggs"]


@pytest.mark.parametrize("panels", [OVERVIEW, PIPELINE])
def test_panels_fill_a_dashboard_without_overlap(panels: tuple[Any, ...]) -> None:
    """Dashboards moves what overlaps, and nobody recognises the order."""
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        x, y, width, height = panel.place
        cells = {(column, row) for column in range(x, x + width) for row in range(y, y + height)}

        assert x + width <= 48
        assert not cells & taken
        taken |= cells


def test_another_prefix_has_objects_of_its_own() -> None:
    """Two pipelines in one Dashboards must not overwrite each other's."""
    ours, others = ({one["id"] for one in saved_objects(prefix)} for prefix in ("cloudtrail", "audit"))

    assert not ours & others
    assert '"audit-*"' in ndjson("audit")
    assert "cloudtrail-*" not in ndjson("audit")
