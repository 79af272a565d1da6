"""How many shards the cluster holds, how many it may hold, and when it is full; and one setting of its nodes."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from worker.aws.partitions import is_aws_host
from worker.health.node_settings import EXPLICIT_INDEX, SHARD_LIMIT
from worker.health.observe import fact, require
from worker.health.snapshot import IndexSize, ShardUsage, Unobserved

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from worker.health.cluster_facts import ClusterFacts
    from worker.health.index_facts import IndexFacts
    from worker.settings import Settings

# On Amazon's domains, from OpenSearch 2.17 on, memory decides: 1,000 shards for each 16 GiB of a node's heap.
# docs.aws.amazon.com/opensearch-service/latest/developerguide/bp-sharding.html
_SHARDS_PER_HEAP, _HEAP, _MAX_MANAGED = 1_000, 16 << 30, 4_000
_BY_HEAP = (2, 17)

_GROWTH_WINDOW = timedelta(days=7)
_DAY = timedelta(days=1)


class ShardFacts:
    """What limits the number of indices in one cluster."""

    def __init__(self, settings: Settings, cluster: ClusterFacts, indices: IndexFacts, now: datetime) -> None:
        self._settings, self._cluster, self._indices, self._now = settings, cluster, indices, now

    @property
    def allows_explicit_index(self) -> bool | None:
        """Whether a bulk request may name the index of each document; None where the server does not say."""
        value = require(self._cluster.node_settings).get(EXPLICIT_INDEX)
        return None if value is None else value.lower() != "false"

    @fact
    def usage(self) -> ShardUsage | None:
        """Count the shards; None where the server has no limit of this kind, as Serverless."""
        cluster = require(self._cluster.cluster)
        if cluster.shards is None or not cluster.data_nodes:
            return None
        limit = self._limit(cluster.data_nodes)
        if limit is None:
            return None
        sizes = self._indices.sizes
        if isinstance(sizes, Unobserved):
            return ShardUsage(cluster.shards, limit)
        per_day = growth(sizes, self._now)
        return ShardUsage(cluster.shards, limit, per_day, self._days_left(cluster.shards, limit, per_day, sizes))

    def _limit(self, data_nodes: int) -> int | None:
        configured = require(self._cluster.node_settings).get(SHARD_LIMIT)
        limit = int(configured) * data_nodes if configured else None
        if not self._is_limited_by_heap():
            return limit
        options = {"filter_path": "nodes.*.roles,nodes.*.jvm.mem.heap_max_in_bytes"}
        response: Any = self._cluster.ask("GET", "/_nodes/stats/jvm", params=options)
        by_heap: int = sum(
            min(_MAX_MANAGED, _SHARDS_PER_HEAP * node["jvm"]["mem"]["heap_max_in_bytes"] // _HEAP)
            for node in response["nodes"].values()
            if "data" in node.get("roles", ())
        )
        return min(limit, by_heap) if limit else by_heap

    def _is_limited_by_heap(self) -> bool:
        number = require(self._cluster.version).number
        version = tuple(int(part) for part in re.findall(r"\d+", number)[:2])
        return is_aws_host(self._settings.opensearch_host) and version >= _BY_HEAP

    def _days_left(self, used: int, limit: int, per_day: float, sizes: Iterable[IndexSize]) -> float | None:
        """Return when the limit is reached, None when the retention deletes as many shards as are created by then."""
        if not per_day:
            return None
        days = self._settings.retention_days
        others = used - sum(index.shards for index in sizes)
        if days and others + per_day * (days + 1) <= limit:
            return None
        return max(0, limit - used) / per_day


def growth(sizes: Iterable[IndexSize], now: datetime) -> float:
    """Return how many shards are created a day: in the last week, or since the first index if that is shorter."""
    created = [(index.created, index.shards) for index in sizes if index.created]
    if not created:
        return 0.0
    window = min(_GROWTH_WINDOW, max(_DAY, now - min(time for time, _ in created)))
    return sum(shards for time, shards in created if now - time <= window) / (window / _DAY)
