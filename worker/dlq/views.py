"""Everything about one dead letter, for whoever has to decide what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from worker.cloudtrail.inflate import inflate
from worker.cloudtrail.split import split_records
from worker.dlq.eligibility import RedriveAction  # noqa: TC001
from worker.dlq.letters import Letter, iso
from worker.dlq.reasons import MEANINGS
from worker.errors import UnreadableObject

if TYPE_CHECKING:
    from worker.dlq.eligibility import Assessment
    from worker.pipeline.ports import Store


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
        slices = split_records(inflate(store.fetch(ref, limit).content, limit))
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


class LetterDetail(msgspec.Struct, frozen=True):
    """A letter as `show --json` prints it; `file` only with --records."""

    letter: LetterView
    meaning: str
    source_queue: str | None
    trailsink_version: str | None
    etag: str | None
    size: int | None
    version_id: str | None
    redrive: RedriveAction
    redrive_why: str
    attributes: dict[str, str]
    body: str
    file: FileNow | None = None

    @classmethod
    def of(cls, letter: Letter, judged: Assessment, now: float, file: FileNow | None) -> LetterDetail:
        """Describe a letter as it is at `now`, in epoch seconds."""
        ref = letter.objects[0] if len(letter.objects) == 1 else None
        return cls(
            LetterView.of(letter, now),
            MEANINGS.get(letter.reason, "a reason that this version of trailsink does not know"),
            letter.source or None,
            letter.said("trailsink_version") or None,
            ref.etag if ref else None,
            ref.size if ref else None,
            ref.version_id if ref else None,
            judged.verdict,
            judged.why,
            {name: one.value for name, one in letter.attributes.items()},
            letter.body,
            file,
        )


class LetterView(msgspec.Struct, frozen=True):
    """A letter as `list --json` prints it; `object` is null where none or several are announced."""

    id: str
    reason: str
    detail: str
    object: str | None
    objects: list[str]
    attempts: int | None
    receives: int
    sent_at: str
    age_seconds: int
    source_message_id: str | None
    rejected: list[tuple[int, str]]
    body: str | None  # only where it announces no object

    @classmethod
    def of(cls, letter: Letter, now: float) -> LetterView:
        """Describe a letter as it is at `now`, in epoch seconds."""
        objects = [str(ref) for ref in letter.objects]
        return cls(
            letter.id,
            letter.reason,
            letter.detail,
            objects[0] if len(objects) == 1 else None,
            objects,
            letter.attempts,
            letter.receives,
            iso(letter.sent_at),
            max(0, int(now - letter.sent_at)),
            letter.said("source_message_id") or None,
            list(letter.rejected),
            None if objects else letter.body,
        )


class ReasonGroup(msgspec.Struct):
    """All letters of one reason, as `list --summary --json` prints them; when they were sent in ISO 8601."""

    reason: str
    letters: int
    oldest: str
    newest: str
