"""Which files are indexed: by the ledger, and by the documents that the cluster counts for each file.

The ledger says how many documents a file created, and also that a file without records, or of duplicates only, is done.
Files that were loaded before there was a ledger are known by their documents alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.opensearch.complete_search import search_all_shards

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opensearchpy import OpenSearch

    from worker.opensearch.ledger import LedgerReader
    from worker.pipeline.ledger import LedgerEntry


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file that is in the index, and how many documents it has; `incomplete` when some are missing.

    Without the ledger only a document before the last one is known to be missing. `filtered` says that filters left
    some of its records out, and that it was never loaded without them. A `discarded` file has no documents: its dead
    letter was discarded.
    """

    incomplete: bool
    documents: int = field(default=0, compare=False)
    filtered: bool = False
    discarded: bool = False


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
        response = search_all_shards(self._client, f"{self._prefix}-*", _count_by_file(list(uris)))
        buckets = response.get("aggregations", {}).get("files", {}).get("buckets", [])
        return {uris[bucket["key"]]: _indexed_file(bucket) for bucket in buckets}


class LedgerInventory:
    """Looks up the same, by the ledger where it has the files, and else by the index alone."""

    def __init__(self, ledger: LedgerReader, inventory: IndexInventory, bucket: str) -> None:
        self._ledger, self._inventory, self._bucket = ledger, inventory, bucket

    def lookup(self, keys: Sequence[str]) -> dict[str, IndexedFile]:
        """Return those of up to 1,000 files that are in the index, by key; raises SetupError and IndexUnavailable."""
        indexed = self._inventory.lookup(keys)
        recorded = self._ledger.lookup([f"s3://{self._bucket}/{key}" for key in keys])
        for key in keys:
            if entries := recorded.get(f"s3://{self._bucket}/{key}"):
                _apply(entries, key, indexed)
        return indexed


def _apply(entries: Sequence[LedgerEntry], key: str, indexed: dict[str, IndexedFile]) -> None:
    """Correct what the index says of one file by what the ledger says."""
    if all(entry.reason for entry in entries):
        # A dead letter may have been lost, so the file is loaded again, unless somebody discarded it.
        if key not in indexed and any(entry.is_discarded for entry in entries):
            indexed[key] = IndexedFile(incomplete=False, discarded=True)
        return
    documents = indexed[key].documents if key in indexed else 0
    expected = sum(entry.created for entry in entries)
    if documents or not expected:
        filtered = all(entry.filtered for entry in entries if not entry.reason)
        indexed[key] = IndexedFile(documents < expected, documents, filtered)


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
    return IndexedFile(last is not None and bucket["doc_count"] < last + 1, bucket["doc_count"])
