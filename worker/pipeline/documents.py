"""From records to documents: the record's own bytes, `@timestamp` and `trailsink` spliced in before the closing brace.

Nothing is flattened or renamed: CloudTrail's own paths are what rules and people search for. A record that the cluster
cannot take as it is goes in degraded form: what identifies it as fields, its whole text as one unindexed string.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from worker.cloudtrail.records import string_member
from worker.cloudtrail.split import BrokenJson, root_members
from worker.errors import Reason, UnreadableObject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.cloudtrail.records import Record

# AWS announced CloudTrail on 2013-11-13: no event can be older.
_FIRST_EVENTS = "2013-11"

# A member longer than this is left to the full text: identity is short.
_MAX_MEMBER_BYTES = 64 << 10

# CloudTrail's times are seconds, and a file holds some minutes of them.
_TIMES_REMEMBERED = 4_096

_encode = msgspec.json.Encoder().encode

# Root members that the mapping knows as keywords: a string in them can never be refused.
_ROOT_KEYWORDS = (
    "eventVersion", "eventSource", "eventName", "awsRegion", "sourceIPAddress", "userAgent", "errorCode",
    "errorMessage", "requestID", "eventID", "eventId", "eventType", "eventCategory", "apiVersion",
    "recipientAccountId", "accountId", "sharedEventID", "vpcEndpointId", "vpcEndpointAccountId",
    "sessionCredentialFromConsole", "readOnly", "managementEvent",
)  # fmt: skip
_CALLER_KEYWORDS = ("type", "principalId", "arn", "accountId", "accessKeyId", "userName", "invokedBy", "credentialId")


class Partition(StrEnum):
    """How much time one index holds."""

    DAY = "day"
    MONTH = "month"


class Routing(msgspec.Struct, frozen=True):
    """Which index a record belongs to: a function of the record alone, so that its twin in another file meets it.

    `prefix` begins every index name; `latest` is the first time, as ISO 8601 text in UTC, that is too far ahead to be
    true; one file may write to `max_indices` of them, because a corrupt or hostile file must not create a thousand.
    """

    prefix: str
    partition: Partition
    latest: str
    max_indices: int

    def index(self, record: Record) -> str:
        """Name the index of one record."""
        if record.time is None or not _FIRST_EVENTS <= record.time < self.latest:
            return f"{self.prefix}-undated"
        return f"{self.prefix}-{record.time[: 10 if self.partition is Partition.DAY else 7]}"

    def check(self, records: Sequence[Record]) -> None:
        """Raise UnreadableObject `too_scattered` when the records of one file belong to too many indices."""
        names = {record.time[:10] if record.time else "" for record in records}
        if len(names) <= self.max_indices:
            return
        if len({self.index(record) for record in records}) > self.max_indices:
            raise UnreadableObject(Reason.TOO_SCATTERED, f"records on {len(names)} days, more than {self.max_indices}")


class Origin(msgspec.Struct, frozen=True):
    """What a document says of where it came from: the object's URI, its delivery time and the time of indexing."""

    uri: str
    delivered_at: str
    indexed_at: str


class Action(msgspec.Struct, gc=False):
    """One bulk action, ready to be sent: its action line and document line as one piece of bytes.

    `file` and `position` say whose record it is; `raw_from` and `raw_to` where the record's own bytes stand in `lines`
    (without their closing brace); `degraded` why it is in degraded form, "" when it is not.
    """

    file: int
    position: int
    lines: bytes
    raw_from: int
    raw_to: int
    degraded: str = ""


def actions(records: Sequence[Record], file: int, origin: Origin, routing: Routing) -> Iterator[Action]:
    """Turn the records of one file into bulk actions, in order.

    The op is `create`: a second delivery of the same record is answered 409 and changes nothing.
    """
    around: dict[str | None, tuple[bytes, bytes]] = {}  # what stands before and behind records of the same time
    place = b'","trailsink":{"object":%b,"position":' % _encode(origin.uri)
    end = b',"indexed_at":"%b"}}\n' % origin.indexed_at.encode()
    for record in records:
        found = around.get(record.time)
        if found is None:
            if len(around) == _TIMES_REMEMBERED:
                around.clear()
            time = (record.time or origin.delivered_at).encode()
            head = b'{"create":{"_index":%b,"_id":' % _encode(routing.index(record))
            found = around[record.time] = head, b',"@timestamp":"%b%b' % (time, place)
        head, tail = found
        id_, own = _encode(record.id), memoryview(record.raw)[:-1]
        lines = b"".join((head, id_, b"}}\n", own, tail, b"%d" % record.position, end))
        start = len(head) + len(id_) + 3
        action = Action(file, record.position, lines, start, start + len(own))
        if record.odd:
            action = degrade(action, record.odd)
        elif lines.find(b"\n", start, action.raw_to) >= 0:
            action = _on_one_line(action)
        yield action


def _on_one_line(action: Action) -> Action:
    """Write a pretty-printed record on one line: in well-formed JSON a line break is never inside a string."""
    lines, start, end = action.lines, action.raw_from, action.raw_to
    action.lines = lines[:start] + lines[start:end].replace(b"\n", b" ") + lines[end:]
    return action


def degrade(action: Action, reason: str) -> Action:
    """Return the same record in degraded form, under the same id, with `reason` in `trailsink.degraded`."""
    raw = action.lines[action.raw_from : action.raw_to] + b"}"
    fields = _encode(_findable(raw))[:-1]
    tail = action.lines[action.raw_to + (0 if len(fields) > 1 else 1) : -3]
    text = _encode(raw.decode("utf-8", "backslashreplace"))
    lines = b'%b%b%b,"degraded":%b,"raw":%b}}\n' % (
        action.lines[: action.raw_from],
        fields,
        tail,
        _encode(reason),
        text,
    )
    return Action(action.file, action.position, lines, action.raw_from, action.raw_to, reason)


def _findable(raw: bytes) -> dict[str, object]:
    """Pick the fields by which a degraded record can be found: time, name, source, account and caller."""
    try:
        members = {name: value for name, value in root_members(raw).items() if len(value) <= _MAX_MEMBER_BYTES}
    except BrokenJson:  # cannot be: it was read before; but a document without fields is better than none
        return {}
    fields: dict[str, object] = {name: value for name in _ROOT_KEYWORDS if (value := string_member(members, name))}
    fields |= {
        name: members[name] == b"true" for name in ("readOnly", "managementEvent") if members.get(name) in _BOOLEANS
    }
    if caller := _caller(members.get("userIdentity", b"null")):
        fields["userIdentity"] = caller
    return fields


_BOOLEANS = (b"true", b"false")


def _caller(identity: bytes) -> dict[str, object]:
    try:
        given: Any = json.loads(identity.decode("utf-8", "surrogateescape"), strict=False)
    except (ValueError, RecursionError):
        return {}
    caller: dict[str, object] = dict(_strings(given))
    match given:
        case {"sessionContext": {"sessionIssuer": issuer}} if found := _strings(issuer):
            caller["sessionContext"] = {"sessionIssuer": found}
    return caller


def _strings(given: Any) -> dict[str, str]:  # noqa: ANN401 - whatever stood in the record
    if not isinstance(given, dict):
        return {}
    return {
        name: value.encode("utf-8", "backslashreplace").decode()
        for name in _CALLER_KEYWORDS
        if isinstance(value := given.get(name), str)
    }
