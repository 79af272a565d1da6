"""The doctor on clusters that the local node cannot be: with ISM, and with servers that refuse or do not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from infra.local.ports import free_port
from tests.unit.health.fake_pipeline import (
    EXPLAIN,
    INDEX,
    ISM,
    NOW,
    FakeCluster,
    FakeEvent,
    FakePipeline,
    make_policy,
    make_template,
    refusal,
)
from worker.errors import SetupError, UnsafeAddress
from worker.health.doctor import Doctor
from worker.health.findings import CheckStatus, Finding
from worker.opensearch.client import Client
from worker.opensearch.schema import VERSION, index_template
from worker.settings import Settings

if TYPE_CHECKING:
    from boto3 import Session
    from opensearchpy import OpenSearch

NO_HANDLER = (400, {"error": "no handler found for uri [x] and method [GET]"})
POLICY = f"{ISM}/policies/trailsink-cloudtrail"
POLICY_ID = "index.plugins.index_state_management.policy_id"
DATED_SEARCH = "/cloudtrail-*,-cloudtrail-undated*/_search"
CHECKS = ("cluster", "health", "index template", "mapping", "retention", "retention of each index", "newest event")


def check(cluster: FakeCluster, **settings: Any) -> dict[str, Finding]:
    return FakePipeline(cluster=cluster, settings=settings).findings()


@pytest.mark.parametrize(
    ("path", "answer", "name", "status", "words"),
    [
        (POLICY, (404, {"error": {"type": "status_exception"}}), "retention", "fault", "setup --retention-days 90"),
        (POLICY, NO_HANDLER, "retention", "warning", "no ISM plugin"),
        (POLICY, (200, make_policy(30)), "retention", "fault", "setup --retention-days 90"),
        (POLICY, refusal("cluster:admin/opendistro/ism/policy/get"), "retention", "not checked", "ism/policy/get"),
        (
            EXPLAIN,
            (200, {INDEX: {POLICY_ID: None}, "total_managed_indices": 0}),
            "retention of each index",
            "fault",
            "trailsink setup --retention-days 90 --existing",
        ),
        (
            EXPLAIN,
            (200, {INDEX: {POLICY_ID: "trailsink-cloudtrail", "action": {"failed": True}}}),
            "retention of each index",
            "fault",
            f"POST /_plugins/_ism/retry/{INDEX}",
        ),
        (
            EXPLAIN,
            refusal("cluster:admin/opendistro/ism/managedindex/explain"),
            "retention of each index",
            "not checked",
            "managedindex/explain",
        ),
        ("/_index_template", (200, {"index_templates": []}), "index template", "fault", "trailsink setup"),
        (
            "/_index_template",
            (200, make_template(_meta={"owner": "trailsink", "version": VERSION + 1})),
            "index template",
            "warning",
            "use the trailsink that made it",
        ),
        (
            "/_index_template",
            (200, make_template(template={"mappings": {"properties": {"eventName": {"type": "text"}}}})),
            "index template",
            "warning",
            "was changed",
        ),
        (
            f"/{INDEX}/_mapping",
            (200, {INDEX: {"mappings": {"properties": {"eventName": {"type": "text"}}}}}),
            "mapping",
            "fault",
            f"{INDEX} has other fields than the template: eventName, @timestamp",
        ),
        (DATED_SEARCH, refusal("indices:data/read/search"), "newest event", "not checked", "read/search"),
        ("/_cluster/health", refusal("cluster:monitor/health"), "health", "not checked", "cluster:monitor/health"),
        ("/", (401, "Unauthorized"), "cluster", "fault", "refuses this sign-in: 401"),
        ("/", (403, "Forbidden"), "cluster", "ok", "answers"),
        ("/", (503, "not yet"), "cluster", "not checked", "503"),
        ("/", (0, ""), "cluster", "fault", "does not answer: no connection"),
        ("/", (200, "<html>"), "cluster", "ok", "answers"),
        ("/", (307, ""), "cluster", "fault", "a redirect, which is not followed"),
    ],
)
def test_what_is_wrong_in_the_cluster_is_named_with_its_fix(
    path: str, answer: tuple[int, Any], name: str, status: str, words: str
) -> None:
    """One thing at a time, so that each status is its own."""
    finding = check(FakeCluster({path: answer}))[name]

    assert finding.status == status
    assert words in f"{finding.evidence} {finding.fix}"


def test_a_cluster_that_does_not_answer_is_asked_once() -> None:
    """Eight more questions would wait for eight timeouts, and their answers would be the same."""
    cluster = FakeCluster({"/": (0, "")})

    found = check(cluster)

    assert {found[name].evidence for name in CHECKS[1:]} == {"the cluster cannot be checked"}
    assert {path for _, path in cluster.requests} == {"/"}


def test_the_age_of_the_newest_event_is_when_it_was_indexed() -> None:
    """The event itself may be years old: `trailsink backfill` loads those, too."""
    old = FakeEvent(time=NOW.replace(year=2024), indexed_at=NOW.replace(hour=7))

    assert check(FakeCluster(events=[old]))["newest event"] == Finding(
        CheckStatus.WARNING,
        "newest event",
        "newest event 730d old, indexed 5h ago",
        "check whether files arrive in the bucket, messages in the queue, and what the consumer logs",
    )


def test_the_mapping_of_the_index_written_last_is_checked() -> None:
    """An undated one counts here: it has the same template."""
    undated = FakeEvent("cloudtrail-undated", indexed_at=NOW)
    mappings = index_template("cloudtrail")["template"]["mappings"]
    path = "/cloudtrail-undated/_mapping"
    cluster = FakeCluster({path: (200, {undated.index: {"mappings": mappings}})}, [FakeEvent(), undated])

    assert check(cluster)["mapping"].evidence == "cloudtrail-undated, the index written last, has the template's fields"


def test_an_empty_index_has_no_mapping_to_check() -> None:
    """After `trailsink setup`, before the first file."""
    assert "mapping" not in check(FakeCluster(events=[]))


def test_no_retention_that_was_asked_for_is_no_fault() -> None:
    """Keeping events for ever is a choice."""
    found = check(FakeCluster({POLICY: (404, {}), EXPLAIN: (200, {INDEX: {POLICY_ID: None}})}), retention_days=0)

    assert found["retention"] == Finding(CheckStatus.OK, "retention", "none asked for; indices are kept")
    assert "retention of each index" not in found


def test_a_role_without_retention_needs_no_permission_for_it() -> None:
    """The role that `trailsink permissions doctor` prints has none then."""
    denied = {POLICY: refusal("ism/policy/get"), EXPLAIN: refusal("ism/managedindex/explain")}

    found = check(FakeCluster(denied), retention_days=0)

    assert found["retention"].status is CheckStatus.OK
    assert "retention of each index" not in found


def test_a_policy_that_nobody_asked_for_here_is_named() -> None:
    """Indices are deleted all the same, so "indices are kept" would be wrong."""
    found = check(FakeCluster(), retention_days=0)

    assert found["retention"].status is CheckStatus.FAULT
    assert "the policy says: Delete indices of trailsink after 90 days" in found["retention"].evidence
    assert found["retention"].fix == "trailsink setup --retention-days 0"


@pytest.mark.parametrize(
    ("host", "status"),
    [("vpc-acme-ab12.eu-west-1.es.amazonaws.com", CheckStatus.NOT_CHECKED), ("search.example", CheckStatus.FAULT)],
)
def test_a_cluster_of_a_vpc_that_does_not_answer_here_may_answer_there(host: str, status: CheckStatus) -> None:
    """Most operators' machines are outside of it."""
    client = Client(f"http://127.0.0.1:{free_port()}", sign_in=lambda: None, ca_file=None, seconds=60).connect()

    def no_session() -> Session:
        raise SetupError("No AWS region is set.")

    doctor = Doctor(Settings(opensearch_url=f"https://{host}"), no_session, lambda: client, NOW)
    found = {finding.check: finding for finding in doctor.findings()}

    assert found["cluster"].status is status
    assert "does not answer" in found["cluster"].evidence
    assert found["mapping"].evidence == "the cluster cannot be checked"


def test_a_client_that_cannot_be_opened_is_named() -> None:
    """A setting is missing, or a secret may not be read."""

    def no_client() -> OpenSearch:
        raise SetupError("TRAILSINK_OPENSEARCH_URL is not set.")

    def no_session() -> Session:
        raise SetupError("No AWS region is set.")

    found = {finding.check: finding for finding in Doctor(Settings(), no_session, no_client, NOW).findings()}

    assert found["cluster"] == Finding(CheckStatus.NOT_CHECKED, "cluster", "TRAILSINK_OPENSEARCH_URL is not set")
    assert {finding.status for finding in found.values()} == {CheckStatus.NOT_CHECKED}


def test_a_sign_in_in_clear_text_is_a_fault() -> None:
    """Nothing was sent, so nothing else can be checked; without the fix, every command refuses to start."""

    def no_client() -> OpenSearch:
        raise UnsafeAddress("The sign-in would go to http://search.example in clear text", "use https://")

    def no_session() -> Session:
        raise SetupError("No AWS region is set.")

    found = {finding.check: finding for finding in Doctor(Settings(), no_session, no_client, NOW).findings()}

    evidence = "The sign-in would go to http://search.example in clear text"
    assert found["cluster"] == Finding(CheckStatus.FAULT, "cluster", evidence, "use https://")


def test_plain_http_behind_an_https_address_is_no_certificate_fault() -> None:
    """A CA file would not help; `trailsink setup` names the same cause."""

    def no_session() -> Session:
        raise SetupError("No AWS region is set.")

    with FakeCluster().serving() as url:
        address = url.replace("http:", "https:")
        client = Client(address, sign_in=lambda: None, ca_file=None, seconds=60).connect()
        doctor = Doctor(Settings(opensearch_url=address), no_session, lambda: client, NOW)
        found = {finding.check: finding for finding in doctor.findings()}

    assert found["cluster"].status is CheckStatus.FAULT
    assert found["cluster"].evidence == f"{address} does not speak TLS"
