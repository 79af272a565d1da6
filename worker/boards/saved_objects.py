"""Saved objects for OpenSearch Dashboards: index patterns, a search, panels and boards, as NDJSON.

One file serves every version from Kibana 7.10 to OpenSearch Dashboards 3. Each object declares the newest version
of its type that the oldest of them knows: Dashboards migrates older objects and refuses newer ones with 422. Members
whose names end in JSON, and `visState`, are JSON text inside JSON. Groups are keywords, dates and numbers of the
mapping only: a flat_object can be searched, but aggregations on it return wrong results.
docs.opensearch.org/latest/dashboards/management/saved-objects
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from worker.boards.charts import VISUALIZATIONS, chart_params, ui_state
from worker.boards.index_pattern import pattern_attributes, pattern_id
from worker.boards.investigate import INVESTIGATE
from worker.boards.overview import OVERVIEW
from worker.boards.panels import Board, Controls, Note, Panel, Pattern
from worker.boards.pipeline import PIPELINE

if TYPE_CHECKING:
    from worker.boards.panels import Grid

    References = list[dict[str, str]]

BOARDS = (OVERVIEW, INVESTIGATE, PIPELINE)

_VERSIONS = {"index-pattern": "7.6.0", "visualization": "7.10.0", "search": "7.9.3", "dashboard": "7.9.3"}
_INDEX_REFERENCE = "kibanaSavedObjectMeta.searchSourceJSON.index"

_DEFAULT_PREFIX = "cloudtrail"

_LIST_SIZE = 50  # values of a drop-down list before somebody types


def saved_objects(prefix: str, *, compatible: bool = False) -> list[dict[str, Any]]:
    """Return all saved objects for the indices `{prefix}-*`, each after the objects that it refers to.

    The ids are the same each time, so an import replaces what an earlier one created. `compatible` is for servers that
    do not index free-form fields.
    """
    return _Objects(prefix, compatible=compatible).all()


def ndjson(objects: list[dict[str, Any]]) -> str:
    """Return saved objects as the text that Dashboards imports, one object per line."""
    return "".join(f"{json.dumps(saved, separators=(',', ':'))}\n" for saved in objects)


def board_id(prefix: str, board: Board) -> str:
    """Return the id of a board's saved object."""
    return f"trailsink-{prefix}-{board.id}"


def board_title(prefix: str, name: str) -> str:
    """Return a title that tells the prefixes of one Dashboards apart."""
    return f"CloudTrail: {name}" if prefix == _DEFAULT_PREFIX else f"CloudTrail {prefix}-*: {name}"


class _Objects:
    """Makes the saved objects of one prefix."""

    def __init__(self, prefix: str, *, compatible: bool) -> None:
        self._prefix, self._compatible = prefix, compatible

    def all(self) -> list[dict[str, Any]]:
        """Return them, each after the objects that it refers to."""
        patterns = [
            self._object(
                "index-pattern",
                pattern_id(self._prefix, pattern),
                pattern_attributes(self._prefix, pattern, compatible=self._compatible),
                [],
            )
            for pattern in Pattern
        ]
        panels = [self._placed_object(panel) for board in BOARDS for panel in board.panels]
        return [*patterns, *panels, self._search(), *map(self._dashboard, BOARDS)]

    def _object(self, kind: str, id_: str, attributes: dict[str, Any], references: References) -> dict[str, Any]:
        return {
            "type": kind,
            "id": id_,
            "attributes": attributes,
            "references": references,
            "migrationVersion": {kind: _VERSIONS[kind]},
        }

    def _placed_object(self, panel: Panel | Note | Controls) -> dict[str, Any]:
        match panel:
            case Panel():
                return self._visualization(panel)
            case Note():
                params = {"fontSize": 12, "openLinksInNewTab": False, "markdown": self._with_links(panel.text)}
                return self._drawn(panel, {"type": "markdown", "params": params, "aggs": []}, {}, [])
            case Controls():
                references = [
                    self._reference(Pattern.EVENTS, f"control_{number}_index_pattern")
                    for number in range(len(panel.fields))
                ]
                state = {"type": "input_control_vis", "params": _control_params(panel), "aggs": []}
                return self._drawn(panel, state, {}, references)

    def _drawn(
        self, panel: Panel | Note | Controls, state: dict[str, Any], source: dict[str, Any], references: References
    ) -> dict[str, Any]:
        attributes = {
            "title": board_title(self._prefix, panel.title),
            "description": panel.description if isinstance(panel, Panel) else "",
            "visState": json.dumps({"title": panel.title} | state),
            "uiStateJSON": json.dumps(ui_state(panel)) if isinstance(panel, Panel) else "{}",
            "version": 1,
            "kibanaSavedObjectMeta": _source("") | source,
        }
        return self._object("visualization", f"trailsink-{self._prefix}-{panel.id}", attributes, references)

    def _visualization(self, panel: Panel) -> dict[str, Any]:
        state = {"type": VISUALIZATIONS[panel.kind], "params": chart_params(panel), "aggs": aggs(panel)}
        references = [self._reference(panel.pattern, _INDEX_REFERENCE)]
        return self._drawn(panel, state, _source(panel.query, has_index=True), references)

    def _reference(self, pattern: Pattern, name: str) -> dict[str, str]:
        return {"name": name, "type": "index-pattern", "id": pattern_id(self._prefix, pattern)}

    def _with_links(self, text: str) -> str:
        links = [f"[{board.title}](#/view/{board_id(self._prefix, board)})" for board in BOARDS]
        links.append(f"[all events](discover#/view/trailsink-{self._prefix}-events)")
        return text.format(links=" · ".join([f"**{board_title(self._prefix, '').rstrip(': ')}**", *links]))

    def _search(self) -> dict[str, Any]:
        attributes = {
            "title": board_title(self._prefix, "events"),
            "description": "",
            "hits": 0,
            "columns": ["eventName", "eventSource", "userIdentity.arn", "sourceIPAddress", "errorCode"],
            "sort": [["@timestamp", "desc"]],
            "version": 1,
            "kibanaSavedObjectMeta": _source("", has_index=True),
        }
        references = [self._reference(Pattern.EVENTS, _INDEX_REFERENCE)]
        return self._object("search", f"trailsink-{self._prefix}-events", attributes, references)

    def _dashboard(self, board: Board) -> dict[str, Any]:
        placed = [
            (f"trailsink-{self._prefix}-{panel.id}", "visualization", _placement(panel.grid, panel))
            for panel in board.panels
        ]
        if board.search_grid:
            placed.append((f"trailsink-{self._prefix}-events", "search", _placement(board.search_grid, None)))
        times = {"timeRestore": True, "timeFrom": board.time_from, "timeTo": "now"}
        attributes = {
            "title": board_title(self._prefix, board.title),
            "description": "Made by trailsink dashboards; an import replaces changes, so copy it before changing it.",
            "hits": 0,
            "panelsJSON": json.dumps([_numbered(number, panel) for number, (_, _, panel) in enumerate(placed)]),
            "optionsJSON": json.dumps({"useMargins": True, "hidePanelTitles": False}),
            "version": 1,
            **(times if board.time_from else {"timeRestore": False}),
            "refreshInterval": {"pause": not board.refresh_seconds, "value": board.refresh_seconds * 1_000},
            "kibanaSavedObjectMeta": _source(""),
        }
        references = [
            {"name": f"panel_{number}", "type": kind, "id": id_} for number, (id_, kind, _) in enumerate(placed)
        ]
        return self._object("dashboard", board_id(self._prefix, board), attributes, references)


def aggs(panel: Panel) -> list[dict[str, Any]]:
    """Return the aggregations with ids, metrics first: groups are ordered by "1", which must be the first metric."""
    numbered = [(agg, "metric") for agg in panel.metrics]
    # The last group of a chart is its axis. Those before it split the series, the same all along.
    roles = ["bucket"] * len(panel.groups) if panel.kind == "table" else ["group"] * (len(panel.groups) - 1)
    numbered += zip(panel.groups, [*roles, "segment"], strict=False)
    return [
        {"id": str(number), "enabled": True, "schema": role, **agg} for number, (agg, role) in enumerate(numbered, 1)
    ]


def _source(query: str, *, has_index: bool = False) -> dict[str, str]:
    source: dict[str, Any] = {"query": {"query": query, "language": "lucene"}, "filter": []}
    if has_index:
        source["indexRefName"] = _INDEX_REFERENCE
    return {"searchSourceJSON": json.dumps(source)}


def _control_params(panel: Controls) -> dict[str, Any]:
    options = {"type": "terms", "multiselect": True, "dynamicOptions": True, "size": _LIST_SIZE, "order": "desc"}
    controls = [
        {
            "id": f"{panel.id}-{number}",
            "indexPatternRefName": f"control_{number}_index_pattern",
            "fieldName": field,
            "parent": "",
            "label": label,
            "type": "list",
            "options": options,
        }
        for number, (label, field) in enumerate(panel.fields.items())
    ]
    return {"controls": controls, "updateFiltersOnChange": True, "useTimeFilter": True, "pinFilters": False}


def _placement(grid: Grid, panel: Panel | Note | Controls | None) -> dict[str, Any]:
    """Return a panel's place, with the short title: the long one is for the library of all panels."""
    placement: dict[str, Any] = {"gridData": dict(zip("xywh", grid, strict=True)), "embeddableConfig": {}}
    match panel:
        case Panel():
            return placement | {"title": panel.title, "embeddableConfig": {"title": panel.title}}
        case None:
            return placement
        case _:
            return placement | {"embeddableConfig": {"hidePanelTitles": True}}


def _numbered(number: int, placement: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": _VERSIONS["dashboard"],
        **placement,
        "gridData": placement["gridData"] | {"i": str(number)},
        "panelIndex": str(number),
        "panelRefName": f"panel_{number}",
    }
