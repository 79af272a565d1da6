"""Lets the loader into a cluster with fine-grained access control: one role of just what it needs, and its mapping.

docs.opensearch.org/latest/security/access-control/api/
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import NotFoundError, OpenSearchException, TransportError

from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opensearchpy import OpenSearch

_API = "/_plugins/_security/api"

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


def let_in(client: OpenSearch, prefix: str, backend_role: str) -> Iterator[str]:
    """Give a backend role (on AWS: the ARN of an IAM role) the loader's rights, saying line by line what was done.

    Others who are mapped to the role stay so. Raises SetupError when the cluster does not answer or refuses.
    """
    try:
        if not _has_roles(client):
            yield "Access: this server has no fine-grained access control; nobody has to be let in."
            return
        yield _put_role(client, prefix)
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


def _has_roles(client: OpenSearch) -> bool:
    try:
        client.transport.perform_request("GET", f"{_API}/roles")
    except TransportError as error:
        if error.status_code in _NO_PLUGIN:
            return False
        # A managed domain refuses by path what it does not offer.
        if error.status_code == HTTPStatus.UNAUTHORIZED and "Your request" in str(error.info):
            return False
        raise
    return True


def _put_role(client: OpenSearch, prefix: str) -> str:
    name, wanted = role_name(prefix), loader_role(prefix)
    there = _get(client, "roles", name)
    if there is not None and _same(there, wanted):
        return f"Access: role {name} is there already."
    client.transport.perform_request("PUT", f"{_API}/roles/{name}", body=wanted)
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
    there = _get(client, "rolesmapping", name) or {}
    mapped = there.get("backend_roles") or []
    if backend_role in mapped:
        return f"Access: {backend_role} has the role already."
    kept = {member: there[member] for member in _MAPPING if there.get(member)}
    body = kept | {"backend_roles": [*mapped, backend_role]}
    client.transport.perform_request("PUT", f"{_API}/rolesmapping/{name}", body=body)
    return f"Access: {backend_role} has the role now."


def _get(client: OpenSearch, kind: str, name: str) -> dict[str, Any] | None:
    try:
        answer: Any = client.transport.perform_request("GET", f"{_API}/{kind}/{name}")
    except NotFoundError:
        return None
    found: dict[str, Any] = answer[name]
    return found
