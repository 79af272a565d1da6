"""A JSON reader for odd records: it accepts what Python's and JavaScript's writers produce outside the grammar."""

from __future__ import annotations

import json
import re

import msgspec

WHITESPACE = b" \t\r\n"

_LEXEME = re.compile(
    rb'[ \t\r\n]*+(?:(?P<string>"(?:[^"\\]++|\\.)*+")|(?P<mark>[{}\[\],:])|(?P<plain>[-+.\w]++))',
    re.DOTALL,
)
# The record is readable with NaN and Infinity in it; the server's parser is stricter.
_PLAIN = re.compile(rb"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null|NaN|-?Infinity")

CLOSERS = {b"]": b"[", b"}": b"{"}

# Scanning a megabyte takes half a second, and CloudTrail's own records have a quarter of it. What comes later in a
# record is left to its full text.
_MAX_SCANNED = 1 << 20

_WELL_FORMED = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

# What may follow each token: the states of the grammar.
_OPENERS = {b"{": "key or end", b"[": "value or end"}
_KEY_STATES = frozenset({"key", "key or end"})
_VALUE_STATES = frozenset({"value", "value or end"})
_CLOSING_STATES = frozenset({"comma", "key or end", "value or end"})


class BrokenJson(ValueError):  # noqa: N818 - named for what was found
    """A record whose text is not JSON, even leniently; `at_end` when more text could have completed it."""

    def __init__(self, text: str, *, at_end: bool = False) -> None:
        super().__init__(text)
        self.at_end = at_end


def read_root(record: bytes) -> dict[str, bytes]:
    """Return what `root_members` does, at parse speed where the record is well-formed.

    Of a record that is not, the members within its first mebibyte.
    """
    try:
        return {name: bytes(value) for name, value in _WELL_FORMED(record).items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return root_members(record, _MAX_SCANNED)


def root_members(record: bytes, limit: int | None = None) -> dict[str, bytes]:  # noqa: C901 - a grammar has as many branches as it has rules
    """Return the raw text of each root member by name, the last one of a name.

    Follows JSON's grammar without recursion, so any depth will do. Accepts what the server's parser refuses: raw
    control characters, lone surrogates, NaN and Infinity. Raises BrokenJson for anything else, and for text that is not
    an object. Returns what it has when it has read `limit` bytes.
    """
    members: dict[str, bytes] = {}
    stack: list[bytes] = []
    name, start, offset, state = "", 0, 0, "object"
    limit = len(record) if limit is None else limit
    while state != "end" and offset <= limit:
        match = _LEXEME.match(record, offset)
        if match is None:
            rest = record[offset:].lstrip(WHITESPACE)
            raise BrokenJson(f"no JSON at byte {offset}", at_end=not rest or rest[:1] == b'"')
        offset = match.end()
        token = match[0].lstrip()
        closing = CLOSERS.get(token)
        if state in _KEY_STATES and match["string"]:
            if len(stack) == 1:
                name = string_value(token)
            state = "colon"
        elif state == "colon" and token == b":":
            start, state = (offset if len(stack) == 1 else start), "value"
        elif (state in _VALUE_STATES and token in _OPENERS) or (state == "object" and token == b"{"):
            stack.append(token)
            state = _OPENERS[token]
        elif state == "comma" and token == b",":
            state = "key" if stack[-1] == b"{" else "value"
        else:
            if closing and state in _CLOSING_STATES and stack[-1] == closing:
                stack.pop()
            elif state not in _VALUE_STATES or closing or not (match["string"] or _PLAIN.fullmatch(token)):
                cut_off = state in _VALUE_STATES and bool(match["plain"]) and offset == len(record)
                raise BrokenJson(f"unexpected token at byte {offset - len(token)}", at_end=cut_off)
            if len(stack) == 1:
                members[name] = record[start:offset].strip(WHITESPACE)
            state = "comma" if stack else "end"
    if state == "end" and record[offset:].strip(WHITESPACE):
        raise BrokenJson(f"more text after the object, at byte {offset}")
    return members


def string_member(members: dict[str, bytes], name: str) -> str | None:
    """Return a root member that is a string and can be stored as UTF-8 (lone surrogates are escaped), or None."""
    token = members.get(name, b"")
    if token[:1] != b'"':
        return None
    try:
        return encodable(string_value(token))
    except BrokenJson:
        return None


def encodable(text: str) -> str:
    """Return a text that can be stored as UTF-8: lone surrogates are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def string_value(token: bytes) -> str:
    """Return the value of one JSON string, whatever bytes it holds; raises BrokenJson for an invalid escape."""
    try:
        value: str = json.loads(token.decode("utf-8", "surrogateescape"), strict=False)
    except ValueError as cause:
        raise BrokenJson("not a JSON string") from cause
    return value
