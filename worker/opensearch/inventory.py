"""Which files are indexed: the cluster counts their documents by `trailsink.object`, one page of files at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import OpenSearchException

from worker.errors import IndexUnavailable
from worker.opensearch.errors import classify_error
from worker.opensearch.retry import retry_while_busy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opensearchpy import OpenSearch

_ATTEMPTS = 6


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file with documents in the index; `incomplete` when one before its last document is missing."""

    incomplete: bool


class IndexInventory:
    """Looks up which files of a bucket are indexed; needs `indices:data/read/search` on the indices."""

    def __init__(self, client: OpenSearch, index_prefix: str, bucket: str) -> None:
        self._client, self._prefix, self._bucket = client, index_prefix, bucket

    def lookup(self, keys: Sequence[str]) -> dict[str, IndexedFile]:
        """Return the indexed ones of up to 1,000 files, by key.

        Finds what is searchable: a file indexed within the last ten seconds may be missing. Raises SetupError and
        IndexUnavailable.
        """
        uris = {f"s3://{self._bucket}/{key}": key for key in keys}
        body = _count_by_file(list(uris))
        try:
            response = retry_while_busy(lambda: self._search(body), _ATTEMPTS)
        except OpenSearchException as error:
            raise classify_error(error) from error
        if response["_shards"].get("failed"):
            raise IndexUnavailable("OpenSearch could not search all of its indices: check the cluster's health")
        buckets = response.get("aggregations", {}).get("files", {}).get("buckets", [])
        return {uris[bucket["key"]]: _indexed_file(bucket) for bucket in buckets}

    def _search(self, body: dict[str, Any]) -> Any:  # noqa: ANN401 - a foreign answer
        return self._client.search(index=f"{self._prefix}-*", body=body)


def _count_by_file(uris: list[str]) -> dict[str, Any]:
    """Return the search that counts the documents of each file, and finds the last position among them."""
    return {
        "size": 0,
        "query": {"terms": {"trailsink.object": uris}},
        "aggs": {
            "files": {
                "terms": {"field": "trailsink.object", "size": len(uris)},
                "aggs": {"last": {"max": {"field": "trailsink.position"}}},
            }
        },
    }


def _indexed_file(bucket: dict[str, Any]) -> IndexedFile:
    # Positions count from 0, so positions 0 to n without a gap are n + 1 documents.
    last = bucket["last"]["value"]
    return IndexedFile(last is not None and bucket["doc_count"] < last + 1)
