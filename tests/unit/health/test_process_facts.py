"""Promises about heartbeats: a `trailsink run` anywhere is seen by both commands."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.unit.health.fake_pipeline import NOW, QUEUE_URL, FakeCluster, FakeLambda, FakePipeline

PATH = "/trailsink-consumers-cloudtrail/_search"


def heartbeat(minutes: float, **changes: Any) -> dict[str, Any]:
    time = (NOW - timedelta(minutes=minutes)).isoformat()
    document = {"host": "web-1", "pid": 7, "version": "0.1.0", "queue": QUEUE_URL, "beat_at": time}
    return {"_source": document | changes}


def pipeline(*hits: dict[str, Any]) -> FakePipeline:
    cluster = FakeCluster({PATH: (200, {"hits": {"hits": list(hits)}})})
    return FakePipeline({"lambda": FakeLambda([])}, cluster=cluster)


@pytest.mark.parametrize(
    ("hits", "status", "doctor"),
    [
        ([heartbeat(1)], "ok", "ok"),
        ([heartbeat(5)], "fault", "fault"),
        ([heartbeat(5, stopped_at=NOW.isoformat())], "ok", "ok"),
        ([], "unknown", "not checked"),
    ],
)
def test_a_process_is_seen_by_both_commands(hits: list[dict[str, Any]], status: str, doctor: str) -> None:
    """One that ended without stopping is a fault; without any, nobody knows what consumes."""
    observed = pipeline(*hits)

    assert observed.parts()["consumer"].status == status
    assert observed.findings()["consumer process"].status == doctor


def test_the_figures_of_a_process_are_there_for_programs() -> None:
    """Which host to look at."""
    facts = pipeline(heartbeat(1)).parts()["consumer"].facts

    assert facts["processes"][0]["host"] == "web-1"
