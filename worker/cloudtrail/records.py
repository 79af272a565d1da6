"""From raw slices to records: which one each is and when it happened, validated by pydantic; the rest stays bytes.

The models require nothing and hold only what dates a record: CloudTrail adds fields without notice, and documents
that its minor versions only ever add.
docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import msgspec
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from worker.cloudtrail.identity import COMPACT_START, compact_ids, content_id
from worker.cloudtrail.lenient_json import BrokenJson, read_root, string_member
from worker.cloudtrail.picking import RESERVED, is_utf8, make_picker
from worker.cloudtrail.request_fields import read_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from worker.cloudtrail.filters.matching import RecordFilter
    from worker.cloudtrail.picking import PickedMembers

# A record with more members or bytes is indexed in degraded form. CloudTrail's own events have at most 256 KB. The
# fields of one document are inverted in memory: one record of 450,000 members ended a node with 512 MiB of heap.
MAX_MEMBERS = 20_000
MAX_BYTES = 1 << 20

# A member takes at least two bytes, as in "[1,1]".
_MANY_MEMBERS_FROM = 2 * MAX_MEMBERS

_ISO_8601 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)")
_CLOUDTRAIL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)

# Event times repeat within a file, to the second.
_TIMES_CACHED = 4_096


class _Event(TypedDict, total=False):
    """API, network activity and Insights events; the time may be missing."""

    eventTime: str | None


class _Window(TypedDict, total=False):
    windowStart: str | None


class _AggregatedEvent(TypedDict, total=False):
    """Aggregated events: a window in place of a time."""

    timeWindow: _Window | None


# Built when first needed: hardly any record is examined alone, and a cold start has to wait for what is built here.
_event_adapter = cache(lambda: TypeAdapter(_Event))
_aggregated_adapter = cache(lambda: TypeAdapter(_AggregatedEvent))
_TIMES = TypeAdapter(list[str | None]).validator.validate_python

# This many records are examined at once: the copy that this takes stays in the processor's cache.
_GROUP = 64
_COMPACT_LINE = b"\n" + COMPACT_START
_NOT_OPENERS = bytes(set(range(256)) - set(b"[{\n"))


class Record(msgspec.Struct, frozen=True, gc=False):
    """One CloudTrail record: its place in the file (0-based), document id, time and text.

    `id` is ASCII. `time` is UTC as ISO 8601 text ending in Z, or None where the record has no readable time. `request`
    are the parameters that events are grouped by, as a JSON object, b"" where it has none. `degrade_reason` says why it
    must be indexed in degraded form, "" where it need not; `time_problem` what is wrong with its time, which costs it
    nothing else.
    """

    position: int
    id: bytes
    time: str | None
    raw: msgspec.Raw | bytes
    request: bytes = b""
    degrade_reason: str = ""
    time_problem: str = ""


class FilteredRecord(msgspec.Struct, frozen=True, gc=False):
    """A record that is left out: its position, and the name of the selector that it meets."""

    position: int
    selector: str


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """A piece of a file that is not a record, by its position, and why: a short code, never content."""

    position: int
    reason: str


def read_records(
    raws: Sequence[msgspec.Raw | bytes],
    first: int,
    *,
    max_depth: int,
    max_bytes: int,
    record_filter: RecordFilter | None = None,
) -> Iterator[Record | Rejection | FilteredRecord]:
    """Validate consecutive slices of a file, the first at position `first`, and leave out what the filter matches.

    Gives what `read_record` gives for each, in half of the time: well-formed records, which are nearly all, are
    examined in groups, and only the others one by one. A record that needs the degraded form, or has no readable time,
    is never left out: it is not what the selectors were written for.
    """
    picker = make_picker(record_filter)
    match = record_filter.match if record_filter else None
    for start in range(0, len(raws), _GROUP):
        group = raws[start : start + _GROUP]
        picked = _pick(group, picker.decode, max_depth, max_bytes)
        if not picked:
            for position, raw in enumerate(group, first + start):
                record = read_record(raw, position, max_depth=max_depth, max_bytes=max_bytes)
                yield filter_record(record, record_filter) if record_filter else record
            continue
        times = _TIMES([members.eventTime for members in picked])
        for position, (raw, id_, event_time, members) in enumerate(
            zip(group, compact_ids(group), times, picked, strict=True), first + start
        ):
            # The cached time in place of the record's own: a large file has few different ones.
            if event_time and (time := _to_utc(event_time)) == event_time:
                if match and (selector := match(members)):
                    yield FilteredRecord(position, selector)
                else:
                    yield Record(position, id_, time, raw, picker.encode_request(members.requestParameters))
            else:
                record = read_record(raw, position, max_depth=max_depth, max_bytes=max_bytes)
                yield filter_record(record, record_filter) if record_filter else record


def filter_record(record: Record | Rejection, record_filter: RecordFilter) -> Record | Rejection | FilteredRecord:
    """Hold a record that was examined alone against the filter."""
    if isinstance(record, Rejection) or record.degrade_reason or record.time_problem:
        return record
    selector = record_filter.match_text(bytes(record.raw))
    return FilteredRecord(record.position, selector) if selector else record


def _pick(
    raws: Sequence[msgspec.Raw | bytes],
    decode: Callable[[bytes], Sequence[PickedMembers]],
    max_depth: int,
    max_bytes: int,
) -> Sequence[PickedMembers]:
    """Return the members of each of these records, or () where each has to be examined alone.

    The records are then well-formed, written as CloudTrail writes them, small, shallow and without members of ours.
    """
    if bytes in map(type, raws) or max(len(memoryview(raw)) for raw in raws) > min(_MANY_MEMBERS_FROM, max_bytes):
        return ()
    text = b"\n".join(raws)
    # Levels cannot outnumber opening brackets. One pass over all costs half of what counting in each does.
    openers = text.translate(None, _NOT_OPENERS).split(b"\n")
    if (
        len(openers) != len(raws)
        or len(max(openers, key=len)) > max_depth
        or not text.startswith(COMPACT_START)
        or text.count(_COMPACT_LINE) != len(raws) - 1
        or b'"trailsink' in text
        or not is_utf8(text)
    ):
        return ()
    try:
        return decode(text)
    except msgspec.DecodeError:
        return ()


def read_record(raw: msgspec.Raw | bytes, position: int, *, max_depth: int, max_bytes: int) -> Record | Rejection:
    """Validate one raw slice.

    A record nested deeper than `max_depth` levels takes the degraded form: a node of OpenSearch 2.19 can lose the whole
    request near 1,000 levels (github.com/opensearch-project/OpenSearch/issues/15985 is a relative). So does one of more
    than MAX_MEMBERS or MAX_BYTES, or with a member of ours. One of more than `max_bytes` can never be sent.
    """
    if len(memoryview(raw)) > max_bytes:  # without a copy of it
        return Rejection(position, "too_large")
    text = bytes(raw)
    if degrade_reason := "not_representable" if isinstance(raw, bytes) else _degrade_reason(text, max_depth):
        return _read_odd(text, raw, position, degrade_reason)
    try:
        event = _event_adapter().validate_json(text)
    except ValidationError as cause:
        representable = cause.errors(include_url=False, include_input=False)[0]["type"] != "json_invalid"
        return _read_odd(text, raw, position, "" if representable else "not_representable")
    event_time = event.get("eventTime") or _window_start(text)
    return _make_record(raw, position, event_time, "", read_request(text))


def _degrade_reason(text: bytes, max_depth: int) -> str:
    """Return why a well-formed record must not go to the cluster as it is, "" when it may."""
    if len(text) > MAX_BYTES:
        return "too_long"
    # Hardly any real record has so many commas or brackets, so few are counted exactly.
    if text.count(b",") + text.count(b"{") + text.count(b"[") > MAX_MEMBERS and _members(text) > MAX_MEMBERS:
        return "too_many_members"
    if text.count(b"{") + text.count(b"[") > max_depth and _depth(text) > max_depth:
        return "too_deep"
    return "reserved_field" if _has_reserved_member(text) else ""


def _has_reserved_member(text: bytes) -> bool:
    """Return whether a well-formed record has a member of ours at its root, or another one that begins as ours do."""
    is_dotted = b'"trailsink.' in text
    if not (is_dotted or b"trailsink" in text or b"@timestamp" in text or b"\\u00" in text):
        return False
    try:
        names = read_root(text)
    except BrokenJson:
        return False
    return any(name in RESERVED or (is_dotted and name.startswith("trailsink.")) for name in names)


def _window_start(text: bytes) -> str | None:
    """Return the start of an aggregated event's window."""
    try:
        window = _aggregated_adapter().validate_json(text).get("timeWindow")
    except ValidationError:
        return None
    return window.get("windowStart") if window else None


def _read_odd(text: bytes, raw: msgspec.Raw | bytes, position: int, degrade_reason: str) -> Record | Rejection:
    """Read a record that is not indexed as it is, or that our models refuse: what can be read of its root is enough."""
    try:
        members = read_root(text)
    except BrokenJson:
        return Rejection(position, "not_a_json_object")
    # What is picked goes into the document as it stands, so only out of a text that the server can parse.
    request = b"" if degrade_reason else read_request(text)
    return _make_record(raw, position, string_member(members, "eventTime"), degrade_reason, request)


def _make_record(
    raw: msgspec.Raw | bytes, position: int, event_time: str | None, degrade_reason: str, request: bytes
) -> Record:
    time = _to_utc(event_time) if event_time else None
    problem = ""
    if time is None or (event_time != time and not _ISO_8601.fullmatch(event_time or "")):
        # The server cannot parse such an eventTime, and a record without a time can only be found by its file's: both
        # are worth a mark in the document.
        problem = "event_time_unreadable" if event_time else "event_time_missing"
    return Record(position, content_id(raw), time, raw, request, degrade_reason, problem)


@lru_cache(_TIMES_CACHED)
def _to_utc(time: str) -> str | None:
    """Normalise a time to UTC text, None where it is not a time. Without a zone it is UTC: CloudTrail has no other."""
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return None
    if _CLOUDTRAIL_TIME.fullmatch(time):
        return time
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        return None
    return moment.replace(tzinfo=None).isoformat() + "Z"


def _depth(text: bytes) -> int:
    """Count the levels of nesting of well-formed JSON."""
    deepest = depth = 0
    for token in re.findall(_BRACKETS, text, re.DOTALL):
        if token in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token in b"]}":
            depth -= 1
    return deepest


def _members(text: bytes) -> int:
    """Count what a well-formed record holds: each value in an object or a list, and each of these."""
    structure = re.sub(_STRING, b"", text, flags=re.DOTALL)
    return structure.count(b",") + structure.count(b"{") + structure.count(b"[")


# Of records that are examined alone; re compiles them when there is one.
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_BRACKETS = _STRING + rb"|[\[\]{}]"
