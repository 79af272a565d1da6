"""Lets the loader into a cluster with fine-grained access control: one role of just what it needs, and its mapping.

docs.opensearch.org/latest/security/access-control/api/
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import NotFoundError, OpenSearchException, TransportError

from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from opensearchpy import OpenSearch


API = "/_plugins/_security/api"


_NO_PLUGIN = (400, 404)  # "no handler found"


# What a mapping can hold. `reserved`, `hidden` and `static` are in answers too, and refused in requests.
_MAPPING = ("backend_roles", "and_backend_roles", "hosts", "users", "description")


def role_name(prefix: str) -> str:
    """Return the name of the loader's role: one for each prefix, or a second loader would take the first's rights."""
    return f"trailsink-loader-{prefix}"


def loader_role(prefix: str) -> dict[str, Any]:
    """Return the smallest role that can load: found by leaving out one permission at a time.

    `cluster:monitor/main` is for `GET /`. There is no permission to create documents and not to overwrite them.
    """
    return {
        "cluster_permissions": ["cluster:monitor/main", "indices:data/write/bulk"],
        "index_permissions": [
            {
                "index_patterns": [f"{prefix}-*"],
                "allowed_actions": [
                    "indices:admin/create",
                    "indices:data/write/bulk[s]",
                    "indices:data/write/index",
                ],
            }
        ],
    }


def installer_role(*, retention: bool) -> dict[str, Any]:
    """Return the smallest role that `trailsink setup` can do with; index templates cannot be limited by name.

    Letting a loader in (`--loader-role`) is no permission: the security API is open to the roles that the node's
    `plugins.security.restapi.roles_enabled` names, and on a managed domain to its master user.
    docs.opensearch.org/latest/security/access-control/api/#access-control-for-the-api
    """
    ism = ["cluster:admin/opendistro/ism/policy/get", "cluster:admin/opendistro/ism/policy/write"]
    templates = ["indices:admin/index_template/get", "indices:admin/index_template/put"]
    return {
        "cluster_permissions": [*(ism if retention else ()), "cluster:monitor/main", *templates],
        "index_permissions": [],
    }


def examiner_role(prefix: str, *, retention: bool) -> dict[str, Any]:
    """Return the smallest role with which `trailsink doctor` sees all but the roles of others."""
    ism = ["cluster:admin/opendistro/ism/managedindex/explain", "cluster:admin/opendistro/ism/policy/get"]
    on_cluster = [*(ism if retention else ()), "cluster:monitor/main", "indices:admin/index_template/get"]
    actions = ["indices:admin/mappings/get", "indices:data/read/search"]
    return {
        "cluster_permissions": on_cluster,
        "index_permissions": [{"index_patterns": [f"{prefix}-*"], "allowed_actions": actions}],
    }


def roles_mapped_to(mappings: Mapping[str, Mapping[str, Any]], backend_role: str) -> list[str]:
    """Name the roles that a backend role is mapped to; on a managed domain an IAM role's ARN may be a user, too."""
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
    prefix: str, roles: Iterable[Mapping[str, Any]], groups: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Name what the loader needs and none of its roles grants; `groups` are the cluster's action groups.

    `cluster:monitor/main` is not needed to load.
    """
    several, wanted, index = list(roles), loader_role(prefix), f"{prefix}-2026-01-31"
    on_cluster = _actions((one for role in several for one in role.get("cluster_permissions") or ()), groups)
    on_indices = _actions(
        (
            action
            for role in several
            for part in role.get("index_permissions") or ()
            if any(fnmatchcase(index, pattern) for pattern in part.get("index_patterns") or ())
            for action in part.get("allowed_actions") or ()
        ),
        groups,
    )
    return [
        *(one for one in wanted["cluster_permissions"][1:] if not _is_granted(one, on_cluster)),
        *(one for one in wanted["index_permissions"][0]["allowed_actions"] if not _is_granted(one, on_indices)),
    ]


def _actions(names: Iterable[str], groups: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Resolve action groups, which may hold each other."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += groups.get(name, {}).get("allowed_actions") or ()
    return found


def _is_granted(permission: str, granted: set[str]) -> bool:
    # An action is no pattern, though it may have brackets: `indices:data/write/bulk[s]`.
    return permission in granted or any(
        re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), permission) for pattern in granted
    )


def grant_loader_access(client: OpenSearch, prefix: str, backend_role: str) -> Iterator[str]:
    """Give a backend role (on AWS: the ARN of an IAM role) the loader's rights, saying line by line what was done.

    Others who are mapped to the role stay so. Raises SetupError when the cluster does not answer or refuses.
    """
    try:
        roles = fetch_roles(client)
        if roles is None:
            yield "Access: this server has no fine-grained access control; nobody has to be let in."
            return
        yield _put_role(client, prefix, roles.get(role_name(prefix)))
        yield _map(client, role_name(prefix), backend_role)
    except NoConnection as error:
        raise SetupError("OpenSearch does not answer while the loader is let in.") from error
    except TransportError as error:
        raise SetupError(
            f"OpenSearch refuses with {error.status_code} to let the loader in; where roles are kept by hand, map "
            f"{backend_role} to a role with what the README lists and give no LoaderRoleArn."
        ) from error
    except OpenSearchException as error:
        raise SetupError("What answers at this address does not speak OpenSearch.") from error


def fetch_roles(client: OpenSearch) -> dict[str, Any] | None:
    """Return the cluster's roles by name, None where it has no fine-grained access control.

    Raises TransportError 403 to who may not ask.
    """
    try:
        answer: Any = client.transport.perform_request("GET", f"{API}/roles")
    except TransportError as error:
        if error.status_code in _NO_PLUGIN:
            return None
        # A managed domain refuses by path what it does not offer.
        if error.status_code == HTTPStatus.UNAUTHORIZED and "Your request" in str(error.info):
            return None
        raise
    roles: dict[str, Any] = answer
    return roles


def _put_role(client: OpenSearch, prefix: str, there: dict[str, Any] | None) -> str:
    name, wanted = role_name(prefix), loader_role(prefix)
    if there is not None and _same(there, wanted):
        return f"Access: role {name} is there already."
    client.transport.perform_request("PUT", f"{API}/roles/{name}", body=wanted)
    return f"Access: role {name} {'made' if there is None else 'changed back to what the loader needs'}."


def _same(there: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Compare what is granted, and by which conditions: the server adds empty members of its own."""
    granted = [{name: value for name, value in one.items() if value} for one in there.get("index_permissions", ())]
    return (
        sorted(there.get("cluster_permissions", ())) == wanted["cluster_permissions"]
        and granted == wanted["index_permissions"]
        and not there.get("tenant_permissions")
    )


def _map(client: OpenSearch, name: str, backend_role: str) -> str:
    there = _mapping(client, name)
    mapped = there.get("backend_roles") or []
    if backend_role in mapped:
        return f"Access: {backend_role} has the role already."
    kept = {member: there[member] for member in _MAPPING if there.get(member)}
    body = kept | {"backend_roles": [*mapped, backend_role]}
    client.transport.perform_request("PUT", f"{API}/rolesmapping/{name}", body=body)
    return f"Access: {backend_role} has the role now."


def _mapping(client: OpenSearch, name: str) -> dict[str, Any]:
    try:
        answer: Any = client.transport.perform_request("GET", f"{API}/rolesmapping/{name}")
    except NotFoundError:
        return {}
    found: dict[str, Any] = answer[name]
    return found
