"""Puts retention policies into a cluster.

docs.opensearch.org/latest/im-plugin/ism/api/
"""

from __future__ import annotations

from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import NotFoundError, TransportError

from worker.opensearch.schema import POLICIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opensearchpy import OpenSearch


class PolicyChange(Enum):
    """What became of a policy."""

    CREATED = auto()
    UNCHANGED = auto()
    CHANGED = auto()  # it applies to indices that are created from now on
    NO_PLUGIN = auto()


def put_policy(client: OpenSearch, name: str, policy: Mapping[str, Any]) -> PolicyChange:
    """Create a policy, or replace one that deletes at another age; lets errors of the client pass."""
    path = f"{POLICIES}/{name}"
    try:
        existing: Any = client.transport.perform_request("GET", path)
    except NotFoundError:
        client.transport.perform_request("PUT", path, body=policy)
        return PolicyChange.CREATED
    except TransportError as error:
        if error.status_code == HTTPStatus.BAD_REQUEST:  # "no handler found": the plugin is not installed
            return PolicyChange.NO_PLUGIN
        raise
    if _is_same_policy(existing["policy"], policy["policy"]):
        return PolicyChange.UNCHANGED
    version = {"if_seq_no": existing["_seq_no"], "if_primary_term": existing["_primary_term"]}
    client.transport.perform_request("PUT", path, params=version, body=policy)
    return PolicyChange.CHANGED


def _is_same_policy(existing: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    # The server adds defaults of its own to states and templates. The description contains the days, and the age what
    # they mean.
    return bool(existing.get("description") == expected["description"]) and _age(existing) == _age(expected)


def _age(policy: Mapping[str, Any]) -> str:
    """Return the age at which a policy deletes an index, "" where it is no policy of ours."""
    match policy:
        case {"states": [{"transitions": [{"conditions": {"min_index_age": str(age)}}, *_]}, *_]}:
            return age
        case _:
            return ""
