"""Dead letters as the commands print them: one line of a list, one group of a summary, all details of one letter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from worker.cloudtrail.inflate import inflate
from worker.cloudtrail.split import split_records
from worker.dlq.eligibility import RedriveAction  # noqa: TC001 - msgspec needs it at runtime
from worker.dlq.reasons import MEANINGS
from worker.errors import UnreadableObject
from worker.humanize import iso_epoch

if TYPE_CHECKING:
    from worker.dlq.eligibility import Assessment
    from worker.dlq.letters import Letter
    from worker.dlq.summary import ReasonGroup
    from worker.pipeline.objects import FetchedObject, ObjectRef


class LetterView(msgspec.Struct, frozen=True):
    """A letter as `list --json` prints it; `object` is null unless the letter announces exactly one object."""

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
    body: str | None  # only of a letter that announces no object

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
            iso_epoch(letter.sent_at),
            max(0, int(now - letter.sent_at)),
            letter.attribute("source_message_id") or None,
            list(letter.rejected),
            None if objects else letter.body,
        )


class GroupView(msgspec.Struct, frozen=True):
    """All letters of one reason, as `list --summary --json` prints them; times are in ISO 8601."""

    reason: str
    letters: int
    oldest: str
    newest: str

    @classmethod
    def of(cls, group: ReasonGroup) -> GroupView:
        """Describe a group."""
        return cls(group.reason, group.letters, iso_epoch(group.oldest), iso_epoch(group.newest))


class RejectedRecord(msgspec.Struct, frozen=True):
    r"""One rejected record: its 0-based position, why it was rejected, its size in bytes, and its text.

    `cut` is true when `text` is not the whole record. `text` is null when the file no longer has such a record. Bytes
    that are not UTF-8 are written as `\xNN`.
    """

    position: int
    reason: str
    bytes: int | None
    text: str | None
    cut: bool


class FileNow(msgspec.Struct, frozen=True):
    """The file as it is now: how many records can be read, and reason code and detail of what is wrong with it."""

    records: int
    reason: str | None
    detail: str | None
    rejected: list[RejectedRecord]


class VerifyingStore(Protocol):
    """Where objects are kept, as far as a second look needs it."""

    def fetch_verified(self, ref: ObjectRef, limit: int) -> FetchedObject:
        """Read an object, and compare it with what the store says of it; raises UnreadableObject, StoreUnavailable."""


def read_again(
    store: VerifyingStore, letter: Letter, *, max_inflated: int, max_records: int, max_record_bytes: int | None
) -> FileNow:
    """Read the version of the object that a letter names, and pick out the records that were rejected.

    Inflates at most `max_inflated` bytes. Returns at most `max_records` records, and `max_record_bytes` bytes of each
    (None for all). Raises StoreUnavailable.
    """
    (ref,) = letter.objects
    try:
        file = split_records(inflate(store.fetch_verified(ref, max_inflated).content, max_inflated))
    except UnreadableObject as problem:
        return FileNow(0, problem.reason, problem.detail, [])
    rejected = [
        _rejected_record(file.records, position, reason, max_record_bytes)
        for position, reason in letter.rejected[:max_records]
    ]
    if file.problem is None:
        return FileNow(len(file.records), None, None, rejected)
    return FileNow(len(file.records), file.problem.reason, file.problem.detail, rejected)


def _rejected_record(
    records: list[msgspec.Raw | bytes], position: int, reason: str, max_bytes: int | None
) -> RejectedRecord:
    if not 0 <= position < len(records):
        return RejectedRecord(position, reason, None, None, cut=False)
    record = bytes(records[position])
    shown = record[:max_bytes]
    text = shown.decode("utf-8", "backslashreplace")
    return RejectedRecord(position, reason, len(record), text, cut=len(shown) < len(record))


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
    def of(cls, letter: Letter, assessment: Assessment, now: float, file: FileNow | None) -> LetterDetail:
        """Describe a letter as it is at `now`, in epoch seconds."""
        ref = letter.objects[0] if len(letter.objects) == 1 else None
        return cls(
            LetterView.of(letter, now),
            MEANINGS.get(letter.reason, "a reason that this version of trailsink does not know"),
            letter.source or None,
            letter.attribute("trailsink_version") or None,
            ref.etag if ref else None,
            ref.size if ref else None,
            ref.version_id if ref else None,
            assessment.action,
            assessment.why,
            {name: attribute.value for name, attribute in letter.attributes.items()},
            letter.body,
            file,
        )
