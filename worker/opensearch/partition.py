"""How much time the indices in the cluster hold, which must not differ from what this process would write."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from worker.errors import SetupError
from worker.opensearch.index_names import public_name
from worker.pipeline.limits import Partition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opensearchpy import OpenSearch

# A role that may only put templates may not list indices; without any index there is nothing to list.
_NOT_READABLE = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)

# What follows the prefix in the names of indices.
_PARTITION_NAMES = {Partition.DAY: re.compile(r"\d{4}-\d\d-\d\d"), Partition.MONTH: re.compile(r"\d{4}-\d\d")}


def check_partition(
    client: OpenSearch, prefix: str, partition: Partition, current: str, *, force: bool
) -> Iterator[str]:
    """Refuse another partition than the current one, which the template or the indices show, unless `force` allows it.

    A record's index follows from the partition, so loading anything again would double it.
    """
    current = current or partition_of_indices(client, prefix)
    if not current or current == partition:
        return
    if not force:
        raise SetupError(other_partition(prefix, current, partition))
    yield f"Replacing the partition {current} by {partition}: what is loaded again is indexed a second time."


def other_partition(prefix: str, current: str, partition: str) -> str:
    """Return why events must not be loaded with another partition, and what to do."""
    return (
        f"Each index of {prefix}-* holds a {current}, and TRAILSINK_INDEX_PARTITION is {partition} here: events would"
        f" be indexed a second time. Set TRAILSINK_INDEX_PARTITION={current}."
    )


def partition_of_indices(client: OpenSearch, prefix: str) -> str:
    """Return the partition that the names of existing indices show, "" without any: older templates do not say."""
    response: Any = client.transport.perform_request(
        "GET", f"/_cat/indices/{prefix}-*", params={"format": "json", "h": "index", "ignore": _NOT_READABLE}
    )
    rows = [row for row in response if isinstance(row, dict)] if response else []
    names = [public_name(str(row.get("index", ""))) for row in rows]
    kinds = {
        partition
        for partition, pattern in _PARTITION_NAMES.items()
        if any(pattern.fullmatch(name.removeprefix(f"{prefix}-")) for name in names)
    }
    return str(kinds.pop()) if len(kinds) == 1 else ""
