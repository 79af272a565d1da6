"""From raw slices to records: who each one is and when it happened, validated by pydantic; the rest stays bytes.

The models ask for nothing and keep to what identifies a record: CloudTrail adds fields without notice, and documents
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

from worker.cloudtrail.split import BrokenJson, root_members, string_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# OpenSearch refuses a longer _id, and with it the whole bulk request. So many characters are never more bytes.
_MAX_ID_BYTES = 512
_PLAIN_ID = _MAX_ID_BYTES // 4

_ISO_8601 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)")
_CLOUDTRAIL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)

# Event times repeat within a file, to the second.
_TIMES_REMEMBERED = 4_096


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
_MEMBERS_OF_EVENT = TypeAdapter(_Event).validator.validate_python
_AGGREGATED = TypeAdapter(_AggregatedEvent).validator.validate_json


# msgspec picks two members out of a record in half of the time in which pydantic's parser reads all of it.
_PICK = msgspec.json.Decoder(_Event).decode

# So many records are looked over at once: what that copies stays in the processor's cache.
_TOGETHER = 64
_NO_OPENERS = bytes(set(range(256)) - set(b"[{\n"))


class Record(msgspec.Struct, frozen=True, gc=False):
    """One CloudTrail record: its place in the file (0-based), identity, time and text.

    `time` is UTC as ISO 8601 text ending in Z, or None where the record has none that can be read. `odd` says why it
    must be indexed in degraded form, "" where it need not.
    """

    position: int
    id: str
    time: str | None
    raw: msgspec.Raw | bytes
    odd: str = ""


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """A piece of a file that is no record, by its position, and why: a short code, never content."""

    position: int
    reason: str


def read_records(
    raws: Sequence[msgspec.Raw | bytes], first: int, *, max_depth: int, max_bytes: int
) -> Iterator[Record | Rejection]:
    """Validate slices that stand one after the other in a file, the first at position `first`.

    Each is what `read_record` makes of it, in half of the time: well-formed records, which are nearly all, are looked
    over together, and only the others one by one.
    """
    for at in range(0, len(raws), _TOGETHER):
        together = raws[at : at + _TOGETHER]
        shallow = _are_shallow(together, max_depth, max_bytes)
        for position, raw in enumerate(together, first + at):
            event = _picked(raw) if shallow else None
            given, when = (event.get("eventID"), event.get("eventTime")) if event else (None, None)
            # The remembered time in place of the record's own: a large file has few different ones.
            if given and when and len(given) <= _PLAIN_ID and (time := _utc(when)) == when:
                yield Record(position, given, time, raw)
            else:
                yield read_record(raw, position, max_depth=max_depth, max_bytes=max_bytes)


def _are_shallow(raws: Sequence[msgspec.Raw | bytes], max_depth: int, max_bytes: int) -> bool:
    """Say whether these are well-formed UTF-8, neither deep nor long, each; False where one by one has to tell.

    Levels cannot outnumber opening brackets. One pass over all of them costs half of what counting in each does.
    """
    text = b"\n".join(raws)
    openers = text.translate(None, _NO_OPENERS).split(b"\n")
    whole = len(openers) == len(raws) and len(text) <= max_bytes and bytes not in map(type, raws)
    return whole and len(max(openers, key=len)) <= max_depth and _is_utf8(text)


def _is_utf8(text: bytes) -> bool:
    """Msgspec passes over strings that are no UTF-8."""
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _picked(raw: msgspec.Raw | bytes) -> _Event | None:
    """Pick id and time out of well-formed UTF-8; None when that takes more than a look."""
    try:
        event: _Event = _MEMBERS_OF_EVENT(_PICK(raw))
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
    # Levels cannot outnumber opening brackets; hardly a real record has so many, so hardly one is looked at twice.
    if text.count(b"{") + text.count(b"[") > max_depth and _depth(text) > max_depth:
        return _read_odd(text, raw, position, "too_deep")
    try:
        event = _EVENT(text)
    except ValidationError as cause:
        representable = cause.errors(include_url=False, include_input=False)[0]["type"] != "json_invalid"
        return _read_odd(text, raw, position, "" if representable else "not_representable")
    given, when = event.get("eventID"), event.get("eventTime")
    if not given or not when:
        return _read_rare(text, raw, position, event)
    return _record(raw, position, given, when, "")


def _read_rare(text: bytes, raw: msgspec.Raw, position: int, event: _Event) -> Record:
    """Read a well-formed record without an `eventID` or `eventTime`: aggregated, of version 1.0, or of no family."""
    given, when = event.get("eventID"), event.get("eventTime")
    try:
        aggregated = _AGGREGATED(text)
    except ValidationError:
        return _record(raw, position, given, when, "")
    window = aggregated.get("timeWindow") or {}
    return _record(raw, position, given or aggregated.get("eventId"), when or window.get("windowStart"), "")


def _read_odd(text: bytes, raw: msgspec.Raw | bytes, position: int, odd: str) -> Record | Rejection:
    """Read a record that pydantic's JSON parser or our models refuse: what can be read of its root is enough."""
    try:
        members = root_members(text)
    except BrokenJson:
        return Rejection(position, "not_a_json_object")
    given = string_member(members, "eventID") or string_member(members, "eventId")
    return _record(raw, position, given, string_member(members, "eventTime"), odd)


def string_member(members: dict[str, bytes], name: str) -> str | None:
    """Return a root member that is a string and can be stored as UTF-8 (lone surrogates are replaced), or None."""
    token = members.get(name, b"")
    if token[:1] != b'"':
        return None
    try:
        return string_value(token).encode("utf-8", "backslashreplace").decode()
    except BrokenJson:
        return None


def _record(raw: msgspec.Raw | bytes, position: int, given: str | None, when: str | None, odd: str) -> Record:
    time = _utc(when) if when else None
    if not odd and (time is None or (when != time and not _ISO_8601.fullmatch(when or ""))):
        # The server refuses an eventTime that it cannot read, and a record without a time can only be found by its
        # file's: both are worth a word in the document.
        odd = "event_time_unreadable" if when else "event_time_missing"
    if not given or (len(given) > _PLAIN_ID and len(given.encode()) > _MAX_ID_BYTES):
        given = sha256(raw).hexdigest()
    return Record(position, given, time, raw, odd)


@lru_cache(_TIMES_REMEMBERED)
def _utc(when: str) -> str | None:
    """Normalise a time to UTC text, None where it is no time. A time without a zone is UTC: CloudTrail has no other."""
    try:
        moment = datetime.fromisoformat(when)
    except ValueError:
        return None
    if _CLOUDTRAIL_TIME.fullmatch(when):
        return when
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
