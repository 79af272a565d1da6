"""How facts of the flow are judged: whether something consumes, whether the cluster accepts, whether events have gaps.

Pure: values in, judgements out.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import TYPE_CHECKING

from worker.health.findings import CheckStatus, Judgement
from worker.health.rules import (
    SETUP,
    STALE_INDEX,
    UNINDEXED_FILE,
    first_names,
    is_late,
    judge_bucket_lag,
    judge_freshness,
    request_for,
)
from worker.humanize import format_duration, pluralize

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from worker.health.flow_snapshot import BucketLag, ConsumerProcess, WriteBlocks
    from worker.health.snapshot import IndexFreshness

# A `trailsink run` beats every half minute.
LOST_PROCESS = timedelta(minutes=2)

# Of blocks that the cluster sets itself when a disk is too full, and lifts when it has room.
# docs.opensearch.org/latest/install-and-configure/configuring-opensearch/cluster-settings/
FLOOD_STAGE = "index.blocks.read_only_allow_delete"

# Of the block that `trailsink reindex` sets for a moment, people, and policies.
_WRITE = "index.blocks.write"

# A day without any event is a gap if it is this young; older days may be the operator's own choice.
GAP_WINDOW = timedelta(days=30)

_ENDS_IN_DAY = re.compile(r"-(\d{4}-\d\d-\d\d)$")
_DAY_INDEX = re.compile(r"(?<!-undated)-(\d{4}-\d\d-\d\d)$")


def judge_processes(
    processes: Sequence[ConsumerProcess], waiting: int, freshness: IndexFreshness | None, now: datetime
) -> Judgement:
    """Judge the processes that consume the queue, where no function does; `waiting` messages wait for them."""
    running = [process for process in processes if not process.stopped_at and now - process.beat_at <= LOST_PROCESS]
    if running:
        return Judgement.ok(", ".join(_describe_process(process, now) for process in running))
    if processes:
        return _judge_ended_process(max(processes, key=lambda process: process.beat_at), waiting, now)
    if not waiting:
        return Judgement.not_checked("no event source mapping; trailsink run has to consume")
    messages = pluralize(waiting, "message waits", "messages wait")
    evidence = f"no event source mapping and no trailsink run are known, {messages}"
    if freshness and freshness.indexed and now - freshness.indexed < UNINDEXED_FILE:
        return Judgement.warning(evidence, "trailsink run")
    return Judgement.fault(evidence, "trailsink run")


def _judge_ended_process(process: ConsumerProcess, waiting: int, now: datetime) -> Judgement:
    evidence = _describe_process(process, now)
    if not process.stopped_at:
        evidence += ": it has ended without stopping"
    elif not waiting:
        return Judgement.ok(f"{evidence}, no message waits")
    return Judgement.fault(f"{evidence}, {pluralize(waiting, 'message waits', 'messages wait')}", "trailsink run")


def _describe_process(process: ConsumerProcess, now: datetime) -> str:
    name = f"trailsink run {process.version} on {process.host}"
    if process.stopped_at:
        return f"{name} was stopped {format_duration(now - process.stopped_at)} ago"
    return f"{name}, last heard of {format_duration(now - process.beat_at)} ago"


def judge_flow(freshness: IndexFreshness, waiting: int, now: datetime) -> Judgement:
    """Judge when the last event was indexed, beside the number of messages that wait to be consumed."""
    judgement = judge_freshness(freshness, now)
    if waiting and (freshness.indexed is None or now - freshness.indexed >= UNINDEXED_FILE):
        messages = pluralize(waiting, "message waits", "messages wait")
        fix = "check that a consumer runs and what it logs; trailsink doctor checks its parts"
        return Judgement.fault(f"{judgement.evidence}, and {messages}", fix)
    return judgement


def judge_files(
    lag: BucketLag, freshness: IndexFreshness, now: datetime, *, waiting: int = 0, in_flight: int = 0
) -> Judgement:
    """Judge whether files are in the bucket that should be in the index, and whether anything is indexed at all.

    `waiting` messages are visible. Those `in_flight` are being worked on, or were handed back and come again.
    """
    silence = now - freshness.indexed if freshness.indexed else None
    # Where others are indexed meanwhile, what is in flight is not what was lost.
    is_silent = silence is None or silence >= UNINDEXED_FILE
    judgement = judge_bucket_lag(lag, now, waiting + (in_flight if is_silent else 0))
    if judgement.status is not CheckStatus.WARNING:
        return judgement
    handed_back = in_flight if is_late(lag, now) and not waiting else 0
    if silence is not None and silence < (UNINDEXED_FILE if handed_back else STALE_INDEX):
        return judgement
    messages = f", {pluralize(handed_back, 'message')} in flight or handed back" if handed_back else ""
    evidence = f"nothing was indexed for {format_duration(silence)}" if silence else "nothing was ever indexed"
    return Judgement.fault(f"{judgement.evidence}: {evidence}{messages}", judgement.fix)


def judge_writes(blocks: WriteBlocks | None) -> Judgement:
    """Judge whether the cluster and its indices accept writes, None on Serverless."""
    if blocks is None:
        return Judgement.not_checked("Serverless reports no blocks")
    if blocks.cluster or blocks.indices:
        return _judge_blocks(blocks)
    if blocks.closed:
        evidence = f"{first_names(blocks.closed)} closed: not searched, and the files for them go back to the queue"
        fix = request_for("POST /", blocks.closed, "/_open")
        return (
            Judgement.fault(evidence, fix) if _stops_files(blocks, blocks.closed) else Judgement.warning(evidence, fix)
        )
    expected = [f"{blocks.by_policy} made read-only by the policy"] if blocks.by_policy else []
    expected += [f"{blocks.held} held, by `trailsink hold`"] if blocks.held else []
    return Judgement.ok(", ".join(expected) or "none")


def _stops_files(blocks: WriteBlocks, indices: Collection[str]) -> bool:
    """Return whether new files need one of these indices: each is indexed, and recorded in the ledger."""
    return blocks.newest in indices or blocks.newest_ledger in indices


def _judge_blocks(blocks: WriteBlocks) -> Judgement:
    evidence, requests = [], []
    if blocks.cluster:
        settings = ", ".join(f'"{name}": null' for name in blocks.cluster)
        evidence.append(f"the cluster refuses writes: {', '.join(blocks.cluster)}")
        requests.append(f'PUT /_cluster/settings {{"persistent": {{{settings}}}, "transient": {{{settings}}}}}')
    names = sorted({name for block in blocks.indices.values() for name in block})
    if names:
        settings = ", ".join(f'"{name}": null' for name in names)
        evidence.append(f"{first_names(list(blocks.indices))} refuse writes: {', '.join(names)}")
        requests.append(request_for("PUT /", list(blocks.indices), f"/_settings {{{settings}}}"))
    fix = ", then ".join(requests)
    if FLOOD_STAGE in names:
        # Both blocks are the node's own at the flood stage, and it lifts them when the disk has room.
        fix = f"free the disk, and the cluster lifts this itself within a minute; otherwise {fix}"
    elif names == [_WRITE] and not blocks.cluster:
        fix = f"trailsink reindex, if one was interrupted: it goes on; otherwise {fix}"
    if blocks.cluster or FLOOD_STAGE in names or _stops_files(blocks, blocks.indices):
        return Judgement.fault("; ".join(evidence), fix)
    return Judgement.warning("; ".join(evidence), fix)


def missing_days(names: Iterable[str], now: datetime, retention_days: int = 0) -> list[date]:
    """Return the days without an index between days that have one, the newest month only.

    What is older than the retention may be gone although an older index is held.
    """
    window = min(GAP_WINDOW, timedelta(days=retention_days)) if retention_days else GAP_WINDOW
    days = {date.fromisoformat(match[1]) for name in names if (match := _DAY_INDEX.search(name)) and _is_day(match[1])}
    recent = sorted(day for day in days if now.date() - window <= day <= now.date())
    if not recent:
        return []
    span = (recent[-1] - recent[0]).days
    return [day for day in (recent[0] + timedelta(days=number) for number in range(span)) if day not in days]


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def judge_days(days: Sequence[date]) -> Judgement:
    """Judge days without an index; `days` is in order."""
    if not days:
        return Judgement.ok("no day is missing")
    evidence = f"no index for {first_names([str(day) for day in days])}, between days that have one"
    return Judgement.warning(evidence, load_missing(days[0], days[-1] + timedelta(days=1)))


def load_missing(since: date, until: date) -> str:
    """Return the command that loads the events of days whose indices are gone.

    Files around midnight also have events of another day, and are incomplete, not missing.
    """
    return f"trailsink backfill --incomplete --since {since} --until {until}"


def reindex_command(names: Sequence[str], *, force: bool = False) -> str:
    """Return the command that brings indices, by their public names, to the template's mapping.

    `force` is for those that say that they have it.
    """
    command = "trailsink reindex --force" if force else "trailsink reindex"
    days = [match[1] for name in names if (match := _ENDS_IN_DAY.search(name)) and _is_day(match[1])]
    if len(days) < len(names):
        return command
    return f"{command} --since {min(days)} --until {date.fromisoformat(max(days)) + timedelta(days=1)}"


def judge_fields(index: str, missing: Sequence[str], changed: Sequence[str]) -> Judgement:
    """Judge the mapping of an index: a missing field can be added, one of another type cannot be changed."""
    if changed:
        fix = f"{SETUP}, for the next index; to fix {index}: {reindex_command([index], force=True)}"
        return Judgement.fault(f"{index} has other fields than the template: {first_names(changed)}", fix)
    if missing:
        evidence = f"{index} lacks fields of the template: {first_names(missing)}"
        return Judgement.warning(evidence, f"{SETUP} --existing")
    return Judgement.ok(f"{index}, the index written last, has the template's fields")
