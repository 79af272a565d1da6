"""From the files of a batch to a stream of actions: fetch, read, look twice at what seems damaged, name the index."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from worker.cloudtrail.keys import is_marker, is_query_result
from worker.cutoff import Cutoff
from worker.errors import DOUBTFUL, NoEvents, OutOfTime, Reason, StoreUnavailable, Unavailable, UnreadableObject
from worker.pipeline.deadline import DEADLINE
from worker.pipeline.documents import to_actions
from worker.pipeline.ports import MISMATCH
from worker.pipeline.prefetch import Prefetcher
from worker.pipeline.reader import BYTES_PER_CLOCK_CHECK, FileReader

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from concurrent.futures import Executor
    from contextlib import AbstractContextManager
    from datetime import datetime

    from worker.cloudtrail.filters.matching import RecordFilter
    from worker.cloudtrail.records import Record
    from worker.pipeline.accounting import FileTally
    from worker.pipeline.deadline import Deadline
    from worker.pipeline.documents import Action
    from worker.pipeline.limits import Limits
    from worker.pipeline.ports import Store
    from worker.pipeline.prefetch import Prefetch

CRASH = "crash"

# A whole file of another format, not a damaged log file.
_NO_LOG_FILE = (Reason.EMPTY, Reason.NOT_JSON, Reason.NO_RECORDS)

_SECOND_LOOK_SECONDS = 30.0


class ActionStream:
    """The actions of all files of one batch, in the order in which the files arrive.

    `crash_guard` takes what to do after a fault of ours, and reports it.
    """

    def __init__(  # noqa: PLR0913 - a neighbour, its threads and bounds, and what the batch lends
        self,
        store: Store,
        pool: Executor,
        limits: Limits,
        deadline: Deadline,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        crash_guard: Callable[[Callable[[], object]], AbstractContextManager[None]],
        record_filter: RecordFilter | None = None,
    ) -> None:
        self._store, self._limits, self._deadline, self._monotonic = store, limits, deadline, monotonic
        self._crash_guard = crash_guard
        self._reader = FileReader(limits, deadline, now, record_filter)
        self._prefetcher = Prefetcher(
            store,
            pool,
            limits,
            deadline,
            monotonic=monotonic,
            crash_guard=partial(crash_guard, lambda: None),  # nothing to mark: the object is fetched
        )
        self.ignored: Counter[str] = Counter()
        self.read_seconds = 0.0

    @property
    def abandoned(self) -> int:
        """How many threads did not end with the batch."""
        return self._prefetcher.abandoned

    def actions(self, tallies: Sequence[FileTally]) -> Generator[Action | None, None, None]:
        """Yield the actions of all files; None when no more come for a while."""
        for prefetch in self._prefetcher.arrivals(tallies):
            if prefetch is None:
                yield None
                continue
            with self._crash_guard(partial(_mark_crashed, prefetch.tally)):
                yield from self._actions_of(prefetch)

    def _actions_of(self, prefetch: Prefetch) -> Iterator[Action]:
        tally, started = prefetch.tally, self._monotonic()
        try:
            records = self._read(prefetch)
            naming = self._reader.index_naming(tally)
            naming.check(records)
        except Unavailable as cause:
            tally.unavailable = str(cause)
            return
        except (NoEvents, UnreadableObject) as cause:
            self._refuse(tally, cause)
            return
        self.read_seconds += self._monotonic() - started
        size = 0
        for action in to_actions(records, prefetch.index, self._reader.provenance(tally), naming):
            size += len(action.lines)
            if size > BYTES_PER_CLOCK_CHECK:
                size = 0
                if not self._deadline.may_send():
                    tally.unavailable = self._deadline.stop_reason or DEADLINE
                    return
            yield action
        tally.complete = True

    def _read(self, prefetch: Prefetch) -> list[Record]:
        tally, problem = prefetch.tally, None
        try:
            records = self._reader.read(tally, prefetch.take())
            problem = tally.problem
        except UnreadableObject as cause:
            records, problem = [], cause
        if problem is None:
            return records
        if problem.reason in DOUBTFUL and not isinstance(_no_events(tally.ref.key, problem), NoEvents):
            del records
            return self._read_again(tally, problem)
        if records:
            return records
        raise problem

    def _read_again(self, tally: FileTally, problem: UnreadableObject) -> list[Record]:
        """Read a file once more before its dead letter; raises StoreUnavailable when it is another file this time."""
        first = tally.stored_bytes, problem.reason, problem.detail
        tally.clear()
        if self._deadline.must_stop():
            raise OutOfTime(self._deadline.stop_reason)
        cutoff = Cutoff(min(_SECOND_LOOK_SECONDS, self._deadline.seconds()))
        fetched = self._store.fetch_verified(tally.ref, self._limits.max_inflated_bytes, cutoff)
        try:
            records = self._reader.read(tally, fetched)
        except UnreadableObject as cause:
            self._compare(first, tally, cause)
            raise
        if tally.problem:
            self._compare(first, tally, tally.problem)
        return records

    @staticmethod
    def _compare(first: tuple[int, Reason, str], tally: FileTally, problem: UnreadableObject) -> None:
        if first != (tally.stored_bytes, problem.reason, problem.detail):
            raise StoreUnavailable(MISMATCH) from problem

    def _refuse(self, tally: FileTally, cause: NoEvents | UnreadableObject) -> None:
        match _no_events(tally.ref.key, cause):
            case NoEvents(name=name):
                self.ignored[name] += 1
                tally.ignore(name)
            case UnreadableObject() as problem:
                tally.refuse(problem)


def _no_events(key: str, cause: NoEvents | UnreadableObject) -> NoEvents | UnreadableObject:
    """Return NoEvents where the key of an unreadable object shows that it was never a log file."""
    if isinstance(cause, UnreadableObject):
        if cause.reason is Reason.EMPTY and is_marker(key):
            return NoEvents("folder_marker")  # its notification did not say that it is empty
        if cause.reason in _NO_LOG_FILE and is_query_result(key):
            return NoEvents("query_result")
    return cause


def _mark_crashed(tally: FileTally) -> None:
    tally.unavailable = CRASH
