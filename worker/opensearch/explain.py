"""Where an event is indexed, and which file it came from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from worker.cloudtrail.keys import LogFile, classify
from worker.opensearch.errors import translate_errors
from worker.opensearch.search import Hit, parse_time, search_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opensearchpy import OpenSearch

_MAX_DOCUMENTS = 100
_RELATED = 5


@dataclass(frozen=True, slots=True)
class EventLocation:
    """Where one event is indexed, and how it came there; unknown times are None, unknown texts "".

    `delivered_at` is to the minute, because it comes from the file's name. `lag_seconds` is from the event to its
    indexing.
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


def explain(client: OpenSearch, prefix: str, event_id: str) -> list[EventLocation]:
    """Return the documents of an event: usually one, none when it is missing, more when other tools wrote some."""
    clauses = [{"ids": {"values": [event_id]}}, {"term": {"eventID": event_id}}, {"term": {"eventId": event_id}}]
    body = {"size": _MAX_DOCUMENTS, "query": {"bool": {"should": clauses, "minimum_should_match": 1}}}
    with translate_errors("OpenSearch cannot be asked for the event"):
        hits = search_once(client, prefix, body)["hits"]["hits"]
    return [_location(Hit.parse(hit)) for hit in hits]


def related(client: OpenSearch, prefix: str, id_: str) -> tuple[str, Sequence[str]]:
    """Return the field that has this id, `requestID` or `sharedEventID`, and up to five events with it; "" for none."""
    with translate_errors("OpenSearch cannot be asked for related events"):
        for name in ("requestID", "sharedEventID"):
            body = {"size": _RELATED, "query": {"term": {name: id_}}, "_source": False}
            if hits := search_once(client, prefix, body)["hits"]["hits"]:
                return name, [hit["_id"] for hit in hits]
    return "", []


def _location(hit: Hit) -> EventLocation:
    uri, position = hit.value("trailsink.object"), hit.value("trailsink.position")
    event_time, indexed_at = parse_time(hit.value("@timestamp")), parse_time(hit.value("trailsink.indexed_at"))
    return EventLocation(
        event_id=hit.id,
        index=hit.index,
        object=uri if isinstance(uri, str) else "",
        position=position if isinstance(position, int) else None,
        event_time=event_time,
        delivered_at=_delivered_at(uri) if isinstance(uri, str) else None,
        indexed_at=indexed_at,
        lag_seconds=(indexed_at - event_time) / timedelta(seconds=1) if indexed_at and event_time else None,
        degraded=str(hit.value("trailsink.degraded") or ""),
        event=" ".join(str(hit.value(name)) for name in ("eventSource", "eventName") if hit.value(name)),
        record=hit.source,
    )


def _delivered_at(uri: str) -> datetime | None:
    log_file = classify(uri.removeprefix("s3://").partition("/")[2])
    return log_file.delivered_at if isinstance(log_file, LogFile) else None
