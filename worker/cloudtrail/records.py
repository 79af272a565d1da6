"""From raw slices to records: which one each is and when it happened, validated by pydantic; the rest stays bytes.

The models require nothing and hold only what identifies a record: CloudTrail adds fields without notice, and documents
that its minor versions only ever add.
docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from worker.cloudtrail.lenient_json import BrokenJson, root_members, string_member

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# OpenSearch refuses a longer _id, and with it the whole bulk request. This many characters are never more bytes.
_MAX_ID_BYTES = 512
_SHORT_ID = _MAX_ID_BYTES // 4

_ISO_8601 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)")
_CLOUDTRAIL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)

# Event times repeat within a file, to the second.
_TIMES_CACHED = 4_096


class _Event(TypedDict, total=False):
    """API, network activity and Insights events; all of it may be missing (records of version 1.0 have no eventID)."""

    eventID: str | None
    eventTime: str | None


class _Window(TypedDict, total=False):
    windowStart: str | None


class _AggregatedEvent(TypedDict, total=False):
    """Aggregated events: another spelling of the id, and a window in place of a time."""

    eventId: str | None
    timeWindow: _Window | None


_EVENT = TypeAdapter(_Event).validator.validate_json
_EVENT_MEMBERS = TypeAdapter(_Event).validator.validate_python
_AGGREGATED = TypeAdapter(_AggregatedEvent).validator.validate_json


# msgspec picks two members out of a record in half of the time in which pydantic's parser reads all of it.
_PICK = msgspec.json.Decoder(_Event).decode

# This many records are examined at once: the copy that this takes stays in the processor's cache.
_GROUP = 64
_NOT_OPENERS = bytes(set(range(256)) - set(b"[{\n"))


class Record(msgspec.Struct, frozen=True, gc=False):
    """One CloudTrail record: its place in the file (0-based), identity, time and text.

    `time` is UTC as ISO 8601 text ending in Z, or None where the record has no readable time. `degrade_reason` says why
    it must be indexed in degraded form, "" where it need not.
    """

    position: int
    id: str
    time: str | None
    raw: msgspec.Raw | bytes
    degrade_reason: str = ""


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """A piece of a file that is not a record, by its position, and why: a short code, never content."""

    position: int
    reason: str


def read_records(
    raws: Sequence[msgspec.Raw | bytes], first: int, *, max_depth: int, max_bytes: int
) -> Iterator[Record | Rejection]:
    """Validate consecutive slices of a file, the first at position `first`.

    Gives what `read_record` gives for each, in half of the time: well-formed records, which are nearly all, are
    examined in groups, and only the others one by one.
    """
    for start in range(0, len(raws), _GROUP):
        group = raws[start : start + _GROUP]
        plain = _is_plain_batch(group, max_depth, max_bytes)
        for position, raw in enumerate(group, first + start):
            event = _pick_identity(raw) if plain else None
            event_id, event_time = (event.get("eventID"), event.get("eventTime")) if event else (None, None)
            # The cached time in place of the record's own: a large file has few different ones.
            if event_id and event_time and len(event_id) <= _SHORT_ID and (time := _to_utc(event_time)) == event_time:
                yield Record(position, event_id, time, raw)
            else:
                yield read_record(raw, position, max_depth=max_depth, max_bytes=max_bytes)


def _is_plain_batch(raws: Sequence[msgspec.Raw | bytes], max_depth: int, max_bytes: int) -> bool:
    """Return whether all of these are well-formed UTF-8, shallow and short; False where each has to be examined.

    Levels cannot outnumber opening brackets. One pass over all of them costs half of what counting in each does.
    """
    text = b"\n".join(raws)
    openers = text.translate(None, _NOT_OPENERS).split(b"\n")
    well_formed = len(openers) == len(raws) and len(text) <= max_bytes and bytes not in map(type, raws)
    return well_formed and len(max(openers, key=len)) <= max_depth and _is_utf8(text)


def _is_utf8(text: bytes) -> bool:
    """Return whether a text is UTF-8: msgspec skips strings without looking."""
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _pick_identity(raw: msgspec.Raw | bytes) -> _Event | None:
    """Pick id and time out of well-formed UTF-8; None where the record has to be examined."""
    try:
        event: _Event = _EVENT_MEMBERS(_PICK(raw))
    except (msgspec.DecodeError, ValidationError):
        return None
    return event


def read_record(raw: msgspec.Raw | bytes, position: int, *, max_depth: int, max_bytes: int) -> Record | Rejection:
    """Validate one raw slice.

    A record nested deeper than `max_depth` levels takes the degraded form: a node of OpenSearch 2.19 can lose the whole
    request near 1,000 levels (github.com/opensearch-project/OpenSearch/issues/15985 is a relative). One of more than
    `max_bytes` can never be sent, in whatever form.
    """
    text = bytes(raw)
    if len(text) > max_bytes:
        return Rejection(position, "too_large")
    if isinstance(raw, bytes):
        return _read_odd(text, raw, position, "not_representable")
    # Levels cannot outnumber opening brackets. Hardly any real record has so many, so few are counted exactly.
    if text.count(b"{") + text.count(b"[") > max_depth and _depth(text) > max_depth:
        return _read_odd(text, raw, position, "too_deep")
    try:
        event = _EVENT(text)
    except ValidationError as cause:
        representable = cause.errors(include_url=False, include_input=False)[0]["type"] != "json_invalid"
        return _read_odd(text, raw, position, "" if representable else "not_representable")
    event_id, event_time = event.get("eventID"), event.get("eventTime")
    if not event_id or not event_time:
        return _read_rare(text, raw, position, event)
    return _make_record(raw, position, event_id, event_time, "")


def _read_rare(text: bytes, raw: msgspec.Raw, position: int, event: _Event) -> Record:
    """Read a well-formed record without an `eventID` or `eventTime`: aggregated, of version 1.0, or of no family."""
    event_id, event_time = event.get("eventID"), event.get("eventTime")
    try:
        aggregated = _AGGREGATED(text)
    except ValidationError:
        return _make_record(raw, position, event_id, event_time, "")
    window = aggregated.get("timeWindow") or {}
    event_id, event_time = event_id or aggregated.get("eventId"), event_time or window.get("windowStart")
    return _make_record(raw, position, event_id, event_time, "")


def _read_odd(text: bytes, raw: msgspec.Raw | bytes, position: int, degrade_reason: str) -> Record | Rejection:
    """Read a record that pydantic's JSON parser or our models refuse: what can be read of its root is enough."""
    try:
        members = root_members(text)
    except BrokenJson:
        return Rejection(position, "not_a_json_object")
    event_id = string_member(members, "eventID") or string_member(members, "eventId")
    return _make_record(raw, position, event_id, string_member(members, "eventTime"), degrade_reason)


def _make_record(
    raw: msgspec.Raw | bytes, position: int, event_id: str | None, event_time: str | None, degrade_reason: str
) -> Record:
    time = _to_utc(event_time) if event_time else None
    if not degrade_reason and (time is None or (event_time != time and not _ISO_8601.fullmatch(event_time or ""))):
        # The server refuses an eventTime that it cannot parse, and a record without a time can only be found by its
        # file's: both are worth a mark in the document.
        degrade_reason = "event_time_unreadable" if event_time else "event_time_missing"
    if not event_id or (len(event_id) > _SHORT_ID and len(event_id.encode()) > _MAX_ID_BYTES):
        event_id = sha256(raw).hexdigest()
    return Record(position, event_id, time, raw, degrade_reason)


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
    for token in _BRACKETS.findall(text):
        if token in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token in b"]}":
            depth -= 1
    return deepest


_BRACKETS = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)
