"""Settings of the cluster that decide what it accepts: how many shards, whether writes, and how full a disk may be.

docs.opensearch.org/latest/install-and-configure/configuring-opensearch/cluster-settings/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.opensearch.disk import reserved_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

SHARD_LIMIT = "cluster.max_shards_per_node"
EXPLICIT_INDEX = "rest.action.multi.allow_explicit_index"
CLUSTER_BLOCKS = ("cluster.blocks.read_only", "cluster.blocks.read_only_allow_delete", "cluster.blocks.create_index")
_DISK = "cluster.routing.allocation.disk"
_FLOOD_STAGE, _THRESHOLDS = f"{_DISK}.watermark.flood_stage", f"{_DISK}.threshold_enabled"

NODE_SETTINGS = (SHARD_LIMIT, EXPLICIT_INDEX, *CLUSTER_BLOCKS, _FLOOD_STAGE, _THRESHOLDS)

# An Amazon domain blocks writes when a node has less free than both of these.
# docs.aws.amazon.com/opensearch-service/latest/developerguide/handling-errors.html#troubleshooting-cluster-block
_MANAGED_SHARE, _MANAGED_BYTES = 0.2, 20 << 30


def flat_settings(response: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings in a response of the cluster by their full names; transient ones win over others."""
    values: dict[str, str] = {}
    for scope in ("defaults", "persistent", "transient"):  # the last one wins
        for name in NODE_SETTINGS:
            value: Any = response.get(scope, {})
            for part in name.split("."):
                value = value.get(part, {}) if isinstance(value, dict) else {}
            if not isinstance(value, dict):
                values[name] = str(value)
    return values


def blocking_bytes(settings: Mapping[str, str], total: int, *, is_managed: bool) -> int | None:
    """Return how many bytes must be free on a disk of `total` bytes for writes, None where the cluster sets no limit.

    A watermark is a share that may be used, or a size that must be free.
    """
    if is_managed:
        return min(int(total * _MANAGED_SHARE), _MANAGED_BYTES)
    if settings.get(_THRESHOLDS, "true") == "false":
        return None
    return reserved_bytes(settings.get(_FLOOD_STAGE, ""), total)
