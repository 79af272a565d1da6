"""The scanner for damaged files: it follows brackets and strings, so that one broken record costs only itself."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING

import msgspec

from worker.cloudtrail.lenient_json import CLOSERS, WHITESPACE, BrokenJson, root_members
from worker.errors import OutOfTime, Reason, UnreadableObject

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.cloudtrail.inflate import Inflated

# A closed string, or one that the end of the text cuts off; \Z so that no quote inside it is taken for a start.
_STRING = rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)'
_STRUCTURE = re.compile(_STRING + rb"|[\[\]{},:]", re.DOTALL)

# Where the next record starts, in a text whose quotes cannot be trusted: CloudTrail writes this member first, and in a
# string its quotes would be escaped.
_NEXT_RECORD = re.compile(rb',[ \t\r\n]*+(?=\{[ \t\r\n]*+"eventVersion"[ \t\r\n]*+:)')
_LIST_END = re.compile(rb"\][ \t\r\n]*+\}[ \t\r\n]*+\Z")

# What can follow the list's own "]": the file's end, or another member. Inside a record that seems open it must be
# plainer, because a bracket too many is more likely than a list that ends there.
_AFTER_LIST = re.compile(rb'[ \t\r\n]*+(?:\}|\Z|,[ \t\r\n]*+")')
_AFTER_OPEN_RECORD = re.compile(rb'[ \t\r\n]*+(?:\}?[ \t\r\n]*+\Z|,[ \t\r\n]*+"[^"\\]*+"[ \t\r\n]*+:)')

_OBJECT_START = re.compile(rb'\s*+\{\s*+(?:"|\}|\Z)')

# The scanner reads about 4 MB a second: a file above CloudTrail's documented 50 MB is not worth an invocation.
_MAX_BYTES = 64 << 20
_TOKENS_PER_CLOCK_CHECK = 1 << 16  # some tens of milliseconds
_BYTES_PER_CLOCK_CHECK = 256 << 10

# To examine a piece takes a second a MiB. A longer one is no record: CloudTrail's have 256 KB at most.
_MAX_EXAMINED = 10 << 20

# Each open bracket takes memory until it is closed. No other limit holds for a text of nothing but brackets.
_MAX_OPEN = 1 << 20

_WELL_FORMED = msgspec.json.Decoder(msgspec.Raw)


def repair_records(
    text: Inflated, keep_going: Callable[[], bool], max_records: int
) -> tuple[list[msgspec.Raw | bytes], UnreadableObject | None]:
    """Return the records of a file that msgspec refuses, and the problem of the file as a whole, if any.

    Raises UnreadableObject when there is nothing to return, OutOfTime when `keep_going` returns False.
    """
    if len(text.content) > _MAX_BYTES:
        raise UnreadableObject(Reason.TOO_LARGE, f"{len(text.content)} bytes, and too odd to be read at parse speed")
    if not _OBJECT_START.match(text.content):
        if text.truncated and not text.content.strip():
            raise UnreadableObject(Reason.TRUNCATED, "the gzip stream ends before any content")
        raise UnreadableObject(Reason.NOT_JSON, "the content is not a JSON object")
    scanner = RepairScanner(text.content, max_records)
    scanner.run(keep_going)
    problem = _problem(scanner, text)
    if scanner.lists == 0 and problem.reason is not Reason.TRUNCATED:
        raise problem
    records = _collect(scanner, max_records, keep_going)
    return records, None if problem.reason is Reason.NO_RECORDS else problem


def _problem(scanner: RepairScanner, text: Inflated) -> UnreadableObject:
    if text.truncated:
        return UnreadableObject(Reason.TRUNCATED, "the gzip stream ends early")
    if not scanner.finished:
        return UnreadableObject(Reason.TRUNCATED, f"the JSON text ends early, after {len(scanner.pieces)} records")
    if text.content[scanner.end :].strip():
        return UnreadableObject(Reason.NOT_JSON, "there is more text after the JSON object: JSON lines?")
    return UnreadableObject(Reason.NO_RECORDS, "the JSON has no list named Records")


def _collect(scanner: RepairScanner, max_records: int, keep_going: Callable[[], bool]) -> list[msgspec.Raw | bytes]:
    """Return the records of all pieces; raises OutOfTime, and UnreadableObject when there are too many."""
    records: list[msgspec.Raw | bytes] = []
    size = 0
    for piece in scanner.pieces:
        size += len(piece)
        if size >= _BYTES_PER_CLOCK_CHECK:
            size = 0
            if not keep_going():
                raise OutOfTime("deadline")
        records += _validate(piece)
        if len(records) > max_records:
            break
    else:
        records += _rescue(scanner.rest)
    if len(records) > max_records:
        raise UnreadableObject(Reason.TOO_LARGE, f"more than {max_records} records")
    return records


def _validate(piece: bytes) -> list[msgspec.Raw | bytes]:
    """Return one piece as it is, or its parts where it is so broken that later records stick to it."""
    try:
        return [_WELL_FORMED.decode(piece)]
    except (msgspec.DecodeError, RecursionError):
        parts = _NEXT_RECORD.split(piece)
    if len(parts) == 1 or _is_readable(piece):
        return [piece]
    return [raw for part in parts for raw in _validate(part)]


def _rescue(rest: bytes) -> list[msgspec.Raw | bytes]:
    """Return the complete records in what was left when the text ended inside a record; its last piece is none.

    Only where that record is damaged: in one that is merely cut off, what looks like a record is a part of it.
    """
    if not rest or (len(rest) <= _MAX_EXAMINED and _is_cut_off(rest)):
        return []
    *parts, last = _NEXT_RECORD.split(rest)
    if parts and (end := _LIST_END.search(last)):
        parts.append(last[: end.start()].rstrip(WHITESPACE))
    return [raw for part in parts for raw in _validate(part)]


def _is_cut_off(rest: bytes) -> bool:
    try:
        root_members(rest)
    except BrokenJson as broken:
        return broken.at_end
    return False


def _is_readable(piece: bytes) -> bool:
    if len(piece) > _MAX_EXAMINED:
        return False
    try:
        root_members(piece)
    except BrokenJson:
        return False
    return True


class _State(Enum):
    """What the text around the next token is."""

    ROOT = auto()  # in the file's own object
    LIST = auto()  # in its list of records
    DONE = auto()


class RepairScanner(msgspec.Struct):
    """A string-aware bracket scan that follows a file's structure and repairs what one broken record does to it."""

    content: bytes | bytearray
    max_records: int
    pieces: list[bytes] = msgspec.field(default_factory=list)
    lists: int = 0
    finished: bool = False
    end: int = 0
    rest: bytes = b""  # the record that the end of the text cuts off
    _state: _State = _State.ROOT
    _open: list[bytes] = msgspec.field(default_factory=list)  # brackets open below the root object, or below the list
    _depths: dict[bytes, int] = msgspec.field(default_factory=lambda: {b"[": 0, b"{": 0})  # how many of each
    _key: bytes = b""
    _start: int = 0  # where the current record starts
    _closed: int = 0  # where it was last complete
    _previous: bytes = b""  # the previous token

    def run(self, keep_going: Callable[[], bool]) -> None:
        """Scan the whole content; raises OutOfTime, and UnreadableObject `too_large`."""
        for number, match in enumerate(_STRUCTURE.finditer(self.content, self.content.index(b"{") + 1)):
            if number % _TOKENS_PER_CLOCK_CHECK == 0 and not keep_going():
                raise OutOfTime("deadline")
            token = match[0]
            if self._state is _State.ROOT:
                self._scan_root(token, match.start(), match.end())
            else:
                self._scan_list(token, match.start(), match.end())
            self._previous = token
            if self._state is _State.DONE:
                self.finished, self.end = True, match.end()
                return
        if self._state is _State.LIST and self._closed > self._start:
            self._emit(self._closed)
        elif self._state is _State.LIST:
            self.rest = bytes(self.content[self._start :]).strip(WHITESPACE)

    def _scan_root(self, token: bytes, start: int, end: int) -> None:
        if self._open:
            self._track(token)
        elif token == b"}":
            self._state = _State.DONE
        elif token == b"[" and self._previous == b":" and self._key == b'"Records"':
            self._state, self._start, self._closed = _State.LIST, end, 0
            self.lists += 1
        elif self.lists and token == b"{" and self._previous != b":":
            # No member starts like this: a damaged byte only looked like the list's end, and this is its next record.
            self._state, self._start, self._closed = _State.LIST, start, 0
            self._push(token)
        elif token in (b"[", b"{"):
            self._push(token)
        elif token[:1] == b'"':
            self._key = token

    def _scan_list(self, token: bytes, start: int, end: int) -> None:
        if token == b"{" and self._previous == b"," and self._open and self._open[-1] == b"{":
            # An object directly after a comma in an object: the previous record never closed. Cut there.
            self._emit(start)
            self._reset()
            self._start = start
        elif token == b"{" and not self._open and self._closed > self._start:
            self._emit(self._closed)  # two records without a comma between them
            self._start = start
        if not self._open and token == b",":
            self._emit(start)
            self._start = end
        elif token == b"]" and not self._depths[b"["] and self._ends_list(end):
            self._emit(start)  # the list's own end, whatever the last record left open
            self._reset()
            self._state = _State.ROOT
        else:
            self._track(token)
            if token in CLOSERS and not self._open:
                self._closed = end

    def _ends_list(self, end: int) -> bool:
        return bool((_AFTER_OPEN_RECORD if self._open else _AFTER_LIST).match(self.content, end))

    def _track(self, token: bytes) -> None:
        if token in (b"[", b"{"):
            self._push(token)
        elif (opener := CLOSERS.get(token)) and self._depths[opener]:
            while self._pop() != opener:
                pass  # a bracket of the other kind was never closed: its record is broken, the next one is not

    def _push(self, opener: bytes) -> None:
        if len(self._open) == _MAX_OPEN:
            raise UnreadableObject(Reason.TOO_LARGE, f"more than {_MAX_OPEN} brackets are open at once")
        self._open.append(opener)
        self._depths[opener] += 1

    def _pop(self) -> bytes:
        opener = self._open.pop()
        self._depths[opener] -= 1
        return opener

    def _reset(self) -> None:
        self._open.clear()
        self._depths = {b"[": 0, b"{": 0}

    def _emit(self, end: int) -> None:
        piece = bytes(self.content[self._start : end]).strip(WHITESPACE + b",")
        if not piece:
            return
        if len(self.pieces) == self.max_records:
            raise UnreadableObject(Reason.TOO_LARGE, f"more than {self.max_records} records")
        self.pieces.append(piece)
