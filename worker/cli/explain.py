"""`trailsink explain`: where an event is, and how it got there."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import click
import msgspec

from worker.cli.output import escape_control_characters
from worker.errors import SetupError
from worker.humanize import format_duration
from worker.opensearch.explain import explain, related
from worker.settings import load_settings
from worker.wiring import make_client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from opensearchpy import OpenSearch

    from worker.opensearch.explain import Place


def explain_event(*, event_id: str, as_json: bool, with_record: bool) -> None:
    """Say where an event is: index, file and position in it; when it happened, was delivered and indexed.

    EVENTID is the record's eventID; a requestID or a sharedEventID is recognised as such. An event in degraded form is
    shown with the cause. One that is not there ends with exit code 1 and what to try.
    """
    settings = load_settings()
    client = make_client(settings).connect()
    places = explain(client, settings.index_prefix, event_id)
    if not places:
        raise SetupError(_not_there(client, settings.index_prefix, event_id))
    for place in places:
        if as_json:
            click.echo(json.dumps(_described(place, with_record=with_record)))
            continue
        for line in _lines(place):
            click.echo(line)
        if with_record:
            click.echo(json.dumps(place.record, indent=2))


def _described(place: Place, *, with_record: bool) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(place)
    return told if with_record else {name: value for name, value in told.items() if name != "record"}


def _lines(place: Place) -> Iterator[str]:
    yield click.style(escape_control_characters(place.event_id), bold=True)
    yield f"  event      {escape_control_characters(place.event)}"
    yield f"  index      {escape_control_characters(place.index)}"
    yield f"  file       {escape_control_characters(place.object) or 'not said: trailsink did not write this document'}"
    if place.position is not None:
        yield f"  position   {place.position}, counted from 0"
    yield f"  happened   {_moment(place.event_time)}"
    if place.object:
        yield f"  delivered  {_moment(place.delivered_at, 'minutes') if place.delivered_at else _NO_DELIVERY}"
    if place.indexed_at:
        after = f", {_after(place.lag_seconds)}" if place.lag_seconds is not None else ""
        yield f"  indexed    {_moment(place.indexed_at)}{after}"
    if place.degraded:
        yield f"  degraded   {escape_control_characters(place.degraded)}: {_DEGRADED.get(place.degraded, _REFUSED)};"
        yield "             fields that are missing stand in the text of trailsink.raw"
    else:
        yield "  degraded   no"
    if place.object and place.position is not None:
        uri = shlex.quote(escape_control_characters(place.object))
        yield f"  read it    aws s3 cp {uri} - | gunzip | jq '.Records[{place.position}]'"


_NO_DELIVERY = "not known: the file's name holds no time"


_REFUSED = "the cluster refused the record as it is"


_DEGRADED = {
    "too_deep": "nested deeper than TRAILSINK_MAX_DEPTH",
    "not_representable": "not JSON that OpenSearch's parser accepts",
    "event_time_missing": "the record has no time; its file's is used",
    "event_time_unreadable": "the record's time cannot be read by the server",
}


def _moment(moment: datetime | None, precision: str = "auto") -> str:
    return moment.isoformat(sep=" ", timespec=precision).replace("+00:00", " UTC") if moment else "not known"


def _after(seconds: float) -> str:
    return (
        f"{format_duration(seconds)} after the event"
        if seconds >= 0
        else f"{format_duration(-seconds)} before the event's own time"
    )


def _not_there(client: OpenSearch, prefix: str, event_id: str) -> str:
    name, ids = related(client, prefix, event_id)
    if ids:
        events = ", ".join(map(escape_control_characters, ids))
        return f"{escape_control_characters(event_id)} is not an event's id but the {name} of {events}"
    return (
        f"No event {escape_control_characters(event_id)} is in {prefix}-*. A new event is searchable after 10 s."
        " Otherwise its file may be a dead letter (trailsink dlq list), its notification may have been lost (trailsink"
        " backfill --missing), or something is at fault (trailsink doctor)"
    )
