"""Saved objects for OpenSearch Dashboards: an index pattern, a search, panels and two dashboards, as NDJSON.

One file serves every version from Kibana 7.10 to OpenSearch Dashboards 2.19. Each object declares the newest version
of its type that the oldest of them knows: Dashboards migrates older objects and refuses newer ones with 422. Members
whose names end in JSON, and `visState`, are JSON text inside JSON. Groups are keywords, dates and numbers of the
mapping only: a flat_object can be searched, but aggregations on it return wrong results.
docs.opensearch.org/latest/dashboards/management/saved-objects
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import OpenSearchException, TransportError

from worker.errors import SetupError
from worker.opensearch.charts import chart_params
from worker.opensearch.errors import describe_error
from worker.opensearch.panels import DASHBOARD_COLUMNS, OVERVIEW, PIPELINE, Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opensearchpy import OpenSearch

    Grid = tuple[int, int, int, int]  # x, y, width and height

_VERSIONS = {"index-pattern": "7.6.0", "visualization": "7.10.0", "search": "7.9.3", "dashboard": "7.9.3"}
_INDEX_REFERENCE = "kibanaSavedObjectMeta.searchSourceJSON.index"

_IMPORT = "/api/saved_objects/_import"
_BOUNDARY = "trailsink-5f1d9c0e6b"  # occurs in no object, because ids, titles and queries are ours

_MAX_ERRORS_SHOWN = 3


def saved_objects(prefix: str) -> list[dict[str, Any]]:
    """Return all saved objects for the indices `{prefix}-*`, each after the objects that it refers to.

    The ids are the same each time, so an import replaces what an earlier one created.
    """
    attributes = {"title": f"{prefix}-*", "timeFieldName": "@timestamp"}
    objects = [_object("index-pattern", f"trailsink-{prefix}", attributes, [])]
    objects += [_visualization(panel, prefix) for panel in (*OVERVIEW, *PIPELINE)]
    objects.append(_search(prefix))
    search = (f"trailsink-{prefix}-events", "search", (0, 71, DASHBOARD_COLUMNS, 20))
    objects.append(_dashboard(prefix, "overview", "CloudTrail: overview", OVERVIEW, [search]))
    objects.append(_dashboard(prefix, "pipeline", "CloudTrail: pipeline", PIPELINE, []))
    return objects


def ndjson(prefix: str) -> str:
    """Return the saved objects as the text that Dashboards imports, one object per line."""
    return "".join(f"{json.dumps(saved, separators=(',', ':'))}\n" for saved in saved_objects(prefix))


def _object(kind: str, id_: str, attributes: dict[str, Any], references: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "type": kind,
        "id": id_,
        "attributes": attributes,
        "references": references,
        "migrationVersion": {kind: _VERSIONS[kind]},
    }


def _source(query: str) -> dict[str, str]:
    source = {"query": {"query": query, "language": "lucene"}, "filter": [], "indexRefName": _INDEX_REFERENCE}
    return {"searchSourceJSON": json.dumps(source)}


def _pattern_reference(prefix: str) -> dict[str, str]:
    return {"name": _INDEX_REFERENCE, "type": "index-pattern", "id": f"trailsink-{prefix}"}


def _visualization(panel: Panel, prefix: str) -> dict[str, Any]:
    state = {"title": panel.title, "type": panel.kind, "params": chart_params(panel), "aggs": _aggs(panel)}
    attributes = {
        "title": f"CloudTrail: {panel.title}",
        "description": panel.description,
        "visState": json.dumps(state),
        "uiStateJSON": "{}",
        "version": 1,
        "kibanaSavedObjectMeta": _source(panel.query),
    }
    return _object("visualization", f"trailsink-{prefix}-{panel.id}", attributes, [_pattern_reference(prefix)])


def _aggs(panel: Panel) -> list[dict[str, Any]]:
    """Return the aggregations with ids, metrics first: groups are ordered by "1", which must be the first metric."""
    aggs = [(agg, "metric") for agg in panel.metrics]
    # The last group of a chart is its axis, or its slices. Those before it split the series, the same all along.
    roles = ["bucket"] * len(panel.groups) if panel.kind == "table" else ["group"] * (len(panel.groups) - 1)
    aggs += zip(panel.groups, [*roles, "segment"], strict=False)
    return [{"id": str(number), "enabled": True, "schema": role, **agg} for number, (agg, role) in enumerate(aggs, 1)]


def _search(prefix: str) -> dict[str, Any]:
    attributes = {
        "title": "CloudTrail: events",
        "description": "",
        "hits": 0,
        "columns": ["eventName", "eventSource", "userIdentity.arn", "sourceIPAddress", "errorCode"],
        "sort": [["@timestamp", "desc"]],
        "version": 1,
        "kibanaSavedObjectMeta": _source(""),
    }
    return _object("search", f"trailsink-{prefix}-events", attributes, [_pattern_reference(prefix)])


def _dashboard(
    prefix: str, name: str, title: str, panels: Sequence[Panel], others: Sequence[tuple[str, str, Grid]]
) -> dict[str, Any]:
    visualizations = [(f"trailsink-{prefix}-{panel.id}", "visualization", panel.grid) for panel in panels]
    placed = [*visualizations, *others]
    empty = {"query": {"query": "", "language": "lucene"}, "filter": []}
    attributes = {
        "title": title,
        "description": "Made by trailsink dashboards; an import replaces changes, so copy it before changing it.",
        "hits": 0,
        "panelsJSON": json.dumps([_placed_panel(number, grid) for number, (_, _, grid) in enumerate(placed)]),
        "optionsJSON": json.dumps({"useMargins": True, "hidePanelTitles": False}),
        "version": 1,
        "timeRestore": True,
        "timeFrom": "now-24h",
        "timeTo": "now",
        "refreshInterval": {"pause": True, "value": 0},
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(empty)},
    }
    references = [{"name": f"panel_{number}", "type": kind, "id": id_} for number, (id_, kind, _) in enumerate(placed)]
    return _object("dashboard", f"trailsink-{prefix}-{name}", attributes, references)


def _placed_panel(number: int, grid: Grid) -> dict[str, Any]:
    return {
        "version": _VERSIONS["dashboard"],
        "gridData": dict(zip("xywh", grid, strict=True)) | {"i": str(number)},
        "panelIndex": str(number),
        "embeddableConfig": {},
        "panelRefName": f"panel_{number}",
    }


def install(client: OpenSearch, prefix: str, tenant: str) -> list[str]:
    """Import the saved objects, replacing earlier ones; `client` must have the address of Dashboards.

    Returns the titles of the dashboards. Raises SetupError when Dashboards does not answer or refuses any object.
    """
    headers = {
        "content-type": f"multipart/form-data; boundary={_BOUNDARY}",
        "osd-xsrf": "true",
        "kbn-xsrf": "true",  # for a Kibana 7.10
        **({"securitytenant": tenant} if tenant else {}),
    }
    body = _multipart(ndjson(prefix).encode())
    try:
        response: Any = client.transport.perform_request(
            "POST", _IMPORT, params={"overwrite": "true"}, headers=headers, body=body
        )
    except OpenSearchException as error:
        raise SetupError(f"The import into Dashboards failed: {_describe_refusal(error)}.") from error
    return _imported_titles(response, saved_objects(prefix))


def _imported_titles(response: Any, objects: list[dict[str, Any]]) -> list[str]:  # noqa: ANN401 - a foreign answer
    match response:
        case {"success": True, "successCount": int(number)} if number == len(objects):
            return [saved["attributes"]["title"] for saved in objects if saved["type"] == "dashboard"]
        case {"errors": [dict(), *_] as errors}:
            causes = "; ".join(_object_error(error) for error in errors[:_MAX_ERRORS_SHOWN])
            raise SetupError(f"Dashboards refuses {len(errors)} of {len(objects)} objects: {causes}.")
    raise SetupError("The server at this address is not OpenSearch Dashboards.")


def _multipart(file: bytes) -> bytes:
    # Dashboards checks the extension of the file's name.
    head = (
        'Content-Disposition: form-data; name="file"; filename="trailsink.ndjson"\r\nContent-Type: application/ndjson'
    )
    return f"--{_BOUNDARY}\r\n{head}\r\n\r\n".encode() + file + f"\r\n--{_BOUNDARY}--\r\n".encode()


def _describe_refusal(error: OpenSearchException) -> str:
    if not isinstance(error, TransportError):
        return describe_error(error)
    match error.status_code, error.info:
        case 404, _:
            return "it answers 404; a managed domain has Dashboards at /_dashboards, others usually at the root (--url)"
        case 301 | 302 | 303 | 307 | 308 as status, _:
            return f"it redirects with {status}, to a sign-in page or to another path (--url)"
        case 400, {"error": str(text)} if "no handler found" in text:
            return "this is the cluster itself; Dashboards has an address of its own (--url)"
        case int() as status, {"message": str(message)}:
            return f"it answers {status}, {message.rstrip('.')}"
    return describe_error(error)


def _object_error(failure: dict[str, Any]) -> str:
    error = failure.get("error") or {}
    match error:
        case {"type": "missing_references", "references": list(missing)}:
            why = "it refers to missing " + ", ".join(f"{target.get('type')} {target.get('id')}" for target in missing)
        case {"message": str(message)}:
            why = message.rstrip(".")
        case _:
            why = str(error.get("type", "no cause given"))
    return f"{failure.get('type')} {failure.get('id')}: {why}"
