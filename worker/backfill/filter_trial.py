"""Tries a filter on files, of a bucket or a folder: the same counts as on the index, of events that are in no index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from worker.cloudtrail.filters.trial import SelectorCounts, TrialCounts
from worker.cloudtrail.keys import delivered_at
from worker.cloudtrail.records import FilteredRecord, filter_record
from worker.cutoff import Cutoff
from worker.errors import NoEvents, UnreadableObject
from worker.pipeline.accounting import FileTally
from worker.pipeline.deadline import Deadline
from worker.pipeline.objects import ObjectRef
from worker.pipeline.reader import FileReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from worker.cloudtrail.filters.matching import RecordFilter
    from worker.cloudtrail.records import Record
    from worker.pipeline.limits import Limits
    from worker.pipeline.ports import Store

_SECONDS = 60.0  # for one file


class _Named(msgspec.Struct):
    eventSource: object = ""  # noqa: N815 - CloudTrail's names
    eventName: object = ""  # noqa: N815


_NAMES = msgspec.json.Decoder(_Named)


class FileTrial:
    """Counts what a filter would leave out of files; a file that is loaded twice counts twice."""

    def __init__(
        self, store: Store, bucket: str, limits: Limits, record_filter: RecordFilter, now: Callable[[], datetime]
    ) -> None:
        self._store, self._bucket, self._limits, self._filter = store, bucket, limits, record_filter
        self._reader = FileReader(limits, Deadline(lambda: _SECONDS, 0.0), now)
        self.counts = TrialCounts({name: SelectorCounts() for name in record_filter.selectors.names})
        self.files = self.unreadable = 0

    def add(self, key: str) -> None:
        """Count the events of a file; raises StoreUnavailable."""
        ref = ObjectRef(self._bucket, key)
        try:
            fetched = self._store.fetch(ref, self._limits.max_inflated_bytes, Cutoff(_SECONDS))
            records = self._reader.read(FileTally(ref, delivered_at(key)), fetched)
        except (NoEvents, UnreadableObject):
            self.unreadable += 1
            return
        self.files += 1
        for record in records:
            self._add(record)

    def _add(self, record: Record) -> None:
        size = len(memoryview(record.raw))
        self.counts.events += 1
        self.counts.bytes += size
        result = filter_record(record, self._filter)
        if isinstance(result, FilteredRecord):
            counts = self.counts.selectors[result.selector]
            counts.events += 1
            counts.bytes += size
            named = _NAMES.decode(bytes(record.raw))
            counts.names[str(named.eventSource), str(named.eventName)] += 1
