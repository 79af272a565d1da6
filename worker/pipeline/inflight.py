"""Bulk requests in flight: a bounded number, and a bounded number of bytes."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Executor

    from worker.pipeline.bulk import DeliveryResult
    from worker.pipeline.deadline import Deadline
    from worker.pipeline.documents import Action
    from worker.pipeline.limits import Limits
    from worker.pipeline.ports import Index


class InFlight:
    """The bulk requests of one batch, each delivered by a thread of `pool`.

    `record` is called in the caller's thread with each request and its future, once that is done.
    """

    def __init__(
        self,
        index: Index,
        pool: Executor,
        limits: Limits,
        deadline: Deadline,
        record: Callable[[list[Action], Future[DeliveryResult]], None],
    ) -> None:
        self._index, self._pool, self._limits, self._deadline, self._record = index, pool, limits, deadline, record
        self._requests: dict[Future[DeliveryResult], list[Action]] = {}
        self._bytes = 0  # uncompressed

    def send(self, request: list[Action]) -> None:
        """Send a request as soon as there is room for it; does not send when nothing may be sent any more."""
        size = request_bytes(request)
        while self._requests and not self._has_room(size):
            self._record_completed()
        if self._deadline.may_send():
            future = self._pool.submit(self._index.deliver, request, self._deadline.send_seconds)
            self._requests[future] = request
            self._bytes += size

    def drain(self) -> None:
        """Wait for all that is in flight."""
        while self._requests:
            self._record_completed()

    def _has_room(self, size: int) -> bool:
        limits = self._limits
        return len(self._requests) < limits.bulk_in_flight and self._bytes + size <= limits.bulk_in_flight_bytes

    def _record_completed(self) -> None:
        """Wait for a result, and record all that are there."""
        completed, _ = wait(self._requests, return_when=FIRST_COMPLETED)
        for future in completed:
            request = self._requests.pop(future)
            self._bytes -= request_bytes(request)
            self._record(request, future)


def request_bytes(request: Iterable[Action]) -> int:
    """Return the size of a request's body, uncompressed."""
    return sum(len(action.lines) for action in request)
