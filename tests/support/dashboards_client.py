"""Reads panels out of the saved objects as Dashboards does, and asks OpenSearch what Dashboards would ask."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opensearchpy import OpenSearch

MISSING = "__missing__"  # what Dashboards has a terms aggregation put in place of nothing


def visualizations(ndjson: str) -> dict[str, dict[str, Any]]:
    """The visualizations of a file by the title in their state: `query` and `state`."""
    found = {}
    for line in ndjson.splitlines():
        one = json.loads(line)
        if one["type"] == "visualization":
            source = json.loads(one["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
            state = json.loads(one["attributes"]["visState"])
            found[state["title"]] = {"query": source["query"], "state": state}
    return found


def body(panel: dict[str, Any], *, interval: str = "10m") -> dict[str, Any]:
    """The search that Dashboards sends for a panel, with a fixed interval in place of `auto`."""
    assert panel["query"]["language"] == "lucene"
    text = panel["query"]["query"]
    aggs = panel["state"]["aggs"]
    metrics = [one for one in aggs if one["schema"] == "metric"]
    below: dict[str, Any] = {one["id"]: _metric(one) for one in metrics if one["type"] != "count"}
    for one in reversed([one for one in aggs if one["schema"] != "metric"]):
        below = {one["id"]: _bucket(one, metrics, interval) | ({"aggs": below} if below else {})}
        below |= {metric["id"]: _metric(metric) for metric in metrics if metric["type"] != "count"}
    return {"size": 0, "track_total_hits": True, "query": _query(text), "aggs": below}


def _query(text: str) -> dict[str, Any]:
    return {"query_string": {"query": text, "analyze_wildcard": True}} if text else {"match_all": {}}


def _metric(one: dict[str, Any]) -> dict[str, Any]:
    params = {name: value for name, value in one["params"].items() if name in ("field", "percents")}
    return {one["type"]: params | json.loads(one["params"].get("json", "{}"))}


def _bucket(one: dict[str, Any], metrics: list[dict[str, Any]], interval: str) -> dict[str, Any]:
    params = one["params"]
    match one["type"]:
        case "date_histogram":
            told = {"field": params["field"], "fixed_interval": interval, "min_doc_count": params["min_doc_count"]}
            return {"date_histogram": told}
        case "filters":
            return {"filters": {"filters": {f["label"]: _query(f["input"]["query"]) for f in params["filters"]}}}
        case "terms":
            (by,) = (metric for metric in metrics if metric["id"] == params["orderBy"])
            told = {"field": params["field"], "size": params["size"]}
            told["order"] = {"_count" if by["type"] == "count" else by["id"]: params["order"]}
            told |= {"missing": MISSING} if params["missingBucket"] else {}
            return {"terms": told | {name: params[name] for name in ("include", "exclude") if name in params}}
    raise AssertionError(one)


def answers(client: OpenSearch, index: str, panel: dict[str, Any]) -> dict[str, Any]:
    """What OpenSearch answers to a panel's search."""
    found: dict[str, Any] = client.search(index=index, body=body(panel))
    return found


def rows(answer: dict[str, Any], panel: dict[str, Any]) -> list[tuple[Any, ...]]:
    """A panel's rows: the keys of its groups, then the number of events."""
    groups = [one["id"] for one in panel["state"]["aggs"] if one["schema"] != "metric"]
    return list(_rows(answer["aggregations"], groups))


def _rows(found: dict[str, Any], groups: list[str]) -> Iterator[tuple[Any, ...]]:
    first, *rest = groups
    buckets = found[first]["buckets"]
    told = buckets.items() if isinstance(buckets, dict) else ((bucket["key"], bucket) for bucket in buckets)
    for key, bucket in told:
        if rest:
            yield from ((key, *below) for below in _rows(bucket, rest))
        elif bucket["doc_count"]:
            yield key, bucket["doc_count"]
