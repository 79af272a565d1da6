"""From a file's text to the raw bytes of each record, without building a Python object for any of them.

msgspec splits a good file at parse speed. It refuses the whole file for one lone surrogate, NaN, control character or
too many levels; then `repair` takes over, and only the odd record pays for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from worker.errors import NoEvents, Reason, UnreadableObject

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.cloudtrail.inflate import Inflated

# CloudTrail's events are 256 KB at most and 50 MB a file; a real file at our size limit has a fifth of this many. Each
# record costs about 300 bytes of memory before it is sent, so a file of nothing but "{}," must not become a list.
MAX_RECORDS = 1_000_000
# A file below this size cannot hold enough records to matter.
_COUNT_FROM = 4 << 20


class _LogDocument(msgspec.Struct):
    Records: list[msgspec.Raw]


_DOCUMENT = msgspec.json.Decoder(_LogDocument)


class _DigestDocument(msgspec.Struct):
    """The members by which a digest file is known.

    docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html
    """

    digestS3Object: str  # noqa: N815 - CloudTrail's own name
    logFiles: list[msgspec.Raw]  # noqa: N815


_DIGEST = msgspec.json.Decoder(_DigestDocument)


class RawRecords(msgspec.Struct, frozen=True):
    """The records of a file in order: `Raw` where msgspec accepts the JSON, `bytes` where it does not.

    `problem` says why the file as a whole needs a dead letter although these records are readable.
    """

    records: list[msgspec.Raw | bytes]
    problem: UnreadableObject | None = None


def split_records(text: Inflated, keep_going: Callable[[], bool] = lambda: True) -> RawRecords:
    """Split `{"Records":[...]}` into its records.

    Raises UnreadableObject `empty`, `not_json`, `no_records`, or `too_large` when there are more than MAX_RECORDS.
    Raises NoEvents for a digest file, which copies keep under any name. Raises OutOfTime when `keep_going` returns
    False while an odd file is repaired.
    """
    content = text.content
    if not content and not text.truncated:
        raise UnreadableObject(Reason.EMPTY, "the gzip stream holds 0 bytes")
    if len(content) > _COUNT_FROM and _may_hold_too_many(content):
        return _repair(text, keep_going)
    try:
        records: list[msgspec.Raw | bytes] = list(_DOCUMENT.decode(content).Records)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError):
        return _repair(text, keep_going)
    if len(records) > MAX_RECORDS:
        raise UnreadableObject(Reason.TOO_LARGE, f"more than {MAX_RECORDS} records")
    if _has_other_content(records, content) and content.count(b'"Records"') > 1:
        # Perhaps the same key twice: JSON parsers keep the last, and the first list's events would be gone.
        repaired = _repair(text, keep_going)
        if len(repaired.records) > len(records):
            return repaired
    problem = UnreadableObject(Reason.TRUNCATED, "the gzip stream ends early") if text.truncated else None
    return RawRecords(records, problem)


def _repair(text: Inflated, keep_going: Callable[[], bool]) -> RawRecords:
    # Imported when first needed: its regular expressions take milliseconds of a cold start, and good files have no use
    # for them.
    from worker.cloudtrail.repair import repair_records  # noqa: PLC0415

    try:
        records, problem = repair_records(text, keep_going, MAX_RECORDS)
    except UnreadableObject as refusal:
        if refusal.reason is Reason.NO_RECORDS and _is_digest(text.content):
            raise NoEvents("digest") from refusal
        raise
    return RawRecords(records, problem)


def _is_digest(content: bytes | bytearray) -> bool:
    try:
        _DIGEST.decode(content)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError):
        return False
    return True


def _has_other_content(records: list[msgspec.Raw | bytes], content: bytes | bytearray) -> bool:
    """Return whether the file holds more than its records, commas and `{"Records":[]}`, as CloudTrail writes it."""
    return len(content) > len(b'{"Records":[]}') + sum(len(memoryview(record)) + 1 for record in records) - 1


def _may_hold_too_many(content: bytes | bytearray) -> bool:
    # Objects cannot outnumber braces, other elements cannot outnumber commas; a real record has about 8 and 60.
    braces = content.count(b"{")
    return braces > 4 * MAX_RECORDS or content.count(b",") > min(16 * MAX_RECORDS, MAX_RECORDS + 32 * braces)
