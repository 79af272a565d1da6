"""Small indices of trailsink's own, beside those of the events: heartbeats, verdicts, findings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opensearchpy import OpenSearch

# One shard, and no copy that a single node cannot hold.
_SETTINGS = {"number_of_shards": 1, "auto_expand_replicas": "0-1"}


def create_own_index(client: OpenSearch, name: str, properties: Mapping[str, Any]) -> None:
    """Create an index with these fields and no others, unless it exists; lets other errors of the client pass.

    With a fixed mapping, whoever writes needs no permission to change it.
    """
    body = {"settings": _SETTINGS, "mappings": {"dynamic": False, "properties": properties}}
    try:
        client.indices.create(index=name, body=body)
    except RequestError as error:  # an earlier run made it, or another process at the same time
        if error.error != "resource_already_exists_exception":
            raise
