"""Reads panels from the saved objects as Dashboards does, and sends OpenSearch the searches that Dashboards would."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opensearchpy import OpenSearch

MISSING = "__missing__"  # the key that Dashboards gives documents without the field of a terms aggregation


def visualizations(ndjson: str) -> dict[str, dict[str, Any]]:
    """The visualizations of a file that search, by the last part of their ids: `query` and `state`."""
    by_id = {}
    for line in ndjson.splitlines():
        saved = json.loads(line)
        if saved["type"] == "visualization":
            source = json.loads(saved["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
            state = json.loads(saved["attributes"]["visState"])
            if state["aggs"]:
                name = saved["id"].removeprefix(f"{_common_prefix(ndjson)}-")
                by_id[name] = {"query": source["query"], "state": state}
    return by_id


def _common_prefix(ndjson: str) -> str:
    """The id of the first index pattern, which all ids start with."""
    return str(json.loads(ndjson.partition("\n")[0])["id"])


def search_body(panel: dict[str, Any], *, interval: str = "10m") -> dict[str, Any]:
    """The search that Dashboards sends for a panel, with a fixed interval in place of `auto`."""
    assert panel["query"]["language"] == "lucene"
    aggs = panel["state"]["aggs"]
    metrics = [agg for agg in aggs if agg["schema"] == "metric"]
    nested: dict[str, Any] = {agg["id"]: _metric(agg) for agg in metrics if agg["type"] != "count"}
    for agg in reversed([agg for agg in aggs if agg["schema"] != "metric"]):
        nested = {agg["id"]: _bucket(agg, metrics, interval) | ({"aggs": nested} if nested else {})}
        nested |= {metric["id"]: _metric(metric) for metric in metrics if metric["type"] != "count"}
    return {"size": 0, "track_total_hits": True, "query": _query(panel["query"]["query"]), "aggs": nested}


def _query(text: str) -> dict[str, Any]:
    return {"query_string": {"query": text, "analyze_wildcard": True}} if text else {"match_all": {}}


def _metric(agg: dict[str, Any]) -> dict[str, Any]:
    params = {name: value for name, value in agg["params"].items() if name in ("field", "percents")}
    return {agg["type"]: params | json.loads(agg["params"].get("json", "{}"))}


def _bucket(agg: dict[str, Any], metrics: list[dict[str, Any]], interval: str) -> dict[str, Any]:
    params = agg["params"]
    match agg["type"]:
        case "date_histogram":
            options = {"field": params["field"], "fixed_interval": interval, "min_doc_count": params["min_doc_count"]}
            return {"date_histogram": options}
        case "filters":
            cases = {case["label"]: _query(case["input"]["query"]) for case in params["filters"]}
            return {"filters": {"filters": cases}}
        case "terms":
            (order_by,) = (metric for metric in metrics if metric["id"] == params["orderBy"])
            options = {"field": params["field"], "size": params["size"]}
            options["order"] = {"_count" if order_by["type"] == "count" else order_by["id"]: params["order"]}
            options |= {"missing": MISSING} if params["missingBucket"] else {}
            return {"terms": options | {name: params[name] for name in ("include", "exclude") if name in params}}
    raise AssertionError(agg)


def answers(client: OpenSearch, index: str, panel: dict[str, Any]) -> dict[str, Any]:
    """What OpenSearch answers to a panel's search."""
    response: dict[str, Any] = client.search(index=index, body=search_body(panel))
    return response


def rows(answer: dict[str, Any], panel: dict[str, Any]) -> list[tuple[Any, ...]]:
    """A panel's rows: the keys of its groups, then the number of events."""
    groups = [agg["id"] for agg in panel["state"]["aggs"] if agg["schema"] != "metric"]
    return list(_rows(answer["aggregations"], groups))


def _rows(aggregations: dict[str, Any], groups: list[str]) -> Iterator[tuple[Any, ...]]:
    group, *inner_groups = groups
    buckets = aggregations[group]["buckets"]
    by_key = buckets.items() if isinstance(buckets, dict) else ((bucket["key"], bucket) for bucket in buckets)
    for key, bucket in by_key:
        if inner_groups:
            yield from ((key, *row) for row in _rows(bucket, inner_groups))
        elif bucket["doc_count"]:
            yield key, bucket["doc_count"]
