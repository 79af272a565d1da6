"""Whether the cluster has room for a copy of an index: disk and shards are looked at before the first document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.humanize import format_size
from worker.opensearch.disk import reserved_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opensearchpy import OpenSearch

    from worker.opensearch.reindex.days import IndexState, Template

_DISK = "cluster.routing.allocation.disk"
_LOW, _THRESHOLDS, _SHARDS = f"{_DISK}.watermark.low", f"{_DISK}.threshold_enabled", "cluster.max_shards_per_node"

# A copy is not merged yet, and a merge needs its segments twice for a while.
_GROWTH = 1.5


def lack_of_room(client: OpenSearch, state: IndexState, template: Template) -> str:
    """Return why there is no room for a copy of an index, and what to do; "" when there is."""
    settings = _settings(client)
    return _lack_of_disk(client, state, template, settings) or _lack_of_shards(client, state, template, settings)


def _settings(client: OpenSearch) -> dict[str, str]:
    names = (_LOW, _THRESHOLDS, _SHARDS)
    params = {"include_defaults": "true", "filter_path": ",".join(f"*.{name}" for name in names)}
    response: Any = client.transport.perform_request("GET", "/_cluster/settings", params=params)
    values: dict[str, str] = {}
    for scope in ("defaults", "persistent", "transient"):  # the last one wins
        values |= dict(_flatten(response.get(scope) or {}))
    return values


def _flatten(settings: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", str(value)


def _lack_of_disk(client: OpenSearch, state: IndexState, template: Template, settings: dict[str, str]) -> str:
    """Compare the size of a copy with what the nodes may hold below the low watermark, where no more shards come."""
    stats: Any = client.indices.stats(index=state.index, metric="store", params={"filter_path": "_all.primaries.store"})
    size = int(stats["_all"]["primaries"]["store"]["size_in_bytes"] * _GROWTH)
    nodes: Any = client.cat.allocation(params={"format": "json", "bytes": "b"})
    free = [_free_bytes(node, settings) for node in nodes if node.get("disk.total")]
    copies = min(1 + state.replicas, max(1, len(free)))
    if not free or (sum(free) >= size * copies and max(free) >= -(-size // template.shards)):
        return ""
    return (
        f"a copy needs {format_size(size * copies)} of disk below the low watermark, and the emptiest node has"
        f" {format_size(max(free))}: delete what is not needed, add storage, or reindex fewer days at a time"
    )


def _free_bytes(node: dict[str, Any], settings: dict[str, str]) -> int:
    total, available = int(node["disk.total"]), int(node["disk.avail"])
    if settings.get(_THRESHOLDS, "true") == "false":
        return available
    return max(0, available - (reserved_bytes(settings.get(_LOW, ""), total) or 0))


def _lack_of_shards(client: OpenSearch, state: IndexState, template: Template, settings: dict[str, str]) -> str:
    if _SHARDS not in settings:
        return ""
    health: Any = client.cluster.health()
    used = sum(health[f"{name}_shards"] for name in ("active", "initializing", "unassigned"))
    limit, needed = int(settings[_SHARDS]) * health["number_of_data_nodes"], template.shards * (1 + state.replicas)
    if used + needed <= limit:
        return ""
    return f"a copy needs {needed} shards, and {used:,} of {limit:,} are used: delete old indices, or raise {_SHARDS}"
