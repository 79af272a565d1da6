"""From a file's text to the raw bytes of each record, without building a Python object of any of them.

msgspec cuts a good file at parse speed. It refuses the whole file for one lone surrogate, NaN, control character or too
many levels; then the tolerant slicer here takes over, and the odd record alone pays.
"""

from __future__ import annotations

import json
import re
from enum import Enum, auto
from typing import TYPE_CHECKING

import msgspec

from worker.errors import OutOfTime, Reason, UnreadableObject

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.cloudtrail.inflate import Text

_SPACE = b" \t\r\n"

# A closed string, or one that the end of the text cuts off; \Z so that no quote inside it is taken for a start.
_STRING = rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)'
_STRUCTURE = re.compile(_STRING + rb"|[\[\]{},:]", re.DOTALL)
_LEXEME = re.compile(
    rb'[ \t\r\n]*+(?:(?P<string>"(?:[^"\\]++|\\.)*+")|(?P<mark>[{}\[\],:])|(?P<plain>[-+.\w]++))',
    re.DOTALL,
)
# What Python's and JavaScript's writers produce beside JSON's own: the record is readable, the server's parser is not.
_PLAIN = re.compile(rb"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null|NaN|-?Infinity")

# Where the next record begins, in a text whose quotes cannot be trusted: CloudTrail writes this member first, and in a
# string its quotes would be escaped.
_NEXT_RECORD = re.compile(rb',[ \t\r\n]*+(?=\{[ \t\r\n]*+"eventVersion"[ \t\r\n]*+:)')
_LIST_END = re.compile(rb"\][ \t\r\n]*+\}[ \t\r\n]*+\Z")

# What can follow the list's own "]": the file's end, or another member. Inside a record that seems open it must be
# plainer, because a bracket too many is more likely than a list that ends there.
_AFTER_LIST = re.compile(rb'[ \t\r\n]*+(?:\}|\Z|,[ \t\r\n]*+")')
_AFTER_LAST = re.compile(rb'[ \t\r\n]*+(?:\}?[ \t\r\n]*+\Z|,[ \t\r\n]*+"[^"\\]*+"[ \t\r\n]*+:)')

_OBJECT_START = re.compile(rb'\s*+\{\s*+(?:"|\}|\Z)')
_CLOSES = {b"]": b"[", b"}": b"{"}

# CloudTrail's events are 256 KB at most and 50 MB a file; a real file at our size limit has a fifth of this many. Each
# record costs about 300 bytes of memory before it is sent, so a file of nothing but "{}," must not become a list.
MAX_RECORDS = 1_000_000
# A file below this size cannot hold enough records to matter.
_COUNT_FROM = 4 << 20


# The tolerant slicer reads about 4 MB a second: a file above CloudTrail's documented 50 MB is not worth an invocation.
_MAX_TOLERANT_BYTES = 64 << 20
_TOKENS_BETWEEN_LOOKS = 1 << 16  # at the clock: some tens of milliseconds


class _File(msgspec.Struct):
    Records: list[msgspec.Raw]


_FILE = msgspec.json.Decoder(_File)
_WELL_FORMED = msgspec.json.Decoder(msgspec.Raw)


class Slices(msgspec.Struct, frozen=True):
    """The records of a file in order: `Raw` where msgspec accepts the JSON, `bytes` where it does not.

    `problem` says why the file as a whole needs a dead letter although these records are there.
    """

    records: list[msgspec.Raw | bytes]
    problem: UnreadableObject | None = None


class BrokenJson(ValueError):  # noqa: N818 - named for what was found
    """A record whose text is not JSON, however kindly it is read; `at_end` when it would be, were there more of it."""

    def __init__(self, text: str, *, at_end: bool = False) -> None:
        super().__init__(text)
        self.at_end = at_end


def cut(text: Text, keep_on: Callable[[], bool] = lambda: True) -> Slices:
    """Cut `{"Records":[...]}` into its records.

    Raises UnreadableObject `empty`, `not_json`, `no_records`, or `too_large` when there are more than MAX_RECORDS, and
    OutOfTime when `keep_on` says that there is no time for an odd file.
    """
    content = text.content
    if not content and not text.truncated:
        raise UnreadableObject(Reason.EMPTY, "the gzip stream holds 0 bytes")
    if len(content) > _COUNT_FROM and _may_hold_too_many(content):
        return _cut_tolerantly(text, keep_on)
    try:
        records: list[msgspec.Raw | bytes] = list(_FILE.decode(content).Records)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError):
        return _cut_tolerantly(text, keep_on)
    if len(records) > MAX_RECORDS:
        raise UnreadableObject(Reason.TOO_LARGE, f"more than {MAX_RECORDS} records")
    if _holds_more_than(records, content) and content.count(b'"Records"') > 1:
        # Perhaps the same key twice: JSON parsers keep the last, and the first list's events would be gone.
        again = _cut_tolerantly(text, keep_on)
        if len(again.records) > len(records):
            return again
    return Slices(records, UnreadableObject(Reason.TRUNCATED, "the gzip stream ends early") if text.truncated else None)


def _holds_more_than(records: list[msgspec.Raw | bytes], content: bytes | bytearray) -> bool:
    """Say whether there is more around the records than their commas and `{"Records":[]}`, as CloudTrail writes it."""
    return len(content) > len(b'{"Records":[]}') + sum(len(memoryview(one)) + 1 for one in records) - 1


def _may_hold_too_many(content: bytes | bytearray) -> bool:
    # Objects cannot outnumber braces, other elements cannot outnumber commas; a real record has about 8 and 60.
    braces = content.count(b"{")
    return braces > 4 * MAX_RECORDS or content.count(b",") > min(16 * MAX_RECORDS, MAX_RECORDS + 32 * braces)


def _cut_tolerantly(text: Text, keep_on: Callable[[], bool]) -> Slices:
    if len(text.content) > _MAX_TOLERANT_BYTES:
        raise UnreadableObject(Reason.TOO_LARGE, f"{len(text.content)} bytes, and too odd to be read at parse speed")
    if not _OBJECT_START.match(text.content):
        if text.truncated and not text.content.strip():
            raise UnreadableObject(Reason.TRUNCATED, "the gzip stream ends before any content")
        raise UnreadableObject(Reason.NOT_JSON, "the content is no JSON object")
    scan = _Scan(text.content)
    scan.run(keep_on)
    problem = _problem(scan, text)
    if scan.lists == 0 and problem.reason is not Reason.TRUNCATED:
        raise problem
    records = [raw for one in scan.slices for raw in _checked(one)] + _rescued(scan.rest)
    return Slices(records, None if problem.reason is Reason.NO_RECORDS else problem)


def _problem(scan: _Scan, text: Text) -> UnreadableObject:
    if text.truncated:
        return UnreadableObject(Reason.TRUNCATED, "the gzip stream ends early")
    if not scan.finished:
        return UnreadableObject(Reason.TRUNCATED, f"the JSON text ends early, after {len(scan.slices)} records")
    if text.content[scan.end :].strip():
        return UnreadableObject(Reason.NOT_JSON, "there is more text behind the JSON object: JSON lines?")
    return UnreadableObject(Reason.NO_RECORDS, "the JSON has no list named Records")


def _checked(one: bytes) -> list[msgspec.Raw | bytes]:
    """Judge one slice: well-formed, odd, or so broken (a quote too many) that the records behind it stick to it."""
    try:
        return [_WELL_FORMED.decode(one)]
    except (msgspec.DecodeError, RecursionError):
        parts = _NEXT_RECORD.split(one)
    if len(parts) == 1 or _is_readable(one):
        return [one]
    return [raw for part in parts for raw in _checked(part)]


def _rescued(rest: bytes) -> list[msgspec.Raw | bytes]:
    """Find the complete records in what was left when the text ended inside a record; its last piece is none.

    Only where that record is damaged: in one that is merely cut off, what looks like a record is a part of it.
    """
    if not rest or _is_cut_off(rest):
        return []
    *parts, last = _NEXT_RECORD.split(rest)
    if parts and (end := _LIST_END.search(last)):
        parts.append(last[: end.start()].rstrip(_SPACE))
    return [raw for part in parts for raw in _checked(part)]


def _is_cut_off(rest: bytes) -> bool:
    try:
        root_members(rest)
    except BrokenJson as broken:
        return broken.at_end
    return False


def _is_readable(one: bytes) -> bool:
    try:
        root_members(one)
    except BrokenJson:
        return False
    return True


class _Where(Enum):
    """What the text around the next token is."""

    ROOT = auto()  # in the file's own object
    LIST = auto()  # in its list of records
    DONE = auto()


class _Scan(msgspec.Struct):
    """A string-aware bracket scan that follows a file's structure and repairs what one broken record does to it."""

    content: bytes | bytearray
    slices: list[bytes] = msgspec.field(default_factory=list)
    lists: int = 0
    finished: bool = False
    end: int = 0
    rest: bytes = b""  # the record that the end of the text cuts off
    _where: _Where = _Where.ROOT
    _open: list[bytes] = msgspec.field(default_factory=list)  # brackets open below the root object, or below the list
    _depths: dict[bytes, int] = msgspec.field(default_factory=lambda: {b"[": 0, b"{": 0})  # how many of each
    _key: bytes = b""
    _start: int = 0  # where the record in hand begins
    _closed: int = 0  # where it was last complete
    _before: bytes = b""  # the token before

    def run(self, keep_on: Callable[[], bool]) -> None:
        for number, found in enumerate(_STRUCTURE.finditer(self.content, self.content.index(b"{") + 1)):
            if number % _TOKENS_BETWEEN_LOOKS == 0 and not keep_on():
                raise OutOfTime("deadline")
            token = found[0]
            if self._where is _Where.ROOT:
                self._in_root(token, found.start(), found.end())
            else:
                self._in_list(token, found.start(), found.end())
            self._before = token
            if self._where is _Where.DONE:
                self.finished, self.end = True, found.end()
                return
        if self._where is _Where.LIST and self._closed > self._start:
            self._emit(self._closed)
        elif self._where is _Where.LIST:
            self.rest = bytes(self.content[self._start :]).strip(_SPACE)

    def _in_root(self, token: bytes, start: int, end: int) -> None:
        if self._open:
            self._follow(token)
        elif token == b"}":
            self._where = _Where.DONE
        elif token == b"[" and self._before == b":" and self._key == b'"Records"':
            self._where, self._start, self._closed = _Where.LIST, end, 0
            self.lists += 1
        elif self.lists and token == b"{" and self._before != b":":
            # No member begins so: a damaged byte only looked like the list's end, and this is its next record.
            self._where, self._start, self._closed = _Where.LIST, start, 0
            self._push(token)
        elif token in (b"[", b"{"):
            self._push(token)
        elif token[:1] == b'"':
            self._key = token

    def _in_list(self, token: bytes, start: int, end: int) -> None:
        if token == b"{" and self._before == b"," and self._open and self._open[-1] == b"{":
            # An object directly behind a comma in an object: the record before never closed. Cut there.
            self._emit(start)
            self._forget()
            self._start = start
        elif token == b"{" and not self._open and self._closed > self._start:
            self._emit(self._closed)  # two records without a comma between them
            self._start = start
        if not self._open and token == b",":
            self._emit(start)
            self._start = end
        elif token == b"]" and not self._depths[b"["] and self._ends_list(end):
            self._emit(start)  # the list's own end, whatever the record before left open
            self._forget()
            self._where = _Where.ROOT
        else:
            self._follow(token)
            if token in _CLOSES and not self._open:
                self._closed = end

    def _ends_list(self, end: int) -> bool:
        return bool((_AFTER_LAST if self._open else _AFTER_LIST).match(self.content, end))

    def _follow(self, token: bytes) -> None:
        if token in (b"[", b"{"):
            self._push(token)
        elif (opener := _CLOSES.get(token)) and self._depths[opener]:
            while self._pop() != opener:
                pass  # a bracket of the other kind was never closed: its record is broken, the next one is not

    def _push(self, opener: bytes) -> None:
        self._open.append(opener)
        self._depths[opener] += 1

    def _pop(self) -> bytes:
        opener = self._open.pop()
        self._depths[opener] -= 1
        return opener

    def _forget(self) -> None:
        self._open.clear()
        self._depths = {b"[": 0, b"{": 0}

    def _emit(self, end: int) -> None:
        one = bytes(self.content[self._start : end]).strip(_SPACE + b",")
        if not one:
            return
        if len(self.slices) == MAX_RECORDS:
            raise UnreadableObject(Reason.TOO_LARGE, f"more than {MAX_RECORDS} records")
        self.slices.append(one)


def root_members(record: bytes) -> dict[str, bytes]:  # noqa: C901 - a grammar has as many branches as it has rules
    """Read one record however odd: the raw text of each root member by name, the last one of a name.

    Follows JSON's grammar without recursion, so that any depth will do, and lets pass what the server's parser does
    not: raw control characters, lone surrogates, NaN and Infinity. Raises BrokenJson for anything else, and
    for what is no object.
    """
    members: dict[str, bytes] = {}
    stack: list[bytes] = []
    name, start, at, expected = "", 0, 0, "object"
    while expected != "end":
        found = _LEXEME.match(record, at)
        if found is None:
            rest = record[at:].lstrip(_SPACE)
            raise BrokenJson(f"no JSON at byte {at}", at_end=not rest or rest[:1] == b'"')
        at = found.end()
        token = found[0].lstrip()
        closing = _CLOSES.get(token)
        if expected in _KEYS and found["string"]:
            if len(stack) == 1:
                name = string_value(token)
            expected = "colon"
        elif expected == "colon" and token == b":":
            start, expected = (at if len(stack) == 1 else start), "value"
        elif (expected in _VALUES and token in _OPENERS) or (expected == "object" and token == b"{"):
            stack.append(token)
            expected = _OPENERS[token]
        elif expected == "comma" and token == b",":
            expected = "key" if stack[-1] == b"{" else "value"
        else:
            if closing and expected in _MAY_CLOSE and stack[-1] == closing:
                stack.pop()
            elif expected not in _VALUES or closing or not (found["string"] or _PLAIN.fullmatch(token)):
                cut_off = expected in _VALUES and bool(found["plain"]) and at == len(record)
                raise BrokenJson(f"unexpected token at byte {at - len(token)}", at_end=cut_off)
            if len(stack) == 1:
                members[name] = record[start:at].strip(_SPACE)
            expected = "comma" if stack else "end"
    if record[at:].strip(_SPACE):
        raise BrokenJson(f"more text behind the object, at byte {at}")
    return members


_OPENERS = {b"{": "key or end", b"[": "value or end"}
_KEYS = frozenset({"key", "key or end"})
_VALUES = frozenset({"value", "value or end"})
_MAY_CLOSE = frozenset({"comma", "key or end", "value or end"})


def string_value(token: bytes) -> str:
    """Read one JSON string, whatever characters and bytes it holds; raises BrokenJson for an escape that is none."""
    try:
        value: str = json.loads(token.decode("utf-8", "surrogateescape"), strict=False)
    except ValueError as cause:
        raise BrokenJson("a string that is none") from cause
    return value
