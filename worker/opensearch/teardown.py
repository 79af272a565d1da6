"""Removes what trailsink created in a cluster: its indices with all events, and what setup created for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import NotFoundError, TransportError

from worker.opensearch.errors import translate_errors
from worker.opensearch.holds import read_holds, refuse_deletion
from worker.opensearch.index_names import copies_pattern, is_own_index, lease_index
from worker.opensearch.roles import AccessFor, access_role
from worker.opensearch.schema import POLICIES, ledger_name, name_of
from worker.opensearch.security import (
    API,
    detection_indices,
    fetch_roles,
    heartbeat_index,
    hold_index,
    verdict_index,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opensearchpy import OpenSearch

_NO_PLUGIN = 400  # "no handler found"


@dataclass(frozen=True, slots=True)
class PrefixIndices:
    """The indices of one prefix whose names are ours, and the number of events in them.

    Those of `uncounted` indices, which are closed or have lost a shard, are not known.
    """

    names: tuple[str, ...]
    events: int
    uncounted: int = 0


def indices_of(client: OpenSearch, prefix: str) -> PrefixIndices:
    """Count a prefix's indices and their events; raises SetupError when the cluster does not answer or refuses."""
    # A copy that was interrupted is behind no alias.
    pattern = f"{prefix}-*,{copies_pattern(prefix)}"
    with translate_errors(f"The indices {prefix}-* cannot be listed"):
        rows: Any = client.transport.perform_request(
            "GET", f"/_cat/indices/{pattern}", params={"format": "json", "h": "index,docs.count"}
        )
    # Indices of another tool may start with the same prefix: cloudtrail-insights-2026 is not ours.
    own = [row for row in rows if is_own_index(row["index"], prefix)]
    counts = {row["index"]: int(row["docs.count"] or 0) for row in own}
    uncounted = sum(row["docs.count"] is None for row in own)
    return PrefixIndices(tuple(sorted(counts)), sum(counts.values()), uncounted)


def uninstall(client: OpenSearch, prefix: str, indices: PrefixIndices) -> Iterator[str]:
    """Delete indices, index template, retention policy and all roles, and yield a line for each deletion.

    Skips what does not exist. Raises SetupError when the cluster does not answer or refuses, or when a hold is on them.
    """
    name = name_of(prefix)
    with translate_errors("The cluster could not be cleared", hint="Run the command again."):
        refuse_deletion(prefix, read_holds(client, prefix))
        for index in indices.names:  # one by one: hundreds of names are longer than a URL may be
            client.indices.delete(index=index, params={"ignore_unavailable": "true"})
        own = (
            *(heartbeat_index(prefix), hold_index(prefix), verdict_index(prefix), lease_index(prefix)),
            *detection_indices(prefix),
        )
        for index in own:
            _delete(client, f"/{index}")
        yield f"{len(indices.names)} indices with {indices.events:,} events are deleted."
        if _delete(client, f"/_index_template/{name}"):
            yield f"The index template {name} is deleted."
        if _delete(client, f"{POLICIES}/{name}"):
            yield f"The retention policy {name} is deleted."
        yield from _delete_ledger(client, prefix)
        if fetch_roles(client) is not None:
            for purpose in AccessFor:
                yield from _delete_role(client, access_role(prefix, purpose)[0])


def _delete_ledger(client: OpenSearch, prefix: str) -> Iterator[str]:
    name = ledger_name(prefix)
    rows: Any = client.transport.perform_request(
        "GET", f"/_cat/indices/{name}-*", params={"format": "json", "h": "index"}
    )
    # The ledger of another prefix may start with the same letters: trailsink-files-trail-eu is not trail's.
    indices = [row["index"] for row in rows if re.fullmatch(re.escape(name) + r"-\d{4}-\d{2}", row["index"])]
    for index in indices:
        client.indices.delete(index=index, params={"ignore_unavailable": "true"})
    if indices:
        yield f"{len(indices)} indices of the ledger are deleted."
    if _delete(client, f"/_index_template/{name}"):
        yield f"The index template {name} is deleted."
    if _delete(client, f"{POLICIES}/{name}"):
        yield f"The retention policy {name} is deleted."


def _delete_role(client: OpenSearch, role: str) -> Iterator[str]:
    if _delete(client, f"{API}/rolesmapping/{role}"):
        yield f"The mapping of the role {role} is deleted."
    if _delete(client, f"{API}/roles/{role}"):
        yield f"The role {role} is deleted."


def _delete(client: OpenSearch, path: str) -> bool:
    """Delete what is at a path; False when it, or its plugin, does not exist."""
    try:
        client.transport.perform_request("DELETE", path)
    except NotFoundError:
        return False
    except TransportError as error:
        if error.status_code == _NO_PLUGIN:
            return False
        raise
    return True
