"""How Dashboards draws each kind of panel: the parameters of tables, numbers, histograms, bars and lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.boards.panels import Agg, Panel


# The type of visualization that draws each kind of panel.
VISUALIZATIONS = {
    "counter": "metric",
    "metric": "metric",
    "table": "table",
    "histogram": "histogram",
    "horizontal_bar": "horizontal_bar",
    "line": "line",
}

_ROWS_HEIGHT = 2  # of a table's row, in rows of the board's grid; its title, heading and pager take four more
_TABLE_FRAME = 4
_MIN_ROWS, _MAX_ROWS = 3, 20

# Pixels that values of a field need; OpenSearch Dashboards 2.x gives all columns the same width and cuts the rest.
_ARN_WIDTH, _METRIC_WIDTH, _DATE_WIDTH, _OTHER_WIDTH = 430, 90, 220, 200
_NARROW = {"recipientAccountId", "account", "awsRegion", "region", "userIdentity.type", "sourceIPAddress"}
_NARROW_WIDTH = 140

_MORE_THAN_ANY = 1_000_000_000


def chart_params(panel: Panel) -> dict[str, Any]:
    """Return the parameters of a panel's visualization."""
    return _PARAMS[panel.kind](panel)


def ui_state(panel: Panel) -> dict[str, Any]:
    """Return what a user could have set by hand: widths of columns, and colours of series.

    `sortColumn` is left out: newer servers look a clicked row up in the unsorted rows, and would filter another value.
    """
    if panel.kind == "table":
        columns = [*panel.groups, *panel.metrics]
        widths = [{"colIndex": number, "width": _width(agg)} for number, agg in enumerate(columns)]
        return {"vis": {"columnsWidth": widths}}
    return {"vis": {"colors": panel.colors}} if panel.colors else {}


def _width(agg: Agg) -> int:
    field = str(agg["params"].get("field", ""))
    if agg["type"] in ("max", "min"):
        return _DATE_WIDTH
    if agg["type"] != "terms":
        return _METRIC_WIDTH
    if field.lower().endswith("arn") or field in ("trailsink.object", "userAgent", "errorMessage.keyword"):
        return _ARN_WIDTH
    return _NARROW_WIDTH if field in _NARROW else _OTHER_WIDTH


def _table(panel: Panel) -> dict[str, Any]:
    rows = (panel.grid[3] - _TABLE_FRAME) // _ROWS_HEIGHT
    return {
        "perPage": max(_MIN_ROWS, min(rows, _MAX_ROWS)),
        "showPartialRows": False,
        "showMetricsAtAllLevels": False,
        "showTotal": False,
        "totalFunc": "sum",
        "percentageCol": "",
    }


def _numbers(panel: Panel) -> dict[str, Any]:
    is_counter = panel.kind == "counter"
    style = {"bgFill": "#000", "bgColor": is_counter, "labelColor": False, "subText": "", "fontSize": 30}
    ranges = [{"from": 0, "to": panel.red_from}, {"from": panel.red_from, "to": _MORE_THAN_ANY}]
    metric = {
        "percentageMode": False,
        "useRanges": False,
        "colorSchema": "Green to Red",
        "metricColorMode": "Background" if is_counter else "None",
        "colorsRange": ranges if is_counter else [{"from": 0, "to": _MORE_THAN_ANY}],
        "labels": {"show": not is_counter},  # a counter's title says it
        "invertColors": False,
        "style": style,
    }
    return {"addTooltip": True, "addLegend": False, "type": "metric", "metric": metric}


def _axes(panel: Panel) -> dict[str, Any]:
    is_line, is_bar = panel.kind == "line", panel.kind == "horizontal_bar"
    axis = {"show": True, "style": {}, "labels": {"show": True, "truncate": 200}, "title": {}}
    scale = {"type": panel.scale, "mode": "normal"}
    value_labels = {"show": True, "rotate": 0, "filter": True, "truncate": 100}
    value = axis | {"title": {"text": panel.unit}, "labels": value_labels}
    series = {
        "show": True,
        "type": "line" if is_line else "histogram",
        "mode": "normal" if is_line or is_bar else "stacked",
        "valueAxis": "value",
        "data": {"id": "1", "label": panel.unit},
        "drawLinesBetweenPoints": True,
        "showCircles": True,
        "interpolate": "linear",
        "lineWidth": 2,
    }
    category = axis | {"id": "category", "type": "category", "position": "left" if is_bar else "bottom"}
    return {
        "type": panel.kind,
        "grid": {"categoryLines": False},
        "addTooltip": True,
        "addLegend": not is_bar and (is_line or len(panel.groups) > 1),
        "legendPosition": "top",
        "times": [],
        "addTimeMarker": False,
        "seriesParams": [series],
        "labels": {},
        "thresholdLine": {"show": False, "value": 10, "width": 1, "style": "full", "color": "#E7664C"},
        "categoryAxes": [category | {"scale": {"type": "linear"}}],
        "valueAxes": [
            value
            | {
                "id": "value",
                "name": "left",
                "type": "value",
                "position": "bottom" if is_bar else "left",
                "scale": scale,
            }
        ],
    }


_PARAMS = {
    "table": _table,
    "counter": _numbers,
    "metric": _numbers,
    "histogram": _axes,
    "horizontal_bar": _axes,
    "line": _axes,
}
