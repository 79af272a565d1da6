# ruff: noqa: TC003 - msgspec reads the annotations
"""The JSON documents that commands and logs print: every member with its type and meaning.

docs/reference/json.md is generated from these structs, and tests decode what commands print into them. Members with a
default can be absent.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

import msgspec


def _about(meaning: str) -> msgspec.Meta:
    return msgspec.Meta(description=meaning)


class Document(msgspec.Struct, forbid_unknown_fields=True):
    """A document without members that are not listed here."""


def read(text: str, kind: Any) -> list[Any]:  # noqa: ANN401 - a union of structs is no type
    """Read a document from each line; raises msgspec's own error where one is not of its shape."""
    return [msgspec.json.decode(line, type=kind) for line in text.splitlines()]


# trailsink doctor --json


class Finding(Document):
    """`trailsink doctor --json` prints one per check."""

    verdict: Literal["ok", "warning", "fault", "not checked"]
    check: Annotated[str, _about("the name of the check")]
    evidence: Annotated[str, _about("what was read")]
    fix: Annotated[str, _about("what to do; empty when nothing is wrong")]


# trailsink deploy --json


class StackChange(Document):
    """One change of a deployment."""

    action: Literal["add", "modify", "remove", "import"]
    resource: Annotated[str, _about("its name in the template")]
    type: str
    replacement: Annotated[Literal["no", "perhaps", "yes"], _about("whether CloudFormation replaces the resource")]


class Deployment(Document):
    """`trailsink deploy --json` prints this: what it changed, or with `--plan` what it would change."""

    stack: str
    account: str
    region: str
    status: Annotated[str | None, _about("CloudFormation's status of the stack, null where there is none")]
    plan: bool
    changes: list[StackChange]
    outputs: Annotated[dict[str, str], _about("those of the stack")]


# trailsink backfill --json


class Plan(Document, tag_field="kind", tag="plan"):
    """`trailsink backfill --json` prints this first: which files it will load."""

    files: int
    bytes: int
    accounts: int
    days: int
    first_day: str | None
    last_day: str | None
    present: Annotated[int, _about("files that the index already holds records of; with `--missing` they are left out")]
    incomplete: Annotated[int, _about("files of which the index holds only some records")]
    filtered: Annotated[int, _about("files of which filters left records out; with `--missing --no-filters`")]
    discarded: Annotated[int, _about("files whose dead letters were discarded; with `--missing` they are left out")]
    since: datetime | None
    until: datetime
    done_before: Annotated[int, _about("files that earlier runs of the same job finished")]


class Day(Document, tag_field="kind", tag="day"):
    """Printed for each day that is finished."""

    day: str
    files: Annotated[dict[str, int], _about("number of files by outcome")]


class Failed(Document, tag_field="kind", tag="failed"):
    """Printed for each file that failed. The report has the same members, without `kind`."""

    object: Annotated[str, _about("the address, `s3://bucket/key`")]
    key: str
    size: Annotated[int, _about("bytes, compressed")]
    account: str
    day: str
    reason: Annotated[str, _about("the reason code, or S3's or the cluster's error code")]
    detail: str = ""
    rejected: Annotated[list[tuple[int, str]], _about("position and reason of each rejected record")] = []


class End(Document, tag_field="kind", tag="end"):
    """Printed last."""

    finished: Annotated[bool, _about("false when the run stopped early and can be continued")]
    files: Annotated[dict[str, int], _about("number of files by outcome")]
    records: Annotated[dict[str, int], _about("number of records by outcome, with `--direct`")]
    retries: Annotated[dict[str, int], _about("number of retries by cause")]
    seconds: float
    report: Annotated[str | None, _about("path of the report, if a file failed")]


Backfilled = Plan | Day | Failed | End


# trailsink filter test --json


class LeftOut(Document):
    """Events that would go."""

    events: int
    bytes: Annotated[int, _about("as CloudTrail writes them; on the index, estimated from a sample")]
    share: Annotated[float, _about("of all events, from 0 to 1")]
    dollars_a_month: Annotated[float | None, _about("of disk, by the formula of docs/sizing.md")]


class FilterSelector(LeftOut, tag_field="kind", tag="selector"):
    """Printed for each selector. An event counts for the first one that matches it."""

    name: str


class FilterEvent(Document, tag_field="kind", tag="event"):
    """Printed for each kind of event that would go, the commonest first."""

    eventSource: str  # noqa: N815 - CloudTrail's names
    eventName: str  # noqa: N815
    events: int


class FilterRule(Document, tag_field="kind", tag="rule"):
    """Printed for each rule of `--rules` that would lose hits."""

    title: str
    lost: int
    hits: Annotated[int, _about("without the filter")]


class FilterEnd(Document, tag_field="kind", tag="end"):
    """Printed last."""

    digest: Annotated[str, _about("of the selectors, as in the ledger")]
    events: Annotated[int, _about("all of the time or the files")]
    bytes: int
    left_out: LeftOut
    chosen_by_callers: Annotated[list[str], _about("selectors with conditions only on what callers choose")]


FilterTested = FilterSelector | FilterEvent | FilterRule | FilterEnd


# trailsink status --json


class Part(Document):
    """The members that every part has. A part's figures are present when they could be read."""

    verdict: Literal["ok", "warning", "fault", "unknown"]
    text: Annotated[str, _about("the line that a terminal shows")]


class Queue(Part):
    """The source queue."""

    waiting: int | None = None
    in_flight: int | None = None
    delayed: int | None = None
    oldest_seconds: Annotated[float | None, _about("age of the oldest message")] = None


class Letters(Part):
    """The dead-letter queue."""

    number: int | None = None
    oldest_seconds: Annotated[float | None, _about("age of the oldest letter")] = None
    by_reason: Annotated[dict[str, int] | None, _about("with `--letters`")] = None


class Process(Document):
    """One `trailsink run`, by its heartbeat."""

    host: str
    pid: int
    version: str
    beat_at: Annotated[datetime, _about("when it last showed itself")]
    stopped_at: Annotated[datetime | None, _about("when it was stopped, null while it runs")]


class Consumer(Part):
    """The Lambda function and its event source mapping."""

    state: Annotated[str | None, _about("the state of the event source mapping")] = None
    function: str | None = None
    max_concurrency: int | None = None
    reserved_concurrency: int | None = None
    errors: Annotated[int | None, _about("in the last hour")] = None
    throttles: Annotated[int | None, _about("in the last hour")] = None
    processes: Annotated[list[Process], _about("of `trailsink run`, where no function consumes")] = []


class Throughput(Part):
    """What the last minutes brought."""

    files_per_minute: float | None = None
    records_per_minute: float | None = None
    source: Literal["CloudWatch", "the index"] | None = None
    filtered_per_minute: Annotated[float, _about("records that filters left out; absent when there are none")] = 0.0


class TrailState(Document):
    """One trail."""

    name: str
    logging: bool
    delivered: Annotated[datetime | None, _about("time of the last delivery to S3")]
    error: Annotated[str, _about("CloudTrail's last delivery error")]


class Trails(Part):
    """The trails that write to the bucket."""

    trails: list[TrailState] = []


class Lag(Part):
    """How far the index is behind."""

    newest_event: datetime | None = None
    newest_indexed: datetime | None = None
    seconds: Annotated[int | None, _about("from the newest event until now")] = None
    newest_file: Annotated[datetime | None, _about("time of the newest file in the bucket")] = None
    files_since: Annotated[int | None, _about("files newer than the last indexed one of their folder")] = None
    files_passed_over: Annotated[int | None, _about("files of the last day before it that are not in the index")] = None
    folders_read: Annotated[int | None, _about("folders of the bucket that were looked at")] = None
    folders: Annotated[int | None, _about("folders of the bucket: accounts times regions")] = None
    files_discarded: Annotated[int | None, _about("newest files that count as indexed: discarded dead letters")] = None


class Cluster(Part):
    """The OpenSearch cluster."""

    server: Annotated[str | None, _about("distribution and version")] = None
    health: Literal["green", "yellow", "red"] | None = None
    nodes: int | None = None
    unassigned_shards: int | None = None


class Disk(Part):
    """The fullest data node."""

    used_percent: float | None = None
    free_bytes: int | None = None


class Shards(Part):
    """The shards of all indices of the cluster, and the most that it may hold."""

    used: int | None = None
    limit: int | None = None
    per_day: Annotated[float | None, _about("new shards a day, over the last week")] = None
    days_left: Annotated[float | None, _about("until no index can be created; null where that is not in sight")] = None


class Writes(Part):
    """What keeps the cluster from accepting events."""

    blocked: Annotated[list[str], _about("indices that refuse writes, apart from those of the policy")] = []
    closed: Annotated[list[str], _about("closed indices")] = []
    cluster_blocks: Annotated[list[str], _about("settings that block the whole cluster")] = []


class Template(Part):
    """The index template."""

    version: int | None = None
    expected: Annotated[int | None, _about("the version that this trailsink installs")] = None


class Retention(Part):
    """The ISM policy that deletes old indices."""

    days: int | None = None
    policy: str | None = None


class LedgerFigures(Part):
    """The ledger of files."""

    newest_file: Annotated[datetime | None, _about("when the newest file was delivered")] = None
    accounts: Annotated[int | None, _about("with a file within 14 days")] = None
    silent: Annotated[list[str], _about("accounts among them without a file for a day")] = []


class Proof(Part):
    """What `trailsink verify` found last."""

    verified_at: Annotated[datetime | None, _about("when that run began")] = None
    complete: Annotated[bool | None, _about("whether everything was proved")] = None
    last_verdict: Annotated[str | None, _about("of that run, on one line")] = None


class IndexFigures(Document):
    """One index."""

    name: str
    events: int
    size_bytes: int


class Indices(Part):
    """The indices of the prefix."""

    number: int | None = None
    events: int | None = None
    size_bytes: int | None = None
    each: list[IndexFigures] = []
    missing_days: Annotated[list[str], _about("days without an index between days that have one")] = []


class Status(Document):
    """`trailsink status --json` prints one each time it looks."""

    at: datetime
    verdict: Annotated[Literal["ok", "warning", "fault"], _about("the worst verdict of a part")]
    queue: Queue
    dead_letters: Letters
    consumer: Consumer
    throughput: Throughput
    trail: Trails
    lag: Lag
    cluster: Cluster
    disk: Disk
    shards: Shards
    writes: Writes
    template: Template
    retention: Retention
    ledger: LedgerFigures
    proof: Proof
    indices: Indices


# trailsink dlq --json


class Discarded(Document):
    """`trailsink dlq discard --json` prints this."""

    discarded: int
    file: Annotated[str, _about("where the letters are kept")]


class Exported(Document):
    """`trailsink dlq export --json` prints this."""

    exported: int
    file: str


class Imported(Document):
    """`trailsink dlq import --json` prints this."""

    imported: int
    to: Annotated[Literal["dlq", "source"], _about("the queue that the letters were sent to")]


# trailsink search --json


class Group(Document):
    """`trailsink search --count-by --json` prints one per group. Without it, a line is an event, or its `--fields`."""

    count: Annotated[int, _about("events of the group")]
    values: Annotated[dict[str, str], _about("the value of each field")]
    first: Annotated[str, _about("time of the first event")]
    last: Annotated[str, _about("time of the last event")]


# trailsink verify --json


class VerifyResult(Document):
    """`trailsink verify --json` prints this, and it is the last line of `--report`."""

    verdict: Annotated[str, _about("the sentence that a terminal shows")]
    complete: Annotated[bool, _about("whether everything was proved")]
    files: int
    events: int
    filtered: Annotated[int, _about("events that filters left out")]
    digests: int
    chains: Annotated[int, _about("of digests: one for each trail, account and region")]
    signed_until: Annotated[str, _about("UTC, to the minute; empty where nothing is signed")]
    hours_unsigned: Annotated[int, _about("hours without a digest")]
    states: Annotated[dict[str, int], _about("how many files or digests are in which state: docs/proof.md")]
    notes: Annotated[list[str], _about("states that need no action")]
    fingerprints: Annotated[list[str], _about("of the public keys that signed")]
    first_signature: Annotated[str, _about("empty where nothing is signed")]
    last_signature: Annotated[str, _about("empty where nothing is signed")]


# trailsink hold list --json


class Hold(Document):
    """What was ordered to be held."""

    name: str
    placed_at: datetime
    since: date | None = None
    until: Annotated[date | None, _about("the day after the last one")] = None
    accounts: Annotated[list[str], _about("only days with events of these; absent for all")] = []
    reason: str = ""
    indices: Annotated[list[str], _about("held when it was last applied")] = []


class HoldStatus(Document):
    """`trailsink hold list --json` prints one per hold."""

    hold: Hold
    blocked: Annotated[list[str], _about("indices that nothing can change or delete")]
    open: Annotated[list[str], _about("indices without a retention policy that may still get events")]
    pending: Annotated[list[str], _about("indices that are not held yet")]
    gone: Annotated[list[str], _about("indices that were held, and are not there")]


# trailsink detect


class Coverage(Document):
    """`trailsink detect coverage --json` prints one per rule."""

    rule: Annotated[str, _about("the id of the rule")]
    title: str
    level: str
    file: str
    reason: Annotated[str | None, _about("why it cannot fire, null if it can")]


class RuleHits(Document):
    """`trailsink detect test --json` prints one per rule."""

    rule: Annotated[str, _about("the id of the rule")]
    title: str
    level: str
    hits: int
    days: Annotated[dict[str, int], _about("hits by day")]
    accounts: Annotated[dict[str, int], _about("hits by account")]
    callers: Annotated[dict[str, int], _about("hits by caller")]
    error: Annotated[str | None, _about("why it could not be searched for")]


class FindingRule(Document):
    """The rule of a finding."""

    id: str
    title: str
    level: str
    tags: list[str]
    file: str


class FindingEvents(Document):
    """The events of a finding."""

    count: int
    first: str
    last: str
    documents: Annotated[list[str], _about("ids in the index")]
    indices: list[str]
    ids: Annotated[list[str], _about("CloudTrail's `eventID`s")]
    names: list[str]
    sources: list[str]
    regions: list[str]
    errors: list[str]
    accounts: list[str]
    callers: list[str]
    addresses: list[str]


class NewFinding(Document):
    """`trailsink detect run` prints one per new finding, and sends the same to SNS."""

    id: Annotated[str, _about("the same each time this is found")]
    time: Annotated[datetime, _about("when it was found")] = msgspec.field(name="@timestamp")
    rule: FindingRule
    events: FindingEvents
    group: Annotated[dict[str, Any], _about("the values that a correlation groups by; absent without one")] = {}


# trailsink explain --json


class Explained(Document):
    """`trailsink explain --json` prints one per record of the event."""

    event_id: str
    document_id: Annotated[str, _about("the digest of the record's text")]
    index: str
    object: Annotated[str, _about("the file, `s3://bucket/key`; empty in a document of another tool")]
    position: Annotated[int | None, _about("of the record in its file, from 0")]
    event_time: datetime | None
    delivered_at: Annotated[datetime | None, _about("to the minute, from the file's name")]
    indexed_at: datetime | None
    lag_seconds: Annotated[float | None, _about("from the event to the index")]
    degraded: Annotated[str, _about("why the document is degraded, or empty")]
    event: Annotated[str, _about("one line about the event")]
    unchecked: Annotated[bool, _about("whether the file ended before its checksum")]
    unsearchable: Annotated[list[str], _about("the paths of values that no search finds")]
    conflicting: Annotated[bool, _about("whether another record with this event id has different content")]
    record: Annotated[Any, _about("the whole event, with `--record`")] = None
    recorded_at: Annotated[datetime | None, _about("when the ledger recorded the file")] = None
    sha256: Annotated[str | None, _about("of the file's inflated bytes, by the ledger")] = None


# trailsink cost --json


class CostRow(Document):
    """Events of one account, service, event or caller."""

    value: Annotated[str, _about("of the field; `(none)` where events have none, `(others)` for the rest")]
    events: int
    bytes: Annotated[int, _about("on all disks, replicas included")]
    month: Annotated[float, _about("price a month, by the price list")]
    saved: Annotated[int, _about("bytes of events that `--filters` would leave out; 0 without it")]


class Costs(Document):
    """`trailsink cost --json` prints one."""

    by: Literal["account", "service", "event", "caller"]
    since: datetime
    until: datetime
    bytes: Annotated[int, _about("of the events of this time, as the cluster reports them")]
    month: Annotated[float, _about("price of all rows a month")]
    groups: list[CostRow]


# trailsink reindex --json


class Reindexed(Document):
    """`trailsink reindex --json` prints one per index."""

    index: Annotated[str, _about("the name that its events are written to")]
    outcome: Annotated[
        Literal["reindexed", "skipped", "refused", "failed", "stopped"],
        _about("the old index is in service for all but the first"),
    ]
    events: Annotated[int, _about("documents in the new index when it was put in place")]
    seconds: float
    detail: Annotated[str, _about("why it was not reindexed, a remark, or empty")]


# The log


class ObjectLine(Document, tag_field="message", tag="object"):
    """Printed for each object that was not indexed whole, and for each that has a note."""

    timestamp: datetime
    level: Literal["INFO", "WARNING", "ERROR"]
    object: Annotated[str, _about("the address, `s3://bucket/key`")]
    outcome: Literal["indexed", "handed_back", "dead_letter", "ignored"]
    read: Annotated[int, _about("records that were read")]
    version: Annotated[str | None, _about("the S3 version, if known")] = None
    reason: Annotated[str | None, _about("the reason code, or S3's or the cluster's error code")] = None
    rejected: int | None = None
    detail: str | None = None
    positions: Annotated[list[int] | None, _about("positions of the first rejected records")] = None


class MessageLine(Document, tag_field="message", tag="message is malformed"):
    """Printed for each message that is not a notification."""

    timestamp: datetime
    level: Literal["ERROR"]
    message_id: str
    reason: Literal["malformed_message"]
    detail: str


class UnsentLine(Document, tag_field="message", tag="dead letter not sent"):
    """Printed for each dead letter that SQS did not take. Its message is handed back."""

    timestamp: datetime
    level: Literal["ERROR"]
    detail: str


class CrashLine(Document, tag_field="message", tag="crash"):
    """Printed for each error in trailsink itself. `detail` names the exception and the line of code."""

    timestamp: datetime
    level: Literal["ERROR"]
    detail: str


class FiltersLine(Document, tag_field="message", tag="filters"):
    """Printed when the content of `TRAILSINK_FILTERS` has changed, and when the change is refused."""

    timestamp: datetime
    level: Literal["WARNING"]
    detail: str


LogLine = ObjectLine | MessageLine | UnsentLine | CrashLine | FiltersLine
