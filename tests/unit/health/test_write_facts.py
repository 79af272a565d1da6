"""Promises about blocks: whatever keeps the cluster from accepting events is read from the cluster."""

from __future__ import annotations

import pytest

from tests.unit.health.fake_pipeline import (
    INDEX,
    OWN_BLOCKS,
    FakeCluster,
    FakePipeline,
    make_index,
    make_node_settings,
    refusal,
)

CLOSED = make_index("cloudtrail-2026-02-28") | {"status": "close", "docs.count": None, "store.size": None}


def blocked_cluster() -> FakeCluster:
    settings = make_node_settings()
    settings["persistent"]["cluster"] = {"blocks": {"create_index": "true"}}
    return FakeCluster({"/_cluster/settings": (200, settings)})


def blocked_index() -> FakeCluster:
    blocks = {INDEX: {"settings": {"index.blocks.read_only_allow_delete": "true"}}}
    return FakeCluster({"/cloudtrail-*/_settings/index.blocks.*": (200, blocks)})


def own_index(name: str, setting: str) -> FakeCluster:
    """One of the indices that trailsink writes beside events; the newest of the ledger is of March."""
    own = {"trailsink-files-cloudtrail-2026-03": {"settings": {"index.uuid": "u"}}}
    return FakeCluster({OWN_BLOCKS: (200, own | {name: {"settings": {setting: "true", "index.uuid": "v"}}})})


def closed_index() -> FakeCluster:
    return FakeCluster({"/_cat/indices/cloudtrail-*": (200, [make_index(), CLOSED])})


def closed_today() -> FakeCluster:
    today = make_index() | {"status": "close", "docs.count": None, "store.size": None}
    undated = make_index(INDEX.replace("cloudtrail-", "cloudtrail-undated-"))
    return FakeCluster({"/_cat/indices/cloudtrail-*": (200, [today, undated])})


@pytest.mark.parametrize(
    ("cluster", "status", "words"),
    [
        (closed_today(), "fault", f"{INDEX} closed"),
        (blocked_cluster(), "fault", "cluster.blocks.create_index"),
        (blocked_index(), "fault", f"{INDEX} refuse writes: index.blocks.read_only_allow_delete"),
        (closed_index(), "warning", "cloudtrail-2026-02-28 closed"),
        (
            own_index("trailsink-files-cloudtrail-2026-03", "index.blocks.write"), "fault",
            "trailsink-files-cloudtrail-2026-03 refuse writes: index.blocks.write",
        ),
        (own_index("trailsink-files-cloudtrail-2026-02", "index.blocks.write"), "warning", "2026-02 refuse writes"),
        (
            own_index("trailsink-files-cloudtrail-2026-03", "index.verified_before_close"), "fault",
            "trailsink-files-cloudtrail-2026-03 closed",
        ),
        (own_index("trailsink-consumers-cloudtrail", "index.blocks.write"), "warning", "consumers-cloudtrail refuse"),
        (
            own_index("trailsink-consumers-cloudtrail", "index.blocks.read_only_allow_delete"), "fault",
            "trailsink-consumers-cloudtrail",
        ),
        (FakeCluster(), "ok", ""),
    ],
)  # fmt: skip
def test_a_block_is_seen_by_both_commands(cluster: FakeCluster, status: str, words: str) -> None:
    """A green cluster with room on its disks can refuse everything."""
    pipeline = FakePipeline(cluster=cluster)

    part, finding = pipeline.parts()["writes"], pipeline.findings()["write blocks"]

    assert (part.status, finding.status) == (status, status)
    assert words in part.text
    assert words in finding.evidence


HOLDS = "/trailsink-holds-cloudtrail/_search"
EVENT_BLOCKS = "/cloudtrail-*/_settings/index.blocks.*"


def test_a_hold_is_not_lifted_where_holds_may_not_be_read() -> None:
    """The advice would be the request that lifts it."""
    held = {INDEX: {"settings": {"index.blocks.read_only": "true"}}}
    cluster = FakeCluster({HOLDS: refusal("indices:data/read/search"), EVENT_BLOCKS: (200, held)})

    finding = FakePipeline(cluster=cluster).findings()["write blocks"]

    assert finding.status == "not checked"
    assert "_settings" not in finding.fix


def test_other_blocks_are_seen_where_holds_may_not_be_read() -> None:
    """A full disk is no secret."""
    blocks = {
        INDEX: {"settings": {"index.blocks.read_only_allow_delete": "true"}},
        "cloudtrail-2026-02-20": {"settings": {"index.blocks.read_only": "true"}},
    }
    cluster = FakeCluster({HOLDS: refusal("indices:data/read/search"), EVENT_BLOCKS: (200, blocks)})

    finding = FakePipeline(cluster=cluster).findings()["write blocks"]

    assert finding.status == "fault"
    assert "2026-02-20" not in finding.fix


def test_the_policy_does_not_excuse_a_block_that_hides_events() -> None:
    """What is read-only can still be searched."""
    old = {"cloudtrail-2026-01-20": {"settings": {"index.blocks.read": "true"}}}
    pipeline = FakePipeline(cluster=FakeCluster({EVENT_BLOCKS: (200, old)}), settings={"read_only_days": 7})

    assert pipeline.parts()["writes"].status == "warning"


def test_the_ledger_of_a_longer_prefix_is_not_ours() -> None:
    """It would be called the newest one, and our own blocked one would only be a warning."""
    own, other = "trailsink-files-cloudtrail-2026-03", "trailsink-files-cloudtrail-prod-2026-01"
    settings = {name: {"settings": {"index.blocks.read_only": "true", "index.uuid": "u"}} for name in (own, other)}

    finding = FakePipeline(cluster=FakeCluster({OWN_BLOCKS: (200, settings)})).findings()["write blocks"]

    assert finding.status == "fault"
    assert other not in finding.evidence + finding.fix


def test_serverless_has_no_blocks_to_read() -> None:
    """Its part is unknown, which does not count."""
    assert FakePipeline(settings={"opensearch_service": "aoss"}).parts()["writes"].status == "unknown"
