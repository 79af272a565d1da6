"""Where an event is indexed, and which file it came from."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from worker.cloudtrail.keys import LogFile, classify
from worker.cloudtrail.picking import ADDED_MEMBERS
from worker.opensearch.errors import translate_errors
from worker.opensearch.search import Hit, parse_time, search_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opensearchpy import OpenSearch

_MAX_DOCUMENTS = 100
_RELATED = 5


@dataclass(frozen=True, slots=True)
class EventLocation:
    """Where one record of an event is indexed, and how it came there; unknown times are None, unknown texts "".

    `document_id` is the digest of the record's text. `delivered_at` is to the minute, because it comes from the file's
    name. `lag_seconds` is from the event to its indexing. `unchecked` says that the file ended before its checksum.
    `unsearchable` are the paths of values that no search finds. `conflicting` says that another record with the same
    event id has different content.
    """

    event_id: str
    document_id: str
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
    unchecked: bool = False
    unsearchable: tuple[str, ...] = ()
    conflicting: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """The records that claim to be one event, those indexed first at the top, and how many there are in all."""

    locations: list[EventLocation]
    total: int


def explain(client: OpenSearch, prefix: str, event_id: str) -> Explanation:
    """Return the records of an event, by its id or a document's: usually one, none when it is missing.

    More than one claim the same id when somebody wrote another record under it, or another tool wrote the same one.
    """
    clauses = [{"ids": {"values": [event_id]}}, {"term": {"eventID": event_id}}, {"term": {"eventId": event_id}}]
    body = {
        "size": _MAX_DOCUMENTS,
        "track_total_hits": True,
        "query": {"bool": {"should": clauses, "minimum_should_match": 1}},
        "sort": [{"trailsink.indexed_at": {"order": "asc", "unmapped_type": "date"}}],
    }
    with translate_errors("OpenSearch cannot be asked for the event"):
        response = search_once(client, prefix, body)["hits"]
    locations = [_location(Hit.parse(hit)) for hit in response["hits"]]
    contents = [_content(location) for location in locations]
    if any(content != contents[0] for content in contents):
        locations = [replace(location, conflicting=True) for location in locations]
    return Explanation(locations, response["total"]["value"])


def related(client: OpenSearch, prefix: str, id_: str) -> tuple[str, Sequence[str]]:
    """Return the field that has this id, `requestID` or `sharedEventID`, and up to five events with it; "" for none."""
    with translate_errors("OpenSearch cannot be asked for related events"):
        for name in ("requestID", "sharedEventID"):
            body = {"size": _RELATED, "query": {"term": {name: id_}}, "_source": ["eventID", "eventId"]}
            if hits := search_once(client, prefix, body)["hits"]["hits"]:
                return name, [_event_id(Hit.parse(hit)) for hit in hits]
    return "", []


def _location(hit: Hit) -> EventLocation:
    uri, position = hit.value("trailsink.object"), hit.value("trailsink.position")
    event_time, indexed_at = parse_time(hit.value("@timestamp")), parse_time(hit.value("trailsink.indexed_at"))
    return EventLocation(
        event_id=_event_id(hit),
        document_id=hit.id,
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
        unchecked=hit.value("trailsink.unchecked") is True,
        unsearchable=tuple(map(str, hit.value("trailsink.unsearchable") or ())),
    )


def _event_id(hit: Hit) -> str:
    """Return the event's own id, or the document's where the record has none."""
    ids = (hit.value("eventID"), hit.value("eventId"))
    return next((id_ for id_ in ids if id_ and isinstance(id_, str)), hit.id)


def _content(location: EventLocation) -> Any:  # noqa: ANN401 - whatever the record holds
    """Return the record without what trailsink added."""
    ours = location.record.get("trailsink")
    text = ours.get("raw") if isinstance(ours, dict) else None
    if not isinstance(text, str):
        return {name: value for name, value in location.record.items() if name not in ADDED_MEMBERS}
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _delivered_at(uri: str) -> datetime | None:
    log_file = classify(uri.removeprefix("s3://").partition("/")[2])
    return log_file.delivered_at if isinstance(log_file, LogFile) else None
