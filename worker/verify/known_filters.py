"""Which records without a document are rightly missing: those that the filters of all loads of their file left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.cloudtrail.records import FilteredRecord, filter_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from worker.cloudtrail.filters.matching import RecordFilter
    from worker.pipeline.accounting import FileTally
    from worker.pipeline.ledger import LedgerEntry
    from worker.verify.deep import RecordCheck


class KnownFilters:
    """The filters whose selectors are known, by their digests; `active` is the one that is set now."""

    def __init__(self, filters: Iterable[RecordFilter] = (), active: RecordFilter | None = None) -> None:
        self._filters = {record_filter.digest: record_filter for record_filter in filters}
        self._active = active
        if active:
            self._filters[active.digest] = active

    @property
    def active_digest(self) -> str:
        """The digest of the filter that is set now, "" for none."""
        return self._active.digest if self._active else ""

    def judge(
        self, without: Sequence[RecordCheck], entries: Sequence[LedgerEntry]
    ) -> tuple[list[RecordCheck], list[str]]:
        """Return which records without a document no filter left out, and the digests of unknown selectors.

        Each load of a file indexes what its own selectors do not match, so a record is only missing rightly when all of
        them match it. Without an entry of the ledger, the filter that is set now is held against it.
        """
        if not without:
            return [], []
        digests = {entry.selectors if entry.filtered else "" for entry in entries}
        filters = [self._filters.get(digest) for digest in digests] if entries else [self._active]
        if "" in digests or (not entries and self._active is None):
            return list(without), []
        known = [record_filter for record_filter in filters if record_filter]
        unexplained = [check for check in without if not _is_left_out(check, known)]
        unknown = sorted(digests - set(self._filters))
        if not unexplained and unknown and len(without) > min(entry.filtered for entry in entries):
            unexplained = list(without)  # more than were counted
        return unexplained, unknown

    def count(self, without: Sequence[RecordCheck], tally: FileTally) -> None:
        """Count records that the filter that is set now left out."""
        if self._active is None:
            return
        tally.selectors_digest = self._active.digest
        for check in without:
            result = filter_record(check.record, self._active) if check.record else None
            if isinstance(result, FilteredRecord):
                tally.filtered_by[result.selector] += 1


def _is_left_out(check: RecordCheck, filters: Sequence[RecordFilter]) -> bool:
    return check.record is not None and all(
        isinstance(filter_record(check.record, record_filter), FilteredRecord) for record_filter in filters
    )
