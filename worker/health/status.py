"""The report of `trailsink status`: for each part its status and one line, and one status for the whole pipeline."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from worker.health.findings import CheckStatus, worst
from worker.health.flow_rules import judge_days, missing_days
from worker.health.retention_rules import judge_index_policies, judge_retention
from worker.health.rules import (
    judge_disk,
    judge_function_errors,
    judge_health,
    judge_ledger,
    judge_letters,
    judge_mappings,
    judge_oldest_message,
    judge_proof,
    judge_reserved_concurrency,
    judge_shards,
    judge_trails,
)
from worker.health.snapshot import (
    RATE_WINDOW,
    ClusterState,
    ConsumerState,
    DeadLetterState,
    DiskUsage,
    IndexSize,
    Observed,
    QueueState,
    ShardUsage,
    Snapshot,
    T,
    TemplateState,
    Throughput,
    TrailState,
    Unobserved,
)
from worker.health.stack_advice import for_stack
from worker.health.status_flow import Line, advice, describe_lag, describe_processes, describe_writes, iso_offset
from worker.health.template_rules import judge_template
from worker.humanize import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from worker.health.flow_snapshot import LedgerState
    from worker.health.retention_snapshot import RetentionState
    from worker.opensearch.verdicts import RecordedVerdict


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

    def for_stack(self, stack: str) -> StatusReport:
        """Return the same with commands that act on a stack; "" is no stack."""
        return replace(self, parts=[replace(part, text=for_stack(part.text, stack)) for part in self.parts])

    def names(self, *statuses: CheckStatus) -> list[str]:
        """Return the names of the parts with one of these statuses."""
        return [part.name for part in self.parts if part.status in statuses]


def report(snapshot: Snapshot) -> StatusReport:
    """Judge a snapshot. A queue or cluster that could not be observed is a fault: nothing works without it."""
    now, fault = snapshot.observed_at, CheckStatus.FAULT
    parts = (
        _part("queue", snapshot.queue, _describe_queue, unobserved=fault),
        _part("dead letters", snapshot.dead_letters, _describe_letters, unobserved=fault),
        _part("consumer", snapshot.consumer, lambda consumer: _describe_consumer(consumer, snapshot)),
        _part("throughput", snapshot.throughput, _describe_throughput),
        _part("trail", snapshot.trails, lambda trails: _describe_trails(trails, now)),
        _part("lag", snapshot.freshness, lambda freshness: describe_lag(freshness, snapshot)),
        _part("cluster", snapshot.cluster, _describe_cluster, unobserved=fault),
        _part("disk", snapshot.disk, _describe_disk),
        _part("shards", snapshot.shards, _describe_shards),
        _part("writes", snapshot.writes, describe_writes),
        _part("template", snapshot.template, _describe_template),
        _part("retention", snapshot.retention, lambda retention: _describe_retention(retention, snapshot)),
        _part("ledger", snapshot.ledger, lambda ledger: _describe_ledger(ledger, now)),
        _part("proof", snapshot.proof, lambda verdict: _describe_proof(verdict, now)),
        _part("indices", snapshot.indices, lambda indices: _describe_indices(indices, now, _retention_days(snapshot))),
    )
    return StatusReport(now, parts)


def _part(
    name: str,
    observed: Observed[T],
    describe: Callable[[T], Line],
    *,
    unobserved: CheckStatus = CheckStatus.UNKNOWN,
) -> StatusPart:
    if isinstance(observed, Unobserved):
        return StatusPart(name, unobserved, observed.why)
    status, text, facts = describe(observed)
    return StatusPart(name, CheckStatus.UNKNOWN if status is CheckStatus.NOT_CHECKED else status, text, facts)


def _describe_queue(queue: QueueState) -> Line:
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


def _describe_letters(letters: DeadLetterState) -> Line:
    judgement = judge_letters(letters.number)
    facts = {"number": letters.number, "oldest_seconds": letters.oldest_seconds, "by_reason": letters.reasons}
    if not letters.number:
        return judgement.status, judgement.evidence, facts
    oldest = "" if letters.oldest_seconds is None else f", oldest {format_duration(letters.oldest_seconds)}"
    reasons = ", ".join(f"{reason} {number:,}" for reason, number in sorted((letters.reasons or {}).items()))
    details = f": {reasons}" if reasons else f"; {judgement.fix} names them"
    return judgement.status, f"{letters.number:,}{oldest}{details}", facts


def _describe_consumer(consumer: ConsumerState, snapshot: Snapshot) -> Line:
    if not consumer.mappings:
        return describe_processes(snapshot)
    mappings = judge_mappings(consumer.mappings)
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


def _describe_throughput(throughput: Throughput) -> Line:
    filtered = f" ({throughput.filtered:,.0f} of them filtered)" if throughput.filtered else ""
    text = f"{throughput.files:,.1f} files, {throughput.records:,.0f} records a minute{filtered} by {throughput.source}"
    facts = {
        "files_per_minute": throughput.files,
        "records_per_minute": throughput.records,
        "source": throughput.source,
        **({"filtered_per_minute": throughput.filtered} if throughput.filtered else {}),
    }
    return CheckStatus.OK, f"{text}, last {format_duration(RATE_WINDOW)}", facts


def _describe_trails(trails: Sequence[TrailState], now: datetime) -> Line:
    judgements = judge_trails(trails, now)
    members = [
        {
            "name": trail.name,
            "logging": trail.logging,
            "delivered": iso_offset(trail.delivered),
            "error": trail.delivery_error,
        }
        for trail in trails
    ]
    facts = {"trails": members} if members else {}
    text = "; ".join(judgement.evidence for judgement in judgements)
    return worst(judgement.status for judgement in judgements), text, facts


def _describe_cluster(cluster: ClusterState) -> Line:
    facts = {
        "server": cluster.server,
        "health": cluster.health,
        "nodes": cluster.nodes,
        "unassigned_shards": cluster.unassigned,
    }
    judgement = judge_health(cluster)
    return judgement.status, judgement.evidence, facts


def _describe_disk(disk: DiskUsage | None) -> Line:
    facts = {"used_percent": disk.used_percent, "free_bytes": disk.free_bytes} if disk else {}
    judgement = judge_disk(disk)
    return judgement.status, judgement.evidence, facts


def _describe_shards(shards: ShardUsage | None) -> Line:
    judgement = judge_shards(shards)
    facts: dict[str, Any] = {}
    if shards:
        days = None if shards.days_left is None else round(shards.days_left, 1)
        facts = {"used": shards.used, "limit": shards.limit, "per_day": shards.per_day, "days_left": days}
    return judgement.status, judgement.evidence, facts


def _describe_template(template: TemplateState) -> Line:
    judgement = judge_template(template)
    return judgement.status, advice(judgement), {"version": template.version, "expected": template.expected}


def _describe_retention(retention: RetentionState | None, snapshot: Snapshot) -> Line:
    facts = {"days": retention.days, "policy": retention.policy} if retention else {}
    judgement, policies = judge_retention(retention), snapshot.index_policies
    # One thing at a time: a policy that is wrong itself is corrected first.
    if judgement.status is CheckStatus.OK and retention and policies and not isinstance(policies, Unobserved):
        attached = judge_index_policies(retention, policies)
        judgement = attached if attached and attached.fix else judgement
    return judgement.status, advice(judgement), facts


def _describe_ledger(ledger: LedgerState | None, now: datetime) -> Line:
    if ledger is None:
        return CheckStatus.OK, "switched off", {}
    judgement = judge_ledger(ledger, now)
    facts = {"newest_file": iso_offset(ledger.newest), "accounts": ledger.accounts, "silent": list(ledger.silent)}
    return judgement.status, judgement.evidence, facts


def _describe_proof(verdict: RecordedVerdict | None, now: datetime) -> Line:
    judgement = judge_proof(verdict, now)
    facts = {}
    if verdict:
        facts = {
            "verified_at": iso_offset(verdict.verified_at),
            "complete": verdict.complete,
            "last_verdict": verdict.text,
        }
    return judgement.status, judgement.evidence, facts


def _retention_days(snapshot: Snapshot) -> int:
    return snapshot.retention.days if snapshot.retention and not isinstance(snapshot.retention, Unobserved) else 0


def _describe_indices(indices: Sequence[IndexSize], now: datetime, retention_days: int) -> Line:
    events, size = sum(index.events for index in indices), sum(index.size_bytes for index in indices)
    each = [{"name": index.name, "events": index.events, "size_bytes": index.size_bytes} for index in indices]
    text = f"{len(indices):,} with {events:,} events in {format_size(size)}"
    days = missing_days((index.name for index in indices), now, retention_days)
    facts = {"number": len(indices), "events": events, "size_bytes": size, "each": each}
    if not days:
        return CheckStatus.OK, text, facts
    judgement = judge_days(days)
    return judgement.status, f"{text}; {advice(judgement)}", facts | {"missing_days": [str(day) for day in days]}


def newest_indices(part: StatusPart) -> list[Mapping[str, Any]]:
    """Return the newest few of the indices in a part, for one screen; the undated ones are no days."""
    dated = [index for index in part.facts.get("each", []) if not _UNDATED.search(index["name"])]
    return sorted(dated, key=lambda index: str(index["name"]), reverse=True)[:_DAYS_SHOWN]
