"""Promises about granting access: each purpose has its smallest role, and nothing else is changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.opensearch_server import NO_HANDLER, connected, disconnected, missing
from worker.errors import SetupError
from worker.opensearch.roles import AccessFor, access_role, grant_access
from worker.opensearch.security import API, loader_role, role_name

ARN = "arn:aws:iam::123456789012:role/loader"


@dataclass
class FakeSecurity:
    """The security plugin's roles and their mappings; `refusal` is what it answers instead."""

    roles: dict[str, Any] = field(default_factory=dict)
    mappings: dict[str, Any] = field(default_factory=dict)
    refusal: tuple[int, Any] | None = None
    writes: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, _query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if self.refusal:
            return self.refusal
        kind, _, name = path.removeprefix(f"{API}/").partition("/")
        stored = {"roles": self.roles, "rolesmapping": self.mappings}[kind]
        if method == "GET":
            if not name:
                return 200, stored
            return (200, {name: stored[name]}) if name in stored else missing()
        self.writes.append(path)
        # Responses have more members than requests may have.
        stored[name] = body | {"reserved": False, "hidden": False, "static": False}
        return 200, {"status": "OK"}


def grant(security: FakeSecurity, purpose: AccessFor = AccessFor.LOADER) -> list[str]:
    with connected(security.answer) as client:
        return list(grant_access(client, "trail", purpose, ARN))


NAME = role_name("trail")


def test_the_loader_gets_its_role_once() -> None:
    """Deployment scripts run it every time, and must not change what is right."""
    security = FakeSecurity()

    first, second = grant(security), grant(security)

    assert first == [f"Access: role {NAME} created.", f"Access: {ARN} has the role now."]
    assert second == [f"Access: role {NAME} already exists.", f"Access: {ARN} already has the role."]
    assert security.writes == [f"{API}/roles/{NAME}", f"{API}/rolesmapping/{NAME}"]


@pytest.mark.parametrize(
    "wider",
    [
        {"cluster_permissions": ["*"]},
        {"index_permissions": [{"index_patterns": ["*"], "allowed_actions": ["*"]}]},
        {"tenant_permissions": [{"tenant_patterns": ["*"], "allowed_actions": ["kibana_all_read"]}]},
    ],
)
def test_a_role_that_was_changed_is_restored(wider: dict[str, Any]) -> None:
    """A wider role would let a stolen loader read the audit trail."""
    security = FakeSecurity(roles={NAME: loader_role("trail") | wider})

    lines = grant(security)

    assert lines[0] == f"Access: role {NAME} changed back to what it needs."
    assert {name: security.roles[NAME][name] for name in loader_role("trail")} == loader_role("trail")


def test_other_users_keep_the_role() -> None:
    """A mapping is replaced as a whole, so it is sent with everything that it had."""
    mapping = {"backend_roles": ["backfill"], "users": ["ann"], "hosts": ["10.0.0.*"], "description": "of ours"}
    security = FakeSecurity(mappings={NAME: mapping | {"reserved": False, "and_backend_roles": []}})

    grant(security)

    expected = mapping | {"backend_roles": ["backfill", ARN]}
    assert {name: value for name, value in security.mappings[NAME].items() if value} == expected


@pytest.mark.parametrize(
    "refusal",
    [
        (400, NO_HANDLER),
        (404, NO_HANDLER),
        (401, {"Message": "Your request: '/_plugins/_security/api/roles' is not allowed."}),
    ],
)
def test_a_server_without_access_control_needs_no_role(refusal: tuple[int, Any]) -> None:
    """Without the plugin there is no such path; a managed domain without it refuses the path."""
    lines = grant(FakeSecurity(refusal=refusal))

    assert lines == ["Access: this server has no fine-grained access control; no role is needed."]


def test_a_refusal_says_how_to_do_it_by_hand() -> None:
    """The security API is open to administrators only, and many teams manage roles elsewhere."""
    denied = {"error": {"type": "security_exception", "reason": "no"}, "status": 403}

    with pytest.raises(SetupError, match="OpenSearch did not grant the loader access: it refuses with 403") as caught:
        grant(FakeSecurity(refusal=(403, denied)))

    assert f"map {ARN} to a role with the loader's permissions" in str(caught.value)


def test_a_cluster_that_does_not_answer_is_no_question_of_roles() -> None:
    """Mapping a role by hand would not help."""
    with disconnected() as client, pytest.raises(SetupError) as caught:
        list(grant_access(client, "trail", AccessFor.LOADER, ARN))

    assert str(caught.value) == "OpenSearch did not grant the loader access: no connection."


@pytest.mark.parametrize("purpose", [AccessFor.VERIFY, AccessFor.DETECT])
def test_what_runs_on_a_schedule_cannot_change_an_event(purpose: AccessFor) -> None:
    """It reads them, and writes indices of its own."""
    security = FakeSecurity()

    lines = grant(security, purpose)

    name, role = access_role("trail", purpose)
    assert lines == [f"Access: role {name} created.", f"Access: {ARN} has the role now."]
    assert name == f"trailsink-{purpose}-trail"
    for part in role["index_permissions"]:
        writes = [action for action in part["allowed_actions"] if "write" in action or action == "indices:admin/create"]
        assert not writes or not any(pattern.startswith("trail-") for pattern in part["index_patterns"])
