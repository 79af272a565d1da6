"""How facts are judged: one threshold and one judgement per fact, for `trailsink status` and `trailsink doctor` alike.

Pure: values in, judgements out.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from worker.health.findings import Judgement
from worker.humanize import format_duration, format_size, pluralize
from worker.opensearch.managed_indices import NAMES_IN_REQUEST

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from worker.health.flow_snapshot import BucketLag, LedgerState
    from worker.health.snapshot import (
        ClusterState,
        DiskUsage,
        EventSourceMapping,
        IndexFreshness,
        ShardUsage,
        TrailState,
    )
    from worker.opensearch.verdicts import RecordedVerdict

# A consumer finishes a batch or hands it back within five minutes: an older message is not being consumed. An hour is
# the longest wait of a message that was handed back: past it, no retry explains the age.
OLDEST_MESSAGE_WARNING = timedelta(minutes=15)
OLDEST_MESSAGE_FAULT = timedelta(hours=1)

# Before SQS deletes a letter, a weekend must fit in.
LETTER_EXPIRY_WARNING = timedelta(days=3)

# A trail delivers about every five minutes while there is any API activity.
# docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html
STALE_INDEX = timedelta(hours=2)
UNINDEXED_FILE = timedelta(minutes=15)

# An account that had a file within this time is expected to have more.
ACTIVE_ACCOUNT = timedelta(days=14)

# How far back a folder of the bucket is compared with the index.
PASSED_OVER_WINDOW = timedelta(days=1)

# AWS recommends to act at a quarter free. A cluster stops writing at 95 percent used, a managed domain at 80.
# docs.aws.amazon.com/opensearch-service/latest/developerguide/cloudwatch-alarms.html
DISK_WARNING_PERCENT = 75.0
DISK_FAULT_PERCENT = 90.0

# A mapping that is being created or changed consumes in a moment, or goes on meanwhile.
# docs.aws.amazon.com/lambda/latest/api/API_EventSourceMappingConfiguration.html
CONSUMING_STATES = ("Enabled", "Enabling", "Updating", "Creating")

# A new day needs a new index, and a cluster without room for its shards accepts no event of that day.
SHARDS_WARNING_PERCENT = 80.0

NAMES_SHOWN = 3  # of a list in a sentence

SETUP = "trailsink setup"
SEE_PIPELINE = "check whether files arrive in the bucket, messages in the queue, and what the consumer logs"


# The queues


def judge_oldest_message(seconds: float | None) -> Judgement:
    """Judge the age of the oldest message of the source queue, in seconds; 0 for an empty queue, None for unknown."""
    if seconds is None:
        return Judgement.not_checked("unknown in the queue")
    evidence = f"{format_duration(seconds)} in the queue"
    fix = "check the consumer's logs: nothing consumes, or the cluster accepts less than arrives"
    if seconds >= OLDEST_MESSAGE_FAULT.total_seconds():
        return Judgement.fault(evidence, fix)
    if seconds >= OLDEST_MESSAGE_WARNING.total_seconds():
        return Judgement.warning(evidence, fix)
    return Judgement.ok(evidence)


def judge_letters(number: int) -> Judgement:
    """Judge the number of dead letters, those in flight included."""
    return Judgement.warning(pluralize(number, "letter"), "trailsink dlq list") if number else Judgement.ok("none")


def judge_oldest_letter(seconds: float | None, retention_seconds: int) -> Judgement:
    """Judge the age of the oldest dead letter, as of a message, against the retention period of its queue."""
    if seconds is None:
        return Judgement.not_checked("unknown in the dead-letter queue")
    evidence = f"{format_duration(seconds)} in the dead-letter queue"
    if seconds and seconds > retention_seconds - LETTER_EXPIRY_WARNING.total_seconds():
        evidence += f": letters are deleted after {format_duration(retention_seconds)}"
        return Judgement.warning(evidence, "trailsink dlq list")
    return Judgement.ok(evidence)


# The consumer


def judge_mappings(mappings: Sequence[EventSourceMapping]) -> Judgement:
    """Judge the event source mappings of the source queue."""
    if not mappings:
        return Judgement.not_checked("no event source mapping; trailsink run has to consume")
    if len(mappings) > 1:
        evidence = f"{len(mappings)} mappings share the queue: each gets a part of the files"
        fix = "remove all but one: aws lambda delete-event-source-mapping --uuid ..."
        return Judgement.warning(evidence, fix)
    mapping = mappings[0]
    if mapping.state in CONSUMING_STATES:
        return Judgement.ok(f"{mapping.state}, to {mapping.function_arn}")
    return Judgement.fault(f"the mapping is {mapping.state}", f"{update_mapping(mapping)} --enabled")


def update_mapping(mapping: EventSourceMapping) -> str:
    """Return the command that changes a mapping, without what it changes."""
    return f"aws lambda update-event-source-mapping --uuid {mapping.uuid}"


def judge_reserved_concurrency(mapping: EventSourceMapping, reserved: int | None) -> Judgement:
    """Judge the function's reserved concurrency: below the mapping's maximum, throttled receives dead-letter messages.

    docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
    """
    maximum = mapping.max_concurrency
    if reserved is None or (maximum is not None and reserved >= maximum):
        return Judgement.ok(f"{'none' if reserved is None else reserved}, mapping {maximum or 'any'}")
    evidence = f"{reserved}, less than the mapping may use: throttled receives fill the dead-letter queue"
    return Judgement.fault(evidence, f"aws lambda delete-function-concurrency --function-name {mapping.function}")


def judge_function_errors(errors: int | None, throttles: int | None) -> Judgement:
    """Judge the function's errors and throttles of the last hour, None where they are not known."""
    if errors is None:
        return Judgement.ok("not known")
    evidence = f"{errors:,} errors, {throttles or 0:,} throttles in 1h"
    if errors or throttles:
        return Judgement.warning(evidence, "check the function's logs")
    return Judgement.ok(evidence)


# The trail


def judge_trail(trail: TrailState, now: datetime) -> Judgement:
    """Judge whether a trail logs, and delivers into the bucket."""
    delivered = (
        f"delivered {format_duration(now - trail.delivered)} ago" if trail.delivered else "delivered nothing yet"
    )
    if not trail.logging:
        fix = f"aws cloudtrail start-logging --name {trail.name}"
        return Judgement.fault(f"{trail.name} is not logging, {delivered}", fix)
    if trail.delivery_error:
        fix = (
            f"allow cloudtrail.amazonaws.com s3:PutObject in the policy of s3://{trail.bucket}, and the use of its key"
        )
        return Judgement.fault(f"{trail.name} cannot deliver: {trail.delivery_error}, {delivered}", fix)
    return Judgement.ok(f"{trail.name} is logging, {delivered}")


def judge_trails(trails: Sequence[TrailState], now: datetime) -> list[Judgement]:
    """Judge every trail. Without any, that is the only judgement."""
    if not trails:
        return [Judgement.not_checked("none of this account and region writes to the bucket")]
    return [judge_trail(trail, now) for trail in trails]


# The events in the index


def judge_freshness(freshness: IndexFreshness, now: datetime) -> Judgement:
    """Judge when the last event was indexed. How old the event itself is depends on what was loaded."""
    if freshness.event is None or freshness.indexed is None:
        return Judgement.warning("no event is in the index", SEE_PIPELINE)
    since_event, since_indexed = (format_duration(now - time) for time in (freshness.event, freshness.indexed))
    evidence = f"newest event {since_event} old, indexed {since_indexed} ago"
    if now - freshness.indexed >= STALE_INDEX:
        return Judgement.warning(evidence, SEE_PIPELINE)
    return Judgement.ok(evidence)


def is_late(lag: BucketLag, now: datetime) -> bool:
    """Return whether a file waits for longer than a message on its way explains."""
    return lag.oldest_unindexed is not None and now - lag.oldest_unindexed > UNINDEXED_FILE


def judge_bucket_lag(lag: BucketLag, now: datetime, waiting: int = 0) -> Judgement:
    """Judge whether files are in the bucket that should be in the index by now; `waiting` messages may bring them."""
    evidence = f"file {format_duration(now - lag.newest)} old"
    read = f", {lag.discarded:,} discarded" if lag.discarded else ""
    read += f", {lag.folders_read:,} of {lag.folders:,} folders read" if lag.folders_read < lag.folders else ""
    oldest, late = lag.oldest_unindexed, is_late(lag, now)
    if not (late or lag.passed_over):
        return Judgement.ok(f"{evidence}{read}")
    passed_over = f", {lag.passed_over:,} passed over" if lag.passed_over else ""
    unindexed = f", {lag.unindexed:,} not in the index" if late else ""
    evidence = f"{evidence}{unindexed}{passed_over}{read}"
    if waiting:
        return Judgement.warning(evidence, SEE_PIPELINE)
    # No message will bring them any more: their notifications are lost.
    since = min(oldest or now, now - PASSED_OVER_WINDOW).date()
    return Judgement.warning(evidence, f"trailsink backfill --missing --since {since}")


# The cluster


def judge_health(cluster: ClusterState) -> Judgement:
    """Judge the health that the cluster reports."""
    if cluster.health is None:
        return Judgement.ok(f"{cluster.server}, which does not report its health")
    evidence = f"{cluster.health}, {cluster.server}, {pluralize(cluster.nodes or 0, 'node')}"
    if cluster.unassigned:
        evidence += f", {pluralize(cluster.unassigned, 'unassigned shard')}"
    fix = "ask the cluster for the reason: GET /_cluster/allocation/explain"
    if cluster.health == "green":
        return Judgement.ok(evidence)
    return Judgement.warning(evidence, fix) if cluster.health == "yellow" else Judgement.fault(evidence, fix)


def judge_disk(disk: DiskUsage | None) -> Judgement:
    """Judge the disk of the fullest node, None where the server does not report it."""
    if disk is None:
        return Judgement.not_checked("the server does not report it")
    evidence = f"{disk.used_percent:.0f} % used, {format_size(disk.free_bytes)} free on the fullest node"
    fix = "delete old indices, set a retention, or add storage"
    is_blocking = disk.blocking_bytes is not None and disk.free_bytes < disk.blocking_bytes
    if is_blocking:
        evidence += f", and below {format_size(disk.blocking_bytes or 0)} the cluster blocks writes"
    if is_blocking or disk.used_percent >= DISK_FAULT_PERCENT:
        return Judgement.fault(evidence, fix)
    return Judgement.warning(evidence, fix) if disk.used_percent >= DISK_WARNING_PERCENT else Judgement.ok(evidence)


def judge_shards(shards: ShardUsage | None) -> Judgement:
    """Judge how many of the shards that the cluster may hold are used, None where there is no such limit."""
    if shards is None:
        return Judgement.not_checked("the server reports no limit")
    evidence = f"{shards.used:,} of {shards.limit:,} used"
    if shards.days_left is not None:
        evidence += f", enough for {format_duration(timedelta(days=shards.days_left))} at {shards.per_day:,.1f} a day"
    fix = "delete old indices, set a shorter retention, or add data nodes"
    if shards.used >= shards.limit:
        return Judgement.fault(f"{evidence}: no new index can be created", fix)
    return Judgement.warning(evidence, fix) if shards.used_percent >= SHARDS_WARNING_PERCENT else Judgement.ok(evidence)


def judge_ledger(ledger: LedgerState, now: datetime) -> Judgement:
    """Judge what the ledger says of the files: an account whose files stopped may have lost its trail."""
    if ledger.newest is None:
        return Judgement.ok("no file is recorded yet")
    newest = f"newest file {format_duration(now - ledger.newest)} ago"
    if not ledger.accounts:
        return Judgement.not_checked(f"{newest}; no account had a file in the last {format_duration(ACTIVE_ACCOUNT)}")
    if ledger.silent:
        evidence = f"{newest}; {len(ledger.silent)} of {ledger.accounts} accounts silent for a day"
        fix = "see whether their trails log: trailsink verify names what is missing"
        return Judgement.warning(f"{evidence}: {first_names(ledger.silent)}", fix)
    return Judgement.ok(f"{newest}; {pluralize(ledger.accounts, 'account')}, none silent")


def judge_proof(verdict: RecordedVerdict | None, now: datetime) -> Judgement:
    """Judge what `trailsink verify` found last. Who never ran it has asked for no proof."""
    if verdict is None:
        return Judgement.not_checked("trailsink verify has recorded no verdict")
    evidence = f"{format_duration(now - verdict.verified_at)} ago: {verdict.text}"
    if not verdict.complete:
        return Judgement.fault(evidence, "see what it names: trailsink verify")
    return Judgement.ok(evidence)


def request_for(start: str, indices: Sequence[str], end: str = "") -> str:
    """Return a request, by what stands before and after the indices in it, for as many of them as a URL can name."""
    request = f"{start}{','.join(indices[:NAMES_IN_REQUEST])}{end}"
    if len(indices) <= NAMES_IN_REQUEST:
        return request
    return f"{request} for the first {NAMES_IN_REQUEST} of {len(indices)} indices; trailsink doctor names the next ones"


def first_names(names: Sequence[str]) -> str:
    """Return the first few names of a list, and how many more there are."""
    rest = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
