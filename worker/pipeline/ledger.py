"""The ledger: one small document for each file that is done, written before its message is acknowledged.

It says of a file what a CloudTrail digest says of it, the SHA-256 of its inflated bytes, and what became of its
records. docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from worker import __version__
from worker.cloudtrail.identity import compact_ids
from worker.cloudtrail.keys import LogFile, classify, parse_name
from worker.cloudtrail.lenient_json import encodable
from worker.errors import Reason
from worker.humanize import iso_seconds
from worker.pipeline.accounting import FileOutcome
from worker.pipeline.bulk import ACCEPTED, cut_requests
from worker.pipeline.documents import Action, Form
from worker.pipeline.reader import is_plausible_delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from worker.pipeline.accounting import FileTally
    from worker.pipeline.deadline import Deadline
    from worker.pipeline.limits import Limits
    from worker.pipeline.ports import Index

_INDEX = "trailsink-files-"

# The reason of a file whose dead letter an operator discarded.
DISCARDED = "discarded"

# A file that ends otherwise holds no events, or comes again. One of a bucket that may not be read is nobody's to prove.
_RECORDED = (FileOutcome.INDEXED, FileOutcome.DEAD_LETTER)


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the ledger says of one file.

    `sha256` is of all inflated bytes, "" where the file could not be inflated. `reason` is that of its dead letter, ""
    for a file that is indexed. Times are ISO 8601 in UTC. `filtered` counts the records that selectors left out,
    `filtered_by` those of each by its name, and `selectors` is the digest of the selectors, "" where none were set.
    """

    object: str
    read: int
    indexed: int
    duplicate: int
    degraded: int
    rejected: int
    filtered: int = 0
    recorded_at: str
    version: str
    delivered_at: str
    kind: str = ""
    account: str = ""
    region: str = ""
    version_id: str = ""
    etag: str = ""
    sha256: str = ""
    stored_bytes: int = 0
    inflated_bytes: int = 0
    first_event: str = ""
    last_event: str = ""
    reason: str = ""
    selectors: str = ""
    filtered_by: dict[str, int] = msgspec.field(default_factory=dict)

    @property
    def id(self) -> str:
        """The document id: the same object with the same content has one document, and one more per reason.

        It has one more for each set of selectors that left records out: what a file created is the sum of all.
        """
        return entry_id(self.object, self.sha256, self.reason, self.selectors if self.filtered else "")

    @property
    def is_discarded(self) -> bool:
        """Whether it says that the file's dead letter was discarded."""
        return self.reason == DISCARDED

    @property
    def created(self) -> int:
        """How many documents its records created: those of a duplicate lie under another file's name."""
        return self.indexed + self.degraded


def ledger_pattern(prefix: str) -> str:
    """Return the pattern of a prefix's ledger; the pattern of its events, `{prefix}-*`, does not match it."""
    return f"{_INDEX}{prefix}-*"


def ledger_index(prefix: str, delivered_at: str) -> str:
    """Return the index of a file by its time of delivery, ISO 8601 text."""
    return f"{_INDEX}{prefix}-{delivered_at[:7]}"


def mixes_with_ledger(prefix: str) -> bool:
    """Return whether the pattern of a prefix's events would match a ledger."""
    return f"{prefix}-".startswith(_INDEX) or _INDEX.startswith(f"{prefix}-")


def entry_id(uri: str, digest: str, reason: str = "", selectors: str = "") -> str:
    """Return the id of a file's document: of its address, the SHA-256 of its content, and its dead letter's reason.

    `selectors` is the digest of the selectors that left some of its records out, "" where none did.
    """
    parts = [uri, digest, reason, *filter(None, [selectors])]
    (id_,) = compact_ids(["\n".join(parts).encode()])
    return id_.decode()


def make_entry(tally: FileTally, now: datetime) -> LedgerEntry:
    """Return what the ledger says of a file that is done."""
    name, kind = parse_name(tally.ref.key), classify(tally.ref.key)
    return LedgerEntry(
        object=encodable(tally.ref.uri),
        read=tally.read,
        indexed=tally.indexed,
        duplicate=tally.duplicate,
        degraded=tally.degraded,
        rejected=tally.rejected,
        recorded_at=iso_seconds(now),
        version=__version__,
        delivered_at=iso_seconds(_delivered_at(tally.delivered_at, now)),
        kind=kind.kind if isinstance(kind, LogFile) else "",
        account=name.account if name else "",
        region=name.region if name else "",
        version_id=encodable(tally.ref.version_id or ""),
        etag=encodable(tally.ref.etag or ""),
        sha256=tally.sha256,
        stored_bytes=tally.stored_bytes,
        inflated_bytes=tally.inflated_bytes,
        first_event=tally.oldest_event or "",
        last_event=tally.newest_event or "",
        reason=tally.reason,
        filtered=tally.filtered,
        selectors=tally.selectors_digest,
        filtered_by=dict(tally.filtered_by),
    )


def _delivered_at(delivered_at: datetime | None, now: datetime) -> datetime:
    """Return a time of delivery that can be true: a name can say anything, and would name an index."""
    return delivered_at if delivered_at and is_plausible_delivery(delivered_at, now) else now


def to_action(entry: LedgerEntry, prefix: str, number: int) -> Action:
    """Return the bulk action that creates a file's document; `number` is the file's in its batch."""
    address = {"_index": ledger_index(prefix, entry.delivered_at), "_id": entry.id}
    lines = b"%b\n%b\n" % (msgspec.json.encode({"create": address}), msgspec.json.encode(entry))
    # It has no simpler form.
    return Action(number, 0, lines, 0, 0, 0, form=Form.DEGRADED)


class Ledger:
    """Writes the documents of a batch's files; `now` is the wall clock in UTC, `monotonic` a clock in seconds."""

    def __init__(
        self, index: Index, limits: Limits, *, now: Callable[[], datetime], monotonic: Callable[[], float]
    ) -> None:
        self._index, self._limits, self._now, self._monotonic = index, limits, now, monotonic

    def record(self, tallies: Sequence[FileTally], deadline: Deadline) -> None:
        """Write a document for each file that is done; a file whose document is not written has to go back.

        It is one request, unless a batch has thousands of files.
        """
        if not self._limits.ledger or not deadline.may_record:
            return
        started, seconds = self._monotonic(), deadline.record_seconds()

        def remaining() -> float:
            return seconds - (self._monotonic() - started)

        for request in cut_requests(self._actions(tallies), self._limits.bulk_bytes, self._limits.bulk_actions):
            result = self._index.deliver(request, remaining)
            for action, outcome in zip(request, result.outcomes, strict=True):
                if outcome.verdict not in ACCEPTED:
                    tallies[action.file].unavailable = f"ledger:{outcome.cause or result.stop_reason or 'no_answer'}"

    def _actions(self, tallies: Sequence[FileTally]) -> Iterator[Action]:
        now = self._now()
        for number, tally in enumerate(tallies):
            if tally.outcome in _RECORDED and tally.reason != Reason.FOREIGN_BUCKET:
                yield to_action(make_entry(tally, now), self._limits.index_prefix, number)
