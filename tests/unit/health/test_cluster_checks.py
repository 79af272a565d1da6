"""The doctor on clusters that the local node cannot be: with ISM, with roles, and with servers that refuse."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from infra.local.ports import free_port
from tests.support.http_server import serving, told
from worker.errors import SetupError
from worker.health.doctor import Doctor
from worker.health.findings import CheckStatus, Finding
from worker.opensearch.client import Client
from worker.opensearch.schema import VERSION, index_template, retention_policy
from worker.opensearch.security import loader_role
from worker.settings import Settings

if TYPE_CHECKING:
    from boto3 import Session

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROLE = "arn:aws:iam::123456789012:role/trailsink-loader"
API, ISM = "/_plugins/_security/api", "/_plugins/_ism"
INDEX = "cloudtrail-2026-03-01"


def template(**changes: Any) -> dict[str, Any]:
    """Our index template, as the server answers it."""
    body = index_template("cloudtrail") | changes
    return {"index_templates": [{"name": "trailsink-cloudtrail", "index_template": body}]}


def latest(indexed: datetime) -> dict[str, Any]:
    """The answer to the search for the newest event."""
    milliseconds = indexed.timestamp() * 1000
    aggregations = {"indexed": {"value": milliseconds}, "event": {"value": milliseconds - 300_000}}
    return {"hits": {"hits": [{"_index": INDEX}]}, "aggregations": aggregations}


@dataclass
class Cluster:
    """A server with ISM and the security plugin, where all is well; `changed` answers are by path."""

    changed: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        self.asked.append((method, path))
        return self.changed.get(path) or (200, self._well(path))

    @staticmethod
    def _well(path: str) -> Any:
        mappings = index_template("cloudtrail")["template"]["mappings"]
        policy = retention_policy("cloudtrail", 90)["policy"] | {"last_updated_time": 1}
        explained = {"index.plugins.index_state_management.policy_id": "trailsink-cloudtrail", "enabled": True}
        return {
            "/": {"version": {"distribution": "opensearch", "number": "3.4.0"}},
            "/_index_template": template(),
            "/cloudtrail-*/_search": latest(NOW - timedelta(minutes=6)),
            f"/{INDEX}/_mapping": {INDEX: {"mappings": mappings}},
            f"{ISM}/policies/trailsink-cloudtrail": {"_id": "trailsink-cloudtrail", "policy": policy},
            f"{ISM}/explain/cloudtrail-*": {INDEX: explained, "total_managed_indices": 1},
            f"{API}/roles": {"trailsink-loader-cloudtrail": loader_role("cloudtrail")},
            f"{API}/rolesmapping": {"trailsink-loader-cloudtrail": {"backend_roles": [ROLE]}},
            f"{API}/actiongroups": {},
        }[path]


def examine(cluster: Cluster, loader: str = ROLE, days: int = 90) -> dict[str, Finding]:
    """The findings by check, with no AWS in reach."""

    def no_session() -> Session:
        raise SetupError("No AWS region is set.")

    with serving(lambda method, path, *_: told(*cluster.answer(method, urlsplit(path).path))) as url:
        settings = Settings(opensearch_url=url, retention_days=days)
        client = Client(url, sign_in=lambda: None, ca_file=None, seconds=5).connect()
        doctor = Doctor(settings, no_session, lambda: client, NOW, loader_role=loader)
        found = {one.check: one for one in doctor.findings()}
        client.close()
    return found


def refused(permission: str) -> tuple[int, Any]:
    reason = f"no permissions for [{permission}] and User [name=ada, backend_roles=[x], requestedTenant=null]"
    return 403, {"error": {"type": "security_exception", "reason": reason}, "status": 403}


def test_a_cluster_that_is_well_has_no_fault_and_is_only_read() -> None:
    """A doctor who changes the patient is none."""
    cluster = Cluster()

    found = examine(cluster)

    checks = ("cluster", "loader's rights", "index template", "mapping", "retention", "retention of each index")
    assert {name: found[name].verdict for name in (*checks, "newest event")} == dict.fromkeys(
        (*checks, "newest event"), CheckStatus.OK
    )
    written = {(method, path) for method, path in cluster.asked if method != "GET"}
    assert written == {("POST", "/cloudtrail-*/_search")}


NO_HANDLER = (400, {"error": "no handler found for uri [x] and method [GET]"})
EXPLAIN, POLICY = f"{ISM}/explain/cloudtrail-*", f"{ISM}/policies/trailsink-cloudtrail"


@pytest.mark.parametrize(
    ("path", "answer", "check", "verdict", "words"),
    [
        (POLICY, (404, {"error": {"type": "status_exception"}}), "retention", "fault", "setup --retention-days 90"),
        (POLICY, NO_HANDLER, "retention", "warning", "no ISM plugin"),
        (
            POLICY,
            (200, {"policy": retention_policy("cloudtrail", 30)["policy"]}),
            "retention",
            "fault",
            "setup --retention-days 90",
        ),
        (POLICY, refused("cluster:admin/opendistro/ism/policy/get"), "retention", "not checked", "ism/policy/get"),
        (
            EXPLAIN,
            (200, {INDEX: {"index.plugins.index_state_management.policy_id": None}, "total_managed_indices": 0}),
            "retention of each index",
            "fault",
            'POST /_plugins/_ism/add/cloudtrail-* {"policy_id": "trailsink-cloudtrail"}',
        ),
        (
            EXPLAIN,
            (
                200,
                {INDEX: {"index.plugins.index_state_management.policy_id": "p", "action": {"failed": True}}},
            ),
            "retention of each index",
            "fault",
            f"POST /_plugins/_ism/retry/{INDEX}",
        ),
        ("/_index_template", (200, {"index_templates": []}), "index template", "fault", "trailsink setup"),
        (
            "/_index_template",
            (200, template(_meta={"owner": "trailsink", "version": VERSION + 1})),
            "index template",
            "warning",
            "use the trailsink that made it",
        ),
        (
            "/_index_template",
            (200, template(template={"mappings": {"properties": {"eventName": {"type": "text"}}}})),
            "index template",
            "warning",
            "was changed",
        ),
        (
            f"/{INDEX}/_mapping",
            (200, {INDEX: {"mappings": {"properties": {"eventName": {"type": "text"}}}}}),
            "mapping",
            "fault",
            f"{INDEX} has other fields than the template: @timestamp",
        ),
        ("/cloudtrail-*/_search", (200, latest(NOW - timedelta(hours=5))), "newest event", "warning", "5.0 h ago"),
        ("/cloudtrail-*/_search", refused("indices:data/read/search"), "newest event", "not checked", "read/search"),
        (f"{API}/roles", NO_HANDLER, "loader's rights", "ok", "no fine-grained access control"),
        (f"{API}/rolesmapping", (200, {}), "loader's rights", "fault", f"trailsink setup --loader-role {ROLE}"),
        ("/", (401, "Unauthorized"), "cluster", "fault", "refuses who signs in here: 401"),
        ("/", (503, "not yet"), "cluster", "not checked", "503"),
    ],
)
def test_what_is_wrong_in_the_cluster_is_named_with_its_fix(
    path: str, answer: tuple[int, Any], check: str, verdict: str, words: str
) -> None:
    """One thing at a time, so that each verdict is its own."""
    found = examine(Cluster({path: answer}))[check]

    assert found.verdict == verdict
    assert words in f"{found.evidence} {found.fix}"


def test_without_a_function_our_own_role_is_looked_at() -> None:
    """`trailsink run` signs in as whoever; the role that `trailsink setup` made says what it was meant to have."""
    narrow = loader_role("cloudtrail") | {"cluster_permissions": []}
    cluster = Cluster(
        {
            f"{API}/roles": (200, {"trailsink-loader-cloudtrail": narrow}),
            f"{API}/rolesmapping": (200, {}),
        }
    )

    found = examine(cluster, loader="")

    assert found["loader's rights"].verdict is CheckStatus.FAULT
    assert "the role trailsink-loader-cloudtrail lacks indices:data/write/bulk" in found["loader's rights"].evidence
    assert found["mapping of the loader's role"].verdict is CheckStatus.WARNING


def test_an_older_server_is_never_asked_to_do_what_it_would_do() -> None:
    """Where the permission check is not known, the probe would be a request to make an index."""
    cluster = Cluster(
        {
            f"{API}/roles": (403, {"status": "FORBIDDEN", "message": "No permission to access REST API"}),
            "/cloudtrail-undated/_search": (400, {"error": {"type": "illegal_argument_exception"}}),
        }
    )

    found = examine(cluster)["loader's rights"]

    assert found.verdict is CheckStatus.NOT_CHECKED
    assert found.fix == "run the doctor as a user that may use the security API"
    assert {method for method, path in cluster.asked if "_search" not in path} == {"GET"}


def test_no_retention_that_was_asked_for_is_no_fault() -> None:
    """Keeping events for ever is a choice."""
    found = examine(Cluster(), days=0)

    assert found["retention"] == Finding(CheckStatus.OK, "retention", "none asked for; indices are kept")
    assert "retention of each index" not in found


@pytest.mark.parametrize(
    ("host", "verdict"),
    [("vpc-acme-ab12.eu-west-1.es.amazonaws.com", CheckStatus.NOT_CHECKED), ("search.example", CheckStatus.FAULT)],
)
def test_a_cluster_of_a_vpc_that_does_not_answer_here_may_answer_there(host: str, verdict: CheckStatus) -> None:
    """Most operators' machines are outside of it."""
    client = Client(f"http://127.0.0.1:{free_port()}", sign_in=lambda: None, ca_file=None, seconds=5).connect()

    def no_session() -> Session:
        raise SetupError("No AWS region is set.")

    doctor = Doctor(Settings(opensearch_url=f"https://{host}"), no_session, lambda: client, NOW)
    found = {one.check: one for one in doctor.findings()}

    assert found["cluster"].verdict is verdict
    assert "does not answer" in found["cluster"].evidence
    assert found["mapping"].evidence == "the cluster cannot be asked"
