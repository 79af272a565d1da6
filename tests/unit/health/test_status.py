"""Promises about the status: what is a fault, what is a warning, and that the unknown is neither."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from worker.health.findings import CheckStatus
from worker.health.snapshot import (
    BucketLag,
    ClusterState,
    ConsumerState,
    DeadLetterState,
    DiskUsage,
    IndexFreshness,
    IndexSize,
    QueueState,
    RetentionState,
    Snapshot,
    TemplateState,
    Throughput,
    TrailState,
    Unobserved,
)
from worker.health.status import judge, newest_indices

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WELL = Snapshot(
    at=NOW,
    queue=QueueState(3, 2, 0, 40),
    letters=DeadLetterState(0),
    consumer=ConsumerState("Enabled", "loader", 10, None, 0, 0),
    rates=Throughput(12.5, 3400, "CloudWatch"),
    trails=[TrailState("acme", True, NOW - timedelta(minutes=3), "")],
    newest=IndexFreshness(NOW - timedelta(minutes=6), NOW - timedelta(minutes=1)),
    files=BucketLag(NOW - timedelta(minutes=2), 0, None),
    cluster=ClusterState("opensearch 3.8.0", "green", 3, 0),
    disk=DiskUsage(41.0, 34 << 30),
    template=TemplateState(1, 1),
    retention=RetentionState(0, ""),
    indices=[IndexSize("cloudtrail-2026-03-01", 1_203_222, 512 << 20)],
)


def test_a_pipeline_that_is_well_is_told_in_one_line_each() -> None:
    """What an engineer reads in five seconds."""
    status = judge(WELL)

    assert status.verdict is CheckStatus.OK
    assert {part.name: part.text for part in status.parts} == {
        "queue": "3 waiting, 2 in flight, oldest 40s",
        "dead letters": "none",
        "consumer": "Enabled, at most 10 at once; 0 errors, 0 throttles in 1h",
        "throughput": "12.5 files, 3,400 records a minute by CloudWatch, last 15m",
        "trail": "acme is logging, delivered 3m ago",
        "lag": "newest event 6m old, indexed 1m ago; file 2m old",
        "cluster": "green, opensearch 3.8.0, 3 nodes",
        "disk": "41 % used, 34.0 GiB free on the fullest node",
        "template": "version 1",
        "retention": "none asked for; indices are kept",
        "indices": "1 with 1,203,222 events in 512.0 MiB",
    }
    assert all(len(part.text) <= 57 for part in status.parts if part.name != "throughput")  # of 80 columns


HOURS = timedelta(hours=1)


@pytest.mark.parametrize(
    ("change", "part", "verdict", "said"),
    [
        ({"queue": QueueState(9, 0, 0, 20 * 60)}, "queue", "warning", "oldest 20m"),
        ({"queue": QueueState(9, 0, 2, 7200)}, "queue", "fault", "9 waiting, 0 in flight, 2 delayed, oldest 2h"),
        ({"queue": Unobserved("There is no queue x")}, "queue", "fault", "There is no queue x"),
        ({"letters": DeadLetterState(2, 60)}, "dead letters", "warning", "2, oldest 1m; trailsink dlq list names them"),
        ({"letters": DeadLetterState(3, None, {"truncated": 2, "corrupt": 1})}, "dead letters", "warning", "corrupt 1"),
        ({"letters": Unobserved("no")}, "dead letters", "fault", "no"),
        ({"consumer": ConsumerState("Disabled", "f", None, None)}, "consumer", "fault", "Disabled"),
        ({"consumer": ConsumerState("Enabling", "f", None, None)}, "consumer", "warning", "Enabling"),
        ({"consumer": ConsumerState("Enabled", "f", 10, 0)}, "consumer", "fault", "at most 0 at once"),
        ({"consumer": ConsumerState("Enabled", "f", None, None, 3, 0)}, "consumer", "warning", "3 errors"),
        ({"consumer": ConsumerState("Enabled", "f", None, None, 0, 7)}, "consumer", "warning", "7 throttles"),
        ({"consumer": None}, "consumer", "unknown", "trailsink run has to consume"),
        ({"consumer": Unobserved("AccessDenied")}, "consumer", "unknown", "AccessDenied"),
        ({"trails": [TrailState("t", False, None, "")]}, "trail", "fault", "t is not logging"),
        ({"trails": [TrailState("t", True, None, "NoSuchBucket")]}, "trail", "fault", "t cannot deliver: NoSuchBucket"),
        ({"trails": []}, "trail", "unknown", "none of this account"),
        ({"newest": IndexFreshness(None, None)}, "lag", "warning", "no event is in the index"),
        ({"newest": IndexFreshness(NOW - 9 * HOURS, NOW - 3 * HOURS)}, "lag", "warning", "indexed 3h ago"),
        ({"files": BucketLag(NOW, 4, NOW - HOURS)}, "lag", "warning", "4 not in the index"),
        ({"files": BucketLag(NOW, 4, NOW - HOURS / 6)}, "lag", "ok", "file 0s old"),
        (
            {"files": BucketLag(NOW, 4, NOW - HOURS), "newest": IndexFreshness(NOW - 9 * HOURS, NOW - 3 * HOURS)},
            "lag", "fault", "indexed 3h ago; file 0s old, 4 not in the index",
        ),
        ({"files": Unobserved("AccessDenied")}, "lag", "ok", "bucket: AccessDenied"),
        ({"newest": Unobserved("the cluster cannot be asked")}, "lag", "unknown", "cannot be asked"),
        ({"cluster": ClusterState("o", "yellow", 1, 5)}, "cluster", "warning", "yellow, o, 1 node, shards without a p"),
        ({"cluster": ClusterState("o", "red", 1, 5)}, "cluster", "fault", "red"),
        ({"cluster": ClusterState("Serverless", None, None, None)}, "cluster", "ok", "does not tell its health"),
        ({"cluster": Unobserved("no connection")}, "cluster", "fault", "no connection"),
        ({"disk": DiskUsage(80, 1)}, "disk", "warning", "80 % used"),
        ({"disk": DiskUsage(93, 1)}, "disk", "fault", "93 % used"),
        ({"disk": None}, "disk", "unknown", "does not tell"),
        ({"template": TemplateState(None, 1)}, "template", "fault", "trailsink setup"),
        ({"template": TemplateState(1, 2)}, "template", "warning", "version 1, this trailsink has 2"),
        ({"retention": RetentionState(30, "")}, "retention", "warning", "30 days asked for"),
        ({"retention": RetentionState(30, "Delete after 30 days")}, "retention", "ok", "Delete after 30 days"),
        ({"retention": None}, "retention", "unknown", "none of its own"),
        ({"rates": Unobserved("x")}, "throughput", "unknown", "x"),
        ({"indices": Unobserved("x")}, "indices", "unknown", "x"),
    ],
)  # fmt: skip
def test_each_trouble_has_its_verdict(change: dict[str, Any], part: str, verdict: str, said: str) -> None:
    """Cron acts on the verdict alone: a fault is what loses time or events, the unknown is not guessed at."""
    status = judge(replace(WELL, **change))

    found = {one.name: one for one in status.parts}[part]
    assert (found.verdict, said in found.text) == (verdict, True), found.text
    assert status.verdict == ("ok" if verdict == "unknown" else verdict)
    assert status.named(CheckStatus.FAULT, CheckStatus.WARNING) == ([part] if verdict in ("fault", "warning") else [])


def test_one_screen_shows_the_last_days_only() -> None:
    """A year of indices is a number; the undated one is no day."""
    names = [f"cloudtrail-2026-02-{day:02}" for day in range(1, 29)]
    part = judge(replace(WELL, indices=[IndexSize(name, 1, 1) for name in [*names, "cloudtrail-undated"]])).parts[-1]

    assert [one["name"] for one in newest_indices(part)] == names[:-8:-1]
    assert part.facts["number"] == 29
