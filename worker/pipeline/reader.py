"""One file's records: its bytes are inflated, split and validated, within the deadline of the batch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from worker.cloudtrail.inflate import inflate
from worker.cloudtrail.records import FilteredRecord, Rejection, read_records
from worker.cloudtrail.split import split_records
from worker.errors import OutOfTime
from worker.humanize import iso_seconds
from worker.pipeline.documents import FIRST_EVENT, NO_EVENT, IndexNaming, Provenance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import msgspec

    from worker.cloudtrail.filters.matching import RecordFilter
    from worker.cloudtrail.records import Record
    from worker.pipeline.accounting import FileTally
    from worker.pipeline.deadline import Deadline
    from worker.pipeline.limits import Limits
    from worker.pipeline.objects import FetchedObject

# How much is read between two looks at the clock. A good record is read in microseconds; one that msgspec refuses takes
# a second a MiB, so their bytes count, not their number.
_RECORDS_PER_CLOCK_CHECK = 4_096
BYTES_PER_CLOCK_CHECK = 256 << 10

# CloudTrail delivers within minutes, and tries again for 30 days. An older event has a wrong time, if the file's name
# says when it was delivered. Without this bound, a few made-up files could create an index for every day since 2013.
_OLDEST_EVENT = timedelta(days=30)

# CloudTrail's first month: a file name with an earlier date is not CloudTrail's.
_FIRST_FILES = datetime(2013, 11, 1, tzinfo=UTC)


class FileReader:
    """Reads the files of one batch, without the records that `record_filter` matches; `now` is the time in UTC."""

    def __init__(
        self,
        limits: Limits,
        deadline: Deadline,
        now: Callable[[], datetime],
        record_filter: RecordFilter | None = None,
    ) -> None:
        self._limits, self._deadline, self._now, self._filter = limits, deadline, now, record_filter

    def read(self, tally: FileTally, fetched: FetchedObject) -> list[Record]:
        """Return the records of a file, and count in its tally what was read, rejected and filtered.

        Raises UnreadableObject, and OutOfTime when the batch has to stop. The caller must not hold `fetched`: memory is
        one file's text.
        """
        if not (tally.delivered_at and is_plausible_delivery(tally.delivered_at, fetched.modified_at)):
            # A name can say anything; S3's own time is later than the truth.
            tally.delivered_at, tally.dated_by_name = fetched.modified_at, False
        tally.stored_bytes = len(fetched.content)
        text = inflate(fetched.content, self._limits.max_inflated_bytes)
        del fetched
        tally.inflated_bytes, tally.note, tally.unchecked = len(text.content), text.note, text.truncated
        tally.sha256 = text.sha256
        raws = split_records(text, lambda: not self._deadline.must_stop())
        tally.problem, tally.read = raws.problem, len(raws.records)
        tally.selectors_digest = self._filter.digest if self._filter else ""
        records: list[Record] = []
        for first, group in _groups(raws.records):
            if self._deadline.must_stop():
                raise OutOfTime(self._deadline.stop_reason)
            for record in read_records(
                group,
                first,
                max_depth=self._limits.max_depth,
                max_bytes=self._limits.bulk_max_bytes,
                record_filter=self._filter,
            ):
                if isinstance(record, Rejection):
                    tally.reject(record.position, record.reason)
                elif isinstance(record, FilteredRecord):
                    tally.filtered_by[record.selector] += 1
                else:
                    records.append(record)
        times = {record.time for record in records if record.time}
        tally.oldest_event, tally.newest_event = min(times, default=None), max(times, default=None)
        return records

    def provenance(self, tally: FileTally) -> Provenance:
        """Return what the documents of a file say of where they came from."""
        now = self._now()
        return Provenance(tally.ref.uri, iso_seconds(tally.delivered_at or now), iso_seconds(now), tally.unchecked)

    def index_naming(self, tally: FileTally) -> IndexNaming:
        """Return how the indices of a file's records are named."""
        earliest, latest = FIRST_EVENT, NO_EVENT
        # Compared with the file's own time, not the clock's: delivered again next week, a record goes where it went.
        delivered = tally.delivered_at or self._now()
        if tally.delivered_at and tally.dated_by_name:
            earliest = max(FIRST_EVENT, iso_seconds(tally.delivered_at - _OLDEST_EVENT))
            latest = iso_seconds(tally.delivered_at + timedelta(days=1))
        limits = self._limits
        return IndexNaming(
            limits.index_prefix,
            limits.index_partition,
            earliest,
            latest,
            max_indices=limits.max_days_per_file,
            delivered=iso_seconds(delivered),
        )


def is_plausible_delivery(delivered_at: datetime, latest: datetime) -> bool:
    """Return whether a file can have been delivered then: not before CloudTrail's first, and a day at most after."""
    return _FIRST_FILES <= delivered_at <= latest + timedelta(days=1)


def _groups(raws: list[msgspec.Raw | bytes]) -> Iterator[tuple[int, list[msgspec.Raw | bytes]]]:
    """Cut records into groups of bounded number and bytes, each with the position of its first."""
    first = size = 0
    for place, raw in enumerate(raws):
        size += len(memoryview(raw))
        if size >= BYTES_PER_CLOCK_CHECK or place + 1 - first == _RECORDS_PER_CLOCK_CHECK:
            yield first, raws[first : place + 1]
            first, size = place + 1, 0
    if first < len(raws):
        yield first, raws[first:]
