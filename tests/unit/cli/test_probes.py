"""Promises about what an orchestrator is told: a stalled process is started again, one that works never is."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest

from tests.support.factories import event, log_file
from tests.support.fakes import make_pipeline
from worker.cli.probes import Probes, serving
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    """A clock that a test turns."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def probes(clock: Clock) -> Probes:
    return Probes(300.0, monotonic=clock)


@pytest.fixture
def port(probes: Probes) -> Iterator[int]:
    with serving(probes, 0) as port:
        yield port


def get(port: int, path: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_a_process_that_starts_is_alive_and_not_ready(port: int) -> None:
    """Else it would be started again and again while it waits for a cluster."""
    assert get(port, "/live") == (200, "ok\n")
    assert get(port, "/ready") == (503, "it has not received from the queue yet\n")


def test_a_process_that_receives_is_ready(port: int, probes: Probes) -> None:
    """An empty queue is as good as a full one."""
    probes.progress()

    assert get(port, "/ready") == (200, "ok\n")


@pytest.mark.parametrize(("seconds", "status"), [(359, 200), (361, 503)])
def test_a_loop_that_stands_still_longer_than_a_batch_may_take_is_dead(
    port: int, probes: Probes, clock: Clock, seconds: float, status: int
) -> None:
    """A batch ends within its time, and a receive within 20 s."""
    probes.progress()
    clock.now += seconds

    assert get(port, "/live")[0] == status


def test_one_loop_that_stands_still_is_not_hidden_by_the_others(port: int, probes: Probes, clock: Clock) -> None:
    """Each loop is a thread; their latest time alone would be fine for ever."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(probes.progress).result()
    clock.now += 400
    probes.progress()

    assert get(port, "/live") == (503, "1 loops have stood still for 400 s\n")


def test_a_queue_that_does_not_answer_makes_it_unready_and_not_dead(port: int, probes: Probes) -> None:
    """Starting it again does not bring the queue back."""
    probes.progress()
    probes.fail("The queue does not answer.")

    assert get(port, "/live") == (200, "ok\n")
    assert get(port, "/ready") == (503, "The queue does not answer.\n")


def test_batches_are_counted_in_the_format_of_prometheus(port: int, probes: Probes) -> None:
    """The same figures as those of CloudWatch."""
    with make_pipeline() as pipeline:
        result = pipeline.consume(pipeline.announce("file", log_file(event(1), event(2))))
    probes.add(result)
    probes.add(result)

    status, text = get(port, "/metrics")

    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert status == 200
    assert lines["trailsink_records_indexed_total"] == "4.0"
    assert lines["trailsink_delivery_lag_seconds_count"] == "2.0"


def test_another_path_is_not_there(port: int) -> None:
    """A probe with a typing mistake must not look healthy."""
    assert get(port, "/healthz")[0] == 404


def test_a_port_that_is_taken_is_one_sentence(probes: Probes) -> None:
    """Two containers on one host network."""
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]

        with (
            pytest.raises(SetupError, match=f"Port {port} of --health cannot be used: Address already in use"),
            serving(probes, port),
        ):
            pass
