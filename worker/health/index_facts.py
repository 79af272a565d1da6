"""Facts of the indices and of the events in them, for both `trailsink status` and `trailsink doctor`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from worker.cloudtrail.keys import region_folder
from worker.health.observe import fact
from worker.health.snapshot import RATE_WINDOW, IndexFreshness, IndexSize, Throughput, Unobserved
from worker.humanize import from_epoch_milliseconds
from worker.opensearch.holds import HoldList, names_in
from worker.opensearch.index_names import is_own_index, public_name
from worker.pipeline.ledger import DISCARDED, ledger_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.health.cluster_facts import ClusterFacts
    from worker.opensearch.holds import Hold

# Bounds how many recent files are read from the index to know the last one of each folder.
_MAX_RECENT_FILES = 10_000

_FILES_PER_SEARCH = 1_000  # in one request
_ENTRIES_PER_FILE = 4  # of the ledger: one for each dead letter and each set of filters
_LAST_EVENTS = 100  # among which one is looked for that is in an index of trailsink's own

_INDEXED_AT = "trailsink.indexed_at"


class FilesWithoutEvents(NamedTuple):
    """Files that are done and have no event in the index, by their URIs.

    The dead letters of some were discarded. Empty ones had no record, only duplicates, or what filters left out.
    """

    discarded: set[str]
    empty: set[str]


class IndexFacts:
    """What the cluster holds in the indices `{index_prefix}-*`."""

    def __init__(self, cluster: ClusterFacts, index_prefix: str, now: datetime) -> None:
        self._cluster, self._now = cluster, now
        self._prefix, self._indices = index_prefix, f"{index_prefix}-*"

    @fact
    def sizes(self) -> list[IndexSize]:
        """Read the size of each index of trailsink's own: another tool's may begin with the same prefix."""
        options = {"format": "json", "bytes": "b", "h": "index,status,docs.count,store.size,pri,rep,creation.date"}
        rows: Any = self._cluster.client.cat.indices(index=self._indices, params=options)
        return [_index_size(row) for row in rows if is_own_index(str(row["index"]), self._prefix)]

    @fact
    def holds(self) -> list[Hold]:
        """Read the holds: what nothing may delete."""
        return HoldList(self._cluster.client, self._prefix).read()

    @property
    def held(self) -> frozenset[str] | None:
        """The names of the indices that are held; None where the list cannot be read, and any of them may be."""
        return None if isinstance(self.holds, Unobserved) else names_in(self.holds)

    @fact
    def freshness(self) -> IndexFreshness:
        """Read the newest event, and when the last one was indexed."""
        # Events with an absurd time have an index of their own, and do not measure the lag.
        dated = f"{self._indices},-{self._prefix}-undated*"  # with a star it need not exist
        fields = {"event": "@timestamp", "indexed": _INDEXED_AT}
        # A copy's name does not say when it was delivered, so its events keep any day, even one to come.
        plausible = {"range": {"@timestamp": {"lt": (self._now + timedelta(days=1)).isoformat()}}}
        # The documents of another tool whose indices begin with the same prefix are no events.
        events = {"bool": {"filter": [plausible, {"exists": {"field": _INDEXED_AT}}]}}
        aggregations = {name: {"max": {"field": field}} for name, field in fields.items()}
        body = {"size": 0, "query": events, "aggs": aggregations}
        response = self._cluster.search(dated, body)
        times = {name: result.get("value") for name, result in response.get("aggregations", {}).items()}
        return IndexFreshness(_timestamp(times.get("event")), _timestamp(times.get("indexed")))

    @fact
    def throughput(self) -> Throughput:
        """Count in the index what was indexed in the rate window."""
        body = {
            "size": 0,
            "track_total_hits": True,
            "query": {"range": {_INDEXED_AT: {"gte": (self._now - RATE_WINDOW).isoformat()}}},
            "aggs": {"files": {"cardinality": {"field": "trailsink.object"}}},
        }
        response = self._cluster.search(self._indices, body)
        files = response.get("aggregations", {}).get("files", {}).get("value", 0)
        return Throughput(per_minute(files), per_minute(response["hits"]["total"]["value"]), "the index")

    def last_files(self, since: datetime) -> dict[tuple[str, str], str]:
        """Return the last file, by its key, of each bucket and folder that files were indexed from since then."""
        body = {
            "size": 0,
            "query": {"range": {_INDEXED_AT: {"gte": since.isoformat()}}},
            "aggs": {"files": {"terms": {"field": "trailsink.object", "size": _MAX_RECENT_FILES}}},
        }
        response = self._cluster.search(self._indices, body)
        last: dict[tuple[str, str], str] = {}
        for entry in response.get("aggregations", {}).get("files", {}).get("buckets", []):
            bucket, _, key = str(entry["key"]).removeprefix("s3://").partition("/")
            if folder := region_folder(key):
                last[bucket, folder] = max(last.get((bucket, folder), ""), key)
        return last

    def indexed_files(self, uris: Sequence[str]) -> set[str]:
        """Return those of some files, by their URIs, that have an event in the index."""
        indexed: set[str] = set()
        for start in range(0, len(uris), _FILES_PER_SEARCH):
            part = uris[start : start + _FILES_PER_SEARCH]
            body = {
                "size": 0,
                "query": {"terms": {"trailsink.object": list(part)}},
                "aggs": {"files": {"terms": {"field": "trailsink.object", "size": len(part)}}},
            }
            response = self._cluster.search(self._indices, body)
            buckets = response.get("aggregations", {}).get("files", {}).get("buckets", [])
            indexed |= {str(entry["key"]) for entry in buckets}
        return indexed

    def files_without_events(self, uris: Sequence[str]) -> FilesWithoutEvents:
        """Return those of some files, by their URIs, that are done and have no event, as the ledger says."""
        discarded: set[str] = set()
        empty: set[str] = set()
        created: set[str] = set()
        for start in range(0, len(uris), _FILES_PER_SEARCH):
            part = list(uris[start : start + _FILES_PER_SEARCH])
            members = ["object", "reason", "indexed", "degraded"]
            body = {"size": _ENTRIES_PER_FILE * len(part), "_source": members, "query": {"terms": {"object": part}}}
            response = self._cluster.search(ledger_pattern(self._prefix), body)
            for entry in (hit["_source"] for hit in response["hits"]["hits"]):
                uri, reason = str(entry["object"]), entry.get("reason")
                if reason == DISCARDED:
                    discarded.add(uri)
                elif entry.get("indexed") or entry.get("degraded"):
                    created.add(uri)
                elif not reason:
                    empty.add(uri)
        # Loaded again with other filters, a file may have events that are gone since.
        return FilesWithoutEvents(discarded, empty - created)

    @fact
    def last_written(self) -> str | None:
        """Return the name of the index with the event that was indexed last, None without any event."""
        newest = {_INDEXED_AT: {"order": "desc", "unmapped_type": "date"}}
        body = {"size": _LAST_EVENTS, "_source": False, "sort": [newest]}
        response = self._cluster.search(self._indices, body, ignore_unavailable="true")
        names = (str(hit["_index"]) for hit in response.get("hits", {}).get("hits", []))
        # Another tool's index may begin with the same prefix, and an operator's copy of a day holds events, too.
        return next((name for name in names if is_own_index(name, self._prefix)), None)


def _index_size(row: Mapping[str, str | None]) -> IndexSize:
    """Return one row of `_cat/indices`; a closed index has no counts."""
    shards = int(row.get("pri") or 0) * (1 + int(row.get("rep") or 0))
    created = row.get("creation.date")
    return IndexSize(
        public_name(str(row["index"])),
        int(row["docs.count"] or 0),
        int(row["store.size"] or 0),
        shards,
        _timestamp(float(created)) if created else None,
        row.get("status") == "close",
    )


def per_minute(number: float) -> float:
    """Return the rate of what was counted in the rate window."""
    return round(number / (RATE_WINDOW / timedelta(minutes=1)), 1)


def _timestamp(milliseconds: float | None) -> datetime | None:
    return None if milliseconds is None else from_epoch_milliseconds(milliseconds)
