"""Fetches objects a little before they are read: a bounded number, and a bounded number of bytes."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from worker.errors import OutOfTime, Reason, UnreadableObject
from worker.pipeline.deadline import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
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


class Prefetch:
    """One object on its way, by a thread or by a GET that was sent.

    The content waits here and not in the Future, which would keep it alive while the file is being sent: the memory
    budget has no room for that.
    """

    def __init__(self, tally: FileTally, size: int) -> None:
        self.tally, self.size = tally, size
        self.future: Future[None] | None = None
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
        """Abandon it."""
        if self.future:
            self.future.cancel()
        elif self.pending:
            self.pending.cancel()


class Prefetcher:
    """Fetches the objects of one batch in order; `pool` runs the fetches that wait in a thread.

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
        self._queue: deque[Prefetch] = deque()

    def in_order(self, tallies: Iterable[FileTally]) -> Iterator[Prefetch]:
        """Yield each object when it has come, or failed; the next ones are on their way meanwhile."""
        waiting = deque(tallies)
        try:
            while waiting or self._queue:
                while waiting and self._has_room(waiting[0]) and not self._deadline.must_stop():
                    self._queue.append(self._start(waiting.popleft()))
                if not self._queue:
                    return
                prefetch = self._queue.popleft()
                if self._deadline.must_stop():
                    prefetch.cancel()
                    return
                self._wait(prefetch)
                yield prefetch
        finally:
            for prefetch in self._queue:
                prefetch.cancel()

    def _has_room(self, tally: FileTally) -> bool:
        if not self._queue:
            return True
        total = sum(prefetch.size for prefetch in self._queue) + self._expected_bytes(tally)
        return len(self._queue) < self._limits.fetch_ahead and total <= self._limits.fetch_ahead_bytes

    def _expected_bytes(self, tally: FileTally) -> int:
        size = tally.ref.size
        return self._limits.fetch_ahead_bytes if size is None else size

    def _read_limit(self, prefetch: Prefetch) -> int:
        """Bound what one fetch may read while others are held: what was announced, or all that is fetched ahead."""
        return min(self._limits.max_inflated_bytes, max(self._limits.fetch_ahead_bytes, prefetch.size))

    def _start(self, tally: FileTally) -> Prefetch:
        prefetch = Prefetch(tally, self._expected_bytes(tally))
        limit = self._read_limit(prefetch)
        if prefetch.size <= _SMALL_BYTES:
            with self._crash_guard(), self._timed(tally):
                prefetch.pending = self._store.start_get(tally.ref, limit)
        if prefetch.pending is None:
            self._submit(prefetch, partial(self._store.fetch, tally.ref, limit))
        return prefetch

    def _submit(self, prefetch: Prefetch, fetch: Callable[[], FetchedObject]) -> Future[None]:
        prefetch.future = self._pool.submit(self._fetch, prefetch, fetch)
        return prefetch.future

    def _fetch(self, prefetch: Prefetch, fetch: Callable[[], FetchedObject]) -> None:
        with self._timed(prefetch.tally):
            prefetch.content = fetch()

    @contextmanager
    def _timed(self, tally: FileTally) -> Iterator[None]:
        started = self._monotonic()
        try:
            yield
        finally:
            tally.fetch_seconds += self._monotonic() - started

    def _wait(self, prefetch: Prefetch) -> None:
        """Wait for an object; one that is larger than its notification said is fetched once more, alone."""
        if prefetch.future is None and prefetch.pending:
            if self._received(prefetch, prefetch.pending):
                return
            self._submit(prefetch, prefetch.pending.fetch)
            self._fall_back_to_threads()
        prefetch.failure = self._result(prefetch)
        largest = self._limits.max_inflated_bytes
        if _is_too_large(prefetch.failure) and self._read_limit(prefetch) < largest:
            self._submit(prefetch, partial(self._store.fetch, prefetch.tally.ref, largest))
            prefetch.failure = self._result(prefetch)

    def _received(self, prefetch: Prefetch, pending: PendingGet) -> bool:
        """Wait for the response to a GET that was sent; False when the object has to be fetched."""
        with self._crash_guard(), self._timed(prefetch.tally):
            prefetch.content = pending.wait(max(0.0, self._deadline.seconds()))
        if prefetch.content is None and self._deadline.seconds() <= 0:
            prefetch.failure = OutOfTime(DEADLINE)
        return bool(prefetch.content or prefetch.failure)

    def _result(self, prefetch: Prefetch) -> BaseException | None:
        """Wait for a thread; returns why it has no object, None when it has."""
        if prefetch.future is None:
            return None
        try:
            return prefetch.future.exception(max(0.0, self._deadline.seconds()))
        except TimeoutError:
            return OutOfTime(DEADLINE)

    def _fall_back_to_threads(self) -> None:
        """Hand the remaining pending GETs to threads: one slow response usually means all are slow."""
        for prefetch in self._queue:
            if prefetch.future is None and prefetch.pending:
                future = self._submit(prefetch, partial(self._wait_or_fetch, prefetch.pending))
                future.add_done_callback(partial(_cancel_unstarted, prefetch.pending))

    def _wait_or_fetch(self, pending: PendingGet) -> FetchedObject:
        return pending.wait(max(0.0, self._deadline.seconds())) or pending.fetch()


def _is_too_large(failure: BaseException | None) -> bool:
    return isinstance(failure, UnreadableObject) and failure.reason is Reason.TOO_LARGE


def _cancel_unstarted(pending: PendingGet, future: Future[None]) -> None:
    """Abandon a GET whose thread never started."""
    if future.cancelled():
        pending.cancel()
