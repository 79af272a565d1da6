"""Promises about what the doctor sees of a stolen loader credential: replaced events, foreign indices, blocks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.unit.health.fake_pipeline import INDEX, FakeCluster, FakeEvent, FakePipeline, make_stats
from worker.health.findings import CheckStatus, Finding
from worker.health.integrity_checks import altered_fields
from worker.opensearch.profiles import Profile
from worker.opensearch.schema import index_template

STATS, MAPPINGS = "/cloudtrail-*/_stats/docs", "/cloudtrail-*/_mapping"
BLOCKS = "/cloudtrail-*/_settings/index.blocks.*"
QUIET = "cloudtrail-2026-02-20"


@dataclass
class ClusterWithVersions(FakeCluster):
    """A cluster that answers searches for versions, by index."""

    versions: dict[str, list[int]] = field(default_factory=dict)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        index = path.removesuffix("/_search").removeprefix("/")
        if path.endswith("/_search") and index in self.versions:
            assert json.loads(body)["sort"] == [{"_seq_no": "desc"}]
            self.requests.append((method, path))
            hits = [{"_id": f"e{at}", "_version": version} for at, version in enumerate(self.versions[index])]
            return 200, {"hits": {"hits": hits}}
        return super().answer(method, path, body)


def check(cluster: FakeCluster, name: str, **settings: Any) -> Finding:
    return FakePipeline(cluster=cluster, settings=settings).findings()[name]


def mappings(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = index_template("cloudtrail")["template"]["mappings"] | changes
    return body


# Documents


def test_an_index_that_is_only_created_into_is_well() -> None:
    """Duplicates leave no trace: the server refuses them before they get a sequence number."""
    finding = check(FakeCluster(), "overwritten events")

    assert (finding.status, finding.fix) == (CheckStatus.OK, "")


def test_a_replaced_event_is_a_fault_that_names_it() -> None:
    """The loader only creates, so a version above 1 is somebody else's, and the file in the bucket is the proof."""
    cluster = ClusterWithVersions({STATS: (200, make_stats(3, 4, index=QUIET))}, versions={QUIET: [2, 1, 1]})

    finding = check(cluster, "overwritten events")

    assert finding.status is CheckStatus.FAULT
    assert finding.evidence == f"documents have a version above 1: {QUIET}/e0"


def test_a_replaced_event_is_seen_after_its_old_version_was_merged_away() -> None:
    """Merging ends `docs.deleted`, and not the sequence numbers."""
    cluster = ClusterWithVersions({STATS: (200, make_stats(3, 4, deleted=0))}, versions={INDEX: [2, 1, 1]})

    assert check(cluster, "overwritten events").status is CheckStatus.FAULT


def test_a_gap_in_a_quiet_index_is_a_warning() -> None:
    """It may be a document that the index refused, so no version is above 1; or an event that was deleted."""
    cluster = ClusterWithVersions({STATS: (200, make_stats(3, 5, index=QUIET))}, versions={QUIET: [1, 1, 1]})

    finding = check(cluster, "overwritten events")

    assert finding.status is CheckStatus.WARNING
    assert f"{QUIET} (2)" in finding.evidence


def test_the_index_that_is_written_now_may_have_writes_that_are_not_searchable_yet() -> None:
    """They are no gap; its versions are looked at all the same."""
    cluster = ClusterWithVersions({STATS: (200, make_stats(3, 50))}, versions={INDEX: [1, 1, 1]})

    assert check(cluster, "overwritten events").status is CheckStatus.OK
    assert ("POST", f"/{INDEX}/_search") in cluster.requests


# Mappings


@pytest.mark.parametrize(
    "changes",
    [
        {"properties": {"eventName": {"type": "keyword", "index": False, "doc_values": False}}},
        {"properties": {"eventName": {"type": "text"}}},
        {"properties": {"requestParameters": {"type": "object", "enabled": False}}},
        {"enabled": False},
        {"dynamic": "true"},
    ],
    ids=["unsearchable", "other type", "stored only", "no mapping", "dynamic"],
)
def test_an_index_that_somebody_created_first_is_a_fault(changes: dict[str, Any]) -> None:
    """The loader must be able to create indices, so whoever has its credential can make tomorrow's unsearchable."""
    properties = mappings()["properties"] | changes.get("properties", {})
    foreign = {"cloudtrail-2026-03-02": {"mappings": mappings(**changes | {"properties": properties})}}
    cluster = FakeCluster({MAPPINGS: (200, {INDEX: {"mappings": mappings()}} | foreign)})

    finding = check(cluster, "mapping of each index")

    assert finding.status is CheckStatus.FAULT
    assert finding.evidence.startswith("1 of 2 are not the template's: cloudtrail-2026-03-02 (")


def test_an_index_without_any_mapping_is_a_fault() -> None:
    """Events in it are stored, and found by nothing."""
    foreign = "cloudtrail-2026-03-02"
    both: dict[str, Any] = {INDEX: {"mappings": {}}, foreign: {"mappings": {}}}
    cluster = FakeCluster({MAPPINGS: (200, both), f"/{INDEX}/_mapping": (200, {INDEX: {"mappings": {}}})})

    findings = FakePipeline(cluster=cluster).findings()

    # The index that was written last is reported by the check that names it.
    assert findings["mapping"].status is CheckStatus.FAULT
    assert findings["mapping of each index"].status is CheckStatus.FAULT
    assert INDEX not in findings["mapping of each index"].evidence


def test_an_index_of_an_earlier_template_is_well() -> None:
    """It lacks a field that was added later, and has one of the user's own."""
    properties = mappings()["properties"] | {"team": {"type": "keyword"}}
    del properties["vpcEndpointId"]
    old = mappings(properties=properties)

    assert altered_fields(mappings()["properties"], old) == []
    assert check(FakeCluster({MAPPINGS: (200, {INDEX: {"mappings": old}})}), "mapping of each index").status == "ok"


def test_an_index_of_generation_1_is_well() -> None:
    """The day of an upgrade must not look like an attack."""
    body = mappings()
    first: dict[str, Any] = {**body["properties"], "source": {"properties": {"ip": {"type": "alias", "path": "x"}}}}
    cluster = FakeCluster({MAPPINGS: (200, {INDEX: {"mappings": mappings(properties=first, _meta={})}})})

    finding = check(cluster, "mapping of each index")

    assert (finding.status, finding.evidence) == (
        CheckStatus.OK,
        "1 of 1 are the template's; 1 of an older generation, without newer fields",
    )
    assert altered_fields(body["properties"], mappings(properties=first)) == ["source.ip"]


def test_days_with_an_older_mapping_are_named_with_what_is_not_found_there() -> None:
    """A search by a newer field would say "no events" of last year; the fix brings exactly these days over."""
    first = {**mappings()["properties"]}
    del first["source"]
    older = {f"cloudtrail-2026-01-{day:02}": {"mappings": mappings(properties=first, _meta={})} for day in (1, 2, 3)}
    older["trailsink-reindexed1-cloudtrail-2026-01-01"] = {"mappings": mappings()}
    by_month = {"cloudtrail-2026-01": {"mappings": mappings(properties=first, _meta={})}}

    finding = check(FakeCluster({MAPPINGS: (200, older)}), "older mappings")
    of_month = check(FakeCluster({MAPPINGS: (200, by_month)}), "older mappings")

    assert finding.status is CheckStatus.WARNING
    assert finding.evidence == (
        "3 of 4 have an older mapping: cloudtrail-2026-01-01 to cloudtrail-2026-01-03; searches find nothing there by"
        " source"
    )
    assert finding.fix == "trailsink reindex --since 2026-01-01 --until 2026-01-04"
    assert of_month.fix == "trailsink reindex"


def test_the_compatibility_mapping_is_compared_with_itself() -> None:
    """On Serverless and old servers free-form fields are stored only, and that is as it should be."""
    template = index_template("cloudtrail", Profile.COMPATIBILITY)["template"]["mappings"]

    assert altered_fields(template["properties"], template) == []


# Blocks


def blocked(name: str, block: str = "index.blocks.write") -> FakeCluster:
    return FakeCluster({BLOCKS: (200, {name: {"settings": {block: "true"}}, INDEX: {"settings": {}}})})


def test_a_blocked_index_is_a_warning_with_the_block() -> None:
    """Its events go back to the queue until they are letters."""
    finding = check(blocked(QUIET), "write blocks")

    assert finding.status is CheckStatus.WARNING
    assert finding.evidence == f"{QUIET} refuse writes: index.blocks.write"
    assert f'PUT /{QUIET}/_settings {{"index.blocks.write": null}}' in finding.fix


@pytest.mark.parametrize(
    ("name", "status"),
    [
        (QUIET, "ok"),
        ("cloudtrail-2026-02-27", "warning"),
        ("cloudtrail-undated", "warning"),
        ("cloudtrail-2026-02", "ok"),
    ],
)
def test_what_the_policy_has_blocked_is_well(name: str, status: str) -> None:
    """With --read-only-after, past indices are read-only on purpose; a young one is not."""
    assert check(blocked(name), "write blocks", read_only_days=7, retention_days=0).status == status


def test_a_cluster_without_indices_has_nothing_to_check() -> None:
    """After `trailsink setup`."""
    missing = (404, {"error": {"type": "index_not_found_exception"}, "status": 404})
    cluster = FakeCluster({STATS: missing, MAPPINGS: (200, {}), BLOCKS: missing}, events=[])

    findings = FakePipeline(cluster=cluster).findings()

    assert findings["overwritten events"].status == findings["write blocks"].status == "ok"
    assert "mapping of each index" not in findings


def test_events_of_the_fake_are_not_replaced() -> None:
    """The fake that all these tests change is well itself."""
    assert check(FakeCluster(events=[FakeEvent()]), "write blocks").evidence == "none"
