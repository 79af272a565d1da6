"""What events cost on this cluster: the bytes of each index, shared out by who or what its events are of.

An index has one size for all of its events. A group's share of it is the number of its events, which is exact, times
the mean length of its documents in a sample. So the shares of all groups are the size of the index again.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from worker.errors import SetupError
from worker.opensearch.complete_search import search_all_shards, search_texts
from worker.opensearch.reindex.days import between, read_states
from worker.opensearch.search import value_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from opensearchpy import OpenSearch

# Groups that are counted in each index, and documents whose length is measured.
_GROUPS, _SAMPLE = 2_000, 500

_DAYS_PER_MONTH, _MILLION = 30, 1_000_000
REST = "(others)"
NO_VALUE = "(none)"


class CostBy(StrEnum):
    """What events are grouped by."""

    ACCOUNT = "account"
    SERVICE = "service"
    EVENT = "event"
    CALLER = "caller"


FIELDS = {
    CostBy.ACCOUNT: "recipientAccountId",
    CostBy.SERVICE: "eventSource",
    CostBy.EVENT: "eventName",
    CostBy.CALLER: "userIdentity.arn",
}


class PriceList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prices of the user's own: of a gigabyte on disk a month, of loading a million events, of all nodes a month.

    The defaults are those of docs/sizing.md: gp3 with AWS's overhead, the function's time, and no nodes.
    """

    gigabyte: float = 0.122 * 1.45
    million_events: float = 0.0062
    nodes: float = 0.0


@dataclass(frozen=True, slots=True)
class CostScope:
    """Which events: those of a prefix from `since` until `until`, by a field.

    `dropped` is a clause for events that a filter would drop; then each group also says how much that would save.
    """

    prefix: str
    since: datetime
    until: datetime
    by: CostBy
    dropped: Mapping[str, Any] | None = None

    @property
    def clause(self) -> dict[str, Any]:
        """The clause for the time."""
        return {"range": {"@timestamp": {"gte": self.since.isoformat(), "lt": self.until.isoformat()}}}


@dataclass(slots=True)
class GroupCost:
    """Events and bytes of a group; how many bytes filters would save."""

    events: int = 0
    octets: float = 0.0
    saved: float = 0.0


@dataclass(slots=True)
class CostTable:
    """The groups, by their values, and in `octets` what `_stats` says of all of them together."""

    groups: dict[str, GroupCost] = field(default_factory=lambda: defaultdict(GroupCost))
    octets: float = 0.0
    days: float = 0.0

    def ordered(self) -> list[tuple[str, GroupCost]]:
        """Return the groups with the most bytes first, the rest last."""
        return sorted(self.groups.items(), key=lambda item: (item[0] == REST, -item[1].octets, item[0]))

    def price(self, group: GroupCost, prices: PriceList) -> float:
        """Return what a group costs a month: what it has on the disks, what is loaded of it, its share of the nodes."""
        events = group.events * _DAYS_PER_MONTH / self.days if self.days else 0.0
        share = group.octets / self.octets if self.octets else 0.0
        return group.octets / 1e9 * prices.gigabyte + events / _MILLION * prices.million_events + share * prices.nodes


def read_costs(client: OpenSearch, scope: CostScope) -> CostTable:
    """Read sizes, counts and samples of all indices of the time; raises SetupError and IndexUnavailable."""
    table = CostTable(days=(scope.until - scope.since).total_seconds() / 86_400)
    sizes = _sizes(client, scope.prefix)
    since = scope.since.replace(hour=0, minute=0, second=0, microsecond=0)
    names = [state.index for state in between(read_states(client, scope.prefix), scope.prefix, since, scope.until)]
    for index in names:
        octets, documents = sizes.get(index, (0, 0))
        if documents:
            _share_out(client, scope, index, octets / documents, table)
    return table


def _sizes(client: OpenSearch, prefix: str) -> dict[str, tuple[int, int]]:
    """Return the bytes of each index on all disks, replicas included, and the number of its documents."""
    params = {"filter_path": "indices.*.total.store.size_in_bytes,indices.*.primaries.docs.count"}
    response: Any = client.indices.stats(index=f"{prefix}-*", metric="store,docs", params=params)
    return {
        name: (int(index["total"]["store"]["size_in_bytes"]), int(index["primaries"]["docs"]["count"]))
        for name, index in response.get("indices", {}).items()
    }


def _share_out(client: OpenSearch, scope: CostScope, index: str, per_event: float, table: CostTable) -> None:
    counts = list(_counts(client, scope, index))
    total = sum(events for _, events, _ in counts)
    if not total:
        return
    lengths, mean = _mean_lengths(client, scope, index)
    weights = [events * lengths.get(value, mean) for value, events, _ in counts]
    octets = per_event * total
    table.octets += octets
    for (value, events, dropped), weight in zip(counts, weights, strict=True):
        group = table.groups[value]
        part = octets * weight / sum(weights)
        group.events += events
        group.octets += part
        group.saved += part * dropped / events if events else 0.0


def _counts(client: OpenSearch, scope: CostScope, index: str) -> Iterator[tuple[str, int, int]]:
    """Yield each group with the number of its events, and of those that a filter would drop."""
    dropped = {"aggs": {"dropped": {"filter": dict(scope.dropped)}}} if scope.dropped else {}
    terms = {"field": FIELDS[scope.by], "size": _GROUPS, "missing": NO_VALUE}
    aggs: dict[str, Any] = {"groups": {"terms": terms, **dropped}, **dropped.get("aggs", {})}
    body = {"size": 0, "track_total_hits": True, "query": scope.clause, "aggs": aggs}
    response = search_all_shards(client, index, body)
    groups = response["aggregations"]["groups"]
    found = [(str(part["key"]), part["doc_count"], _dropped(part)) for part in groups["buckets"]]
    yield from found
    rest = response["hits"]["total"]["value"] - sum(events for _, events, _ in found)
    if rest > 0:
        yield REST, rest, max(0, _dropped(response["aggregations"]) - sum(number for _, _, number in found))


def _dropped(part: Mapping[str, Any]) -> int:
    return int(part.get("dropped", {}).get("doc_count", 0))


def _mean_lengths(client: OpenSearch, scope: CostScope, index: str) -> tuple[dict[str, float], float]:
    """Return the mean length of a sample's documents by group, and of all of them."""
    random: dict[str, Any] = {"function_score": {"query": scope.clause, "random_score": {}}}
    lengths = defaultdict[str, list[int]](list)
    for hit in search_texts(client, index, {"size": _SAMPLE, "query": random}):
        lengths[_value(msgspec.json.decode(hit.source), FIELDS[scope.by])].append(len(bytes(hit.source)))
    octets = [length for values in lengths.values() for length in values]
    mean = sum(octets) / len(octets) if octets else 1.0
    return {value: sum(parts) / len(parts) for value, parts in lengths.items()}, mean


def _value(source: Mapping[str, Any], path: str) -> str:
    value = value_at(source, path)
    return str(value) if isinstance(value, (str, int)) else NO_VALUE


def read_prices(text: str) -> PriceList:
    """Return the prices of a JSON file; raises SetupError for one that is not a price list."""
    try:
        return msgspec.json.decode(text, type=PriceList)
    except msgspec.DecodeError as error:
        members = ", ".join(PriceList.__struct_fields__)
        raise SetupError(f"The price list must be a JSON object with any of {members}: {error}.") from error
