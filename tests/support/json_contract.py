# ruff: noqa: D101 - a shape is named for what it is, and its members tell the rest
"""What commands print as JSON: just these members, of these kinds, so that whoever wrote a script can rely on it."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec needs it at runtime
from typing import Any, Literal

import msgspec


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    """A document; members that can be absent have a default."""


def read(text: str, kind: Any) -> list[Any]:
    """Read a document from each line; raises msgspec's own error where one is not of its shape."""
    return [msgspec.json.decode(line, type=kind) for line in text.splitlines()]


# trailsink doctor --json


class Finding(Shape):
    verdict: Literal["ok", "warning", "fault", "not checked"]
    check: str
    evidence: str
    fix: str


# trailsink backfill --json


class Plan(Shape, tag_field="kind", tag="plan"):
    files: int
    bytes: int
    accounts: int
    days: int
    first_day: str | None
    last_day: str | None
    present: int
    incomplete: int
    since: datetime | None
    until: datetime
    done_before: int


class Day(Shape, tag_field="kind", tag="day"):
    day: str
    files: dict[str, int]


class Failed(Shape, tag_field="kind", tag="failed"):
    object: str
    key: str
    size: int
    account: str
    day: str
    reason: str
    detail: str = ""
    rejected: list[tuple[int, str]] = []


class End(Shape, tag_field="kind", tag="end"):
    finished: bool
    files: dict[str, int]
    records: dict[str, int]
    retries: dict[str, int]
    seconds: float
    report: str | None


Backfilled = Plan | Day | Failed | End


# trailsink status --json: the figures of a part are there when it could be looked at


class Part(Shape):
    verdict: Literal["ok", "warning", "fault", "unknown"]
    text: str


class Queue(Part):
    waiting: int | None = None
    in_flight: int | None = None
    delayed: int | None = None
    oldest_seconds: float | None = None


class Letters(Part):
    number: int | None = None
    oldest_seconds: float | None = None
    by_reason: dict[str, int] | None = None


class Consumer(Part):
    state: str | None = None
    function: str | None = None
    max_concurrency: int | None = None
    reserved_concurrency: int | None = None
    errors: int | None = None
    throttles: int | None = None


class Throughput(Part):
    files_per_minute: float | None = None
    records_per_minute: float | None = None
    source: Literal["CloudWatch", "the index"] | None = None


class OneTrail(Shape):
    name: str
    logging: bool
    delivered: datetime | None
    error: str


class Trails(Part):
    trails: list[OneTrail] = []


class Lag(Part):
    newest_event: datetime | None = None
    newest_indexed: datetime | None = None
    seconds: int | None = None
    newest_file: datetime | None = None
    files_since: int | None = None


class Cluster(Part):
    server: str | None = None
    health: Literal["green", "yellow", "red"] | None = None
    nodes: int | None = None
    unassigned_shards: int | None = None


class Disk(Part):
    used_percent: float | None = None
    free_bytes: int | None = None


class Template(Part):
    version: int | None = None
    expected: int | None = None


class Retention(Part):
    days: int | None = None
    policy: str | None = None


class OneIndex(Shape):
    name: str
    events: int
    size_bytes: int


class Indices(Part):
    number: int | None = None
    events: int | None = None
    size_bytes: int | None = None
    each: list[OneIndex] = []


class Look(Shape):
    at: datetime
    verdict: Literal["ok", "warning", "fault"]
    queue: Queue
    dead_letters: Letters
    consumer: Consumer
    throughput: Throughput
    trail: Trails
    lag: Lag
    cluster: Cluster
    disk: Disk
    template: Template
    retention: Retention
    indices: Indices
