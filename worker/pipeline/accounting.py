"""The accounts of a batch: what became of each record, each file and the batch as a whole."""

from __future__ import annotations

from collections import Counter
from datetime import datetime  # noqa: TC003 - msgspec needs it at runtime
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from worker.errors import Reason, UnreadableObject
from worker.pipeline.bulk import UNINDEXABLE, Verdict
from worker.pipeline.objects import ObjectRef  # noqa: TC001

if TYPE_CHECKING:
    from worker.pipeline.bulk import DeliveryResult, Outcome

# Rejected records that a dead letter can name: more than fit into its attribute anyway.
_NAMED_REJECTIONS = 1_000


class FileOutcome(StrEnum):
    """How one object that was read ended."""

    INDEXED = "indexed"
    HANDED_BACK = "handed_back"
    DEAD_LETTER = "dead_letter"
    IGNORED = "ignored"  # its content is no log file's, and holds no events


class FileTally(msgspec.Struct):
    """The account of one object in one batch; once done, its records are in balance.

    read = indexed + duplicate + degraded + rejected + filtered
    """

    ref: ObjectRef
    delivered_at: datetime | None
    read: int = 0
    indexed: int = 0
    duplicate: int = 0
    degraded: int = 0
    rejected: int = 0
    complete: bool = False  # all its records are read, and handed on
    problem: UnreadableObject | None = None
    unavailable: str = ""  # why it has to go back
    ignored: str = ""  # the name under which it is ignored
    note: str = ""
    rejections: list[tuple[int, str]] = msgspec.field(default_factory=list)
    unproven: list[tuple[int, str]] = msgspec.field(default_factory=list)  # refused, perhaps not for their content
    fetch_seconds: float = 0.0
    stored_bytes: int = 0
    inflated_bytes: int = 0
    sha256: str = ""  # of all inflated bytes, in hexadecimal
    oldest_event: str | None = None  # ISO 8601 in UTC
    newest_event: str | None = None
    dated_by_name: bool = True  # whether `delivered_at` is from the key, not from S3's time of the object
    unchecked: bool = False  # the gzip stream ended before its checksum
    filtered_by: Counter[str] = msgspec.field(default_factory=Counter)  # records left out, by the selector's name
    selectors_digest: str = ""  # of the selectors that it was held against, "" for none

    def record(self, position: int, outcome: Outcome) -> None:
        """Count the outcome of one record."""
        match outcome.verdict:
            case Verdict.INDEXED:
                self.indexed += 1
            case Verdict.DUPLICATE:
                self.duplicate += 1
            case Verdict.DEGRADED:
                self.degraded += 1
            case Verdict.REJECTED:
                self.reject(position, outcome.cause)
            case Verdict.UNAVAILABLE:
                self.unavailable = self.unavailable or outcome.cause

    def reject(self, position: int, reason: str) -> None:
        """Count one rejected record."""
        self.rejected += 1
        if len(self.rejections) < _NAMED_REJECTIONS:
            self.rejections.append((position, reason))

    @property
    def filtered(self) -> int:
        """How many records selectors left out."""
        return self.filtered_by.total() if self.filtered_by else 0

    def judge_unproven(self, *, rejected: bool) -> None:
        """Count the records that were refused without proof: as rejected, or the file goes back."""
        for position, cause in self.unproven:
            if rejected:
                self.reject(position, cause)
            else:
                self.unavailable = self.unavailable or cause
        self.unproven.clear()

    @property
    def rejection_reason(self) -> Reason:
        """The reason of a dead letter for rejected records."""
        lost = any(cause == UNINDEXABLE for _, cause in self.rejections)
        return Reason.UNINDEXABLE if lost else Reason.RECORDS_REJECTED

    def refuse(self, problem: UnreadableObject) -> None:
        """Count the object as refused whole: none of its records is handed on."""
        self.problem, self.read, self.rejected = problem, 0, 0
        self.rejections.clear()
        self.filtered_by.clear()

    def ignore(self, name: str) -> None:
        """Count the object as one that holds no events."""
        self.ignored, self.complete = name, True

    def clear(self) -> None:
        """Forget what was read: the file is read once more."""
        self.problem, self.note, self.sha256, self.oldest_event, self.newest_event = None, "", "", None, None
        self.read = self.rejected = self.stored_bytes = self.inflated_bytes = 0
        self.rejections.clear()
        self.filtered_by.clear()

    @property
    def is_balanced(self) -> bool:
        """Whether every record has an outcome: the invariant."""
        outcomes = self.indexed + self.duplicate + self.degraded + self.rejected + self.filtered
        return self.complete and self.read == outcomes

    @property
    def outcome(self) -> FileOutcome:
        """How the object ended, as far as is known now: handed back unless all of it is accounted for."""
        if self.unavailable or not (self.is_balanced or (self.problem and not self.read)):
            return FileOutcome.HANDED_BACK
        if self.ignored:
            return FileOutcome.IGNORED
        return FileOutcome.DEAD_LETTER if self.problem or self.rejected else FileOutcome.INDEXED

    @property
    def reason(self) -> str:
        """Why it did not end well, "" if it did."""
        match self.outcome:
            case FileOutcome.HANDED_BACK:
                return self.unavailable
            case FileOutcome.DEAD_LETTER:
                return self.problem.reason if self.problem else self.rejection_reason
            case _:
                return ""


class BatchStats(msgspec.Struct):
    """What one batch cost: requests, bytes, and seconds by stage (stages overlap, so they can add up to more).

    For an object whose GET was sent ahead, `fetch_seconds` are those in which nothing else was done.
    """

    bulk_requests: int = 0
    bulk_retries: int = 0
    bulk_throttled: int = 0
    bulk_bytes: int = 0
    fetch_seconds: float = 0.0
    read_seconds: float = 0.0
    send_seconds: float = 0.0
    total_seconds: float = 0.0

    def add(self, result: DeliveryResult) -> None:
        """Count what one bulk request cost."""
        self.bulk_requests += result.requests
        self.bulk_retries += result.retries
        self.bulk_throttled += result.throttled
        self.bulk_bytes += result.wire_bytes
        self.send_seconds += result.seconds


class BatchResult(msgspec.Struct, frozen=True):
    """What became of a batch: `failed` are the ids of the messages that must stay in the queue.

    `malformed` holds (message id, detail); `dead_letters_unsent` says why dead letters could not be sent.
    """

    failed: tuple[str, ...]
    messages: int
    files: tuple[FileTally, ...]
    ignored: Counter[str]
    malformed: tuple[tuple[str, str], ...]
    dead_letters: int
    crashes: tuple[str, ...]
    dead_letters_unsent: tuple[str, ...]
    stats: BatchStats
    ended_at: datetime
