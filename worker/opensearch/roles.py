"""Gives access to a cluster with fine-grained access control: a minimal role for each purpose, and its mapping.

docs.opensearch.org/latest/security/access-control/api/
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import NotFoundError

from worker.errors import SetupError
from worker.opensearch.errors import translate_errors
from worker.opensearch.security import API, detection_indices, fetch_roles, loader_role, role_name, verdict_index
from worker.pipeline.ledger import ledger_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opensearchpy import OpenSearch

# The members of a mapping. Responses also have `reserved`, `hidden` and `static`, which requests may not have.
_MAPPING = ("backend_roles", "and_backend_roles", "hosts", "users", "description")


class AccessFor(StrEnum):
    """What a role of the cluster is for."""

    LOADER = "loader"
    VERIFY = "verify"
    DETECT = "detect"


def access_role(prefix: str, purpose: AccessFor) -> tuple[str, dict[str, Any]]:
    """Return the name and the body of the smallest role for a purpose."""
    match purpose:
        case AccessFor.LOADER:
            return role_name(prefix), loader_role(prefix)
        case AccessFor.VERIFY:
            return f"trailsink-verify-{prefix}", _verify_role(prefix)
        case AccessFor.DETECT:
            return f"trailsink-detect-{prefix}", _detect_role(prefix)


def _verify_role(prefix: str) -> dict[str, Any]:
    """`trailsink verify` without `--load`: it reads, and writes its verdict."""
    reads = ["indices:data/read/get", "indices:data/read/mget*", "indices:data/read/search*"]
    return {
        "cluster_permissions": [
            "cluster:monitor/main",
            "indices:data/read/mget",
            "indices:data/read/msearch",
            "indices:data/write/bulk",
        ],
        "index_permissions": [
            {"index_patterns": [f"{prefix}-*", ledger_pattern(prefix)], "allowed_actions": reads},
            {"index_patterns": [verdict_index(prefix)], "allowed_actions": _WRITES},
        ],
    }


def _detect_role(prefix: str) -> dict[str, Any]:
    """`trailsink detect run`: it searches, and writes findings and how far each rule has come."""
    reads = ["indices:data/read/mget*", "indices:data/read/search*", "indices:admin/get"]
    return {
        "cluster_permissions": [
            "cluster:monitor/main",
            "indices:data/read/mget",
            "indices:data/read/msearch",
            "indices:data/write/bulk",
        ],
        "index_permissions": [
            {
                "index_patterns": [f"{prefix}-*"],
                "allowed_actions": ["indices:data/read/field_caps*", "indices:data/read/search*"],
            },
            {"index_patterns": list(detection_indices(prefix)), "allowed_actions": [*_WRITES, *reads]},
        ],
    }


_WRITES = [
    "indices:admin/create",
    "indices:data/write/bulk*",
    "indices:data/write/index",
    "indices:data/write/update",
]


def grant_access(client: OpenSearch, prefix: str, purpose: AccessFor, backend_role: str) -> Iterator[str]:
    """Grant a backend role (on AWS: the ARN of an IAM role) the role for a purpose, and yield a line for each step.

    Others who are mapped to the role keep it. Raises SetupError when the cluster does not answer or refuses.
    """
    name, body = access_role(prefix, purpose)
    who = "the loader" if purpose is AccessFor.LOADER else f"trailsink {purpose}"
    refusal_hint = (
        f"If roles are managed by hand, map {backend_role} to a role with {who}'s permissions"
        f" (docs/reference/permissions.md), and set neither --{purpose}-role nor {purpose.capitalize()}RoleArn."
    )
    with translate_errors(f"OpenSearch did not grant {who} access", refusal_hint=refusal_hint):
        roles = fetch_roles(client)
        if roles is None:
            yield "Access: this server has no fine-grained access control; no role is needed."
            return
        yield put_role(client, name, body, roles.get(name))
        yield map_role(client, name, backend_role)


def grant_role(client: OpenSearch, name: str, role: dict[str, Any], backend_roles: Iterable[str]) -> Iterator[str]:
    """Put a role for people, map backend roles to it, and yield a line for each step; raises SetupError."""
    with translate_errors("OpenSearch did not put the role"):
        roles = fetch_roles(client)
        if roles is None:
            raise SetupError("This server has no fine-grained access control, so anyone who may search sees all.")
        yield put_role(client, name, role, roles.get(name))
        for backend_role in backend_roles:
            yield map_role(client, name, backend_role)


def put_role(client: OpenSearch, name: str, expected: dict[str, Any], existing: dict[str, Any] | None) -> str:
    """Create a role, or change it back to what it should grant; returns what was done."""
    if existing is not None and _grants_the_same(existing, expected):
        return f"Access: role {name} already exists."
    client.transport.perform_request("PUT", f"{API}/roles/{name}", body=expected)
    return f"Access: role {name} {'created' if existing is None else 'changed back to what it needs'}."


def _grants_the_same(existing: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Compare permissions and their conditions: the server adds empty members of its own."""
    granted = [
        {name: value for name, value in permission.items() if value}
        for permission in existing.get("index_permissions", ())
    ]
    return (
        sorted(existing.get("cluster_permissions", ())) == expected["cluster_permissions"]
        and granted == expected["index_permissions"]
        and not existing.get("tenant_permissions")
    )


def map_role(client: OpenSearch, name: str, backend_role: str) -> str:
    """Map a backend role to a role, beside those that are mapped already; returns what was done."""
    existing = _fetch_mapping(client, name)
    mapped = existing.get("backend_roles") or []
    if backend_role in mapped:
        return f"Access: {backend_role} already has the role."
    body = {member: existing[member] for member in _MAPPING if existing.get(member)}
    body["backend_roles"] = [*mapped, backend_role]
    client.transport.perform_request("PUT", f"{API}/rolesmapping/{name}", body=body)
    return f"Access: {backend_role} has the role now."


def _fetch_mapping(client: OpenSearch, name: str) -> dict[str, Any]:
    try:
        mappings: Any = client.transport.perform_request("GET", f"{API}/rolesmapping/{name}")
    except NotFoundError:
        return {}
    mapping: dict[str, Any] = mappings[name]
    return mapping
