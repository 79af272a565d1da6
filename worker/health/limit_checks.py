"""The doctor's checks of what would keep a cluster from accepting events: disk, shards, and a setting of its nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.health.check import check
from worker.health.findings import Judgement
from worker.health.node_settings import EXPLICIT_INDEX
from worker.health.observe import require
from worker.health.rules import judge_disk, judge_shards

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.health.cluster_facts import ClusterFacts
    from worker.health.shard_facts import ShardFacts
    from worker.settings import Settings


class LimitChecks:
    """Whether the cluster has room for the next index, and takes bulk requests as trailsink sends them."""

    def __init__(self, settings: Settings, cluster: ClusterFacts, facts: ShardFacts) -> None:
        self._settings, self._cluster, self._facts = settings, cluster, facts

    @check("disk")
    def disk(self) -> Iterator[Judgement]:
        """Check how full the fullest node is, and how far from blocking writes."""
        if not self._settings.is_serverless:
            yield judge_disk(require(self._cluster.disk))

    @check("shards")
    def shards(self) -> Iterator[Judgement]:
        """Check how many of the shards that the cluster may hold are used."""
        if not self._settings.is_serverless:
            yield judge_shards(require(self._facts.usage))

    @check("bulk requests")
    def bulk_requests(self) -> Iterator[Judgement]:
        """Check that a bulk request may name the index of each document."""
        if self._settings.is_serverless:
            return
        if self._facts.allows_explicit_index is False:
            fix = f"set {EXPLICIT_INDEX} to true: in opensearch.yml, or in the domain's advanced options"
            yield Judgement.fault(f"the cluster refuses all of them: {EXPLICIT_INDEX} is false", fix)
        else:
            yield Judgement.ok("they may name an index for each document")
