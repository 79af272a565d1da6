"""How Dashboards draws each kind of panel: the parameters of tables, pies, numbers, histograms and lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.opensearch.panels import Panel


def chart_params(panel: Panel) -> dict[str, Any]:
    """Return the parameters of a panel's visualization."""
    return _PARAMS[panel.kind](panel)


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
        "type": "pie",
        "addTooltip": True,
        "addLegend": True,
        "legendPosition": "right",
        "isDonut": True,
        "labels": labels,
    }


def _numbers(_: Panel) -> dict[str, Any]:
    style = {"bgFill": "#000", "bgColor": False, "labelColor": False, "subText": "", "fontSize": 36}
    metric = {
        "percentageMode": False,
        "useRanges": False,
        "colorSchema": "Green to Red",
        "metricColorMode": "None",
        "colorsRange": [{"from": 0, "to": 10_000}],
        "labels": {"show": True},
        "invertColors": False,
        "style": style,
    }
    return {"addTooltip": True, "addLegend": False, "type": "metric", "metric": metric}


def _axes(panel: Panel) -> dict[str, Any]:
    axis = {"show": True, "style": {}, "labels": {"show": True, "truncate": 100}, "title": {}}
    linear = {"type": "linear", "mode": "normal"}
    value_labels = {"show": True, "rotate": 0, "filter": False, "truncate": 100}
    value = axis | {"title": {"text": "Seconds" if panel.kind == "line" else "Events"}, "labels": value_labels}
    series = {
        "show": True,
        "type": panel.kind,
        "mode": "normal" if panel.kind == "line" else "stacked",
        "valueAxis": "value",
        "data": {"id": "1", "label": "Count"},
        "drawLinesBetweenPoints": True,
        "showCircles": True,
        "interpolate": "linear",
        "lineWidth": 2,
    }
    return {
        "type": panel.kind,
        "grid": {"categoryLines": False},
        "addTooltip": True,
        "addLegend": True,
        "legendPosition": "right",
        "times": [],
        "addTimeMarker": False,
        "seriesParams": [series],
        "labels": {},
        "thresholdLine": {"show": False, "value": 10, "width": 1, "style": "full", "color": "#E7664C"},
        "categoryAxes": [
            axis | {"id": "category", "type": "category", "position": "bottom", "scale": {"type": "linear"}}
        ],
        "valueAxes": [value | {"id": "value", "name": "left", "type": "value", "position": "left", "scale": linear}],
    }


_PARAMS = {"table": _table, "pie": _pie, "metric": _numbers, "histogram": _axes, "line": _axes}
