"""Writes events directly into an index, as the loader would, for tests of searches."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opensearchpy import OpenSearch

_EVENTS_PER_FILE = 7


class Indices(Protocol):
    """The indices of a prefix, which events are written to."""

    @property
    def opensearch(self) -> OpenSearch: ...

    @property
    def prefix(self) -> str: ...


def index(bench: Indices, events: Iterable[dict[str, Any]], *, day: str = "2026-03-01", uri: str = "") -> None:
    """Index events for a day and make them searchable; all as of the file `uri`, or of made-up files of seven each."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    lines = []
    for number, event in enumerate(events):
        file, position = (uri, number) if uri else (f"s3://b/{number // _EVENTS_PER_FILE}", number % _EVENTS_PER_FILE)
        origin = {"object": file, "position": position, "indexed_at": now}
        lines.append(json.dumps({"create": {"_index": f"{bench.prefix}-{day}", "_id": event["eventID"]}}))
        lines.append(json.dumps({"@timestamp": event["eventTime"], "trailsink": origin} | event))
    response = bench.opensearch.bulk(body="\n".join([*lines, ""]), params={"refresh": "true"})
    assert not response["errors"], response["items"][0]
