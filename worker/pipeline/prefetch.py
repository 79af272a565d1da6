"""Fetches objects a little before they are read: a bounded number, a bounded number of bytes, a bounded time each."""

from __future__ import annotations

from collections import deque
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from worker.cutoff import Cutoff
from worker.errors import OutOfTime, Reason, StoreUnavailable, UnreadableObject
from worker.pipeline.deadline import DEADLINE
from worker.pipeline.ports import SLOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Executor, Future
    from contextlib import AbstractContextManager

    from worker.pipeline.accounting import FileTally
    from worker.pipeline.deadline import Deadline
    from worker.pipeline.limits import Limits
    from worker.pipeline.objects import FetchedObject
    from worker.pipeline.ports import PendingGet, Store

# An object of at most this size waits in a socket's buffer until it is read: Linux starts with 128 KiB, of which half
# may be data (docs.kernel.org/networking/ip-sysctl.html, tcp_rmem and tcp_adv_win_scale).
_SMALL_BYTES = 64 << 10

# One fetch may take this long, and longer the more bytes it has to bring, but never more than this share of the batch.
# S3 brings a first byte in 200 ms and some tens of MiB a second; a thousandth of that is an outage.
# docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html
_GRACE_SECONDS = 15.0
_FLOOR_BYTES_PER_SECOND = 64 << 10
_FETCH_SHARE = 1 / 3

# A small object whose response has begun is in the socket's buffer: whoever drips is left to a thread.
_READ_SECONDS = 0.25
# A GET on a kept connection without any response is sent again on a new one: something between forgot the connection.
_SILENT_SECONDS = 3.0

# How long to wait for objects before what was read is sent.
_LINGER_SECONDS = 1.0
# Short, so that a stop is noticed; shorter where both sockets and threads are waited for.
_WAIT_SECONDS, _FIRST_SECONDS, _ALTERNATE_SECONDS = 0.1, 0.05, 0.02
# How long threads may take to end once their connections are shut down.
_END_SECONDS = 1.0
# A thread that looks up a name, or pauses between two of botocore's attempts, has no connection.
_OVERDUE_SECONDS = 3.0


class Prefetch:
    """One object on its way, by a thread or by a GET that was sent. `index` is its place among the files of the batch.

    The content waits here and not in the Future, which would keep it alive while the file is being sent: the memory
    budget has no room for that.
    """

    def __init__(self, index: int, tally: FileTally, size: int, started: float) -> None:
        self.index, self.tally, self.size, self.started = index, tally, size, started
        self.future: Future[None] | None = None
        self.cutoff: Cutoff | None = None
        self.cut_at = 0.0  # when its time was over
        self.pending: PendingGet | None = None
        self.content: FetchedObject | None = None
        self.failure: BaseException | None = None

    def take(self) -> FetchedObject:
        """Return the object and forget it; raises what kept it from coming."""
        content, self.content = self.content, None
        if content is None:
            raise self.failure or OutOfTime(DEADLINE)
        return content

    def cancel(self) -> None:
        """Abandon it; a thread that fetches it ends at once."""
        if self.cutoff:
            self.cutoff.cut()
        if self.future:
            self.future.cancel()
        elif self.pending:
            self.pending.cancel()


class FetchBounds:
    """How many objects, how many bytes and how long; `seconds` are those of the batch."""

    def __init__(self, limits: Limits, seconds: float) -> None:
        self._limits, self._longest = limits, max(0.0, seconds) * _FETCH_SHARE

    def has_room(self, active: Sequence[Prefetch], tally: FileTally) -> bool:
        """Return whether one more may be fetched beside those."""
        if not active:
            return True
        total = sum(prefetch.size for prefetch in active) + self.expected_bytes(tally)
        return len(active) < self._limits.fetch_ahead and total <= self._limits.fetch_ahead_bytes

    def expected_bytes(self, tally: FileTally) -> int:
        """Return the size of an object as announced; all that may be fetched ahead where that is not known."""
        size = tally.ref.size
        return self._limits.fetch_ahead_bytes if size is None else size

    def read_limit(self, prefetch: Prefetch) -> int:
        """Return what one fetch may read while others are held: what was announced, or all that is fetched ahead."""
        return min(self._limits.max_inflated_bytes, max(self._limits.fetch_ahead_bytes, prefetch.size))

    def seconds(self, prefetch: Prefetch) -> float:
        """Return how long one fetch may take."""
        size = min(prefetch.size, self._limits.max_inflated_bytes)  # a notification can say anything
        return min(self._longest, _GRACE_SECONDS + size / _FLOOR_BYTES_PER_SECOND)

    def is_oversized(self, prefetch: Prefetch) -> bool:
        """Return whether a fetch failed because the object is larger than announced: alone it may be read."""
        failure = prefetch.failure
        too_large = isinstance(failure, UnreadableObject) and failure.reason is Reason.TOO_LARGE
        return too_large and self.read_limit(prefetch) < self._limits.max_inflated_bytes


class Prefetcher:
    """Fetches the objects of one batch; `pool` runs the fetches that wait in a thread.

    A fault of ours inside `crash_guard` is reported, and costs nothing: the object is fetched in a thread.
    """

    def __init__(  # noqa: PLR0913 - a neighbour, its threads and bounds, and what the batch lends
        self,
        store: Store,
        pool: Executor,
        limits: Limits,
        deadline: Deadline,
        *,
        monotonic: Callable[[], float],
        crash_guard: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._store, self._pool, self._limits = store, pool, limits
        self._deadline, self._monotonic, self._crash_guard = deadline, monotonic, crash_guard
        self._bounds = FetchBounds(limits, deadline.seconds())
        self._active: list[Prefetch] = []
        self._oversized: deque[Prefetch] = deque()
        self.abandoned = 0  # threads that did not end with the batch

    def arrivals(self, tallies: Iterable[FileTally]) -> Iterator[Prefetch | None]:
        """Yield each object when it has arrived, or failed; None when none has arrived for a while.

        The next ones are on their way meanwhile. One that is slow delays no other.
        """
        waiting = deque(enumerate(tallies))
        waited = 0.0
        try:
            while (waiting or self._active or self._oversized) and not self._deadline.must_stop():
                while waiting and self._has_room(waiting[0][1]):
                    self._active.append(self._start(*waiting.popleft()))
                self._start_oversized()
                started = self._monotonic()
                if prefetch := self._next():
                    waited = 0.0
                    yield prefetch
                    continue
                before, waited = waited, waited + self._monotonic() - started
                if before < _LINGER_SECONDS <= waited:
                    yield None
        finally:
            self._end()

    def _has_room(self, tally: FileTally) -> bool:
        waits = self._oversized or self._deadline.must_stop()
        return not waits and self._bounds.has_room(self._active, tally)

    def _start(self, index: int, tally: FileTally) -> Prefetch:
        prefetch = Prefetch(index, tally, self._bounds.expected_bytes(tally), self._monotonic())
        limit = self._bounds.read_limit(prefetch)
        if prefetch.size <= _SMALL_BYTES:
            with self._crash_guard(), _timed(tally, self._monotonic):
                prefetch.pending = self._store.start_get(tally.ref, limit)
        if prefetch.pending is None:
            self._submit(prefetch, partial(self._store.fetch, tally.ref, limit))
        return prefetch

    def _start_oversized(self) -> None:
        """Fetch an object that is larger than its notification said, once more and alone."""
        if self._oversized and not self._active:
            prefetch = self._oversized.popleft()
            prefetch.size = self._limits.max_inflated_bytes
            self._submit(prefetch, partial(self._store.fetch, prefetch.tally.ref, prefetch.size))
            self._active.append(prefetch)

    def _submit(self, prefetch: Prefetch, fetch: Callable[[Cutoff], FetchedObject]) -> None:
        prefetch.cutoff = Cutoff(self._bounds.seconds(prefetch), timed=False)  # `_is_fetched` and `_end` cut it
        prefetch.future = self._pool.submit(self._fetch, prefetch, partial(fetch, prefetch.cutoff))

    def _fetch(self, prefetch: Prefetch, fetch: Callable[[], FetchedObject]) -> None:
        with _timed(prefetch.tally, self._monotonic):
            prefetch.content = fetch()

    def _next(self) -> Prefetch | None:
        """Return an object that has arrived; waits a moment where none has, and returns None after that."""
        if not self._active:
            return None
        # Nearly always the first one that was started; else any that a thread has brought.
        if prefetch := self._finish(self._active[0], ()) or self._first_finished(()):
            return prefetch
        futures, gets = self._futures(), self._pending_gets()
        ready = self._store.wait_any(gets, 0 if futures else _WAIT_SECONDS) if gets else ()
        if futures and not ready:
            self._wait(futures, _ALTERNATE_SECONDS if gets else _FIRST_SECONDS)
        return self._first_finished(ready)

    def _first_finished(self, ready: Sequence[int]) -> Prefetch | None:
        return next(filter(None, (self._finish(prefetch, ready) for prefetch in tuple(self._active))), None)

    def _wait(self, futures: Sequence[Future[None]], seconds: float) -> None:
        """Wait for the first fetch, and only if that is slow for any: to wake up for each costs CPU time."""
        first = next(prefetch for prefetch in self._active if prefetch.future)
        is_slow = self._monotonic() - first.started >= _LINGER_SECONDS
        wait(futures if is_slow else futures[:1], seconds, FIRST_COMPLETED)

    def _finish(self, prefetch: Prefetch, ready: Sequence[int]) -> Prefetch | None:
        """Return an object if it has arrived, or failed; one that is larger than announced is read later, alone."""
        if prefetch.future:
            complete = self._is_fetched(prefetch, prefetch.future)
        else:
            complete = bool(prefetch.pending and self._is_received(prefetch, prefetch.pending, ready))
        if not complete:
            return None
        self._active.remove(prefetch)
        if self._bounds.is_oversized(prefetch):
            self._oversized.append(prefetch)
            return None
        return prefetch

    def _is_received(self, prefetch: Prefetch, pending: PendingGet, ready: Sequence[int]) -> bool:
        """Read the response to a GET that was sent, if it has begun; one that is slow is fetched in a thread."""
        is_overdue = self._monotonic() - prefetch.started >= _SILENT_SECONDS
        looks = is_overdue or prefetch is self._active[0]
        if pending.fileno() in ready or (looks and pending.is_ready):
            with self._crash_guard(), _timed(prefetch.tally, self._monotonic):
                prefetch.content = pending.wait(_READ_SECONDS)
        elif not is_overdue:
            return False
        else:
            pending.cancel()
        if prefetch.content is None and not self._deadline.must_stop():
            self._submit(prefetch, pending.fetch)
        return prefetch.content is not None

    def _is_fetched(self, prefetch: Prefetch, future: Future[None]) -> bool:
        """Return whether a thread has ended, or did not although its time is over: then it is not waited for."""
        if future.done():
            prefetch.failure = future.exception()
            return True
        if not (prefetch.cutoff and prefetch.cutoff.is_over):
            return False
        prefetch.cutoff.cut()
        prefetch.cut_at = prefetch.cut_at or self._monotonic()
        if self._monotonic() - prefetch.cut_at < _OVERDUE_SECONDS:
            return False
        self.abandoned += 1
        prefetch.failure = StoreUnavailable(SLOW)
        return True

    def _end(self) -> None:
        """Abandon what is on its way: no thread and no connection of a batch outlives it."""
        for prefetch in self._active:
            prefetch.cancel()
        if futures := self._futures():
            self.abandoned += len(wait(futures, _END_SECONDS).not_done)

    def _pending_gets(self) -> list[PendingGet]:
        gets = (prefetch.pending for prefetch in self._active if not prefetch.future)
        return [get for get in gets if get and get.fileno() >= 0]

    def _futures(self) -> list[Future[None]]:
        return [prefetch.future for prefetch in self._active if prefetch.future]


@contextmanager
def _timed(tally: FileTally, monotonic: Callable[[], float]) -> Iterator[None]:
    started = monotonic()
    try:
        yield
    finally:
        tally.fetch_seconds += monotonic() - started
