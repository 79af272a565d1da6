"""The records of a letter's object, read again the way the consumer reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from worker.cloudtrail.inflate import read_text
from worker.cloudtrail.split import cut
from worker.errors import UnreadableObject

if TYPE_CHECKING:
    from worker.dlq.letters import Letter
    from worker.pipeline.consumer import Store


class RejectedRecord(msgspec.Struct, frozen=True):
    r"""One rejected record: its 0-based position, why, its size in bytes, and its text, perhaps cut.

    `text` is null where the file has no such record any more. Bytes that are no UTF-8 are written as `\xNN`.
    """

    position: int
    reason: str
    bytes: int | None
    text: str | None
    cut: bool


class FileNow(msgspec.Struct, frozen=True):
    """The file as it is now: how many records can be read, and the reason code and detail of what is wrong with it."""

    records: int
    reason: str | None
    detail: str | None
    rejected: list[RejectedRecord]


def read_again(store: Store, letter: Letter, *, limit: int, most: int, most_bytes: int | None) -> FileNow:
    """Read the version that the letter names, inflated at most `limit` bytes, and take out its rejected records.

    At most `most` of them, of each at most `most_bytes` bytes. Raises StoreUnavailable.
    """
    (ref,) = letter.objects
    try:
        slices = cut(read_text(store.fetch(ref, limit).content, limit))
    except UnreadableObject as cause:
        return FileNow(0, cause.reason, cause.detail, [])
    rejected = [_record(slices.records, position, why, most_bytes) for position, why in letter.rejected[:most]]
    problem = slices.problem
    return FileNow(
        len(slices.records), problem.reason if problem else None, problem.detail if problem else None, rejected
    )


def _record(records: list[msgspec.Raw | bytes], position: int, why: str, most_bytes: int | None) -> RejectedRecord:
    if not 0 <= position < len(records):
        return RejectedRecord(position, why, None, None, cut=False)
    whole = bytes(records[position])
    shown = whole[:most_bytes]
    return RejectedRecord(position, why, len(whole), shown.decode("utf-8", "backslashreplace"), len(shown) < len(whole))
