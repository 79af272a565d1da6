"""The doctor on the loader's rights in clusters with the security plugin."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.health.fake_pipeline import ROLE, Denied, FakeCluster, FakePipeline, refusal
from worker.health.findings import CheckStatus, Finding
from worker.opensearch.security import API, loader_role

NO_HANDLER = (400, {"error": "no handler found for uri [x] and method [GET]"})
NO_SECURITY_API = (403, {"status": "FORBIDDEN", "message": "No permission to access REST API"})
ROLE_NAME = "trailsink-loader-cloudtrail"


def check(cluster: FakeCluster, loader: str = ROLE) -> dict[str, Finding]:
    return FakePipeline(cluster=cluster, services={"lambda": Denied()}).findings(loader)


@pytest.mark.parametrize(
    ("path", "answer", "status", "words"),
    [
        (f"{API}/roles", NO_HANDLER, "ok", "no fine-grained access control"),
        (f"{API}/roles", (503, "busy"), "not checked", "503"),
        (f"{API}/rolesmapping", (200, {}), "fault", f"trailsink setup --loader-role {ROLE}"),
        (f"{API}/rolesmapping", refusal("restapi"), "not checked", "restapi"),
        (
            f"{API}/roles",
            (200, {ROLE_NAME: loader_role("cloudtrail") | {"cluster_permissions": []}}),
            "fault",
            f"{ROLE} lacks indices:data/write/bulk for cloudtrail-*",
        ),
    ],
)
def test_the_loaders_roles_must_grant_what_it_needs(
    path: str, answer: tuple[int, Any], status: str, words: str
) -> None:
    """A batch without permission is parked; an administrator's sign-in can tell why."""
    finding = check(FakeCluster({path: answer}))["loader's rights"]

    assert finding.status == status
    assert words in f"{finding.evidence} {finding.fix}"


def test_without_a_known_loader_the_role_of_setup_is_checked() -> None:
    """`trailsink run` signs in as anybody; the role that `trailsink setup` created shows what it was meant to have."""
    narrow = loader_role("cloudtrail") | {"cluster_permissions": []}
    cluster = FakeCluster({f"{API}/roles": (200, {ROLE_NAME: narrow}), f"{API}/rolesmapping": (200, {})})

    found = check(cluster, loader="")

    assert found["loader's rights"].status is CheckStatus.FAULT
    assert f"the role {ROLE_NAME} lacks indices:data/write/bulk" in found["loader's rights"].evidence
    assert found["mapping of the loader's role"].status is CheckStatus.WARNING


def test_a_mapped_role_needs_no_warning() -> None:
    """Somebody can load; whether it is the loader is not known."""
    found = check(FakeCluster(), loader="")

    assert found["loader's rights"].status is CheckStatus.OK
    assert "mapping of the loader's role" not in found


def test_a_newer_server_is_asked_what_it_would_refuse() -> None:
    """From 3.2 on it checks a request without carrying it out, so the loader's own sign-in learns what it lacks."""

    def lacking(*privileges: str) -> tuple[int, Any]:
        return 200, {"accessAllowed": not privileges, "missingPrivileges": list(privileges)}

    cluster = FakeCluster(
        {
            f"{API}/roles": NO_SECURITY_API,
            "/cloudtrail-undated/_search": lacking("indices:data/read/search"),
            "/_bulk": lacking(),
            "/cloudtrail-undated": lacking("indices:admin/create"),
            "/cloudtrail-undated/_create/1": lacking(),
            "/_plugins/_security/authinfo": (200, {"user_name": "ada"}),
        }
    )

    finding = check(cluster)["loader's rights"]

    assert (finding.status, finding.evidence) == ("fault", "ada, who signs in here, lacks indices:admin/create")
    assert finding.fix == f"add indices:admin/create to a role of ada, or map it to the role {ROLE_NAME}"


def test_an_older_server_is_never_asked_to_do_what_it_would_do() -> None:
    """Where the permission check is not known, the request would create an index."""
    cluster = FakeCluster(
        {
            f"{API}/roles": NO_SECURITY_API,
            "/cloudtrail-undated/_search": (400, {"error": {"type": "illegal_argument_exception"}}),
        }
    )

    finding = check(cluster)["loader's rights"]

    assert finding.status is CheckStatus.NOT_CHECKED
    assert finding.fix == "run the doctor as a user that may use the security API"
    assert {method for method, path in cluster.requests if not path.endswith(("_search", "_field_caps"))} == {"GET"}


def test_a_collection_has_no_roles() -> None:
    """Its data access policies are another check."""
    found = FakePipeline(settings={"opensearch_service": "aoss"}).findings()

    assert not found.keys() & {"loader's rights", "mapping of the loader's role"}
