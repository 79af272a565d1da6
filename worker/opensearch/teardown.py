"""Takes out of a cluster what trailsink put there: its indices with all events, and what set-up made for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import NotFoundError, OpenSearchException, TransportError

from worker.errors import SetupError
from worker.opensearch.errors import describe_error
from worker.opensearch.schema import POLICIES, name_of
from worker.opensearch.security import API, fetch_roles, role_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opensearchpy import OpenSearch


_NO_PLUGIN = 400  # "no handler found"


@dataclass(frozen=True, slots=True)
class PrefixIndices:
    """The indices of one prefix that are ours by their names, and how many events they hold."""

    names: tuple[str, ...]
    events: int


def indices_of(client: OpenSearch, prefix: str) -> PrefixIndices:
    """Count what a cluster holds of a prefix; raises SetupError when it does not answer or refuses."""
    try:
        listed: Any = client.transport.perform_request(
            "GET", f"/_cat/indices/{prefix}-*", params={"format": "json", "h": "index,docs.count"}
        )
    except OpenSearchException as error:
        raise SetupError(f"The indices {prefix}-* cannot be listed: {describe_error(error)}.") from error
    # Another tool's indices may begin alike: cloudtrail-insights-2026 is not ours.
    named = re.compile(re.escape(prefix) + r"-(\d{4}-\d{2}(-\d{2})?|undated)")
    ours = [one for one in listed if named.fullmatch(one["index"])]
    return PrefixIndices(tuple(sorted(one["index"] for one in ours)), sum(int(one["docs.count"] or 0) for one in ours))


def uninstall(client: OpenSearch, prefix: str, there: PrefixIndices) -> Iterator[str]:
    """Delete indices, index template, retention policy and the loader's role, saying line by line what was done.

    What is not there is passed over. Raises SetupError when the cluster does not answer or refuses.
    """
    name = name_of(prefix)
    try:
        for index in there.names:  # one by one: hundreds of names are longer than an address may be
            client.indices.delete(index=index, params={"ignore_unavailable": "true"})
        yield f"{len(there.names)} indices with {there.events:,} events are deleted."
        if _delete(client, f"/_index_template/{name}"):
            yield f"The index template {name} is deleted."
        if _delete(client, f"{POLICIES}/{name}"):
            yield f"The retention policy {name} is deleted."
        if fetch_roles(client) is not None:
            yield from _remove_role(client, role_name(prefix))
    except OpenSearchException as error:
        raise SetupError(
            f"The cluster could not be cleared: {describe_error(error)}. Run the command again."
        ) from error


def _remove_role(client: OpenSearch, role: str) -> Iterator[str]:
    if _delete(client, f"{API}/rolesmapping/{role}"):
        yield f"The mapping of the role {role} is deleted."
    if _delete(client, f"{API}/roles/{role}"):
        yield f"The role {role} is deleted."


def _delete(client: OpenSearch, path: str) -> bool:
    try:
        client.transport.perform_request("DELETE", path)
    except NotFoundError:
        return False
    except TransportError as error:
        if error.status_code == _NO_PLUGIN:
            return False
        raise
    return True
