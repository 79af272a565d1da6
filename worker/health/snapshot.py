"""What was observed of a pipeline at one moment, part by part; what could not be observed, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Unobserved:
    """What could not be looked at, and why: a part of a sentence."""

    why: str


T = TypeVar("T")


Observed: TypeAlias = T | Unobserved


@dataclass(frozen=True, slots=True)
class QueueState:
    """Messages of the source queue, approximately; those that wait for another try are in flight, too.

    `oldest_seconds` is by CloudWatch, None where it has nothing.
    """

    waiting: int
    in_flight: int
    delayed: int
    oldest_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class DeadLetterState:
    """The dead-letter queue; `reasons` is None where nobody looked into the letters."""

    number: int
    oldest_seconds: float | None = None
    reasons: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class ConsumerState:
    """The event source mapping that consumes the queue; `errors` and `throttles` are the function's, of an hour."""

    state: str
    function: str
    max_concurrency: int | None
    reserved_concurrency: int | None
    errors: int | None = None
    throttles: int | None = None


@dataclass(frozen=True, slots=True)
class Throughput:
    """Files and records a minute, over the last quarter of an hour, and who says so: `CloudWatch` or `the index`."""

    files: float
    records: float
    source: str


@dataclass(frozen=True, slots=True)
class IndexFreshness:
    """The newest searchable event and when the newest was indexed; None in an empty index."""

    event: datetime | None
    indexed: datetime | None


@dataclass(frozen=True, slots=True)
class BucketLag:
    """The bucket beside the index: its newest file, and files after the newest indexed one of their folder."""

    newest: datetime
    since: int
    oldest_since: datetime | None


@dataclass(frozen=True, slots=True)
class TrailState:
    """A trail that writes to the bucket; `error` is why it cannot deliver, "" when it can."""

    name: str
    logging: bool
    delivered: datetime | None
    error: str


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The cluster; the figures are None where it does not offer them, as Serverless does not."""

    server: str
    health: str | None
    nodes: int | None
    unassigned: int | None


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """The fullest node's disk."""

    used_percent: float
    free_bytes: int


@dataclass(frozen=True, slots=True)
class IndexSize:
    """One index: its events and its size in bytes, copies included."""

    name: str
    events: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class TemplateState:
    """The index template: its version, None when there is none of ours, and the version that this trailsink has."""

    version: int | None
    ours: int


@dataclass(frozen=True, slots=True)
class RetentionState:
    """Days asked for (0: for ever), and what the cluster's policy says, "" where there is none."""

    days: int
    policy: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that was seen at one moment."""

    at: datetime
    queue: Observed[QueueState]
    letters: Observed[DeadLetterState]
    consumer: Observed[ConsumerState | None]
    rates: Observed[Throughput]
    trails: Observed[Sequence[TrailState]]
    newest: Observed[IndexFreshness]
    files: Observed[BucketLag | None]
    cluster: Observed[ClusterState]
    disk: Observed[DiskUsage | None]
    template: Observed[TemplateState]
    retention: Observed[RetentionState | None]
    indices: Observed[Sequence[IndexSize]]
