"""The operator's door: the `trailsink` command."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec
from botocore.exceptions import BotoCoreError
from rich.console import Console
from rich.live import Live

from worker import __version__
from worker.cluster_setup import Wanted, set_up
from worker.errors import MalformedMessage, QueueUnavailable, SetupError, TrailsinkError
from worker.messages import read_message
from worker.metrics import counts, log_lines, metrics_line
from worker.poller import Poller, Polling
from worker.settings import Settings, load_settings
from worker.wiring import is_serverless, make_client, make_consumer, make_queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.aws import Letter, SqsQueue
    from worker.pipeline import BatchResult

_CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100}
_QUEUE_SILENT_SECONDS = 5.0
_MOVE_POLL_SECONDS = 0.5


class _Command(click.Group):
    """Turns every error that is ours, or AWS's, into one sentence and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except (TrailsinkError, BotoCoreError) as error:
            sentence = str(error).strip().rstrip(".")
            raise click.ClickException(f"{sentence}.") from error


@click.group(cls=_Command, context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="trailsink")
def main() -> None:
    """Bring CloudTrail log files from S3 into OpenSearch, losing none and doubling none.

    Settings are environment variables, TRAILSINK_*; the README lists them.
    """


@main.command()
@click.option("--retention-days", type=click.IntRange(0), metavar="DAYS",
              help="Delete indices this many days after they were made; 0 keeps them.  "
                   "[default: TRAILSINK_RETENTION_DAYS]")  # fmt: skip
@click.option("--replicas", type=click.IntRange(0, 10), metavar="COPIES", default=1,
              help="Copies of each shard beside the first; 0 for a cluster of one node.")  # fmt: skip
def setup(retention_days: int | None, replicas: int) -> None:
    """Put the index template and the retention policy into the cluster.

    Says what server it found and which mapping it chose. Running it again changes nothing.
    """
    settings = load_settings()
    days = settings.retention_days if retention_days is None else retention_days
    wanted = Wanted(settings.index_prefix, days, replicas, is_serverless(settings))
    for line in set_up(make_client(settings).connect(), wanted):
        click.echo(line)


@main.command()
@click.option(
    "--concurrency", type=click.IntRange(1, 64), default=1, metavar="LOOPS", help="Batches worked on at once."
)
@click.option(
    "--batch-size", type=click.IntRange(1, 1000), default=10, metavar="MESSAGES", help="Most messages in a batch."
)
@click.option("--until-idle", is_flag=True, help="End when the queue is empty, hidden messages included.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
              help="With --until-idle: give up after so long, with exit code 1.  [default: none]")  # fmt: skip
@click.option("--progress/--no-progress", default=None,
              help="Show a live line of counts on standard error.  [default: on a terminal]")  # fmt: skip
def run(*, concurrency: int, batch_size: int, until_idle: bool, timeout: float | None, progress: bool | None) -> None:
    """Consume the queue: what the Lambda function does, as a process that runs anywhere.

    SIGTERM and SIGINT stop it gently: what it holds is finished or handed back.
    """
    settings = load_settings()
    polling = Polling(batch_size, settings.batch_seconds, until_idle)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: polling.stop.set())
    queue = make_queue(settings)
    queue.depth()  # says at once that the queue, the region or the credentials are wrong
    totals = _Totals()
    with _reporting(settings, totals, live=sys.stderr.isatty() if progress is None else progress) as report:
        late = _poll(settings, polling, concurrency, report, timeout)
    click.echo(totals.sentence() if sys.stdout.isatty() else totals.line())
    if late:
        visible, hidden = queue.depth()
        raise SetupError(f"The time is over and the queue is not empty: {visible} messages visible, {hidden} hidden.")


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
        self._began = time.monotonic()

    def add(self, result: BatchResult) -> None:
        """Add one batch."""
        self._counts.update(counts(result))
        self._ignored.update(result.ignored)

    def line(self) -> str:
        """Write the totals as JSON."""
        rounded = {name: round(value, 3) for name, value in self._counts.items()}
        said = {"level": "INFO", "message": "totals", "ignored": dict(self._ignored), **rounded}
        return msgspec.json.encode(said).decode()

    def sentence(self) -> str:
        """Write the totals for people."""
        count = {name: f"{value:,.0f}" for name, value in self._counts.items()}
        files = f"{self._counts['FilesIndexed'] + self._counts['FilesDeadLettered']:,.0f}"
        rate = self._counts["RecordsRead"] / max(time.monotonic() - self._began, 0.001)
        return (
            f"{files} files, {count.get('RecordsRead', 0)} records ({rate:,.0f}/s): "
            f"{count.get('RecordsIndexed', 0)} indexed, {count.get('RecordsDuplicate', 0)} duplicate, "
            f"{count.get('RecordsDegraded', 0)} degraded, {count.get('RecordsRejected', 0)} rejected; "
            f"{count.get('FilesHandedBack', 0)} handed back, {count.get('DeadLetters', 0)} dead letters"
        )


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
                click.echo("\n".join([*log_lines(result), *([metrics_line(result)] if settings.emf else [])]))
            if display:
                display.update(totals.sentence())

    with display or nullcontext():
        yield report


@main.group()
def dlq() -> None:
    """Look at the dead-letter queue and move letters back."""


@dlq.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document per letter.")
@click.option("--reason", metavar="CODE", help="Only letters with this reason.  [default: all]  Example: truncated")
def list_letters(*, as_json: bool, reason: str | None) -> None:
    """List the dead letters: reason, object, attempts, age.

    Looking leaves every letter where it is; only its receive count rises, on which nothing acts.
    """
    with _letters(make_queue(load_settings())) as letters:
        chosen = [letter for letter in letters if reason in (None, letter.reason)]
    if as_json:
        for letter in chosen:
            click.echo(json.dumps(_described(letter)))
        return
    if not chosen:
        click.echo("No dead letters.")
    for letter in sorted(chosen, key=lambda one: one.sent_at):
        said = _described(letter)
        attempts = f"attempts {said['attempts']}, " if "attempts" in said else ""
        click.echo(f"{letter.id}  {click.style(letter.reason, bold=True)}  {attempts}age {_age(said['age_seconds'])}")
        click.echo(f"  {said['object']}\n  {said.get('detail', 'moved here by SQS after too many receives')}")


@dlq.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option(
    "--reason", metavar="CODE", help="Move only letters with this reason.  [default: all]  Example: truncated"
)
@click.option("--rate", type=click.IntRange(1, 500), metavar="PER_SECOND",
              help="Letters moved in a second, when all are moved.  [default: as SQS likes]")  # fmt: skip
def redrive(*, ids: tuple[str, ...], reason: str | None, rate: int | None) -> None:
    """Move dead letters back to the source queue: all, or those with the given message ids or reason.

    All letters are moved by SQS's own message move task; selected ones are received, sent and deleted one by one.
    """
    queue = make_queue(load_settings())
    if not ids and reason is None:
        moved = _redrive_all(queue, rate)
    else:
        with _letters(queue) as letters:
            chosen = [one for one in letters if (not ids or one.id in ids) and reason in (None, one.reason)]
            unknown = set(ids) - {one.id for one in chosen}
            if unknown:
                raise SetupError(f"No such letter: {', '.join(sorted(unknown))}.")
            for letter in chosen:
                queue.redrive_one(letter)
                letters.remove(letter)
            moved = len(chosen)
    click.echo(f"Moved {moved} letter{'' if moved == 1 else 's'} back to the source queue.")


def _redrive_all(queue: SqsQueue, rate: int | None) -> int:
    source = queue.start_redrive(rate)
    while True:
        status, moved, failure = queue.redrive_state(source)
        if status == "COMPLETED":
            return moved
        if status != "RUNNING":
            raise SetupError(f"The move task ended as {status} after {moved} letters. {failure}")
        time.sleep(_MOVE_POLL_SECONDS)


@contextmanager
def _letters(queue: SqsQueue) -> Iterator[list[Letter]]:
    """Hold all letters while they are looked at; those still in the list afterwards become visible again."""
    letters = []
    try:
        for letter in queue.letters():
            letters.append(letter)  # noqa: PERF402 - what was received before a failure must be released, too
        yield letters
    finally:
        queue.release(letters)


def _described(letter: Letter) -> dict[str, Any]:
    known = {
        name: letter.attributes[name]
        for name in ("detail", "rejected", "attempts", "source_message_id")
        if name in letter.attributes
    }
    return {
        "id": letter.id,
        "reason": letter.reason,
        "object": _object_of(letter),
        "age_seconds": round(time.time() - letter.sent_at),
        "sent_at": datetime.fromtimestamp(letter.sent_at, UTC).isoformat(timespec="seconds"),
        **known,
    }


def _object_of(letter: Letter) -> str:
    try:
        return ", ".join(str(ref) for ref in read_message(letter.body).objects) or "-"
    except MalformedMessage:
        return "-"


def _age(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
