"""Turns a panel into its search, and the answer into rows: the same definitions that Dashboards draws."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.boards.saved_objects import aggs
from worker.opensearch.query import translate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.boards.panels import Panel
    from worker.opensearch.field_kinds import FieldKinds

    Clause = dict[str, Any]

# The key of the events without the field of a group, as Dashboards sends it.
MISSING = "__missing__"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a panel: the keys of its groups, and the value of each metric. A time is in milliseconds."""

    keys: tuple[str | int, ...]
    values: tuple[float | str | None, ...]

    @property
    def number(self) -> int:
        """The first metric, where that is a count."""
        return int(self.values[0] or 0)


def panel_aggregations(panel: Panel, kinds: FieldKinds, interval_seconds: int) -> dict[str, Any]:
    """Return the aggregations of a panel's search; a time axis has this interval."""
    numbered = aggs(panel)
    metrics = {agg["id"]: agg for agg in numbered if agg["schema"] == "metric"}
    measured = {id_: _metric(agg) for id_, agg in metrics.items() if agg["type"] != "count"}
    nested: dict[str, Any] = measured
    for agg in reversed([agg for agg in numbered if agg["schema"] != "metric"]):
        group = _group(agg, metrics, kinds, interval_seconds)
        nested = {agg["id"]: group | ({"aggs": nested} if nested else {})} | measured
    return nested


def _metric(agg: Mapping[str, Any]) -> dict[str, Any]:
    params = {name: value for name, value in agg["params"].items() if name in ("field", "percents")}
    return {agg["type"]: params | json.loads(agg["params"].get("json", "{}"))}


def _group(
    agg: Mapping[str, Any], metrics: Mapping[str, Mapping[str, Any]], kinds: FieldKinds, interval_seconds: int
) -> dict[str, Any]:
    params = agg["params"]
    match agg["type"]:
        case "date_histogram":
            options = {"field": params["field"], "min_doc_count": params["min_doc_count"]}
            return {"date_histogram": options | {"fixed_interval": f"{interval_seconds}s"}}
        case "filters":
            clauses = {case["label"]: translate(case["input"]["query"], kinds) for case in params["filters"]}
            return {"filters": {"filters": clauses}}
        case _:
            is_count = metrics[params["orderBy"]]["type"] == "count"
            options = {"field": params["field"], "size": params["size"]}
            options["order"] = {"_count" if is_count else params["orderBy"]: params["order"]}
            options |= {"missing": MISSING} if params["missingBucket"] else {}
            return {"terms": options | {name: params[name] for name in ("include",) if name in params}}


def panel_rows(panel: Panel, aggregations: Mapping[str, Any]) -> list[Row]:
    """Return the rows of an answer; groups without any event are left out."""
    numbered = aggs(panel)
    groups = [agg["id"] for agg in numbered if agg["schema"] != "metric"]
    metrics = [agg for agg in numbered if agg["schema"] == "metric"]
    return list(_rows(aggregations, groups, metrics, ()))


def _rows(
    aggregations: Mapping[str, Any], groups: list[str], metrics: list[dict[str, Any]], keys: tuple[str | int, ...]
) -> Iterator[Row]:
    group, *inner = groups
    buckets = aggregations[group]["buckets"]
    by_key = buckets.items() if isinstance(buckets, dict) else ((bucket["key"], bucket) for bucket in buckets)
    for key, bucket in by_key:
        if inner:
            yield from _rows(bucket, inner, metrics, (*keys, key))
        elif bucket["doc_count"]:
            yield Row((*keys, key), tuple(_value(bucket, agg) for agg in metrics))


def _value(bucket: Mapping[str, Any], agg: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a foreign answer
    if agg["type"] == "count":
        return bucket["doc_count"]
    answer = bucket[agg["id"]]
    return answer.get("value_as_string", answer["value"])
