"""Facts of what keeps the cluster from accepting events: blocks of the cluster and its indices, and closed indices."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from worker.health.flow_snapshot import WriteBlocks
from worker.health.node_settings import CLUSTER_BLOCKS
from worker.health.observe import fact, require
from worker.health.snapshot import Unobserved
from worker.opensearch.hold_indices import BLOCK
from worker.opensearch.index_names import is_own_name, public_name
from worker.opensearch.schema import ledger_name
from worker.opensearch.security import heartbeat_index, hold_index, verdict_index
from worker.pipeline.ledger import ledger_pattern
from worker.pipeline.limits import Partition

if TYPE_CHECKING:
    from worker.health.cluster_facts import ClusterFacts
    from worker.health.index_facts import IndexFacts
    from worker.settings import Settings

# A setting of every index that was closed.
_CLOSED = "index.verified_before_close"

# Blocks that no policy sets: with them, events are not even found.
_HIDING = frozenset(("index.blocks.read", "index.blocks.metadata"))

_DAYS_PER_MONTH = 31  # an index of a month is blocked after its end

_DATED = re.compile(r"(-undated)?-(\d{4})-(\d\d)(?:-(\d\d))?$")


class WriteFacts:
    """Whether the cluster accepts events, now."""

    def __init__(self, settings: Settings, cluster: ClusterFacts, indices: IndexFacts, now: datetime) -> None:
        self._settings, self._cluster, self._indices, self._now = settings, cluster, indices, now

    @fact
    def blocks(self) -> WriteBlocks | None:
        """Read all blocks, None on Serverless, which has none of this kind."""
        if self._settings.is_serverless:
            return None
        prefix = self._settings.index_prefix
        # Another tool's index may begin with the same prefix, and its blocks stop no event.
        matching = self._read_blocks(f"{prefix}-*", "index.blocks.*")
        events = {name: blocks for name, blocks in matching.items() if is_own_name(name, prefix)}
        # The identity is there to name the indices without blocks, too.
        own = self._read_blocks(self._own_indices, f"index.blocks.*,{_CLOSED},index.uuid")
        # The ledger of a longer prefix, as of cloudtrail-prod, matches the pattern, too.
        own = {
            name: blocks
            for name, blocks in own.items()
            if not name.startswith(self._ledger) or is_own_name(name, ledger_name(prefix))
        }
        blocked = {name: sorted(blocks - {_CLOSED}) for name, blocks in (events | own).items() if blocks - {_CLOSED}}
        listing = self._indices.held
        listed = None if listing is None else {public_name(name) for name in listing}
        # Where holds may not be read, whoever lifts this block may lift a hold.
        held = {name for name, blocks in blocked.items() if blocks == [BLOCK] and (listed is None or name in listed)}
        blocked = {name: blocks for name, blocks in blocked.items() if name not in held}
        unexpected = {
            name: blocks
            for name, blocks in blocked.items()
            if name in own or not _HIDING.isdisjoint(blocks) or not self._is_read_only_by_policy(name)
        }
        settings = {} if isinstance(self._cluster.node_settings, Unobserved) else self._cluster.node_settings
        cluster_blocks = [name for name in CLUSTER_BLOCKS if settings.get(name) == "true"]
        if listed is None and held and not (unexpected or cluster_blocks):
            require(self._indices.holds)
        sizes = [] if isinstance(self._indices.sizes, Unobserved) else self._indices.sizes
        return WriteBlocks(
            indices=unexpected,
            cluster=cluster_blocks,
            closed=[
                *sorted((index.name for index in sizes if index.is_closed), reverse=True),
                *(name for name, blocks in own.items() if _CLOSED in blocks),
            ],
            by_policy=len(blocked) - len(unexpected),
            held=0 if listed is None else len(held),
            # An index of undated events has the time of its creation, and its name would be the last.
            newest=max((index.name for index in sizes if _is_dated(index.name)), default=""),
            newest_ledger=max((name for name in own if name.startswith(self._ledger)), default=""),
        )

    @property
    def _ledger(self) -> str:
        """What the names of the ledger's indices start with."""
        return ledger_pattern(self._settings.index_prefix).removesuffix("*")

    @property
    def _own_indices(self) -> str:
        """The indices that trailsink writes beside events: without the ledger's, each file goes back to the queue."""
        prefix = self._settings.index_prefix
        return f"{self._ledger}*,{heartbeat_index(prefix)},{hold_index(prefix)},{verdict_index(prefix)}"

    def _read_blocks(self, pattern: str, settings: str) -> dict[str, set[str]]:
        """Return which of some settings are true for each index of a pattern, from the newest on."""
        path = f"/{pattern}/_settings/{settings}"
        options = {"flat_settings": "true", "ignore_unavailable": "true", "ignore": 404}
        response: Any = self._cluster.ask("GET", path, params=options)
        return {
            public_name(name): {block for block, value in index.get("settings", {}).items() if str(value) == "true"}
            for name, index in sorted(response.items(), reverse=True)
            if isinstance(index, dict)
        }

    @property
    def _blocked_after(self) -> int:
        """After how many days the policy blocks an index, as UltraWarm does; 0 for never."""
        days = [days for days in (self._settings.read_only_days, self._settings.warm_days) if days]
        by_month = self._settings.index_partition is Partition.MONTH
        return min(days, default=0) + (_DAYS_PER_MONTH if days and by_month else 0)

    def _is_read_only_by_policy(self, index: str) -> bool:
        """Return whether the policy should have blocked an index by now, going by the start of its day or month."""
        days = self._blocked_after
        match = _DATED.search(index)
        if not days or not match:
            return False
        try:
            day = datetime(int(match[2]), int(match[3]), int(match[4] or 1), tzinfo=UTC)
        except ValueError:
            return False
        return self._now - day >= timedelta(days=days)


def _is_dated(index: str) -> bool:
    match = _DATED.search(index)
    return match is not None and not match[1]
