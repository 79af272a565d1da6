"""Searches whose answer decides what is loaded or proved: an answer of some shards only would be a wrong one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from opensearchpy.exceptions import OpenSearchException

from worker.errors import IndexUnavailable
from worker.opensearch.errors import classify_error
from worker.opensearch.retry import retry_while_busy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from opensearchpy import OpenSearch

_ATTEMPTS = 6

T = TypeVar("T")


def search_all_shards(client: OpenSearch, index: str, body: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a foreign answer
    """Search, again while the cluster is busy; raises SetupError, and IndexUnavailable when a shard did not answer."""
    response: Any = _send(lambda: client.search(index=index, body=dict(body)))
    check_shards(response["_shards"])
    return response


class HitText(msgspec.Struct, frozen=True):
    """A hit, with the text of its document as it stands in the response."""

    id: str = msgspec.field(name="_id")
    source: msgspec.Raw = msgspec.field(name="_source")


class _HitTexts(msgspec.Struct):
    hits: list[HitText]


class _ResponseText(msgspec.Struct):
    shards: dict[str, Any] = msgspec.field(name="_shards")
    hits: _HitTexts


def search_texts(client: OpenSearch, index: str, body: Mapping[str, Any]) -> list[HitText]:
    """Search as `search_all_shards` does; the client's own method would parse the documents."""
    headers = {"content-type": "application/json"}
    encoded = msgspec.json.encode(body)

    def request() -> str:
        connection: Any = client.transport.get_connection()
        _, _, text = connection.perform_request("POST", f"/{index}/_search", body=encoded, headers=headers)
        return str(text)

    response = msgspec.json.decode(_send(request), type=_ResponseText)
    check_shards(response.shards)
    return response.hits.hits


def composite_buckets(
    search: Callable[[dict[str, Any]], Any],
    sources: Sequence[dict[str, Any]],
    page: int,
    *,
    query: dict[str, Any] | None = None,
    aggs: Mapping[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the buckets of a composite aggregation, page by page; `search` sends a body and returns the response."""
    composite: dict[str, Any] = {"size": page, "sources": list(sources)}
    groups = {"composite": composite} | ({"aggs": dict(aggs)} if aggs else {})
    body = {"size": 0, "aggs": {"groups": groups}} | ({"query": query} if query else {})
    while True:
        result = search(body).get("aggregations", {}).get("groups", {})
        yield from result.get("buckets", ())
        if "after_key" not in result:
            return
        composite["after"] = result["after_key"]


def _send(request: Callable[[], T]) -> T:
    try:
        return retry_while_busy(request, _ATTEMPTS)
    except OpenSearchException as error:
        raise classify_error(error) from error


def check_shards(shards: Mapping[str, Any]) -> None:
    """Raise IndexUnavailable where the `_shards` of a response say that one of them did not answer."""
    # A shard whose index was removed meanwhile counts as neither successful nor failed.
    if shards.get("failed") or shards.get("successful", shards.get("total")) != shards.get("total"):
        raise IndexUnavailable("OpenSearch could not search all of its indices: check the cluster's health")
