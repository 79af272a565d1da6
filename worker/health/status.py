"""The report of `trailsink status`: for each part its status and one line, and one status for the whole pipeline."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from worker.health.findings import CheckStatus, worst
from worker.health.rules import (
    judge_bucket_lag,
    judge_disk,
    judge_freshness,
    judge_function_errors,
    judge_health,
    judge_ledger,
    judge_letters,
    judge_mappings,
    judge_oldest_message,
    judge_reserved_concurrency,
    judge_retention,
    judge_shards,
    judge_template,
    judge_trails,
)
from worker.health.snapshot import (
    RATE_WINDOW,
    BucketLag,
    ClusterState,
    ConsumerState,
    DeadLetterState,
    DiskUsage,
    IndexFreshness,
    IndexSize,
    LedgerState,
    Observed,
    QueueState,
    RetentionState,
    ShardUsage,
    Snapshot,
    T,
    TemplateState,
    Throughput,
    TrailState,
    Unobserved,
)
from worker.humanize import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.health.findings import Judgement

# One screen has no room for a year of days.
_DAYS_SHOWN = 7

# The indices of records without a plausible time, by the day or month of their files.
_UNDATED = re.compile(r"-undated(-\d{4}-\d{2}(-\d{2})?)?$")


@dataclass(frozen=True, slots=True)
class StatusPart:
    """One line of the report; `facts` are the figures in it, for programs."""

    name: str
    status: CheckStatus
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StatusReport:
    """All parts, as they were observed at one moment."""

    observed_at: datetime
    parts: Sequence[StatusPart]

    @property
    def status(self) -> CheckStatus:
        """The worst status of a part; an unknown one does not count."""
        return worst(part.status for part in self.parts if part.status is not CheckStatus.UNKNOWN)

    def names(self, *statuses: CheckStatus) -> list[str]:
        """Return the names of the parts with one of these statuses."""
        return [part.name for part in self.parts if part.status in statuses]


def report(snapshot: Snapshot) -> StatusReport:
    """Judge a snapshot. A queue or cluster that could not be observed is a fault: nothing works without it."""
    now, fault = snapshot.observed_at, CheckStatus.FAULT
    parts = (
        _part("queue", snapshot.queue, _describe_queue, unobserved=fault),
        _part("dead letters", snapshot.dead_letters, _describe_letters, unobserved=fault),
        _part("consumer", snapshot.consumer, _describe_consumer),
        _part("throughput", snapshot.throughput, _describe_throughput),
        _part("trail", snapshot.trails, lambda trails: _describe_trails(trails, now)),
        _part("lag", snapshot.freshness, lambda freshness: _describe_lag(freshness, snapshot.bucket_lag, now)),
        _part("cluster", snapshot.cluster, _describe_cluster, unobserved=fault),
        _part("disk", snapshot.disk, _describe_disk),
        _part("shards", snapshot.shards, _describe_shards),
        _part("template", snapshot.template, _describe_template),
        _part("retention", snapshot.retention, _describe_retention),
        _part("ledger", snapshot.ledger, lambda ledger: _describe_ledger(ledger, now)),
        _part("indices", snapshot.indices, _describe_indices),
    )
    return StatusReport(now, parts)


_Line: TypeAlias = tuple[CheckStatus, str, dict[str, Any]]  # with the text and the facts


def _part(
    name: str,
    observed: Observed[T],
    describe: Callable[[T], _Line],
    *,
    unobserved: CheckStatus = CheckStatus.UNKNOWN,
) -> StatusPart:
    if isinstance(observed, Unobserved):
        return StatusPart(name, unobserved, observed.why)
    status, text, facts = describe(observed)
    return StatusPart(name, CheckStatus.UNKNOWN if status is CheckStatus.NOT_CHECKED else status, text, facts)


def _advice(judgement: Judgement) -> str:
    """Return evidence and fix, for parts whose fix is short."""
    return f"{judgement.evidence}; {judgement.fix}" if judgement.fix else judgement.evidence


def _describe_queue(queue: QueueState) -> _Line:
    delayed = f", {queue.delayed:,} delayed" if queue.delayed else ""
    oldest = "" if queue.oldest_seconds is None else f", oldest {format_duration(queue.oldest_seconds)}"
    facts = {
        "waiting": queue.waiting,
        "in_flight": queue.in_flight,
        "delayed": queue.delayed,
        "oldest_seconds": queue.oldest_seconds,
    }
    text = f"{queue.waiting:,} waiting, {queue.in_flight:,} in flight{delayed}{oldest}"
    return judge_oldest_message(queue.oldest_seconds or 0).status, text, facts


def _describe_letters(letters: DeadLetterState) -> _Line:
    judgement = judge_letters(letters.number)
    facts = {"number": letters.number, "oldest_seconds": letters.oldest_seconds, "by_reason": letters.reasons}
    if not letters.number:
        return judgement.status, judgement.evidence, facts
    oldest = "" if letters.oldest_seconds is None else f", oldest {format_duration(letters.oldest_seconds)}"
    reasons = ", ".join(f"{reason} {number:,}" for reason, number in sorted((letters.reasons or {}).items()))
    details = f": {reasons}" if reasons else f"; {judgement.fix} names them"
    return judgement.status, f"{letters.number:,}{oldest}{details}", facts


def _describe_consumer(consumer: ConsumerState) -> _Line:
    mappings = judge_mappings(consumer.mappings)
    if not consumer.mappings:
        return mappings.status, mappings.evidence, {}
    mapping, reserved, reason = consumer.mappings[0], None, ""
    if isinstance(consumer.reserved_concurrency, Unobserved):
        reason = consumer.reserved_concurrency.why
    else:
        reserved = consumer.reserved_concurrency
    concurrency = judge_reserved_concurrency(mapping, reserved)
    errors = judge_function_errors(consumer.errors, consumer.throttles)

    details = [errors.evidence] if consumer.errors is not None else []
    details += [mappings.evidence] if len(consumer.mappings) > 1 else []
    details += [f"reserved concurrency {concurrency.evidence}"] if concurrency.fix else []
    details += [f"reserved concurrency: {reason}"] if reason else []
    facts = {
        "state": mapping.state,
        "function": mapping.function,
        "max_concurrency": mapping.max_concurrency,
        "reserved_concurrency": reserved,
        "errors": consumer.errors,
        "throttles": consumer.throttles,
    }
    status = worst(
        [mappings.status, concurrency.status, errors.status, CheckStatus.UNKNOWN if reason else CheckStatus.OK]
    )
    limits = [limit for limit in (mapping.max_concurrency, reserved) if limit is not None]
    limit = f"at most {min(limits)} at once" if limits else "as many at once as the account allows"
    return status, "; ".join([f"{mapping.state}, {limit}", *details]), facts


def _describe_throughput(throughput: Throughput) -> _Line:
    text = f"{throughput.files:,.1f} files, {throughput.records:,.0f} records a minute by {throughput.source}"
    facts = {
        "files_per_minute": throughput.files,
        "records_per_minute": throughput.records,
        "source": throughput.source,
    }
    return CheckStatus.OK, f"{text}, last {format_duration(RATE_WINDOW)}", facts


def _describe_trails(trails: Sequence[TrailState], now: datetime) -> _Line:
    judgements = judge_trails(trails, now)
    members = [
        {
            "name": trail.name,
            "logging": trail.logging,
            "delivered": _iso(trail.delivered),
            "error": trail.delivery_error,
        }
        for trail in trails
    ]
    facts = {"trails": members} if members else {}
    text = "; ".join(judgement.evidence for judgement in judgements)
    return worst(judgement.status for judgement in judgements), text, facts


def _describe_lag(freshness: IndexFreshness, lag: Observed[BucketLag | None], now: datetime) -> _Line:
    judgement = judge_freshness(freshness, now)
    facts: dict[str, Any] = {"newest_event": _iso(freshness.event), "newest_indexed": _iso(freshness.indexed)}
    if freshness.event is None or freshness.indexed is None:
        return judgement.status, judgement.evidence, facts
    facts["seconds"] = round((now - freshness.event).total_seconds())
    match lag:
        case BucketLag():
            facts |= {"newest_file": _iso(lag.newest), "files_since": lag.unindexed}
            bucket = judge_bucket_lag(lag, now)
            # Nothing was indexed for hours, although there were files to index.
            is_stuck = judgement.status is bucket.status is CheckStatus.WARNING
            status = CheckStatus.FAULT if is_stuck else worst([judgement.status, bucket.status])
            return status, f"{judgement.evidence}; {bucket.evidence}", facts
        case Unobserved():
            return judgement.status, f"{judgement.evidence}; bucket: {lag.why}", facts
    return judgement.status, judgement.evidence, facts


def _describe_cluster(cluster: ClusterState) -> _Line:
    facts = {
        "server": cluster.server,
        "health": cluster.health,
        "nodes": cluster.nodes,
        "unassigned_shards": cluster.unassigned,
    }
    judgement = judge_health(cluster)
    return judgement.status, judgement.evidence, facts


def _describe_disk(disk: DiskUsage | None) -> _Line:
    facts = {"used_percent": disk.used_percent, "free_bytes": disk.free_bytes} if disk else {}
    judgement = judge_disk(disk)
    return judgement.status, judgement.evidence, facts


def _describe_shards(shards: ShardUsage | None) -> _Line:
    judgement = judge_shards(shards)
    facts: dict[str, Any] = {}
    if shards:
        days = None if shards.days_left is None else round(shards.days_left, 1)
        facts = {"used": shards.used, "limit": shards.limit, "per_day": shards.per_day, "days_left": days}
    return judgement.status, judgement.evidence, facts


def _describe_template(template: TemplateState) -> _Line:
    judgement = judge_template(template)
    return judgement.status, _advice(judgement), {"version": template.version, "expected": template.expected}


def _describe_retention(retention: RetentionState | None) -> _Line:
    facts = {"days": retention.days, "policy": retention.policy} if retention else {}
    judgement = judge_retention(retention)
    return judgement.status, _advice(judgement), facts


def _describe_ledger(ledger: LedgerState | None, now: datetime) -> _Line:
    if ledger is None:
        return CheckStatus.OK, "switched off", {}
    judgement = judge_ledger(ledger, now)
    facts = {"newest_file": _iso(ledger.newest), "accounts": ledger.accounts, "silent": list(ledger.silent)}
    return judgement.status, judgement.evidence, facts


def _describe_indices(indices: Sequence[IndexSize]) -> _Line:
    events, size = sum(index.events for index in indices), sum(index.size_bytes for index in indices)
    each = [{"name": index.name, "events": index.events, "size_bytes": index.size_bytes} for index in indices]
    text = f"{len(indices):,} with {events:,} events in {format_size(size)}"
    return CheckStatus.OK, text, {"number": len(indices), "events": events, "size_bytes": size, "each": each}


def newest_indices(part: StatusPart) -> list[Mapping[str, Any]]:
    """Return the newest few of the indices in a part, for one screen; the undated ones are no days."""
    dated = [index for index in part.facts.get("each", []) if not _UNDATED.search(index["name"])]
    return sorted(dated, key=lambda index: str(index["name"]), reverse=True)[:_DAYS_SHOWN]


def _iso(time: datetime | None) -> str | None:
    return time.astimezone(UTC).isoformat(timespec="seconds") if time else None
