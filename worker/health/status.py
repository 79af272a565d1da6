"""How a pipeline is, judged from what was seen of it: part by part a verdict and one line, and one verdict for all."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from worker.health.findings import CheckStatus
from worker.health.snapshot import (
    BucketLag,
    ClusterState,
    ConsumerState,
    DeadLetterState,
    DiskUsage,
    IndexFreshness,
    IndexSize,
    Observed,
    QueueState,
    RetentionState,
    Snapshot,
    T,
    TemplateState,
    Throughput,
    TrailState,
    Unobserved,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


# A message that waits longer than a consumer takes for anything it does is not being consumed.
_OLDEST_WARNING = timedelta(minutes=15)


_OLDEST_FAULT = timedelta(hours=1)


# A trail delivers about every five minutes while anything is called at all.
# docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html
_STALE = timedelta(hours=2)


_BEHIND = timedelta(minutes=15)


# AWS recommends to act at a quarter free; a cluster stops writing at 95 percent used, a managed domain at 80.
# docs.aws.amazon.com/opensearch-service/latest/developerguide/cloudwatch-alarms.html
_DISK_WARNING = 75.0


_DISK_FAULT = 90.0


# One screen has no room for a year of days.
_DAYS_SHOWN = 7


_MANY = 10  # of a unit, beside which the next smaller one says nothing


WINDOW = timedelta(minutes=15)  # over which rates are taken


ERRORS_WINDOW = timedelta(hours=1)


Amount = TypeVar("Amount", float, timedelta)


@dataclass(frozen=True, slots=True)
class StatusPart:
    """One line of a status: `facts` are the figures in it, for programs."""

    name: str
    verdict: CheckStatus
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Status:
    """The whole."""

    at: datetime
    parts: Sequence[StatusPart]

    @property
    def verdict(self) -> CheckStatus:
        """The worst of the parts; what is unknown does not count."""
        found = {part.verdict for part in self.parts}
        return next((one for one in (CheckStatus.FAULT, CheckStatus.WARNING) if one in found), CheckStatus.OK)

    def named(self, *verdicts: CheckStatus) -> list[str]:
        """Name the parts with one of these verdicts."""
        return [part.name for part in self.parts if part.verdict in verdicts]


def judge(sight: Snapshot) -> Status:
    """Judge what was seen; a queue or a cluster that could not be seen is a fault, for nothing goes on without it."""
    parts = (
        _part("queue", sight.queue, _queue, unseen=CheckStatus.FAULT),
        _part("dead letters", sight.letters, _letters, unseen=CheckStatus.FAULT),
        _part("consumer", sight.consumer, _consumer),
        _part("throughput", sight.rates, _rates),
        _part("trail", sight.trails, lambda trails: _trails(trails, sight.at)),
        _part("lag", sight.newest, lambda newest: _lag(newest, sight.files, sight.at)),
        _part("cluster", sight.cluster, _cluster, unseen=CheckStatus.FAULT),
        _part("disk", sight.disk, _disk),
        _part("template", sight.template, _template),
        _part("retention", sight.retention, _retention),
        _part("indices", sight.indices, _indices),
    )
    return Status(sight.at, parts)


_Judged: TypeAlias = tuple[CheckStatus, str, dict[str, Any]]  # with the line and the facts


def _part(
    name: str, seen: Observed[T], judged: Callable[[T], _Judged], *, unseen: CheckStatus = CheckStatus.UNKNOWN
) -> StatusPart:
    return StatusPart(name, unseen, seen.why) if isinstance(seen, Unobserved) else StatusPart(name, *judged(seen))


def _over(amount: Amount, warning: Amount, fault: Amount) -> CheckStatus:
    return CheckStatus.FAULT if amount >= fault else CheckStatus.WARNING if amount >= warning else CheckStatus.OK


def _queue(seen: QueueState) -> _Judged:
    oldest = timedelta(seconds=seen.oldest_seconds or 0)
    delayed = f", {seen.delayed:,} delayed" if seen.delayed else ""
    known = f", oldest {format_duration(oldest)}" if seen.oldest_seconds is not None else ""
    facts = {
        "waiting": seen.waiting,
        "in_flight": seen.in_flight,
        "delayed": seen.delayed,
        "oldest_seconds": seen.oldest_seconds,
    }
    text = f"{seen.waiting:,} waiting, {seen.in_flight:,} in flight{delayed}{known}"
    return _over(oldest, _OLDEST_WARNING, _OLDEST_FAULT), text, facts


def _letters(seen: DeadLetterState) -> _Judged:
    facts = {"number": seen.number, "oldest_seconds": seen.oldest_seconds, "by_reason": seen.reasons}
    if not seen.number:
        return CheckStatus.OK, "none", facts
    known = (
        f", oldest {format_duration(timedelta(seconds=seen.oldest_seconds))}" if seen.oldest_seconds is not None else ""
    )
    kinds = ", ".join(f"{name} {number:,}" for name, number in sorted((seen.reasons or {}).items()))
    what = f": {kinds}" if kinds else "; trailsink dlq list names them"
    return CheckStatus.WARNING, f"{seen.number:,}{known}{what}", facts


def _consumer(seen: ConsumerState | None) -> _Judged:
    if seen is None:
        return CheckStatus.UNKNOWN, "no event source mapping; trailsink run has to consume", {}
    verdict = {"Enabled": CheckStatus.OK, "Disabled": CheckStatus.FAULT, "Disabling": CheckStatus.FAULT}.get(
        seen.state, CheckStatus.WARNING
    )
    if verdict is CheckStatus.OK and (seen.errors or seen.throttles or seen.reserved_concurrency == 0):
        verdict = CheckStatus.FAULT if seen.reserved_concurrency == 0 else CheckStatus.WARNING
    limits = [number for number in (seen.max_concurrency, seen.reserved_concurrency) if number is not None]
    most = f"at most {min(limits)} at once" if limits else "as many at once as the account has"
    failed = "" if seen.errors is None else f"; {seen.errors:,} errors, {seen.throttles or 0:,} throttles in 1h"
    facts = {
        "state": seen.state,
        "function": seen.function,
        "max_concurrency": seen.max_concurrency,
        "reserved_concurrency": seen.reserved_concurrency,
        "errors": seen.errors,
        "throttles": seen.throttles,
    }
    return verdict, f"{seen.state}, {most}{failed}", facts


def _rates(seen: Throughput) -> _Judged:
    text = f"{seen.files:,.1f} files, {seen.records:,.0f} records a minute by {seen.source}"
    facts = {"files_per_minute": seen.files, "records_per_minute": seen.records, "source": seen.source}
    return CheckStatus.OK, f"{text}, last {format_duration(WINDOW)}", facts


def _trails(seen: Sequence[TrailState], at: datetime) -> _Judged:
    if not seen:
        return CheckStatus.UNKNOWN, "none of this account and region writes to the bucket", {}
    verdict, said = CheckStatus.OK, []
    for one in seen:
        if not one.logging or one.error:
            verdict = CheckStatus.FAULT
        state = f"cannot deliver: {one.error}" if one.error else "is logging" if one.logging else "is not logging"
        said.append(
            f"{one.name} {state}" + (f", delivered {format_duration(at - one.delivered)} ago" if one.delivered else "")
        )
    facts = {
        "trails": [
            {"name": one.name, "logging": one.logging, "delivered": _iso(one.delivered), "error": one.error}
            for one in seen
        ]
    }
    return verdict, "; ".join(said), facts


def _lag(seen: IndexFreshness, files: Observed[BucketLag | None], at: datetime) -> _Judged:
    facts: dict[str, Any] = {"newest_event": _iso(seen.event), "newest_indexed": _iso(seen.indexed)}
    if seen.event is None or seen.indexed is None:
        return CheckStatus.WARNING, "no event is in the index", facts
    facts["seconds"] = round((at - seen.event).total_seconds())
    stale = at - seen.indexed > _STALE
    verdict = CheckStatus.WARNING if stale else CheckStatus.OK
    text = f"newest event {format_duration(at - seen.event)} old, indexed {format_duration(at - seen.indexed)} ago"
    match files:
        case BucketLag():
            facts |= {"newest_file": _iso(files.newest), "files_since": files.since}
            text += f"; file {format_duration(at - files.newest)} old"
            if files.oldest_since and at - files.oldest_since > _BEHIND:
                verdict = CheckStatus.FAULT if stale else CheckStatus.WARNING
                text += f", {files.since:,} not in the index"
        case Unobserved():
            text += f"; bucket: {files.why}"
    return verdict, text, facts


def _cluster(seen: ClusterState) -> _Judged:
    facts = {
        "server": seen.server,
        "health": seen.health,
        "nodes": seen.nodes,
        "unassigned_shards": seen.unassigned,
    }
    if seen.health is None:
        return CheckStatus.OK, f"{seen.server}, which does not tell its health", facts
    verdict = {"green": CheckStatus.OK, "yellow": CheckStatus.WARNING}.get(seen.health, CheckStatus.FAULT)
    nodes = f"{seen.nodes} node{'' if seen.nodes == 1 else 's'}"
    missing = f", shards without a place: {seen.unassigned:,}" if seen.unassigned else ""
    return verdict, f"{seen.health}, {seen.server}, {nodes}{missing}", facts


def _disk(seen: DiskUsage | None) -> _Judged:
    if seen is None:
        return CheckStatus.UNKNOWN, "the server does not tell", {}
    facts = {"used_percent": seen.used_percent, "free_bytes": seen.free_bytes}
    text = f"{seen.used_percent:.0f} % used, {format_size(seen.free_bytes)} free on the fullest node"
    return _over(seen.used_percent, _DISK_WARNING, _DISK_FAULT), text, facts


def _template(seen: TemplateState) -> _Judged:
    facts = {"version": seen.version, "expected": seen.ours}
    if seen.version is None:
        text = "there is none of ours, records will be refused; trailsink setup"
        return CheckStatus.FAULT, text, facts
    if seen.version != seen.ours:
        text = f"version {seen.version}, this trailsink has {seen.ours}; trailsink setup"
        return CheckStatus.WARNING, text, facts
    return CheckStatus.OK, f"version {seen.version}", facts


def _retention(seen: RetentionState | None) -> _Judged:
    if seen is None:
        return CheckStatus.UNKNOWN, "the server has none of its own; delete old indices yourself", {}
    facts = {"days": seen.days, "policy": seen.policy}
    if seen.policy:
        return CheckStatus.OK, seen.policy, facts
    if seen.days:
        text = f"{seen.days} days asked for, and no policy is there; trailsink setup"
        return CheckStatus.WARNING, text, facts
    return CheckStatus.OK, "none asked for; indices are kept", facts


def _indices(seen: Sequence[IndexSize]) -> _Judged:
    events, total = sum(one.events for one in seen), sum(one.size_bytes for one in seen)
    each = [{"name": one.name, "events": one.events, "size_bytes": one.size_bytes} for one in seen]
    text = f"{len(seen):,} with {events:,} events in {format_size(total)}"
    return CheckStatus.OK, text, {"number": len(seen), "events": events, "size_bytes": total, "each": each}


def newest_indices(part: StatusPart) -> list[Mapping[str, Any]]:
    """Pick the latest few of the indices that a part tells of, for one screen; the undated one is no day."""
    dated = [one for one in part.facts.get("each", []) if not one["name"].endswith("-undated")]
    return sorted(dated, key=lambda one: str(one["name"]), reverse=True)[:_DAYS_SHOWN]


def format_duration(length: timedelta) -> str:
    """Write a length of time in its largest two units, or one when that is plenty: 42s, 5m, 3h 20m, 6d 4h, 12d."""
    seconds = max(0, int(length.total_seconds()))
    for unit, whole, lesser, part in (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60)):
        if seconds >= whole:
            rest = seconds % whole // part if seconds < _MANY * whole else 0
            return f"{seconds // whole}{unit}" + (f" {rest}{lesser}" if rest else "")
    return f"{seconds // 60}m" if seconds >= 60 else f"{seconds}s"  # noqa: PLR2004


def format_size(octets: float) -> str:
    """Write a size in the unit that keeps it short."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if octets < 1024 or unit == "TiB":  # noqa: PLR2004
            return f"{octets:.0f} B" if unit == "B" else f"{octets:.1f} {unit}"
        octets /= 1024
    raise AssertionError


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else None
