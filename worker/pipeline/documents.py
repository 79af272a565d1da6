"""From records to documents: the record's own bytes, with `@timestamp` and `trailsink` added before the closing brace.

Nothing is flattened or renamed: CloudTrail's own paths are what rules and people search for. A record that the cluster
cannot take as it is goes in a simpler form, with its whole text as one unindexed string: in shortened form, without the
values that are in the way; in degraded form, with no more than what identifies it.
"""

from __future__ import annotations

import json
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import msgspec

from worker.cloudtrail.lenient_json import BrokenJson, encodable, read_root, string_member
from worker.errors import Reason, UnreadableObject
from worker.pipeline.limits import MAX_KEYWORD, Partition

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.cloudtrail.records import Record

# AWS announced CloudTrail on 2013-11-13: no event can be older.
FIRST_EVENT = "2013-11"

# Of a file whose name does not say when it was delivered, only the record itself can say what is too late: the time of
# a copy would send the same record to another index.
NO_EVENT = "2100"

# A member longer than this is left to the full text: identity is short.
_MAX_MEMBER_BYTES = 64 << 10

# CloudTrail's times are seconds, and a file holds some minutes of them.
_TIMES_CACHED = 4_096

_encode = msgspec.json.Encoder().encode

# In `trailsink.degraded`: a value is too long for any index.
VALUE_TOO_LONG = "value_too_long"

# The characters of an object without members.
_EMPTY_OBJECT = b"{} \t\r\n"

# The end of each document line.
_END = b"}}\n"

_ROOT_BOOLEANS = ("readOnly", "managementEvent")
_CALLER_KEYWORDS = ("type", "principalId", "arn", "accountId", "accessKeyId", "userName", "invokedBy", "credentialId")


class IndexNaming(msgspec.Struct, frozen=True):
    """Which index a record belongs to: a function of the record alone, so that its duplicate in another file meets it.

    `prefix` starts every index name. Times from `earliest` until `latest`, ISO 8601 text in UTC, can be true. One file
    may write to `max_indices` of them: a corrupt or hostile file must not create a thousand. A record without a
    plausible time belongs to the day of its file's delivery, `delivered` ("" where nobody knows it): retention deletes
    whole indices, and would delete yesterday's events with the first ones.
    """

    prefix: str
    partition: Partition
    earliest: str
    latest: str
    max_indices: int
    delivered: str = ""

    def index_of(self, record: Record) -> str:
        """Return the name of one record's index."""
        if record.time is None or not self.earliest <= record.time < self.latest:
            return f"{self.prefix}-undated" + (f"-{self._period(self.delivered)}" if self.delivered else "")
        return f"{self.prefix}-{self._period(record.time)}"

    def _period(self, time: str) -> str:
        """Return the day or month of a time."""
        return time[: 10 if self.partition is Partition.DAY else 7]

    def check(self, records: Sequence[Record]) -> None:
        """Raise UnreadableObject `too_scattered` when the records of one file belong to too many indices."""
        days = {record.time[:10] if record.time else "" for record in records}
        if len(days) <= self.max_indices:
            return
        if len({self.index_of(record) for record in records}) > self.max_indices:
            raise UnreadableObject(Reason.TOO_SCATTERED, f"records on {len(days)} days, more than {self.max_indices}")


class Provenance(msgspec.Struct, frozen=True):
    """Where a document came from: the object's URI, its delivery time and the time of indexing, as ISO 8601 text.

    `unchecked` says that the file ended before its checksum, so that nothing proves its records unaltered.
    """

    uri: str
    delivered_at: str
    indexed_at: str
    unchecked: bool = False


class Form(Enum):
    """How much of a record its document has as fields: all, all but some values, or what identifies it."""

    FULL = auto()
    SHORTENED = auto()
    DEGRADED = auto()


class Action(msgspec.Struct, gc=False):
    """One bulk action, ready to be sent: its action line and document line as one piece of bytes.

    `file` and `position` say whose record it is. `raw_start` and `raw_end` are where the record's own bytes are in
    `lines` (without their closing brace), and `tail_end` is where the marks begin that depend on the form. `degraded`
    is the cause in `trailsink.degraded`, "" where there is none. The shortened form has the full one in `full`.
    """

    file: int
    position: int
    lines: bytes
    raw_start: int
    raw_end: int
    tail_end: int
    degraded: str = ""
    form: Form = Form.FULL
    full: Action | None = None

    @property
    def record(self) -> bytes:
        """The record's own text, of an action in full form."""
        return self.lines[self.raw_start : self.raw_end] + b"}"


def to_actions(records: Sequence[Record], file: int, provenance: Provenance, naming: IndexNaming) -> Iterator[Action]:
    """Turn the records of one file into bulk actions, in order.

    The op is `create`: a second delivery of the same record is answered 409 and changes nothing.
    """
    envelopes: dict[str | None, tuple[bytes, bytes]] = {}  # what goes before and after records of the same time
    mark = b'","trailsink":{"object":%b,"position":' % _encode(provenance.uri)
    unchecked = b',"unchecked":true' if provenance.unchecked else b""
    end = b',"indexed_at":"%b"%b' % (provenance.indexed_at.encode(), unchecked)
    for record in records:
        envelope = envelopes.get(record.time)
        if envelope is None:
            if len(envelopes) == _TIMES_CACHED:
                envelopes.clear()
            time = (record.time or provenance.delivered_at).encode()
            head = b'{"create":{"_index":%b,"_id":"' % _encode(naming.index_of(record))
            envelope = envelopes[record.time] = head, b',"@timestamp":"%b%b' % (time, mark)
        head, tail = envelope
        raw = memoryview(record.raw)[:-1]
        request = b',"request":%b' % record.request if record.request else b""
        lines = b"".join((head, record.id, b'"}}\n', raw, tail, b"%d" % record.position, end, request, _END))
        start = len(head) + len(record.id) + 4
        action = Action(file, record.position, lines, start, start + len(raw), len(lines) - len(_END))
        if record.degrade_reason:
            action = degrade(action, record.degrade_reason)
        else:
            if lines.find(b"\n", start, action.raw_end) >= 0:
                action = _on_one_line(action)
            if record.time_problem or len(raw) > MAX_KEYWORD:
                action = _mark(action, record.time_problem)
        yield action


def simpler_form(action: Action, cause: str) -> Action | None:
    """Return the next simpler form of a record that the cluster refused for `cause`, None when there is none."""
    match action.form:
        case Form.FULL:
            return _shorten(action, cause) or degrade(action, cause)
        case Form.SHORTENED:
            return degrade(action, cause)
        case Form.DEGRADED:
            return None


def _mark(action: Action, time_problem: str) -> Action:
    """Add to a document what is wrong with its time, and which of its values are too long for the index."""
    raw = action.record
    if time_problem and raw.strip(_EMPTY_OBJECT) == b"":  # nothing can be added to it after a comma
        return degrade(action, time_problem)
    marks = b',"degraded":%b' % _encode(time_problem) if time_problem else b""
    paths = _overlong_paths(raw) if len(raw) > MAX_KEYWORD else []
    if time_problem and b'"eventTime"' in raw:
        paths.append("eventTime")
    if paths:
        marks += b',"unsearchable":%b' % _encode(paths)
    if marks:
        action.lines = action.lines[: action.tail_end] + marks + _END
        action.degraded = time_problem
    return action


def _on_one_line(action: Action) -> Action:
    """Write a pretty-printed record on one line: in well-formed JSON a line break is never inside a string."""
    lines, start, end = action.lines, action.raw_start, action.raw_end
    action.lines = lines[:start] + lines[start:end].replace(b"\n", b" ") + lines[end:]
    return action


def _overlong_paths(record: bytes) -> list[str]:
    # Imported when first needed, as in the other places: a cold start waits for each module, and records have no use
    # for this one.
    from worker.pipeline.searchable import overlong_paths  # noqa: PLC0415

    return overlong_paths(record)


def _shorten(action: Action, cause: str) -> Action | None:
    """Return the record without the values that no index takes, None when it has none."""
    from worker.pipeline.searchable import shorten  # noqa: PLC0415

    shortened = shorten(action.record)
    if shortened is None:
        return None
    cause = VALUE_TOO_LONG if shortened.too_long else cause
    simpler = _with_full_text(action, Form.SHORTENED, shortened.text, cause, shortened.paths)
    simpler.full = action
    return simpler


def degrade(action: Action, reason: str) -> Action:
    """Return the same record in degraded form, under the same id, with `reason` in `trailsink.degraded`."""
    action = action.full or action
    fields, unsearchable = _searchable_fields(action.record)
    return _with_full_text(action, Form.DEGRADED, _encode(fields), reason, unsearchable)


def _with_full_text(action: Action, form: Form, text: bytes, cause: str, unsearchable: Sequence[str]) -> Action:
    """Return an action with another text of the record, and the record's own as a string beside it."""
    fields = text[:-1]
    tail = action.lines[action.raw_end + (0 if len(fields) > 1 else 1) : action.tail_end]
    lines = b'%b%b%b,"degraded":%b%b,"raw":%b%b' % (
        action.lines[: action.raw_start],
        fields,
        tail,
        _encode(cause),
        b',"unsearchable":%b' % _encode(unsearchable) if unsearchable else b"",
        _encode(action.record.decode("utf-8", "backslashreplace")),
        _END,
    )
    return Action(action.file, action.position, lines, action.raw_start, action.raw_end, action.tail_end, cause, form)


def _searchable_fields(raw: bytes) -> tuple[dict[str, object], list[str]]:
    """Return the fields by which a degraded record can be found, and the members of which it cannot.

    The fields are time, name, source, account and caller.
    """
    from worker.pipeline.searchable import EVERYTHING, KEYWORD_ROOTS, KNOWN_ROOTS  # noqa: PLC0415

    try:
        root = read_root(raw)
    except BrokenJson:  # cannot happen: it was read before; but a document without fields is better than none
        return {}, [EVERYTHING]
    members = {name: value for name, value in root.items() if len(value) <= _MAX_MEMBER_BYTES}
    fields: dict[str, object] = {name: value for name in KEYWORD_ROOTS if (value := string_member(members, name))}
    fields |= {name: members[name] == b"true" for name in _ROOT_BOOLEANS if members.get(name) in (b"true", b"false")}
    if caller := _caller_identity(members.get("userIdentity", b"null")):
        fields["userIdentity"] = caller
    # Of the caller, only what identifies it is searched: the member counts as one that is not.
    unsearchable = [
        name
        for name in KNOWN_ROOTS
        if root.get(name, b"null") != b"null" and (name not in fields or name == "userIdentity")
    ]
    return fields, unsearchable


def _caller_identity(identity: bytes) -> dict[str, object]:
    try:
        document: Any = json.loads(identity.decode("utf-8", "surrogateescape"), strict=False)
    except (ValueError, RecursionError):
        return {}
    caller: dict[str, object] = dict(_string_fields(document))
    match document:
        case {"sessionContext": {"sessionIssuer": issuer}} if fields := _string_fields(issuer):
            caller["sessionContext"] = {"sessionIssuer": fields}
    return caller


def _string_fields(document: Any) -> dict[str, str]:  # noqa: ANN401 - whatever the record holds
    if not isinstance(document, dict):
        return {}
    return {name: encodable(value) for name in _CALLER_KEYWORDS if isinstance(value := document.get(name), str)}
