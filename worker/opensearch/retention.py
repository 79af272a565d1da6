"""The retention policy in the cluster: create it, change it, remove it.

docs.opensearch.org/latest/im-plugin/ism/api/
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import NotFoundError, TransportError

from worker.opensearch.managed_indices import detach_policy
from worker.opensearch.policy_steps import steps_of
from worker.opensearch.schema import POLICIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opensearchpy import OpenSearch

NOT_CONFIGURED = "not configured; indices are kept."
_NOT_READABLE = "not configured; whether a policy exists may not be read."
NOTHING_TO_REMOVE = (NOT_CONFIGURED, _NOT_READABLE)

# How the descriptions of all policies of trailsink begin.
_OWN_DESCRIPTION = re.compile(r"(Delete|Keep) indices of trailsink")


def put_policy(client: OpenSearch, name: str, policy: Mapping[str, Any], text: str) -> str:
    """Create a policy, or replace one that deletes at another age; lets errors of the client pass.

    `text` is what it does, as a part of a sentence. Returns what was done, as a sentence without its start, "" for a
    server without policies.
    """
    path = f"{POLICIES}/{name}"
    try:
        existing: Any = client.transport.perform_request("GET", path)
    except NotFoundError:
        client.transport.perform_request("PUT", path, body=policy)
        return f"policy {name} created, {text}."
    except TransportError as error:
        if error.status_code == HTTPStatus.BAD_REQUEST:  # "no handler found": the plugin is not installed
            return ""
        raise
    if _is_same_policy(existing["policy"], policy["policy"]):
        return f"policy {name} already exists, {text}."
    version = {"if_seq_no": existing["_seq_no"], "if_primary_term": existing["_primary_term"]}
    client.transport.perform_request("PUT", path, params=version, body=policy)
    return f"policy {name} changed to {text}; it applies to indices created from now on."


def remove_policy(client: OpenSearch, name: str, pattern: str, *, remover: str = "") -> str:
    """Detach a policy of trailsink's from the indices of a pattern that follow it, and delete it: they are kept.

    Returns what was done, as a sentence without its start. With a `remover`, what would remove it, the policy stays: no
    one asked.
    """
    path = f"{POLICIES}/{name}"
    try:
        existing: Any = client.transport.perform_request("GET", path)
    except TransportError as error:
        return _without_policy(error)
    description = str(existing["policy"].get("description") or "no description")
    if not _OWN_DESCRIPTION.match(description):
        return f"trailsink did not create the policy {name} ({description}); it stays."
    if remover:
        return f"the policy {name} stays: {description}. {remover} removes it."
    detach_policy(client, name, pattern)
    client.transport.perform_request("DELETE", path)
    return f"policy {name} removed ({description}); indices are kept."


def _without_policy(error: TransportError) -> str:
    """Say why there is no policy to remove; raises any other error."""
    match error.status_code:
        case HTTPStatus.NOT_FOUND | HTTPStatus.BAD_REQUEST:
            return NOT_CONFIGURED
        case HTTPStatus.FORBIDDEN:
            return _NOT_READABLE
    raise error


def _is_same_policy(existing: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    # The server adds defaults of its own to states and templates.
    return bool(
        existing.get("description") == expected["description"]
        and steps_of(existing) == steps_of(expected)
        and _patterns(existing) == _patterns(expected)
    )


def _patterns(policy: Mapping[str, Any]) -> list[Any]:
    """Return the patterns of the indices that a policy attaches to."""
    return [pattern for part in policy.get("ism_template") or () for pattern in part.get("index_patterns") or ()]
