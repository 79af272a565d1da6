"""Promises about requests in flight: bounded in number and in bytes, each recorded once, none sent after a stop."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from worker.pipeline.bulk import INDEXED, DeliveryResult
from worker.pipeline.deadline import Deadline
from worker.pipeline.documents import Action
from worker.pipeline.inflight import InFlight, request_bytes
from worker.pipeline.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

REQUESTS = 12


@dataclass
class SlowIndex:
    """An index that holds each request until another one comes, or a moment passes; it remembers the most at a time."""

    active: int = 0
    active_bytes: int = 0
    maximum: int = 0
    maximum_bytes: int = 0
    lock: threading.Condition = field(default_factory=threading.Condition)

    def deliver(self, request: Sequence[Action], left: Callable[[], float]) -> DeliveryResult:
        assert left() > 0
        with self.lock:
            self.active += 1
            self.active_bytes += request_bytes(request)
            self.maximum = max(self.maximum, self.active)
            self.maximum_bytes = max(self.maximum_bytes, self.active_bytes)
            self.lock.wait(0.02)
            self.active -= 1
            self.active_bytes -= request_bytes(request)
        return DeliveryResult([INDEXED] * len(request), "", 1)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(REQUESTS) as threads:
        yield threads


def request(number: int, size: int = 10) -> list[Action]:
    return [Action(0, number, b"x" * size, 0, size, size)]


@dataclass
class Recorded:
    """What `record` was called with, and by which thread."""

    numbers: list[int] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)

    def __call__(self, actions: list[Action], future: Future[DeliveryResult]) -> None:
        assert future.done()
        self.numbers.append(actions[0].position)
        self.threads.add(threading.current_thread().name)


@pytest.mark.parametrize(
    ("limits", "maximum"),
    [
        (Limits(bulk_in_flight=1), 1),
        (Limits(bulk_in_flight=3), 3),
        (Limits(bulk_in_flight=8, bulk_in_flight_bytes=25), 2),
        (Limits(bulk_in_flight=8, bulk_in_flight_bytes=5), 1),
    ],
    ids=["one", "by number", "by bytes", "a request over the bytes alone"],
)
def test_requests_in_flight_are_bounded_and_each_is_recorded_once(
    pool: ThreadPoolExecutor, limits: Limits, maximum: int
) -> None:
    """The bound is what a batch holds in memory; a request larger than it must go all the same."""
    index, recorded = SlowIndex(), Recorded()
    in_flight = InFlight(index, pool, limits, Deadline(lambda: 900.0, reserve=10.0), recorded)

    for number in range(REQUESTS):
        in_flight.send(request(number))
    in_flight.drain()

    assert index.maximum == maximum
    assert sorted(recorded.numbers) == list(range(REQUESTS))
    assert recorded.threads == {threading.current_thread().name}


def test_nothing_is_sent_once_the_batch_has_to_stop(pool: ThreadPoolExecutor) -> None:
    """What is in flight is still waited for: its outcome counts."""
    index, recorded = SlowIndex(), Recorded()
    deadline = Deadline(lambda: 900.0, reserve=10.0)
    in_flight = InFlight(index, pool, Limits(), deadline, recorded)
    in_flight.send(request(1))

    deadline.stop("503")
    in_flight.send(request(2))
    in_flight.drain()

    assert recorded.numbers == [1]
