"""What the loader and people need of a cluster with fine-grained access control, and what its roles grant.

docs.opensearch.org/latest/security/access-control/api/
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import TransportError

from worker.opensearch.index_names import MARKS, copies_pattern, lease_index
from worker.pipeline.ledger import ledger_index, ledger_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from opensearchpy import OpenSearch

API = "/_plugins/_security/api"

_NO_PLUGIN = (400, 404)  # "no handler found"


def role_name(prefix: str) -> str:
    """Return the name of the loader's role: one for each prefix, or a second loader would replace the first's."""
    return f"trailsink-loader-{prefix}"


def heartbeat_index(prefix: str) -> str:
    """Return the name of the index that holds the heartbeats of the consumers of a prefix."""
    return f"trailsink-consumers-{prefix}"


def verdict_index(prefix: str) -> str:
    """Return the name of the index that holds what `trailsink verify` found of the events of a prefix."""
    return f"trailsink-verdicts-{prefix}"


def hold_index(prefix: str) -> str:
    """Return the name of the index that holds the list of holds on the indices of a prefix."""
    return f"trailsink-holds-{prefix}"


def detection_indices(prefix: str) -> tuple[str, str]:
    """Return the names of the indices that hold the findings of rules, and how far each rule has come."""
    return f"trailsink-findings-{prefix}", f"trailsink-detect-{prefix}"


def loader_role(prefix: str) -> dict[str, Any]:
    """Return the smallest role that can load, found by leaving out one permission at a time.

    `cluster:monitor/main` is for `GET /`. The security plugin has no permission to create documents without
    overwriting them.
    """
    return {
        "cluster_permissions": ["cluster:monitor/main", "indices:data/write/bulk"],
        "index_permissions": [
            {
                "index_patterns": [f"{prefix}-*", ledger_pattern(prefix)],
                "allowed_actions": [
                    "indices:admin/create",
                    "indices:data/write/bulk[s]",
                    "indices:data/write/index",
                ],
            },
            # The heartbeat of `trailsink run`, without which `trailsink status` cannot see the process.
            {
                "index_patterns": [heartbeat_index(prefix)],
                "allowed_actions": [
                    "indices:admin/create",
                    "indices:data/write/bulk[s]",
                    "indices:data/write/index",
                ],
            },
        ],
    }


def installer_role(*, retention: bool) -> dict[str, Any]:
    """Return the smallest role that `trailsink setup` needs; index templates cannot be limited by name.

    Granting access to a loader (`--loader-role`) is no permission. The security API is open to the roles in the node's
    `plugins.security.restapi.roles_enabled`, and on a managed domain to its master user.
    docs.opensearch.org/latest/security/access-control/api/#access-control-for-the-api
    """
    ism = ["cluster:admin/opendistro/ism/policy/get", "cluster:admin/opendistro/ism/policy/write"]
    templates = ["indices:admin/index_template/get", "indices:admin/index_template/put"]
    return {
        "cluster_permissions": [*(ism if retention else ()), "cluster:monitor/main", *templates],
        "index_permissions": [],
    }


def examiner_role(prefix: str, *, retention: bool) -> dict[str, Any]:
    """Return the smallest role with which `trailsink doctor` can check everything except the roles of others."""
    ism = ["cluster:admin/opendistro/ism/managedindex/explain", "cluster:admin/opendistro/ism/policy/get"]
    # The heap of a managed domain's nodes, by nodes/stats, limits its shards.
    health = ["cluster:monitor/health", "cluster:monitor/main", "cluster:monitor/nodes/stats", "cluster:monitor/state"]
    permissions = [*(ism if retention else ()), *health, "indices:admin/index_template/get"]
    monitoring = ["indices:monitor/settings/get", "indices:monitor/stats"]
    actions = ["indices:admin/mappings/get", "indices:data/read/search", *monitoring]
    return {
        "cluster_permissions": permissions,
        "index_permissions": [
            {"index_patterns": [f"{prefix}-*", ledger_pattern(prefix)], "allowed_actions": actions},
            {
                "index_patterns": [heartbeat_index(prefix), hold_index(prefix), verdict_index(prefix)],
                "allowed_actions": ["indices:data/read/search", "indices:monitor/settings/get"],
            },
        ],
    }


def reindexer_role(prefix: str) -> dict[str, Any]:
    """Return the role with which `trailsink reindex` can replace the indices of a prefix."""
    actions = [
        "indices:admin/aliases",
        "indices:admin/aliases/get",
        "indices:admin/block/add*",
        "indices:admin/create",
        "indices:admin/delete",
        "indices:admin/get",
        "indices:admin/mapping/put",
        "indices:admin/refresh*",
        "indices:admin/settings/update",
        "indices:data/read/get*",
        "indices:data/read/search*",
        "indices:data/write/bulk*",
        "indices:data/write/index*",
        "indices:monitor/settings/get",
        "indices:monitor/stats",
    ]
    others = [lease_index(prefix), copies_pattern(prefix), *(f"{mark}{prefix}-*" for mark in MARKS)]
    return {
        "cluster_permissions": [
            "cluster:monitor/health",
            "cluster:monitor/main",
            "cluster:monitor/nodes/stats",
            "cluster:monitor/state",
            "indices:admin/index_template/get",
            "indices:data/read/scroll",
            "indices:data/read/scroll/clear",
            "indices:data/write/bulk",
            "indices:data/write/reindex",
        ],
        "index_permissions": [
            {"index_patterns": [f"{prefix}-*", *others], "allowed_actions": actions},
            {"index_patterns": [hold_index(prefix)], "allowed_actions": ["indices:data/read/search"]},
        ],
    }


def holder_role(prefix: str) -> dict[str, Any]:
    """Return the role with which `trailsink hold` can hold the indices of a prefix.

    docs.opensearch.org/latest/security/access-control/permissions/#index-state-management
    """
    settings = ["indices:admin/settings/update", "indices:monitor/settings/get"]
    writes = ["indices:data/write/bulk*", "indices:data/write/delete", "indices:data/write/index"]
    return {
        "cluster_permissions": [
            "cluster:admin/opendistro/ism/managedindex/add",
            "cluster:admin/opendistro/ism/managedindex/explain",
            "cluster:admin/opendistro/ism/managedindex/remove",
            "cluster:admin/opendistro/ism/policy/get",
            "cluster:monitor/main",
            "indices:data/write/bulk",
        ],
        "index_permissions": [
            {"index_patterns": [f"{prefix}-*"], "allowed_actions": [*settings, "indices:data/read/search"]},
            {"index_patterns": [ledger_pattern(prefix)], "allowed_actions": settings},
            {
                "index_patterns": [hold_index(prefix)],
                "allowed_actions": ["indices:admin/create", "indices:data/read/search", *writes],
            },
        ],
    }


def roles_mapped_to(mappings: Mapping[str, Mapping[str, Any]], backend_role: str) -> list[str]:
    """Return the names of the roles that a backend role is mapped to.

    On a managed domain the ARN of an IAM role may be mapped as a user, too.
    """
    return [
        name
        for name, mapping in mappings.items()
        if any(
            fnmatchcase(backend_role, pattern)
            for member in ("backend_roles", "users")
            for pattern in mapping.get(member) or ()
        )
    ]


def missing_permissions(
    prefix: str, roles: Iterable[Mapping[str, Any]], groups: Mapping[str, Mapping[str, Any]], *, ledger: bool = True
) -> list[str]:
    """Return the permissions that the loader needs and none of its roles grants, on events and a ledger, if it has one.

    `groups` are the cluster's action groups. `cluster:monitor/main` is not needed to load.
    """
    roles, needed = list(roles), loader_role(prefix)
    indices = [f"{prefix}-2026-01-31", *([ledger_index(prefix, "2026-01-31")] if ledger else [])]
    on_cluster = _actions((name for role in roles for name in role.get("cluster_permissions") or ()), groups)
    granted = [_actions(_index_actions(roles, index), groups) for index in indices]
    return [
        *(name for name in needed["cluster_permissions"][1:] if not _is_granted(name, on_cluster)),
        *(
            name
            for name in needed["index_permissions"][0]["allowed_actions"]
            if not all(_is_granted(name, on_index) for on_index in granted)
        ),
    ]


def _index_actions(roles: Iterable[Mapping[str, Any]], index: str) -> Iterator[str]:
    """Yield what the roles allow on one index."""
    return (
        action
        for role in roles
        for part in role.get("index_permissions") or ()
        if any(fnmatchcase(index, pattern) for pattern in part.get("index_patterns") or ())
        for action in part.get("allowed_actions") or ()
    )


def _actions(names: Iterable[str], groups: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Resolve action groups, which may contain each other."""
    actions: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in actions:
            actions.add(name)
            pending += groups.get(name, {}).get("allowed_actions") or ()
    return actions


def _is_granted(permission: str, granted: set[str]) -> bool:
    # An action is no pattern, though it may contain brackets: `indices:data/write/bulk[s]`.
    return permission in granted or any(
        re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), permission) for pattern in granted
    )


def fetch_roles(client: OpenSearch) -> dict[str, Any] | None:
    """Return the cluster's roles by name; None when it has no fine-grained access control.

    Raises TransportError 403 for a user who may not read roles.
    """
    try:
        roles: dict[str, Any] = client.transport.perform_request("GET", f"{API}/roles")
    except TransportError as error:
        if error.status_code in _NO_PLUGIN:
            return None
        # A managed domain refuses by path what it does not offer.
        if error.status_code == HTTPStatus.UNAUTHORIZED and "Your request" in str(error.info):
            return None
        raise
    return roles
