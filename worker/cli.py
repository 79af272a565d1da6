"""The operator's door: the `trailsink` command."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click
import msgspec
from botocore.exceptions import BotoCoreError
from rich.console import Console
from rich.live import Live
from rich.table import Table

from worker import __version__
from worker.cluster_setup import Wanted, set_up
from worker.errors import MalformedMessage, QueueUnavailable, SetupError, TrailsinkError
from worker.messages import read_message
from worker.metrics import counts, log_lines, metrics_line
from worker.poller import Poller, Polling
from worker.settings import Settings, load_settings
from worker.wiring import is_serverless, make_client, make_consumer, make_queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
              help="Show a live line of counts in place of JSON lines.  [default: on a terminal]")  # fmt: skip
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
    live = sys.stderr.isatty() if progress is None else progress
    with _reporting(settings, live=live) as (report, totals):
        late = _poll(settings, polling, concurrency, report, timeout)
    _print_totals(totals, live=live)
    if late:
        visible, hidden = queue.depth()
        raise SetupError(f"The time is over and the queue is not empty: {visible} messages visible, {hidden} hidden.")


def _poll(
    settings: Settings, polling: Polling, concurrency: int, report: Callable[[BatchResult], None], timeout: float | None
) -> bool:
    """Run the loops until they end; returns whether the time was over first."""
    loops = [threading.Thread(target=partial(_loop, settings, polling, report)) for _ in range(concurrency)]
    until = time.monotonic() + timeout if timeout else None
    for loop in loops:
        loop.start()
    late = False
    for loop in loops:
        while loop.is_alive():
            loop.join(0.2)  # short, so that signals are heard
            if until and time.monotonic() > until and not polling.stop.is_set():
                late = True
                polling.stop.set()
    return late


def _loop(settings: Settings, polling: Polling, report: Callable[[BatchResult], None]) -> None:
    consumer = make_consumer(settings, sleep=polling.pause)
    poller = Poller(make_queue(settings), consumer, polling, report)
    try:
        while not polling.stop.is_set():
            try:
                return poller.run()
            except QueueUnavailable as error:
                click.echo(msgspec.json.encode({"level": "WARNING", "message": "queue", "detail": str(error)}).decode())
                polling.pause(_QUEUE_SILENT_SECONDS)
    finally:
        consumer.close()
    return None


@contextmanager
def _reporting(settings: Settings, *, live: bool) -> Iterator[tuple[Callable[[BatchResult], None], Counter[str]]]:
    """Give the loops where to report to: JSON lines on standard output, or a live line on standard error."""
    totals: Counter[str] = Counter()
    lock = threading.Lock()
    began = time.monotonic()

    def lines(result: BatchResult) -> None:
        with lock:
            totals.update(counts(result))
            for line in log_lines(result):
                click.echo(line)
            if settings.emf:
                click.echo(metrics_line(result))

    if not live:
        yield lines, totals
        return
    with Live(console=Console(stderr=True), refresh_per_second=8, transient=True) as display:

        def line(result: BatchResult) -> None:
            with lock:
                totals.update(counts(result))
                display.update(_progress(totals, time.monotonic() - began))

        display.update(_progress(totals, 0))
        yield line, totals


def _progress(totals: Counter[str], seconds: float) -> str:
    files = totals["FilesIndexed"] + totals["FilesDeadLettered"]
    rate = totals["RecordsRead"] / seconds if seconds else 0
    return (
        f"{files:,.0f} files, {totals['RecordsRead']:,.0f} records ({rate:,.0f}/s): "
        f"{totals['RecordsIndexed']:,.0f} indexed, {totals['RecordsDuplicate']:,.0f} duplicate, "
        f"{totals['RecordsDegraded']:,.0f} degraded, "
        f"{totals['RecordsRejected']:,.0f} rejected; {totals['FilesHandedBack']:,.0f} handed back"
    )


def _print_totals(totals: Counter[str], *, live: bool) -> None:
    if live:
        Console().print(_progress(totals, 0).replace(" (0/s)", ""), highlight=False)
    else:
        click.echo(msgspec.json.encode({"level": "INFO", "message": "totals", **totals}).decode())


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
        return
    Console(width=None if sys.stdout.isatty() else 200).print(_letter_table(chosen))


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


def _letter_table(letters: Sequence[Letter]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("ID", "Reason", "Object", "Attempts", "Age", "Detail"):
        table.add_column(name, overflow="fold", no_wrap=name in ("Reason", "Attempts", "Age"))
    for letter in sorted(letters, key=lambda one: one.sent_at):
        said = _described(letter)
        table.add_row(
            said["id"],
            said["reason"],
            said["object"],
            said.get("attempts", "-"),
            _age(said["age_seconds"]),
            said.get("detail", "-"),
        )
    return table


def _age(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
