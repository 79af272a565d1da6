"""The report of `trailsink status`: what is a fault, what is a warning, and that the unknown is neither."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from worker.health.findings import CheckStatus
from worker.health.flow_snapshot import BucketLag, LedgerState, WriteBlocks
from worker.health.retention_snapshot import RetentionState
from worker.health.rules import judge_ledger
from worker.health.snapshot import (
    ClusterState,
    ConsumerState,
    DeadLetterState,
    DiskUsage,
    EventSourceMapping,
    IndexFreshness,
    IndexSize,
    QueueState,
    ShardUsage,
    Snapshot,
    TemplateState,
    Throughput,
    TrailState,
    Unobserved,
)
from worker.health.status import newest_indices, report

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAPPING = EventSourceMapping("u", "Enabled", "arn:aws:lambda:eu-west-1:123456789012:function:loader", 10, True)
WELL = Snapshot(
    observed_at=NOW,
    queue=QueueState(3, 2, 0, 40),
    dead_letters=DeadLetterState(0),
    consumer=ConsumerState([MAPPING], None, 0, 0),
    throughput=Throughput(12.5, 3400, "CloudWatch"),
    trails=[TrailState("acme", "b", True, NOW - timedelta(minutes=3), "")],
    freshness=IndexFreshness(NOW - timedelta(minutes=6), NOW - timedelta(minutes=1)),
    bucket_lag=BucketLag(NOW - timedelta(minutes=2), 0, None),
    cluster=ClusterState("opensearch 3.8.0", "green", 3, 0),
    disk=DiskUsage(41.0, 34 << 30),
    template=TemplateState("trailsink-cloudtrail", 1, 1),
    retention=RetentionState(0, ""),
    indices=[IndexSize("cloudtrail-2026-03-01", 1_203_222, 512 << 20)],
    shards=ShardUsage(240, 1_000, 10.0, 76.0),
    ledger=LedgerState(NOW - timedelta(minutes=2), 14),
    writes=WriteBlocks(),
)
IDLE = QueueState(0, 0, 0, None)


def consumer(state: str = "Enabled", maximum: int | None = 10, reserved: Any = None, *figures: int) -> ConsumerState:
    return ConsumerState([replace(MAPPING, state=state, max_concurrency=maximum)], reserved, *figures)


def template(version: int | None, expected: int = 1, *changed: str) -> TemplateState:
    return TemplateState("trailsink-cloudtrail", version, expected, changed)


def test_a_pipeline_that_is_well_is_reported_in_one_line_each() -> None:
    """What an engineer reads in five seconds."""
    current = report(WELL)

    assert current.status is CheckStatus.OK
    assert {part.name: part.text for part in current.parts} == {
        "queue": "3 waiting, 2 in flight, oldest 40s",
        "dead letters": "none",
        "consumer": "Enabled, at most 10 at once; 0 errors, 0 throttles in 1h",
        "throughput": "12.5 files, 3,400 records a minute by CloudWatch, last 15m",
        "trail": "acme is logging, delivered 3m ago",
        "lag": "newest event 6m old, indexed 1m ago; file 2m old",
        "cluster": "green, opensearch 3.8.0, 3 nodes",
        "disk": "41 % used, 34.0 GiB free on the fullest node",
        "shards": "240 of 1,000 used, enough for 76d at 10.0 a day",
        "writes": "no blocks",
        "template": "version 1",
        "retention": "none asked for; indices are kept",
        "ledger": "newest file 2m ago; 14 accounts, none silent",
        "proof": "trailsink verify has recorded no verdict",
        "indices": "1 with 1,203,222 events in 512.0 MiB",
    }
    assert all(len(part.text) <= 57 for part in current.parts if part.name != "throughput")  # of 80 columns


HOURS = timedelta(hours=1)
STALE = IndexFreshness(NOW - 9 * HOURS, NOW - 3 * HOURS)
DENIED = Unobserved("AccessDenied")


@pytest.mark.parametrize(
    ("change", "name", "status", "words"),
    [
        ({"queue": QueueState(9, 0, 0, 20 * 60)}, "queue", "warning", "oldest 20m"),
        ({"queue": QueueState(9, 0, 2, 7200)}, "queue", "fault", "9 waiting, 0 in flight, 2 delayed, oldest 2h"),
        ({"queue": Unobserved("There is no queue x")}, "queue", "fault", "There is no queue x"),
        ({"dead_letters": DeadLetterState(2, 60)}, "dead letters", "warning", "2, oldest 1m; trailsink dlq list names"),
        (
            {"dead_letters": DeadLetterState(3, None, {"truncated": 2, "corrupt": 1})},
            "dead letters", "warning", "3: corrupt 1, truncated 2",
        ),
        ({"dead_letters": Unobserved("no")}, "dead letters", "fault", "no"),
        ({"consumer": consumer("Disabled", None)}, "consumer", "fault", "Disabled"),
        ({"consumer": consumer("Enabling", None)}, "consumer", "ok", "Enabling, as many at once as the account allows"),
        ({"consumer": consumer("Enabled", 10, 0)}, "consumer", "fault", "at most 0 at once"),
        ({"consumer": consumer("Enabled", 10, 2)}, "consumer", "fault", "reserved concurrency 2, less than"),
        ({"consumer": consumer("Enabled", 2, 10)}, "consumer", "ok", "at most 2 at once"),
        ({"consumer": consumer("Enabled", 10, DENIED)}, "consumer", "unknown", "reserved concurrency: AccessDenied"),
        ({"consumer": consumer("Disabled", 10, DENIED)}, "consumer", "fault", "Disabled, at most 10"),
        ({"consumer": consumer("Enabled", None, None, 3, 0)}, "consumer", "warning", "3 errors"),
        ({"consumer": consumer("Enabled", None, None, 0, 7)}, "consumer", "warning", "7 throttles"),
        ({"consumer": ConsumerState([MAPPING, MAPPING])}, "consumer", "warning", "2 mappings share the queue"),
        ({"consumer": ConsumerState([]), "queue": IDLE}, "consumer", "unknown", "trailsink run has to consume"),
        ({"consumer": ConsumerState([])}, "consumer", "warning", "3 messages wait"),
        ({"consumer": DENIED}, "consumer", "unknown", "AccessDenied"),
        ({"trails": [TrailState("t", "b", False, None, "")]}, "trail", "fault", "t is not logging"),
        (
            {"trails": [TrailState("t", "b", True, None, "NoSuchBucket")]},
            "trail", "fault", "t cannot deliver: NoSuchBucket",
        ),
        ({"trails": []}, "trail", "unknown", "none of this account"),
        ({"freshness": IndexFreshness(None, None), "queue": IDLE}, "lag", "warning", "no event is in the index"),
        ({"freshness": IndexFreshness(None, None)}, "lag", "fault", "no event is in the index, and 3 messages wait"),
        ({"freshness": STALE, "queue": IDLE}, "lag", "warning", "indexed 3h ago"),
        ({"freshness": STALE}, "lag", "fault", "indexed 3h ago, and 3 messages wait"),
        ({"bucket_lag": BucketLag(NOW, 4, NOW - HOURS)}, "lag", "warning", "4 not in the index"),
        ({"bucket_lag": BucketLag(NOW, 4, NOW - HOURS / 6)}, "lag", "ok", "file 0s old"),
        (
            {"bucket_lag": BucketLag(NOW, 4, NOW - HOURS), "freshness": STALE, "queue": IDLE},
            "lag", "fault", "indexed 3h ago; file 0s old, 4 not in the index",
        ),
        (
            {"bucket_lag": BucketLag(NOW, 4, NOW - HOURS / 6), "freshness": STALE, "queue": IDLE},
            "lag", "warning", "file 0s old",
        ),
        ({"bucket_lag": DENIED}, "lag", "unknown", "bucket: AccessDenied"),
        ({"bucket_lag": None}, "lag", "ok", "indexed 1m ago"),
        ({"freshness": Unobserved("the cluster cannot be checked")}, "lag", "unknown", "cannot be checked"),
        ({"cluster": ClusterState("o", "yellow", 1, 5)}, "cluster", "warning", "o, 1 node, 5 unassigned shards"),
        ({"cluster": ClusterState("o", "red", 1, 1)}, "cluster", "fault", "red, o, 1 node, 1 unassigned shard"),
        ({"cluster": ClusterState("S", None, None, None)}, "cluster", "ok", "S, which does not report its health"),
        ({"cluster": Unobserved("no connection")}, "cluster", "fault", "no connection"),
        ({"disk": DiskUsage(80, 1)}, "disk", "warning", "80 % used"),
        ({"disk": DiskUsage(93, 1)}, "disk", "fault", "93 % used"),
        ({"disk": None}, "disk", "unknown", "does not report"),
        ({"template": template(None)}, "template", "fault", "trailsink setup"),
        ({"template": template(1, 2)}, "template", "warning", "version 1, this trailsink has 2; trailsink setup"),
        ({"template": template(2, 1)}, "template", "warning", "this trailsink has 1; use the trailsink that made it"),
        ({"template": template(1, 1, "eventName")}, "template", "warning", "version 1, but it was changed: eventName"),
        ({"retention": RetentionState(30, "", "30")}, "retention", "fault", "30 days asked for, and no policy exists"),
        ({"retention": RetentionState(30, "", "30", has_ism=False)}, "retention", "warning", "no ISM plugin"),
        ({"retention": RetentionState(30, "30", "30")}, "retention", "ok", "30"),
        ({"retention": RetentionState(30, "90", "30")}, "retention", "fault", "30 days asked for, the policy says: 90"),
        ({"retention": RetentionState(0, "30")}, "retention", "fault", "30"),
        ({"retention": RetentionState(0, "30", is_set=False)}, "retention", "warning", "30"),
        ({"retention": RetentionState(0, None)}, "retention", "ok", "none asked for"),
        ({"retention": None}, "retention", "unknown", "Serverless has no ISM"),
        ({"throughput": Unobserved("x")}, "throughput", "unknown", "x"),
        ({"indices": Unobserved("x")}, "indices", "unknown", "x"),
    ],
)  # fmt: skip
def test_each_part_has_its_status(change: dict[str, Any], name: str, status: str, words: str) -> None:
    """Cron acts on the status alone: a fault is what loses time or events, and nothing is guessed of the unknown."""
    current = report(replace(WELL, **change))

    part = {part.name: part for part in current.parts}[name]
    assert (part.status, words in part.text) == (status, True), part.text
    assert current.status == ("ok" if status == "unknown" else status)
    assert current.names(CheckStatus.FAULT, CheckStatus.WARNING) == ([name] if status in ("fault", "warning") else [])


def test_the_figures_are_there_for_programs() -> None:
    """Scripts must not have to read them out of a sentence."""
    facts = {part.name: part.facts for part in report(WELL).parts}

    assert facts["consumer"] == {
        "state": "Enabled", "function": "loader", "max_concurrency": 10, "reserved_concurrency": None,
        "errors": 0, "throttles": 0,
    }  # fmt: skip
    assert facts["trail"] == {
        "trails": [{"name": "acme", "logging": True, "delivered": "2026-03-01T11:57:00+00:00", "error": ""}]
    }
    assert facts["lag"] == {
        "newest_event": "2026-03-01T11:54:00+00:00", "newest_indexed": "2026-03-01T11:59:00+00:00", "seconds": 360,
        "newest_file": "2026-03-01T11:58:00+00:00", "files_since": 0, "files_passed_over": 0,
        "folders_read": 0, "folders": 0, "files_discarded": 0,
    }  # fmt: skip
    assert facts["template"] == {"version": 1, "expected": 1}
    assert facts["retention"] == {"days": 0, "policy": ""}


def test_one_screen_shows_the_last_days_only() -> None:
    """A year of indices is a number; the undated ones are no days."""
    names = [f"cloudtrail-2026-02-{day:02}" for day in range(1, 29)]
    undated = ["cloudtrail-undated", "cloudtrail-undated-2026-02-28", "cloudtrail-undated-2026-02"]
    indices = [IndexSize(name, 1, 1) for name in [*names, *undated]]

    part = report(replace(WELL, indices=indices)).parts[-1]

    assert [index["name"] for index in newest_indices(part)] == names[:-8:-1]
    assert part.facts["number"] == 31


def test_a_ledger_without_a_recent_file_says_nothing_of_accounts() -> None:
    """After two weeks without a file, "none silent" would be said of the accounts that are all silent."""
    judgement = judge_ledger(LedgerState(NOW - timedelta(days=15), 0), NOW)

    assert judgement.status == "not checked"
    assert judgement.evidence == "newest file 15d ago; no account had a file in the last 14d"
