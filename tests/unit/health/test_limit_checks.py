"""Promises about the doctor on clusters that are full, or that refuse every bulk request."""

from __future__ import annotations

from typing import Any

from tests.unit.health.fake_pipeline import (
    FakeCluster,
    FakePipeline,
    make_health,
    make_node_settings,
    refusal,
)
from worker.health.findings import CheckStatus, Finding


def findings(changes: dict[str, tuple[int, Any]], **settings: Any) -> dict[str, Finding]:
    return FakePipeline(cluster=FakeCluster(changes), settings={"retention_days": 0} | settings).findings()


def test_shards_are_counted_and_their_end_is_told() -> None:
    """A full cluster refuses the index of a new day, and with it every event of that day."""
    found = findings(
        {
            "/_cluster/health": (200, make_health("green", active=960)),
            "/_cluster/settings": (200, make_node_settings(500)),
        }
    )

    assert found["shards"].status is CheckStatus.WARNING
    assert found["shards"].evidence == "960 of 1,000 used, enough for 20d at 2.0 a day"
    assert "retention" in found["shards"].fix


def test_a_cluster_that_takes_no_index_in_a_bulk_request_is_a_fault() -> None:
    """Everything else looks well there, and nothing is ever indexed."""
    found = findings({"/_cluster/settings": (200, make_node_settings(explicit_index=False))})

    assert found["bulk requests"].status is CheckStatus.FAULT
    assert "rest.action.multi.allow_explicit_index is false" in found["bulk requests"].evidence
    assert "advanced options" in found["bulk requests"].fix


def test_a_role_that_may_not_read_the_settings_is_told_which_permission_it_lacks() -> None:
    """Neither check guesses."""
    found = findings({"/_cluster/settings": refusal("cluster:monitor/state")})

    for name in ("shards", "bulk requests"):
        assert found[name].status is CheckStatus.NOT_CHECKED
        assert "cluster:monitor/state" in found[name].fix


def test_serverless_has_neither() -> None:
    """A collection offers no cluster settings."""
    found = findings({}, opensearch_service="aoss")

    assert not {"shards", "bulk requests"} & found.keys()
