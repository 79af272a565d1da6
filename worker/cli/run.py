"""`trailsink run`: consumes the queue with as many loops as asked for, and reports every batch."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections import Counter
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.live import Live
from rich.text import Text

from worker import __version__
from worker.cli.output import graceful_shutdown, join, print_document, print_json, print_line
from worker.cli.probes import Probes, serving
from worker.cli.template_check import check_own_template
from worker.errors import IndexUnavailable, QueueUnavailable, SetupError
from worker.humanize import ascii_json
from worker.opensearch.heartbeat import Heartbeat, beating
from worker.poller import Poller, Polling
from worker.settings import load_settings
from worker.telemetry import METRICS, counts, filtered_by, report_lines
from worker.wiring import make_client, make_consumer, make_queue, now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from worker.pipeline.accounting import BatchResult
    from worker.settings import Settings

_QUEUE_RETRY_SECONDS = 5.0
_TEMPLATE_SECONDS = 10.0  # for the one request before the first batch


def run(  # noqa: PLR0913 - one per option
    *,
    concurrency: int,
    batch_size: int,
    until_idle: bool,
    timeout: float | None,
    health: int | None,
    progress: bool | None,
) -> None:
    """Consume the queue until stopped, idle or out of time; raises SetupError."""
    if timeout and not until_idle:
        raise click.UsageError("--timeout is for --until-idle: without it, `trailsink run` runs until it is stopped.")
    settings = load_settings()
    settings.require("queue_url", "dead_letter_queue_url", "opensearch_url")
    probes = Probes(settings.batch_seconds)
    polling = Polling(batch_size, settings.batch_seconds, until_idle, progress=probes.progress, problem=probes.fail)
    queue = make_queue(settings)
    # Fail at once when a queue, the region or the credentials are wrong, when a password cannot be read, or when the
    # cluster was never set up.
    queue.check()
    _check_cluster(settings)
    totals = _Totals()
    with graceful_shutdown(polling.stop, "messages that are held are finished or handed back"):
        with (
            serving(probes, health) if health else nullcontext(),
            _heartbeat(settings),
            _reporting(settings, totals, live=sys.stderr.isatty() if progress is None else progress) as report,
        ):
            timed_out = _poll(settings, polling, concurrency, _both(report, probes.add), timeout)
        if sys.stdout.isatty():
            for line in totals.screen():
                print_line(line)
        else:
            print_document(f"{totals.line()}\n")
    visible, hidden = queue.depth() if timed_out else (0, 0)
    if visible + hidden:
        raise SetupError(f"Out of time, and the queue is not empty: {visible} messages visible, {hidden} hidden.")


def _check_cluster(settings: Settings) -> None:
    """Refuse a cluster without our index template; one that is down is waited for, as it is later on."""
    quick = settings.model_copy(update={"request_seconds": min(_TEMPLATE_SECONDS, settings.request_seconds)})
    try:
        client = make_client(quick).connect()
        check_own_template(client, settings)
    except IndexUnavailable as error:
        print_line(f"Warning: {error}; meanwhile messages go back to the queue.", err=True)


def _heartbeat(settings: Settings) -> AbstractContextManager[None]:
    """Show this process to `trailsink status`; a Serverless collection takes no document again."""
    if settings.is_serverless:
        return nullcontext()
    quick = settings.model_copy(update={"request_seconds": min(_TEMPLATE_SECONDS, settings.request_seconds)})
    document = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "version": __version__,
        "queue": settings.queue_url,
    }
    return beating(Heartbeat(lambda: make_client(quick).connect(), settings.index_prefix, document))


def _both(report: Callable[[BatchResult], None], add: Callable[[BatchResult], None]) -> Callable[[BatchResult], None]:
    def both(result: BatchResult) -> None:
        report(result)
        add(result)

    return both


def _poll(
    settings: Settings, polling: Polling, concurrency: int, report: Callable[[BatchResult], None], timeout: float | None
) -> bool:
    """Run the loops until they end; returns whether they ran out of time, and raises what ended a loop."""
    consumers = [make_consumer(settings, sleep=polling.pause) for _ in range(concurrency)]
    deadline = time.monotonic() + timeout if timeout else None
    timed_out = False
    with ThreadPoolExecutor(concurrency) as pool:
        pollers = [Poller(make_queue(settings), consumer, polling, report) for consumer in consumers]
        loops = [pool.submit(_loop, poller, polling) for poller in pollers]
        while pending := [loop for loop in loops if not loop.done()]:
            wait(pending, timeout=0.2, return_when=FIRST_EXCEPTION)  # short, so that signals are handled
            failed = any(loop.done() and loop.exception() for loop in loops)
            timed_out = timed_out or bool(deadline and time.monotonic() > deadline and not polling.stop.is_set())
            if timed_out or failed:
                polling.stop.set()
    for consumer in consumers:
        consumer.close()
    for loop in loops:
        loop.result()
    return timed_out


def _loop(poller: Poller, polling: Polling) -> None:
    while not polling.stop.is_set():
        try:
            return poller.run()
        except QueueUnavailable as error:
            polling.problem(str(error))
            print_json({"level": "WARNING", "message": "queue", "detail": str(error)})
            polling.pause(_QUEUE_RETRY_SECONDS)
    return None


class _Totals:
    """What all batches of this run did."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._ignored: Counter[str] = Counter()
        self._reasons: Counter[tuple[str, str]] = Counter()
        self._filtered: Counter[str] = Counter()

    def add(self, result: BatchResult) -> None:
        """Add one batch."""
        self._counts.update(counts(result))
        self._ignored.update(result.ignored)
        self._filtered.update(filtered_by(result))
        self._reasons.update((file.outcome, file.reason) for file in result.files if file.reason)
        self._reasons.update(("dead_letter", "malformed_message") for _ in result.malformed)
        self._reasons.update(("dead letter not sent", cause) for cause in result.dead_letters_unsent)

    def line(self) -> str:
        """Return the totals as JSON."""
        rounded = {metric.name: round(self._counts[metric.name], 3) for metric in METRICS if metric.measure}
        head = {"timestamp": now().isoformat(timespec="milliseconds"), "level": "INFO", "message": "totals"}
        filtered = {"filtered": dict(self._filtered)} if self._filtered else {}
        document = head | {"ignored": dict(self._ignored), **filtered, **rounded}
        return ascii_json(msgspec.json.encode(document).decode())

    def sentence(self) -> str:
        """Return the totals for people, on one line of a terminal: what is not zero."""
        files = self._counts["FilesIndexed"] + self._counts["FilesDeadLettered"]
        parts = [f"{files:,.0f} files", f"{self._counts['RecordsRead']:,.0f} records"]
        parts += [f"{self._counts[name]:,.0f} {word}" for name, word in _WORDS.items() if self._counts[name]]
        return " · ".join(parts)

    def screen(self) -> Iterator[str]:
        """Yield the totals for people, then why files did not end well, and what was ignored."""
        yield self.sentence()
        for (outcome, reason), number in sorted(self._reasons.items()):
            yield f"  {outcome}: {number} {reason}"
        for name, number in sorted(self._ignored.items()):
            yield f"  ignored: {number} {name}"
        for name, number in sorted(self._filtered.items()):
            yield f"  filtered: {number} {name}"


_WORDS = {
    "RecordsIndexed": "new",
    "RecordsDuplicate": "duplicate",
    "RecordsDegraded": "degraded",
    "RecordsRejected": "rejected",
    "RecordsFiltered": "filtered",
    "FilesHandedBack": "handed back",
    "DeadLetters": "dead",
}


@contextmanager
def _reporting(settings: Settings, totals: _Totals, *, live: bool) -> Iterator[Callable[[BatchResult], None]]:
    """Yield what loops report to: a live line on standard error, and JSON lines on standard output.

    A terminal that shows the live line gets no JSON lines.
    """
    lock = threading.Lock()
    # Lambda and the CloudWatch agent read these lines; elsewhere they are two kilobytes of noise a batch.
    metrics_queue = settings.metrics_queue if "emf" in settings.model_fields_set else None
    print_lines = not (live and sys.stdout.isatty())
    display = Live(console=Console(stderr=True), refresh_per_second=8, transient=True) if live else None

    def report(result: BatchResult) -> None:
        with lock:
            totals.add(result)
            if print_lines:
                print_document("".join(f"{line}\n" for line in report_lines(result, queue=metrics_queue)))
            if display:
                display.update(Text("\n".join(map(join, totals.screen()))))

    with display or nullcontext():
        if display:
            display.update("waiting for messages")
        yield report
