"""What `trailsink explain` does: print where an event is indexed, and which file it came from."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import msgspec

from worker.cli.output import Safe, announced_wait, join, print_document, print_line, style
from worker.errors import IndexUnavailable, SetupError
from worker.humanize import ascii_json, escape_control_characters, format_duration
from worker.opensearch.explain import explain, related
from worker.opensearch.ledger import LedgerReader
from worker.settings import load_settings
from worker.wiring import make_client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from opensearchpy import OpenSearch

    from worker.opensearch.explain import EventLocation, Explanation
    from worker.pipeline.ledger import LedgerEntry
    from worker.settings import Settings

_NOT_OURS = "unknown: trailsink did not write this document"
_NO_DELIVERY = "unknown: the file's name contains no time"

_REFUSED = "the cluster refused the original record"
_DEGRADED = {
    "reserved_field": "it has a member that trailsink adds to documents, and would forge where it came from",
    "too_long": "longer than 1 MiB, four times CloudTrail's maximum",
    "too_many_members": "more than 20,000 members, which could exhaust the cluster's memory",
    "too_deep": "nested deeper than TRAILSINK_MAX_DEPTH",
    "not_representable": "not JSON that OpenSearch's parser accepts",
    "value_too_long": "one of its values is longer than OpenSearch takes",
    "event_time_missing": "the record has no time, so its file's time is used",
    "event_time_unreadable": "the server cannot parse the record's time",
}


def explain_event(*, event_id: str, as_json: bool, with_record: bool) -> None:
    """Print each record of an event; raises SetupError with what to try when there is none."""
    settings = load_settings()
    client = make_client(settings).connect()
    with announced_wait("OpenSearch"):
        explanation = explain(client, settings.index_prefix, event_id)
        if not explanation.locations:
            explanation = _related(client, settings.index_prefix, event_id)
    entries = _read_ledger(client, settings, explanation)
    if not as_json and (note := _note(explanation)):
        print_line(note)
    for location in explanation.locations:
        entry = entries.get(location.object)
        if as_json:
            document = _document(location, with_record=with_record) | _recorded(entry)
            print_document(f"{ascii_json(json.dumps(document))}\n")
            continue
        for line in (*_lines(location), *_ledger_lines(entry)):
            print_line(line)
        if with_record:
            print_document(f"{ascii_json(json.dumps(location.record, indent=2))}\n")


def _read_ledger(client: OpenSearch, settings: Settings, explanation: Explanation) -> dict[str, LedgerEntry]:
    """Return the ledger's newest document of each file, {} where it cannot be read: the event is explained without."""
    uris = sorted({location.object for location in explanation.locations if location.object})
    if not settings.ledger or not uris:
        return {}
    try:
        entries = LedgerReader(client, settings.index_prefix).lookup(uris)
    except (SetupError, IndexUnavailable):
        return {}
    return {
        uri: max(documents, key=lambda entry: (not entry.is_discarded, entry.recorded_at))
        for uri, documents in entries.items()
    }


def _recorded(entry: LedgerEntry | None) -> dict[str, str | None]:
    return {"recorded_at": entry.recorded_at if entry else None, "sha256": entry.sha256 if entry else None}


def _ledger_lines(entry: LedgerEntry | None) -> Iterator[Safe]:
    if entry is None:
        return
    counts = ", ".join(
        f"{getattr(entry, name):,} {name}"
        for name in ("read", "indexed", "duplicate", "degraded", "rejected", "filtered")
        if name == "read" or getattr(entry, name)
    )
    yield join(f"  in ledger  {entry.recorded_at.replace('T', ' ').replace('Z', ' UTC')}: {counts}")
    yield join(f"  sha256     {entry.sha256}, of the file's inflated bytes")


def _note(explanation: Explanation) -> str:
    """Return what to know when several records claim one id, "" when there is only one."""
    locations, total = explanation.locations, explanation.total
    if total == 1:
        return ""
    shown = f" The first {len(locations):,} are shown." if len(locations) < total else ""
    if any(location.conflicting for location in locations):
        return (
            f"{total:,} records have this id, and their contents differ. CloudTrail gives each event an id of its own, "
            f"so at most one of them is the event: compare the files they came from.{shown}"
        )
    return (
        f"The event is indexed {total:,} times with the same content. Another tool or an older version wrote one, or "
        f"it went to another index.{shown}"
    )


def _document(location: EventLocation, *, with_record: bool) -> dict[str, Any]:
    members: dict[str, Any] = msgspec.to_builtins(location)
    return members if with_record else {name: value for name, value in members.items() if name != "record"}


def _lines(location: EventLocation) -> Iterator[Safe]:
    return map(join, _facts(location))


def _facts(location: EventLocation) -> Iterator[str]:
    yield style(location.event_id, bold=True)
    yield f"  event      {location.event}"
    yield f"  index      {location.index}"
    yield f"  document   {location.document_id}"
    yield f"  file       {location.object or _NOT_OURS}"
    if location.position is not None:
        yield f"  position   {location.position}, counted from 0"
    yield from _times(location)
    if location.degraded:
        cause = _DEGRADED.get(location.degraded, _REFUSED)
        yield f"  degraded   {location.degraded}: {cause}"
    else:
        yield "  degraded   no"
    if location.unsearchable:
        yield f"  not found  by a search for {', '.join(location.unsearchable)}: read the record for these"
    if location.unchecked:
        yield "  unchecked  yes: the file ends before its checksum, so the record may have been altered"
    if location.object and location.position is not None:
        uri = shlex.quote(escape_control_characters(location.object))
        yield f"  read it    aws s3 cp {uri} - | gunzip | jq '.Records[{location.position}]'"


def _times(location: EventLocation) -> Iterator[str]:
    yield f"  happened   {_timestamp(location.event_time)}"
    if location.object:
        delivered = _timestamp(location.delivered_at, "minutes") if location.delivered_at else _NO_DELIVERY
        yield f"  delivered  {delivered}"
    if location.indexed_at:
        lag = f", {_lag(location.lag_seconds)}" if location.lag_seconds is not None else ""
        yield f"  indexed    {_timestamp(location.indexed_at)}{lag}"


def _timestamp(time: datetime | None, precision: str = "auto") -> str:
    return time.isoformat(sep=" ", timespec=precision).replace("+00:00", " UTC") if time else "unknown"


def _lag(seconds: float) -> str:
    if seconds >= 0:
        return f"{format_duration(seconds)} after the event"
    return f"{format_duration(-seconds)} before the event's own time"


def _related(client: OpenSearch, prefix: str, id_: str) -> Explanation:
    """Return the one event that another kind of id belongs to; raises SetupError with what to try for any other."""
    name, ids = related(client, prefix, id_)
    if len(ids) == 1:
        print_line(f"{id_} is not an event's id but the {name} of {ids[0]}:", err=True)
        return explain(client, prefix, ids[0])
    if ids:
        raise SetupError(f"{id_} is not an event's id but the {name} of {', '.join(ids)}")
    raise SetupError(
        f"No event {id_} is in {prefix}-*. A new event is searchable after 10 s. Otherwise its file may be a dead"
        " letter (trailsink dlq list), its notification may be lost (trailsink backfill --missing), or the pipeline may"
        " have a fault (trailsink doctor)"
    )
