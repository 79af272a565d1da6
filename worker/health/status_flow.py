"""Lines of `trailsink status` about the flow: what consumes, how far the index lags behind, what blocks writes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from worker.health.findings import CheckStatus, worst
from worker.health.flow_rules import judge_files, judge_flow, judge_processes, judge_writes
from worker.health.flow_snapshot import BucketLag
from worker.health.rules import SEE_PIPELINE
from worker.health.snapshot import IndexFreshness, Snapshot, Unobserved

if TYPE_CHECKING:
    from worker.health.findings import Judgement
    from worker.health.flow_snapshot import WriteBlocks

Line: TypeAlias = tuple[CheckStatus, str, dict[str, Any]]  # with the text and the facts


def _waiting(snapshot: Snapshot) -> int:
    return 0 if isinstance(snapshot.queue, Unobserved) else snapshot.queue.waiting


def describe_processes(snapshot: Snapshot) -> Line:
    """Describe what consumes where no function does. Where heartbeats may not be read, no process is known."""
    if isinstance(snapshot.processes, Unobserved) and isinstance(snapshot.freshness, Unobserved):
        # Nothing of the cluster can be read: that is said of the cluster.
        return CheckStatus.UNKNOWN, f"no event source mapping; heartbeats: {snapshot.processes.why}", {}
    processes = () if isinstance(snapshot.processes, Unobserved) else snapshot.processes
    freshness = None if isinstance(snapshot.freshness, Unobserved) else snapshot.freshness
    judgement = judge_processes(processes, _waiting(snapshot), freshness, snapshot.observed_at)
    members = [
        {
            "host": process.host,
            "pid": process.pid,
            "version": process.version,
            "beat_at": iso_offset(process.beat_at),
            "stopped_at": iso_offset(process.stopped_at),
        }
        for process in processes
    ]
    return judgement.status, judgement.evidence, {"processes": members} if members else {}


def describe_lag(freshness: IndexFreshness, snapshot: Snapshot) -> Line:
    """Describe how far the index lags behind the events and the bucket."""
    now, lag = snapshot.observed_at, snapshot.bucket_lag
    judgement = judge_flow(freshness, _waiting(snapshot), now)
    facts: dict[str, Any] = {
        "newest_event": iso_offset(freshness.event),
        "newest_indexed": iso_offset(freshness.indexed),
    }
    if freshness.event is not None:
        facts["seconds"] = round((now - freshness.event).total_seconds())
    match lag:
        case BucketLag():
            facts |= {
                "newest_file": iso_offset(lag.newest),
                "files_since": lag.unindexed,
                "files_passed_over": lag.passed_over,
                "folders_read": lag.folders_read,
                "folders": lag.folders,
                "files_discarded": lag.discarded,
            }
            queue = None if isinstance(snapshot.queue, Unobserved) else snapshot.queue
            waiting, in_flight = (queue.waiting, queue.in_flight) if queue else (0, 0)
            bucket = judge_files(lag, freshness, now, waiting=waiting, in_flight=in_flight)
            text = bucket.evidence if bucket.fix == SEE_PIPELINE else advice(bucket)
            return worst([judgement.status, bucket.status]), f"{judgement.evidence}; {text}", facts
        case Unobserved():
            # Half of the answer: what was indexed last says nothing of files that nobody announced.
            status = worst([judgement.status, CheckStatus.UNKNOWN])
            return status, f"{judgement.evidence}; bucket: {lag.why}", facts
    return judgement.status, judgement.evidence, facts


def describe_writes(blocks: WriteBlocks | None) -> Line:
    """Describe what keeps the cluster from accepting events."""
    judgement = judge_writes(blocks)
    facts: dict[str, Any] = {}
    if blocks:
        facts = {"blocked": list(blocks.indices), "closed": list(blocks.closed), "cluster_blocks": list(blocks.cluster)}
    text = "no blocks" if judgement.evidence == "none" else advice(judgement)
    return judgement.status, text, facts


def iso_offset(time: datetime | None) -> str | None:
    """Return a moment in UTC as ISO 8601, None for none."""
    return time.astimezone(UTC).isoformat(timespec="seconds") if time else None


def advice(judgement: Judgement) -> str:
    """Return evidence and fix, for parts whose fix is short."""
    return f"{judgement.evidence}; {judgement.fix}" if judgement.fix else judgement.evidence
