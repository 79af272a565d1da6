"""Answers to an orchestrator about `trailsink run`: is it alive, is it ready, and what it has done.

kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/
prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest

from worker.errors import SetupError
from worker.humanize import snake_case
from worker.telemetry import METRICS, counts, lags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.pipeline.accounting import BatchResult

# A loop shows itself at each receive, which waits for 20 s, and after each batch.
_IDLE_SECONDS = 60.0
_LAG_BUCKETS = (10, 30, 60, 120, 300, 600, 1800, 3600, 21_600, 86_400)
_TEXT = "text/plain; charset=utf-8"


class Probes:
    """What one process knows of itself; every method may be called from any thread."""

    def __init__(self, batch_seconds: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._monotonic = batch_seconds + _IDLE_SECONDS, monotonic
        self._loops: dict[int, float] = {}
        self._problem = "it has not received from the queue yet"
        self.registry = CollectorRegistry()
        self._counters = {
            metric.name: Counter(_metric_name(metric.name), metric.meaning, registry=self.registry)
            for metric in METRICS
            if metric.measure
        }
        self._lags = {
            metric.name: Histogram(
                f"{_metric_name(metric.name)}_seconds", metric.meaning, registry=self.registry, buckets=_LAG_BUCKETS
            )
            for metric in METRICS
            if not metric.measure
        }

    def progress(self) -> None:
        """Note that the loop of this thread has received from the queue."""
        self._loops[threading.get_ident()] = self._monotonic()
        self._problem = ""

    def fail(self, problem: str) -> None:
        """Note that the queue does not answer; the loop of this thread goes on."""
        self._loops[threading.get_ident()] = self._monotonic()
        self._problem = problem

    def add(self, result: BatchResult) -> None:
        """Add what a batch did to the metrics."""
        for name, value in counts(result).items():
            self._counters[name].inc(value)
        for name, values in lags(result).items():
            for value in values:
                self._lags[name].observe(max(0.0, value))

    def live(self) -> str:
        """Return why the process should be started again, "" when every loop goes on."""
        now = self._monotonic()
        stalled = [now - moment for moment in list(self._loops.values()) if now - moment > self._limit]
        return f"{len(stalled)} loops have stood still for {max(stalled):,.0f} s" if stalled else ""

    def ready(self) -> str:
        """Return why the process does not consume, "" when it does."""
        return self.live() or self._problem


@contextmanager
def serving(probes: Probes, port: int) -> Iterator[int]:
    """Serve the answers at a port of all interfaces, and yield the port; raises SetupError when it is taken."""
    try:
        server = ThreadingHTTPServer(("", port), _handler(probes))
    except OSError as error:
        raise SetupError(f"Port {port} of --health cannot be used: {error.strerror}.") from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(probes: Probes) -> type[BaseHTTPRequestHandler]:
    class ProbeHandler(BaseHTTPRequestHandler):
        timeout = 10.0  # one that connects and says nothing

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/live":
                    self._verdict(probes.live())
                case "/ready":
                    self._verdict(probes.ready())
                case "/metrics":
                    self._respond(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(probes.registry))
                case _:
                    self._respond(HTTPStatus.NOT_FOUND, _TEXT, b"/live, /ready and /metrics are here\n")

        def _verdict(self, problem: str) -> None:
            status = HTTPStatus.SERVICE_UNAVAILABLE if problem else HTTPStatus.OK
            self._respond(status, _TEXT, f"{problem or 'ok'}\n".encode())

        def _respond(self, status: HTTPStatus, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as the standard library names it
            """Print nothing: standard output is for the log of the batches."""

    return ProbeHandler


def _metric_name(name: str) -> str:
    return f"trailsink_{snake_case(name)}"
