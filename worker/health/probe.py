"""Collects everything that `trailsink status` shows: in parallel, read-only, and with short timeouts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from botocore.config import Config

from worker.health.aws_clients import clients_for
from worker.health.aws_facts import AwsFacts
from worker.health.bucket_facts import BucketFacts
from worker.health.cluster_facts import ClusterFacts
from worker.health.index_facts import IndexFacts, per_minute
from worker.health.ledger_facts import LedgerFacts
from worker.health.observe import observe, require
from worker.health.policy_facts import PolicyFacts
from worker.health.process_facts import ProcessFacts
from worker.health.shard_facts import ShardFacts
from worker.health.snapshot import (
    ClusterState,
    ConsumerState,
    DeadLetterState,
    DiskUsage,
    IndexFreshness,
    IndexSize,
    Observed,
    QueueState,
    ShardUsage,
    Snapshot,
    TemplateState,
    Throughput,
    Unobserved,
)
from worker.health.write_facts import WriteFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from boto3 import Session
    from opensearchpy import OpenSearch

    from worker.health.flow_snapshot import BucketLag, ConsumerProcess, LedgerState, WriteBlocks
    from worker.health.retention_snapshot import IndexPolicies, RetentionState
    from worker.opensearch.verdicts import RecordedVerdict
    from worker.settings import Settings

# Short timeouts and a single retry: with --watch, the next snapshot follows soon.
_CONFIG = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})


class Probe:
    """Observes a pipeline as its settings describe it.

    `session` and `connect` open the connections, and raise SetupError where that is not possible. `reasons` counts the
    dead letters by reason, which receives all of them; None leaves them alone.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        session: Callable[[], Session],
        connect: Callable[[], OpenSearch],
        now: Callable[[], datetime],
        reasons: Callable[[], Mapping[str, int]] | None = None,
    ) -> None:
        self._settings, self._connect, self._now, self._reasons = settings, connect, now, reasons
        self._clients = clients_for(settings, session, _CONFIG)  # kept for the next snapshot

    def collect(self) -> Snapshot:
        """Observe every part once; AWS and the cluster are asked at the same time."""
        now = self._now()
        aws = AwsFacts(self._settings, self._clients, now)
        with ThreadPoolExecutor(2) as pool:
            cluster_parts = pool.submit(self._collect_cluster, aws, now)
            trails = pool.submit(lambda: aws.trail_states)
            queue, dead_letters, consumer = _queue(aws), self._dead_letters(aws), _consumer(aws)
            throughput = _throughput(aws)
            cluster = cluster_parts.result()
            return Snapshot(
                observed_at=now,
                queue=queue,
                dead_letters=dead_letters,
                consumer=consumer,
                throughput=throughput or cluster.throughput,
                trails=trails.result(),
                freshness=cluster.freshness,
                bucket_lag=cluster.bucket_lag,
                cluster=cluster.cluster,
                disk=cluster.disk,
                template=cluster.template,
                retention=cluster.retention,
                index_policies=cluster.index_policies,
                indices=cluster.indices,
                shards=cluster.shards,
                ledger=cluster.ledger,
                processes=cluster.processes,
                writes=cluster.writes,
                proof=cluster.proof,
            )

    def _dead_letters(self, aws: AwsFacts) -> Observed[DeadLetterState]:
        return observe(lambda: self._read_dead_letters(aws))

    def _read_dead_letters(self, aws: AwsFacts) -> DeadLetterState:
        queue = require(aws.dead_letter_queue)
        reasons = self._reasons() if self._reasons else None
        return DeadLetterState(queue.messages, _known(aws.oldest_letter), reasons)

    def _collect_cluster(self, aws: AwsFacts, now: datetime) -> _ClusterParts:
        facts = ClusterFacts(self._settings, self._connect)
        indices = IndexFacts(facts, self._settings.index_prefix, now)
        ledger = LedgerFacts(self._settings, facts, now)
        try:
            return _ClusterParts(
                cluster=facts.cluster,
                disk=facts.disk,
                template=facts.template,
                retention=facts.retention,
                index_policies=PolicyFacts(facts, indices, self._settings.index_prefix).attached,
                indices=indices.sizes,
                shards=ShardFacts(self._settings, facts, indices, now).usage,
                freshness=indices.freshness,
                throughput=indices.throughput,
                ledger=ledger.state,
                proof=ledger.last_verdict,
                bucket_lag=BucketFacts(self._settings, aws, indices, now).lag,
                processes=ProcessFacts(self._settings, facts, now).processes,
                writes=WriteFacts(self._settings, facts, indices, now).blocks,
            )
        finally:
            facts.close()  # opened again for the next snapshot: a password may have been rotated


class _ClusterParts(NamedTuple):
    cluster: Observed[ClusterState]
    disk: Observed[DiskUsage | None]
    template: Observed[TemplateState]
    retention: Observed[RetentionState | None]
    index_policies: Observed[IndexPolicies | None]
    indices: Observed[Sequence[IndexSize]]
    shards: Observed[ShardUsage | None]
    freshness: Observed[IndexFreshness]
    throughput: Observed[Throughput]
    bucket_lag: Observed[BucketLag | None]
    ledger: Observed[LedgerState | None]
    processes: Observed[Sequence[ConsumerProcess]]
    writes: Observed[WriteBlocks | None]
    proof: Observed[RecordedVerdict | None]


def _queue(aws: AwsFacts) -> Observed[QueueState]:
    queue = aws.source_queue
    if isinstance(queue, Unobserved):
        return queue
    return QueueState(queue.waiting, queue.in_flight, queue.delayed, _known(aws.oldest_message))


def _consumer(aws: AwsFacts) -> Observed[ConsumerState]:
    mappings, figures = aws.mappings, aws.figures
    if isinstance(mappings, Unobserved):
        return mappings
    if isinstance(figures, Unobserved):
        return ConsumerState(mappings, aws.reserved_concurrency)
    errors, throttles = (round(sum(figures.get(name, ()))) for name in ("errors", "throttles"))
    return ConsumerState(mappings, aws.reserved_concurrency, errors, throttles)


def _throughput(aws: AwsFacts) -> Throughput | None:
    """Return the rates by CloudWatch, None where it has no figures."""
    figures = aws.figures
    if isinstance(figures, Unobserved) or not {"files", "records"} & figures.keys():
        return None
    files, records, filtered = (per_minute(sum(figures.get(name, ()))) for name in ("files", "records", "filtered"))
    return Throughput(files, records, "CloudWatch", filtered)


def _known(age: Observed[float | None]) -> float | None:
    return None if isinstance(age, Unobserved) else age
