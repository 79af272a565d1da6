"""The operator's door: the `trailsink` command."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import TYPE_CHECKING, Any

import click
import msgspec
from botocore.exceptions import BotoCoreError
from rich.console import Console
from rich.live import Live
from rich.text import Text

from worker import __version__
from worker.cli.backfill import backfill
from worker.cli.dashboards import dashboards
from worker.cli.deploy import deploy, destroy, doctor, template
from worker.cli.dlq import dlq
from worker.cli.options import examples, stopping
from worker.cli.search import explain_event, search
from worker.cli.status import status
from worker.errors import IndexUnavailable, QueueUnavailable, SetupError, TrailsinkError
from worker.opensearch.security import grant_loader_access
from worker.opensearch.setup import SetupOptions, check_template, install
from worker.poller import Poller, Polling
from worker.settings import Settings, load_settings, unknown_settings
from worker.telemetry import METRICS, counts, report_lines
from worker.wiring import make_client, make_consumer, make_queue, now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.pipeline.accounting import BatchResult

_CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100}
_QUEUE_SILENT_SECONDS = 5.0
_TEMPLATE_SECONDS = 10.0  # for the one question before the first batch


class _Command(click.Group):
    """Turns every error that is ours, or AWS's, into one sentence and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except (TrailsinkError, BotoCoreError) as error:
            sentence = str(error).strip().rstrip(".")
            raise click.ClickException(f"{sentence}.") from error


@click.group(
    cls=_Command,
    context_settings=_CONTEXT,
    epilog=examples(
        "trailsink setup           # the index template, before the first event",
        "trailsink run             # consume the queue",
        "trailsink status          # is all well?",
        "trailsink dlq list        # what could not be indexed, and why",
        "trailsink search --help   # the manual of a command, with examples",
    ),
)
@click.version_option(__version__, prog_name="trailsink")
def main() -> None:
    """Bring CloudTrail log files from S3 into OpenSearch, losing none and doubling none.

    Settings are environment variables, TRAILSINK_*; the README lists them. Region, credentials and endpoints of AWS are
    boto3's own: AWS_REGION, AWS_PROFILE and so on.

    Exit codes: 0 done; 1 something is wrong, and one sentence says what; 2 the command line is.
    """
    for name in unknown_settings(os.environ):
        click.echo(f"Warning: {name} is no setting that trailsink knows.", err=True)


main.add_command(dashboards)
main.add_command(backfill)
main.add_command(deploy)
main.add_command(destroy)
main.add_command(dlq)
main.add_command(doctor)
main.add_command(explain_event)
main.add_command(search)
main.add_command(status)
main.add_command(template)


@main.command(
    short_help="Put index template and retention policy into the cluster.",
    epilog=examples(
        "trailsink setup",
        "trailsink setup --replicas 0                  # a cluster of one node",
        "trailsink setup --retention-days 365",
    ),
)
@click.option("--retention-days", type=click.IntRange(0), metavar="DAYS",
              help="Delete indices this many days after they were made; 0 keeps them.  "
                   "[default: TRAILSINK_RETENTION_DAYS]  Example: 365")  # fmt: skip
@click.option("--replicas", type=click.IntRange(0, 10), metavar="COPIES",
              help="Copies of each shard beside the first; 0 for a cluster of one node.  "
                   "[default: as it is, else 1]  Example: 0")  # fmt: skip
@click.option("--loader-role", metavar="ARN",
              help="Under fine-grained access control: let this IAM role load, with the least rights that do.  "
                   "[default: nobody new]  Example: arn:aws:iam::123456789012:role/loader")  # fmt: skip
def setup(retention_days: int | None, replicas: int | None, loader_role: str | None) -> None:
    """Put the index template and the retention policy into the cluster.

    Says what server it found and which mapping it chose. Running it again changes nothing.
    """
    settings = load_settings()
    days = settings.retention_days if retention_days is None else retention_days
    wanted = SetupOptions(settings.index_prefix, days, replicas, settings.is_serverless)
    address = settings.required("opensearch_url")
    click.echo(f"Asking {address} (for up to {settings.request_seconds:.0f} s) ...", err=True)
    client = make_client(settings).connect()
    lines = install(client, wanted)
    for line in chain(lines, grant_loader_access(client, wanted.prefix, loader_role)) if loader_role else lines:
        click.echo(line)


@main.command(
    short_help="Consume the queue.",
    epilog=examples(
        "trailsink run",
        "trailsink run --concurrency 4 --batch-size 100 >> trailsink.jsonl",
        "trailsink run --until-idle --timeout 600      # drain it, and end",
    ),
)
@click.option("--concurrency", type=click.IntRange(1, 64), default=1, metavar="LOOPS",
              help="Batches worked on at once.  Example: 4")  # fmt: skip
@click.option("--batch-size", type=click.IntRange(1, 1000), default=10, metavar="MESSAGES",
              help="Most messages in a batch.  Example: 100")  # fmt: skip
@click.option("--until-idle", is_flag=True,
              help="End when the queue is empty, hidden messages included.  "
                   "[default: go on until stopped]")  # fmt: skip
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
              help="With --until-idle: give up after so long, with exit code 1.  [default: none]  "
                   "Example: 600")  # fmt: skip
@click.option("--progress/--no-progress", default=None,
              help="Show a live line of counts on standard error.  [default: on a terminal]")  # fmt: skip
def run(*, concurrency: int, batch_size: int, until_idle: bool, timeout: float | None, progress: bool | None) -> None:
    """Consume the queue: what the Lambda function does, as a process that runs anywhere.

    SIGTERM and SIGINT stop it gently: what it holds is finished or handed back, within TRAILSINK_REQUEST_SECONDS if the
    cluster hangs; a second one ends it at once. Prints JSON lines, but on a terminal that shows the live line.
    """
    settings = load_settings()
    polling = Polling(batch_size, settings.batch_seconds, until_idle)
    queue = make_queue(settings)
    queue.check()  # says at once that a queue, the region or the credentials are wrong,
    _check_cluster(settings)  # or that a password cannot be read, or the cluster was never set up
    totals = _Totals()
    with stopping(polling.stop, "what is held is finished or handed back"):
        with _reporting(settings, totals, live=sys.stderr.isatty() if progress is None else progress) as report:
            late = _poll(settings, polling, concurrency, report, timeout)
        click.echo("\n".join([totals.sentence(), *totals.reasons()]) if sys.stdout.isatty() else totals.line())
    visible, hidden = queue.depth() if late else (0, 0)
    if visible + hidden:
        raise SetupError(f"The time is over and the queue is not empty: {visible} messages visible, {hidden} hidden.")


def _check_cluster(settings: Settings) -> None:
    """Refuse a cluster without our index template; one that is down is waited for, as it is later on."""
    quick = settings.model_copy(update={"request_seconds": min(_TEMPLATE_SECONDS, settings.request_seconds)})
    try:
        check_template(make_client(quick).connect(), settings.index_prefix)
    except IndexUnavailable as error:
        click.echo(f"Warning: {error}; meanwhile messages go back to the queue.", err=True)


def _poll(
    settings: Settings, polling: Polling, concurrency: int, report: Callable[[BatchResult], None], timeout: float | None
) -> bool:
    """Run the loops until they end; returns whether the time was over first, and raises what ended a loop."""
    consumers = [make_consumer(settings, sleep=polling.pause) for _ in range(concurrency)]
    until = time.monotonic() + timeout if timeout else None
    late = False
    with ThreadPoolExecutor(concurrency) as pool:
        pollers = [Poller(make_queue(settings), consumer, polling, report) for consumer in consumers]
        loops = [pool.submit(_loop, poller, polling) for poller in pollers]
        while pending := [loop for loop in loops if not loop.done()]:
            wait(pending, timeout=0.2, return_when=FIRST_EXCEPTION)  # short, so that signals are heard
            failed = any(loop.done() and loop.exception() for loop in loops)
            late = late or bool(until and time.monotonic() > until and not polling.stop.is_set())
            if late or failed:
                polling.stop.set()
    for consumer in consumers:
        consumer.close()
    for loop in loops:
        loop.result()
    return late


def _loop(poller: Poller, polling: Polling) -> None:
    while not polling.stop.is_set():
        try:
            return poller.run()
        except QueueUnavailable as error:
            click.echo(msgspec.json.encode({"level": "WARNING", "message": "queue", "detail": str(error)}).decode())
            polling.pause(_QUEUE_SILENT_SECONDS)
    return None


class _Totals:
    """What all batches of this run did."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._ignored: Counter[str] = Counter()
        self._reasons: Counter[tuple[str, str]] = Counter()

    def add(self, result: BatchResult) -> None:
        """Add one batch."""
        self._counts.update(counts(result))
        self._ignored.update(result.ignored)
        self._reasons.update((file.outcome, file.reason) for file in result.files if file.reason)
        self._reasons.update(("dead_letter", "malformed_message") for _ in result.malformed)
        self._reasons.update(("dead letter not sent", cause) for cause in result.dead_letters_unsent)

    def line(self) -> str:
        """Write the totals as JSON."""
        rounded = {metric.name: round(self._counts[metric.name], 3) for metric in METRICS if metric.measure}
        said = {"timestamp": now().isoformat(timespec="milliseconds"), "level": "INFO", "message": "totals"}
        return msgspec.json.encode(said | {"ignored": dict(self._ignored), **rounded}).decode()

    def sentence(self) -> str:
        """Write the totals for people, in one line of a terminal: what is not nought."""
        files = self._counts["FilesIndexed"] + self._counts["FilesDeadLettered"]
        parts = [f"{files:,.0f} files", f"{self._counts['RecordsRead']:,.0f} records"]
        parts += [f"{self._counts[name]:,.0f} {word}" for name, word in _WORDS.items() if self._counts[name]]
        return " · ".join(parts)

    def reasons(self) -> Iterator[str]:
        """Write why files did not end well, and what was ignored."""
        for (outcome, reason), number in sorted(self._reasons.items()):
            yield f"  {outcome}: {number} {reason}"
        for name, number in sorted(self._ignored.items()):
            yield f"  ignored: {number} {name}"


_WORDS = {
    "RecordsIndexed": "new",
    "RecordsDuplicate": "duplicate",
    "RecordsDegraded": "degraded",
    "RecordsRejected": "rejected",
    "FilesHandedBack": "handed back",
    "DeadLetters": "dead",
}


@contextmanager
def _reporting(settings: Settings, totals: _Totals, *, live: bool) -> Iterator[Callable[[BatchResult], None]]:
    """Give the loops where to report to: a live line on standard error, and JSON lines on standard output.

    A terminal that shows the live line is spared the JSON lines.
    """
    lock = threading.Lock()
    lines = not (live and sys.stdout.isatty())
    display = Live(console=Console(stderr=True), refresh_per_second=8, transient=True) if live else None

    def report(result: BatchResult) -> None:
        with lock:
            totals.add(result)
            if lines:
                click.echo("\n".join(report_lines(result, queue=settings.metrics_queue)))
            if display:
                display.update(Text("\n".join([totals.sentence(), *totals.reasons()])))

    with display or nullcontext():
        if display:
            display.update("waiting for messages")
        yield report


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
