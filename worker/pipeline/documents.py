"""From records to documents: the record's own bytes, with `@timestamp` and `trailsink` added before the closing brace.

Nothing is flattened or renamed: CloudTrail's own paths are what rules and people search for. A record that the cluster
cannot take as it is goes in degraded form: what identifies it as fields, its whole text as one unindexed string.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from worker.cloudtrail.lenient_json import BrokenJson, read_root, string_member
from worker.errors import Reason, UnreadableObject
from worker.pipeline.limits import Partition

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

# Root members that the mapping knows as keywords: a string in them can never be refused.
_ROOT_KEYWORDS = (
    "eventVersion", "eventSource", "eventName", "awsRegion", "sourceIPAddress", "userAgent", "errorCode",
    "errorMessage", "requestID", "eventID", "eventId", "eventType", "eventCategory", "apiVersion",
    "recipientAccountId", "accountId", "sharedEventID", "vpcEndpointId", "vpcEndpointAccountId",
    "sessionCredentialFromConsole", "readOnly", "managementEvent",
)  # fmt: skip
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


class Action(msgspec.Struct, gc=False):
    """One bulk action, ready to be sent: its action line and document line as one piece of bytes.

    `file` and `position` say whose record it is. `raw_start` and `raw_end` are where the record's own bytes are in
    `lines` (without their closing brace). `degraded` says why it is in degraded form, "" when it is not.
    """

    file: int
    position: int
    lines: bytes
    raw_start: int
    raw_end: int
    degraded: str = ""


def to_actions(records: Sequence[Record], file: int, provenance: Provenance, naming: IndexNaming) -> Iterator[Action]:
    """Turn the records of one file into bulk actions, in order.

    The op is `create`: a second delivery of the same record is answered 409 and changes nothing.
    """
    envelopes: dict[str | None, tuple[bytes, bytes]] = {}  # what goes before and after records of the same time
    mark = b'","trailsink":{"object":%b,"position":' % _encode(provenance.uri)
    unchecked = b',"unchecked":true' if provenance.unchecked else b""
    end = b',"indexed_at":"%b"%b}}\n' % (provenance.indexed_at.encode(), unchecked)
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
        lines = b"".join((head, record.id, b'"}}\n', raw, tail, b"%d" % record.position, end))
        start = len(head) + len(record.id) + 4
        action = Action(file, record.position, lines, start, start + len(raw))
        if record.degrade_reason:
            action = degrade(action, record.degrade_reason)
        elif lines.find(b"\n", start, action.raw_end) >= 0:
            action = _on_one_line(action)
        yield action


def _on_one_line(action: Action) -> Action:
    """Write a pretty-printed record on one line: in well-formed JSON a line break is never inside a string."""
    lines, start, end = action.lines, action.raw_start, action.raw_end
    action.lines = lines[:start] + lines[start:end].replace(b"\n", b" ") + lines[end:]
    return action


def degrade(action: Action, reason: str) -> Action:
    """Return the same record in degraded form, under the same id, with `reason` in `trailsink.degraded`."""
    raw = action.lines[action.raw_start : action.raw_end] + b"}"
    fields = _encode(_searchable_fields(raw))[:-1]
    tail = action.lines[action.raw_end + (0 if len(fields) > 1 else 1) : -3]
    text = _encode(raw.decode("utf-8", "backslashreplace"))
    lines = b'%b%b%b,"degraded":%b,"raw":%b}}\n' % (
        action.lines[: action.raw_start],
        fields,
        tail,
        _encode(reason),
        text,
    )
    return Action(action.file, action.position, lines, action.raw_start, action.raw_end, reason)


def _searchable_fields(raw: bytes) -> dict[str, object]:
    """Return the fields by which a degraded record can be found: time, name, source, account and caller."""
    try:
        members = {name: value for name, value in read_root(raw).items() if len(value) <= _MAX_MEMBER_BYTES}
    except BrokenJson:  # cannot happen: it was read before; but a document without fields is better than none
        return {}
    fields: dict[str, object] = {name: value for name in _ROOT_KEYWORDS if (value := string_member(members, name))}
    fields |= {name: members[name] == b"true" for name in _ROOT_BOOLEANS if members.get(name) in (b"true", b"false")}
    if caller := _caller_identity(members.get("userIdentity", b"null")):
        fields["userIdentity"] = caller
    return fields


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
    return {
        name: value.encode("utf-8", "backslashreplace").decode()
        for name in _CALLER_KEYWORDS
        if isinstance(value := document.get(name), str)
    }
