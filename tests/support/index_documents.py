"""Writes events straight into an index, as the loader would, for tests of what reads them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opensearchpy import OpenSearch


class Indices(Protocol):
    """Where events are written to: the indices of a prefix."""

    @property
    def opensearch(self) -> OpenSearch: ...

    @property
    def prefix(self) -> str: ...


def index(bench: Indices, events: Iterable[dict[str, Any]], *, day: str = "2026-03-01", uri: str = "") -> None:
    """Make events searchable in the index of a day; all of the file `uri`, or seven to a file that is made up."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    lines = []
    for number, one in enumerate(events):
        file, position = (uri, number) if uri else (f"s3://b/{number // 7}", number % 7)
        mark = {"object": file, "position": position, "indexed_at": now}
        lines.append(json.dumps({"create": {"_index": f"{bench.prefix}-{day}", "_id": one["eventID"]}}))
        lines.append(json.dumps({"@timestamp": one["eventTime"], "trailsink": mark} | one))
    answer = bench.opensearch.bulk(body="\n".join([*lines, ""]), params={"refresh": "true"})
    assert not answer["errors"], answer["items"][0]
