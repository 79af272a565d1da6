"""`trailsink doctor`: read-only checks of a live pipeline, each with its status, the evidence, and the exact fix.

A check that is not possible says why and harms no other: the doctor works with whatever part can be reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.aws.session import config
from worker.health.aws_clients import clients_for
from worker.health.aws_facts import AwsFacts
from worker.health.bucket_facts import BucketFacts
from worker.health.cluster_checks import ClusterChecks
from worker.health.cluster_facts import CLUSTER_NOT_CHECKED, ClusterFacts
from worker.health.coverage_checks import CoverageChecks
from worker.health.findings import Judgement
from worker.health.flow_checks import FlowChecks
from worker.health.function_checks import FunctionChecks
from worker.health.hold_checks import HoldChecks
from worker.health.index_facts import IndexFacts
from worker.health.integrity_checks import IntegrityChecks
from worker.health.ledger_checks import LedgerChecks
from worker.health.ledger_facts import LedgerFacts
from worker.health.limit_checks import LimitChecks
from worker.health.loader_checks import LoaderChecks
from worker.health.network_checks import NetworkChecks
from worker.health.policy_facts import PolicyFacts
from worker.health.process_facts import ProcessFacts
from worker.health.queue_access_checks import QueueAccessChecks
from worker.health.queue_checks import QueueChecks
from worker.health.shard_facts import ShardFacts
from worker.health.store_checks import StoreChecks
from worker.health.trail_checks import TrailChecks
from worker.health.write_facts import WriteFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from boto3 import Session
    from opensearchpy import OpenSearch

    from worker.health.check import Check
    from worker.health.findings import Finding
    from worker.settings import Settings


class Doctor:
    """Checks a pipeline as its settings describe it; `session` and `client` are called when they are first needed.

    `loader_role` is the ARN of the role that loads, "" where it has to be read from the function.
    """

    def __init__(
        self,
        settings: Settings,
        session: Callable[[], Session],
        client: Callable[[], OpenSearch],
        now: datetime,
        loader_role: str = "",
    ) -> None:
        aws = AwsFacts(settings, clients_for(settings, session, config(connections=1)), now)
        cluster = ClusterFacts(settings, client)
        indices = IndexFacts(cluster, settings.index_prefix, now)
        self._queues, self._function = QueueChecks(aws), FunctionChecks(aws)
        self._trail = TrailChecks(settings, aws, now)
        self._access = QueueAccessChecks(aws, self._trail.announcers, settings.bucket_account)
        self._store = StoreChecks(settings, aws)
        self._network = NetworkChecks(settings, aws, self._function.role)
        policies = PolicyFacts(cluster, indices, settings.index_prefix)
        self._cluster = ClusterChecks(settings, cluster, indices, policies, now)
        self._limits = LimitChecks(settings, cluster, ShardFacts(settings, cluster, indices, now))
        self._integrity = IntegrityChecks(settings, cluster, indices, WriteFacts(settings, cluster, indices, now))
        processes, bucket = ProcessFacts(settings, cluster, now), BucketFacts(settings, aws, indices, now)
        self._flow = FlowChecks(aws, indices, processes, bucket, now)
        self._coverage = CoverageChecks(cluster, settings.index_prefix)
        self._ledger = LedgerChecks(LedgerFacts(settings, cluster, now), now)
        self._holds = HoldChecks(settings, cluster, indices, now)
        self._loader = LoaderChecks(settings, cluster, lambda: loader_role or self._function.role())

    def findings(self) -> Iterator[Finding]:
        """Run every check."""
        for check in self._aws_checks:
            yield from check()
        yield from self._cluster.cluster()
        for check in self._cluster_checks:
            if self._cluster.is_answering:
                yield from check()
            else:
                yield check.finding(Judgement.not_checked(CLUSTER_NOT_CHECKED))

    @property
    def _aws_checks(self) -> tuple[Check, ...]:
        queues, access, function, trail = self._queues, self._access, self._function, self._trail
        return (
            queues.source_queue,
            queues.dead_letter_queue,
            queues.redrive,
            queues.redrive_allow,
            access.encryption,
            access.policy,
            access.access,
            queues.retention,
            queues.letters,
            queues.age,
            queues.clock,
            function.mapping,
            function.partial_failures,
            function.visibility,
            function.concurrency,
            self._network.network,
            self._network.data_access,
            self._store.role,
            trail.notification,
            trail.prefix,
            trail.trail,
        )

    @property
    def _cluster_checks(self) -> tuple[Check, ...]:
        cluster, loader, limits, integrity = self._cluster, self._loader, self._limits, self._integrity
        return (
            cluster.health,
            limits.disk,
            limits.shards,
            limits.bulk_requests,
            loader.rights,
            loader.mapping,
            cluster.template,
            cluster.mapping,
            integrity.mappings,
            integrity.older_mappings,
            self._coverage.members,
            integrity.overwritten,
            integrity.blocks,
            cluster.retention,
            cluster.attached_policies,
            self._holds.holds,
            cluster.days,
            self._flow.consumer,
            self._flow.freshness,
            self._flow.files,
            self._ledger.template,
            self._ledger.accounts,
        )
