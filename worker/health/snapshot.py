"""The state of a pipeline at one moment, part by part, as values; a part that could not be observed says why."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from worker.health.flow_snapshot import BucketLag, ConsumerProcess, LedgerState, WriteBlocks
    from worker.health.retention_snapshot import IndexPolicies, RetentionState
    from worker.opensearch.verdicts import RecordedVerdict

RATE_WINDOW = timedelta(minutes=15)  # of throughput, and of the age of the oldest message
ERROR_WINDOW = timedelta(hours=1)  # of the function's errors and throttles


@dataclass(frozen=True, slots=True)
class Unobserved:
    """Something that could not be observed, and why, as a part of a sentence. `error` is the cause, where one is."""

    why: str
    error: Exception | None = field(default=None, compare=False, repr=False)


class Unreachable(Unobserved):
    """Nothing answers at all: further questions would only wait for the same timeout."""

    __slots__ = ()


class Missing(Unobserved):
    """AWS answers that it does not exist."""

    __slots__ = ()


T = TypeVar("T")

Observed: TypeAlias = T | Unobserved


# SQS


@dataclass(frozen=True, slots=True)
class QueueState:
    """Messages of the source queue, approximately. A message that waits for another try is in flight.

    `oldest_seconds` is the age of the oldest message by CloudWatch, None where it has no figure.
    """

    waiting: int
    in_flight: int
    delayed: int
    oldest_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class DeadLetterState:
    """The dead-letter queue; `reasons` is None unless the letters were counted by reason."""

    number: int
    oldest_seconds: float | None = None
    reasons: Mapping[str, int] | None = None


# Lambda


@dataclass(frozen=True, slots=True)
class EventSourceMapping:
    """A mapping from the source queue to a function; `max_concurrency` is None where it is not limited."""

    uuid: str
    state: str
    function_arn: str
    max_concurrency: int | None = None
    reports_batch_item_failures: bool = False

    @property
    def function(self) -> str:
        """The function's name."""
        return self.function_arn.split(":function:")[-1].split(":")[0]


@dataclass(frozen=True, slots=True)
class FunctionConfiguration:
    """A function's configuration; `vpc_id` is "" and the lists are empty outside a VPC."""

    role: str
    timeout_seconds: int
    environment: Mapping[str, str]
    vpc_id: str
    subnets: Sequence[str]
    security_groups: Sequence[str]


@dataclass(frozen=True, slots=True)
class ConsumerState:
    """The function that consumes the queue: its mappings and limits. `errors` and `throttles` are of the last hour.

    `reserved_concurrency` is None where none is reserved, and the figures are None where CloudWatch was not readable.
    """

    mappings: Sequence[EventSourceMapping]
    reserved_concurrency: Observed[int | None] = None
    errors: int | None = None
    throttles: int | None = None


@dataclass(frozen=True, slots=True)
class Throughput:
    """Files and records per minute over the last quarter of an hour, and the source: `CloudWatch` or `the index`.

    `filtered` are the records that filters left out: the index does not know them.
    """

    files: float
    records: float
    source: str
    filtered: float = 0.0


# CloudTrail and S3


@dataclass(frozen=True, slots=True)
class Trail:
    """A trail that writes to the bucket: the prefix of its keys and its SNS topic, each "" where it has none."""

    name: str
    arn: str
    key_prefix: str = ""
    topic_arn: str = ""


@dataclass(frozen=True, slots=True)
class TrailState:
    """Whether a trail logs; `delivery_error` is why it cannot deliver into its bucket, "" when it can."""

    name: str
    bucket: str
    logging: bool
    delivered: datetime | None
    delivery_error: str


# OpenSearch


@dataclass(frozen=True, slots=True)
class ServerVersion:
    """What `GET /` reports, "" where it does not."""

    distribution: str = ""
    number: str = ""


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The cluster's health; the figures are None where the server does not offer them, as Serverless does not."""

    server: str
    health: str | None
    nodes: int | None
    unassigned: int | None
    shards: int | None = None  # of open indices, all copies, assigned or not: what the limit counts
    data_nodes: int | None = None


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """The disk of the fullest node; below `blocking_bytes` free the cluster blocks writes, None where not known."""

    used_percent: float
    free_bytes: int
    blocking_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ShardUsage:
    """Shards that the cluster holds, and how many it may hold.

    `per_day` is the growth by new indices, None where it is not known. `days_left` is the time until no index can be
    created any more, None where it is not known, or where the retention keeps the number below the limit.
    """

    used: int
    limit: int
    per_day: float | None = None
    days_left: float | None = None

    @property
    def used_percent(self) -> float:
        """The used part of the limit."""
        return 100 * self.used / self.limit


@dataclass(frozen=True, slots=True)
class TemplateState:
    """The index template: its version, None when none is trailsink's, and the version of this trailsink.

    `changed` names what is not as it should be, `shadow` a template that wins over it, `partition` what it is made for.
    """

    name: str
    version: int | None
    expected: int
    changed: Sequence[str] = ()
    exists: bool = True
    shadow: str = ""
    partition: str = ""
    expected_partition: str = ""


@dataclass(frozen=True, slots=True)
class IndexFreshness:
    """The newest searchable event, and when the last event was indexed; None in an empty index."""

    event: datetime | None
    indexed: datetime | None


@dataclass(frozen=True, slots=True)
class IndexSize:
    """One index: its events, and its size in bytes with all copies."""

    name: str
    events: int
    size_bytes: int
    shards: int = 0  # all copies
    created: datetime | None = None
    is_closed: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that `trailsink status` shows, observed at one moment. Without a consumer, no mapping exists."""

    observed_at: datetime
    queue: Observed[QueueState]
    dead_letters: Observed[DeadLetterState]
    consumer: Observed[ConsumerState]
    throughput: Observed[Throughput]
    trails: Observed[Sequence[TrailState]]
    freshness: Observed[IndexFreshness]
    bucket_lag: Observed[BucketLag | None]
    cluster: Observed[ClusterState]
    disk: Observed[DiskUsage | None]
    template: Observed[TemplateState]
    retention: Observed[RetentionState | None]
    indices: Observed[Sequence[IndexSize]]
    index_policies: Observed[IndexPolicies | None] = None
    shards: Observed[ShardUsage | None] = None
    ledger: Observed[LedgerState | None] = None
    processes: Observed[Sequence[ConsumerProcess]] = ()
    writes: Observed[WriteBlocks | None] = None
    proof: Observed[RecordedVerdict | None] = None
