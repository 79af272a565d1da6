"""Where one event is indexed, and how it came there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from worker.cloudtrail.keys import LogFile, classify
from worker.opensearch.errors import translate_errors
from worker.opensearch.search import Hit, look, parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opensearchpy import OpenSearch


@dataclass(frozen=True, slots=True)
class Place:
    """Where one event is, and how it came there; times are None and texts "" where they are not known.

    `delivered_at` is to the minute: it stands in the file's name. `lag_seconds` is from event to index.
    """

    event_id: str
    index: str
    object: str
    position: int | None
    event_time: datetime | None
    delivered_at: datetime | None
    indexed_at: datetime | None
    lag_seconds: float | None
    degraded: str
    event: str
    record: Any


def explain(client: OpenSearch, prefix: str, event_id: str) -> list[Place]:
    """Find the documents of an event: one; none when it is not there; several when other tools wrote some."""
    match = [{"ids": {"values": [event_id]}}, {"term": {"eventID": event_id}}, {"term": {"eventId": event_id}}]
    body = {"size": 100, "query": {"bool": {"should": match, "minimum_should_match": 1}}}
    with translate_errors("the event"):
        found = look(client, prefix, body)["hits"]["hits"]
    return [_place(Hit(one["_index"], one["_id"], one.get("_source", {}))) for one in found]


def related(client: OpenSearch, prefix: str, id_: str) -> tuple[str, Sequence[str]]:
    """Say as what else an id is known, `requestID` or `sharedEventID`, and the ids of up to five such events."""
    with translate_errors("related events"):
        for name in ("requestID", "sharedEventID"):
            body = {"size": 5, "query": {"term": {name: id_}}, "_source": False}
            if found := look(client, prefix, body)["hits"]["hits"]:
                return name, [one["_id"] for one in found]
    return "", []


def _place(hit: Hit) -> Place:
    uri, position = hit.value("trailsink.object"), hit.value("trailsink.position")
    happened, indexed = parse_time(hit.value("@timestamp")), parse_time(hit.value("trailsink.indexed_at"))
    return Place(
        event_id=hit.id,
        index=hit.index,
        object=uri if isinstance(uri, str) else "",
        position=position if isinstance(position, int) else None,
        event_time=happened,
        delivered_at=_delivered_at(uri) if isinstance(uri, str) else None,
        indexed_at=indexed,
        lag_seconds=(indexed - happened) / timedelta(seconds=1) if indexed and happened else None,
        degraded=str(hit.value("trailsink.degraded") or ""),
        event=" ".join(str(hit.value(name)) for name in ("eventSource", "eventName") if hit.value(name)),
        record=hit.source,
    )


def _delivered_at(uri: str) -> datetime | None:
    named = classify(uri.removeprefix("s3://").partition("/")[2])
    return named.delivered_at if isinstance(named, LogFile) else None
