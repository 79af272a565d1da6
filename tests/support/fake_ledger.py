"""The ledger's indices as OpenSearch answers searches and reads of them."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.support.factories import ACCOUNT
from tests.support.opensearch_server import missing
from worker.pipeline.ledger import LedgerEntry, ledger_index


def entry(name: str = "a", **changes: Any) -> LedgerEntry:
    """A file of one record that is indexed."""
    members: dict[str, Any] = {
        "object": f"s3://b/{name}",
        "read": 1,
        "indexed": 1,
        "duplicate": 0,
        "degraded": 0,
        "rejected": 0,
        "recorded_at": "2026-11-23T12:00:00Z",
        "version": "0.1.0",
        "delivered_at": "2026-11-23T10:05:00Z",
        "kind": "CloudTrail",
        "account": ACCOUNT,
        "region": "eu-central-1",
        "sha256": "0" * 64,
        "stored_bytes": 100,
        "inflated_bytes": 1_000,
    }
    return LedgerEntry(**(members | changes))


class FakeLedger:
    """Answers the searches of LedgerReader; `paths` are those of its requests."""

    def __init__(self, entries: list[LedgerEntry]) -> None:
        self.entries = entries
        self.paths: list[str] = []

    def answer(self, _method: str, path: str, _query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        self.paths.append(path)
        if "/_doc/" in path:
            index, _, id_ = path.removeprefix("/").partition("/_doc/")
            for entry in self.entries:
                if (ledger_index("trail", entry.delivered_at), entry.id) == (index, id_):
                    return 200, {"found": True, "_source": msgspec.to_builtins(entry)}
            return missing()
        documents = [msgspec.to_builtins(entry) for entry in self.entries]
        documents = [document for document in documents if _matches(document, body["query"])]
        if not documents:
            return 200, {"_shards": {"failed": 0}, "hits": {"hits": []}}
        if "aggs" in body:
            return 200, {"_shards": {"failed": 0}, "aggregations": _aggregate(documents, body["aggs"])}
        if "sort" in body:
            documents.sort(key=_position)
            after = tuple(body.get("search_after", ("", "")))
            documents = [document for document in documents if _position(document) > after]
        hits = [{"_source": document, "sort": list(_position(document))} for document in documents]
        return 200, {"_shards": {"failed": 0}, "hits": {"hits": hits[: body["size"]]}}


def _position(document: dict[str, Any]) -> tuple[str, str]:
    return document["delivered_at"], document["object"]


def _matches(document: dict[str, Any], query: dict[str, Any]) -> bool:
    ((kind, clause),) = query.items()
    if kind == "bool":
        return all(_matches(document, part) for part in clause["filter"])
    ((name, value),) = clause.items()
    match kind:
        case "terms":
            return document.get(name) in value
        case "term":
            return bool(document.get(name) == value)
    bounds = {"gte": document[name] >= value.get("gte", ""), "lt": document[name] < value.get("lt", "~")}
    return all(bounds.values()) and document[name] <= value.get("lte", "~")


def _aggregate(documents: list[dict[str, Any]], aggregations: dict[str, Any]) -> dict[str, Any]:
    recent = [document for document in documents if _matches(document, aggregations["recent"]["filter"])]
    accounts = sorted({document["account"] for document in recent})
    buckets = [
        {"key": account, "newest": _newest([document for document in recent if document["account"] == account])}
        for account in accounts
    ]
    return {"newest": _newest(documents), "recent": {"accounts": {"buckets": buckets}}}


def _newest(documents: list[dict[str, Any]]) -> dict[str, Any]:
    newest = max(document["delivered_at"] for document in documents)
    return {"value": 0.0, "value_as_string": newest.replace("Z", ".000Z")}
