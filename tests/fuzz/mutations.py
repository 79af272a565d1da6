"""Inputs that nobody expects: notifications, files and records, changed at random but reproducibly."""

from __future__ import annotations

import gzip
import json
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.support import factories
from tests.support.event_files import real_records

if TYPE_CHECKING:
    from random import Random

KEY = factories.key("fuzz")

_TOKENS = (
    b'"Records":[', b"]", b"}", b"{", b"[", b",", b":", b'"', b"\\", b"\\u0000", b"\\ud800", b"NaN", b"1e999", b"null",
    b"\x00", b"\xff", b"\xed\xa0\x80", b"\n", b"\t", b" ", b'"eventID":"x",', b'"trailsink.object":"s3://b/k",',
    b'"trailsink":{},', b'"@timestamp":"x",', b'{"eventVersion":"1.08",', b"[" * 70, b'{"a":' * 70, b"0" * 400,
    b"%2F", b"+", b"s3:TestEvent", b"Message", b"/", b"CloudTrail-Digest",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1e308, 10**30, "", "x" * 9_000, "\ud800", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
    "2026-11-23 10:00:00", [], {}, [[[]]], {"a.b": {"": 1}}, ["x"] * 50, {"trailsink.object": "x"},
)  # fmt: skip
_NAMES = (
    "eventID",
    "eventTime",
    "trailsink",
    "trailsink.position",
    "@timestamp",
    "",
    "a..b",
    "userIdentity",
    "s3",
    "Records",
)


def change_bytes(content: bytes, chance: Random) -> bytes:
    """Flip, delete, repeat or insert at up to four places."""
    text = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text) + 1)
        length = chance.choice((1, 1, 2, 8, 64, 1024))
        match chance.randrange(6):
            case 0 if at < len(text):
                text[at] ^= 1 << chance.randrange(8)
            case 1:
                del text[at : at + length]
            case 2:
                text[at:at] = text[at : at + length]
            case 3:
                text[at:at] = chance.choice(_TOKENS)
            case 4:
                text[at : at + length] = chance.randbytes(length)
            case _:
                del text[chance.randrange(len(text) + 1) :]
    return bytes(text)


def change_value(value: Any, chance: Random) -> Any:
    """Replace, rename, remove or add one member or element, at any level."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        name = chance.choice(list(value))
        changed = dict(value)
        match chance.randrange(5):
            case 0:
                del changed[name]
            case 1:
                changed[chance.choice(_NAMES)] = changed.pop(name)
            case 2:
                changed[chance.choice(_NAMES)] = chance.choice(_VALUES)
            case _:
                changed[name] = change_value(value[name], chance)
        return changed
    if isinstance(value, list) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        return [*value[:at], change_value(value[at], chance), *value[at + chance.randint(0, 1) :]]
    return chance.choice(_VALUES)


@cache
def _samples() -> list[Any]:
    """Each 50th real record, and made ones of each family."""
    made = [make(number) for make in (factories.event, factories.insight, factories.aggregated) for number in range(20)]
    return real_records()[::50] + made


def records(chance: Random) -> list[Any]:
    """Make up to six records: real or of each family, some changed, some claiming the id of another."""
    made: list[Any] = []
    for _ in range(chance.randint(0, 6)):
        record = chance.choice(_samples())
        for _ in range(chance.choice((0, 0, 1, 3))):
            record = change_value(record, chance)
        made.append(record)
    return made


def file_text(chance: Random) -> bytes:
    """Make the text of a file, printed in one of several ways."""
    indent, separators = chance.choice(((None, (",", ":")), (None, (",", ":")), (None, (", ", ": ")), (1, (",", ": "))))
    text = json.dumps(
        {"Records": records(chance)}, indent=indent, separators=separators, ensure_ascii=chance.random() < 0.5
    )
    return text.encode("utf-8", "surrogatepass")


def file_content(chance: Random) -> bytes:
    """Make a stored file: its text, its gzip stream or both changed, or neither."""
    text = file_text(chance)
    if chance.random() < 0.5:
        text = change_bytes(text, chance)
    content = gzip.compress(text, chance.choice((0, 1, 6)), mtime=0)
    if chance.random() < 0.3:
        content = change_bytes(content, chance)
    return content if chance.random() < 0.95 else text


def notification(chance: Random) -> str:
    """Make the body of a message that announces the file, changed in its values, its text or both."""
    body = chance.choice(
        (
            factories.s3_notice(KEY),
            factories.s3_notice(KEY, "AWSLogs/other.json.gz"),
            factories.in_sns(factories.s3_notice(KEY)),
            factories.bridge_event(KEY),
            factories.cloudtrail_notice(KEY),
            factories.configuration_test_event(),
        )
    )
    for _ in range(chance.choice((0, 1, 2))):
        body = json.dumps(change_value(json.loads(body), chance))
    if chance.random() < 0.6:
        body = change_bytes(body.encode("utf-8", "surrogatepass"), chance).decode("utf-8", "replace")
    return body
