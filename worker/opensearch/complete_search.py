"""Searches whose answer decides what is loaded or proved: an answer of some shards only would be a wrong one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import OpenSearchException

from worker.errors import IndexUnavailable
from worker.opensearch.errors import classify_error
from worker.opensearch.retry import retry_while_busy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opensearchpy import OpenSearch

_ATTEMPTS = 6


def search_all_shards(client: OpenSearch, index: str, body: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a foreign answer
    """Search, again while the cluster is busy; raises SetupError, and IndexUnavailable when a shard did not answer."""
    try:
        response: Any = retry_while_busy(lambda: client.search(index=index, body=dict(body)), _ATTEMPTS)
    except OpenSearchException as error:
        raise classify_error(error) from error
    shards = response["_shards"]
    # A shard whose index was removed meanwhile counts as neither successful nor failed.
    if shards.get("failed") or shards.get("successful", shards.get("total")) != shards.get("total"):
        raise IndexUnavailable("OpenSearch could not search all of its indices: check the cluster's health")
    return response
