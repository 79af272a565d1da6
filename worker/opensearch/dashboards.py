"""Saved objects for OpenSearch Dashboards: an index pattern, a search, panels and two dashboards, as NDJSON.

One file serves all from Kibana 7.10 to OpenSearch Dashboards 2.19, because each object says the newest version of its
kind that the oldest of them knows: Dashboards migrates older ones and refuses newer ones with 422. Members whose names
end in JSON, and `visState`, are JSON text inside JSON. Groups are keywords, dates and numbers of the mapping only: a
flat_object can be searched, but grouped by it answers wrongly.
docs.opensearch.org/latest/dashboards/management/saved-objects
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import OpenSearchException, TransportError

from worker.errors import SetupError
from worker.opensearch.errors import describe_error
from worker.opensearch.panels import _WIDTH, OVERVIEW, PIPELINE, Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opensearchpy import OpenSearch


_VERSIONS = {"index-pattern": "7.6.0", "visualization": "7.10.0", "search": "7.9.3", "dashboard": "7.9.3"}


_SOURCE = "kibanaSavedObjectMeta.searchSourceJSON.index"


_BOUNDARY = "trailsink-5f1d9c0e6b"  # stands in no object: ids, titles and queries are ours


def saved_objects(prefix: str) -> list[dict[str, Any]]:
    """Return all saved objects for the indices `{prefix}-*`: what is referred to comes before what refers to it.

    The ids are the same each time, so an import replaces what an earlier one made.
    """
    pattern = f"trailsink-{prefix}"
    attributes = {"title": f"{prefix}-*", "timeFieldName": "@timestamp"}
    objects = [_object("index-pattern", pattern, attributes, [])]
    objects += [_visualization(panel, prefix) for panel in (*OVERVIEW, *PIPELINE)]
    objects.append(_search(prefix))
    search = (f"trailsink-{prefix}-events", "search", (0, 71, _WIDTH, 20))
    objects.append(_dashboard(prefix, "overview", "CloudTrail: overview", OVERVIEW, [search]))
    objects.append(_dashboard(prefix, "pipeline", "CloudTrail: pipeline", PIPELINE, []))
    return objects


def ndjson(prefix: str) -> str:
    """Return the saved objects as the text that Dashboards imports, one object a line."""
    return "".join(f"{json.dumps(one, separators=(',', ':'))}\n" for one in saved_objects(prefix))


def _object(kind: str, id_: str, attributes: dict[str, Any], references: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "type": kind,
        "id": id_,
        "attributes": attributes,
        "references": references,
        "migrationVersion": {kind: _VERSIONS[kind]},
    }


def _source(query: str) -> dict[str, str]:
    told = {"query": {"query": query, "language": "lucene"}, "filter": [], "indexRefName": _SOURCE}
    return {"searchSourceJSON": json.dumps(told)}


def _to_pattern(prefix: str) -> dict[str, str]:
    return {"name": _SOURCE, "type": "index-pattern", "id": f"trailsink-{prefix}"}


def _visualization(panel: Panel, prefix: str) -> dict[str, Any]:
    state = {"title": panel.title, "type": panel.kind, "params": _PARAMS[panel.kind](panel), "aggs": _aggs(panel)}
    attributes = {
        "title": f"CloudTrail: {panel.title}",
        "description": panel.description,
        "visState": json.dumps(state),
        "uiStateJSON": "{}",
        "version": 1,
        "kibanaSavedObjectMeta": _source(panel.query),
    }
    return _object("visualization", f"trailsink-{prefix}-{panel.id}", attributes, [_to_pattern(prefix)])


def _aggs(panel: Panel) -> list[dict[str, Any]]:
    """Give the metrics the first numbers, so that "1", by which groups are ordered, is the first of them."""
    told = [(one, "metric") for one in panel.metrics]
    # The last group of a chart is its axis, or its slices; those before tell its series apart, the same ones all along.
    roles = ["bucket"] * len(panel.groups) if panel.kind == "table" else ["group"] * (len(panel.groups) - 1)
    told += zip(panel.groups, [*roles, "segment"], strict=False)
    return [{"id": str(at), "enabled": True, "schema": role, **one} for at, (one, role) in enumerate(told, 1)]


def _table(_: Panel) -> dict[str, Any]:
    return {
        "perPage": 10,
        "showPartialRows": False,
        "showMetricsAtAllLevels": False,
        "showTotal": False,
        "totalFunc": "sum",
        "percentageCol": "",
    }


def _pie(_: Panel) -> dict[str, Any]:
    labels = {"show": False, "values": True, "last_level": True, "truncate": 100}
    return {
        "type": "pie", "addTooltip": True, "addLegend": True, "legendPosition": "right", "isDonut": True,
        "labels": labels,
    }  # fmt: skip


def _figures(_: Panel) -> dict[str, Any]:
    style = {"bgFill": "#000", "bgColor": False, "labelColor": False, "subText": "", "fontSize": 36}
    metric = {
        "percentageMode": False, "useRanges": False, "colorSchema": "Green to Red", "metricColorMode": "None",
        "colorsRange": [{"from": 0, "to": 10_000}], "labels": {"show": True}, "invertColors": False, "style": style,
    }  # fmt: skip
    return {"addTooltip": True, "addLegend": False, "type": "metric", "metric": metric}


def _chart(panel: Panel) -> dict[str, Any]:
    axis = {"show": True, "style": {}, "labels": {"show": True, "truncate": 100}, "title": {}}
    linear = {"type": "linear", "mode": "normal"}
    value_labels = {"show": True, "rotate": 0, "filter": False, "truncate": 100}
    value = axis | {"title": {"text": "Seconds" if panel.kind == "line" else "Events"}, "labels": value_labels}
    series = {
        "show": True, "type": panel.kind, "mode": "normal" if panel.kind == "line" else "stacked", "valueAxis": "value",
        "data": {"id": "1", "label": "Count"}, "drawLinesBetweenPoints": True, "showCircles": True,
        "interpolate": "linear", "lineWidth": 2,
    }  # fmt: skip
    return {
        "type": panel.kind, "grid": {"categoryLines": False}, "addTooltip": True, "addLegend": True,
        "legendPosition": "right", "times": [], "addTimeMarker": False, "seriesParams": [series], "labels": {},
        "thresholdLine": {"show": False, "value": 10, "width": 1, "style": "full", "color": "#E7664C"},
        "categoryAxes": [
            axis | {"id": "category", "type": "category", "position": "bottom", "scale": {"type": "linear"}}
        ],
        "valueAxes": [
            value | {"id": "value", "name": "left", "type": "value", "position": "left", "scale": linear}
        ],
    }  # fmt: skip


_PARAMS = {"table": _table, "pie": _pie, "metric": _figures, "histogram": _chart, "line": _chart}


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
    return _object("search", f"trailsink-{prefix}-events", attributes, [_to_pattern(prefix)])


def _dashboard(
    prefix: str,
    name: str,
    title: str,
    panels: Sequence[Panel],
    others: Sequence[tuple[str, str, tuple[int, int, int, int]]],
) -> dict[str, Any]:
    placed = [(f"trailsink-{prefix}-{panel.id}", "visualization", panel.place) for panel in panels]
    told, references = [], []
    for at, (id_, kind, place) in enumerate([*placed, *others]):
        grid = dict(zip("xywh", place, strict=True)) | {"i": str(at)}
        told.append(
            {
                "version": _VERSIONS["dashboard"],
                "gridData": grid,
                "panelIndex": str(at),
                "embeddableConfig": {},
                "panelRefName": f"panel_{at}",
            }
        )
        references.append({"name": f"panel_{at}", "type": kind, "id": id_})
    empty = {"query": {"query": "", "language": "lucene"}, "filter": []}
    attributes = {
        "title": title,
        "description": "Made by trailsink dashboards; an import replaces changes, so copy it before changing it.",
        "hits": 0,
        "panelsJSON": json.dumps(told),
        "optionsJSON": json.dumps({"useMargins": True, "hidePanelTitles": False}),
        "version": 1,
        "timeRestore": True,
        "timeFrom": "now-24h",
        "timeTo": "now",
        "refreshInterval": {"pause": True, "value": 0},
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(empty)},
    }
    return _object("dashboard", f"trailsink-{prefix}-{name}", attributes, references)


def install(client: OpenSearch, prefix: str, tenant: str) -> list[str]:
    """Import the saved objects, replacing earlier ones; `client` is one whose address is that of Dashboards.

    Returns the titles of the dashboards. Raises SetupError when Dashboards does not answer or refuses any of it.
    """
    body = _multipart(ndjson(prefix).encode())
    headers = {
        "content-type": f"multipart/form-data; boundary={_BOUNDARY}",
        "osd-xsrf": "true",
        "kbn-xsrf": "true",  # a Kibana 7.10 asks for this one
        **({"securitytenant": tenant} if tenant else {}),
    }
    path = "/api/saved_objects/_import"
    try:
        answer: Any = client.transport.perform_request(
            "POST", path, params={"overwrite": "true"}, headers=headers, body=body
        )
    except OpenSearchException as error:
        raise SetupError(f"Dashboards does not take the import: {_refusal(error)}.") from error
    objects = saved_objects(prefix)
    match answer:
        case {"success": True, "successCount": int(number)} if number == len(objects):
            return [one["attributes"]["title"] for one in objects if one["type"] == "dashboard"]
        case {"errors": [dict(), *_] as errors}:
            told = "; ".join(_error(one) for one in errors[:_ERRORS_SHOWN])
            raise SetupError(f"Dashboards refuses {len(errors)} of {len(objects)} objects: {told}.")
    raise SetupError("What answers at this address is not OpenSearch Dashboards.")


_ERRORS_SHOWN = 3


def _multipart(file: bytes) -> bytes:
    # The ending of the file's name is looked at.
    head = (
        'Content-Disposition: form-data; name="file"; filename="trailsink.ndjson"\r\nContent-Type: application/ndjson'
    )
    return f"--{_BOUNDARY}\r\n{head}\r\n\r\n".encode() + file + f"\r\n--{_BOUNDARY}--\r\n".encode()


def _refusal(error: OpenSearchException) -> str:
    if not isinstance(error, TransportError):
        return describe_error(error)
    match error.status_code, error.info:
        case 404, _:
            return "it says 404; a managed domain has Dashboards at /_dashboards, others mostly at the root (--url)"
        case 301 | 302 | 303 | 307 | 308 as status, _:
            return f"it says {status}, go elsewhere: to sign in, or to another path (--url)"
        case 400, {"error": str(text)} if "no handler found" in text:
            return "this is the cluster itself; Dashboards has an address of its own (--url)"
        case int() as status, {"message": str(message)}:
            return f"it says {status}, {message.rstrip('.')}"
    return describe_error(error)


def _error(one: dict[str, Any]) -> str:
    cause = one.get("error") or {}
    match cause:
        case {"type": "missing_references", "references": list(missing)}:
            why = "it refers to " + ", ".join(f"{of.get('type')} {of.get('id')}" for of in missing)
        case {"message": str(message)}:
            why = message.rstrip(".")
        case _:
            why = str(cause.get("type", "no cause told"))
    return f"{one.get('type')} {one.get('id')}: {why}"
