"""The operator's door to what is in the bucket already: `trailsink backfill`."""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from worker.aws.session import config, open_session
from worker.backfill.checkpoint import Checkpoint, CheckpointFile, state_folder, state_path
from worker.backfill.job import BackfillJob, run_job
from worker.backfill.listing import LISTINGS, files, find_roots
from worker.backfill.loaders import DirectLoader, QueueLoader
from worker.backfill.progress import RECORDS, BackfillPlan, LoadOutcome, LoadTally, OrderedProgress
from worker.backfill.report import FailureReport, failed_file, failures
from worker.backfill.retry import RateLimiter
from worker.backfill.runner import BackfillRun
from worker.backfill.selection import LATE, Selection, inside_another, root_of, window
from worker.backfill.sources import BucketLister, LocalTree
from worker.cli.commands.backfill import KINDS
from worker.cli.output import confirm, graceful_shutdown, print_json, print_table
from worker.cloudtrail.keys import ROOT
from worker.errors import SetupError, TrailsinkError
from worker.opensearch.inventory import IndexInventory
from worker.opensearch.setup import check_template
from worker.settings import load_settings
from worker.wiring import make_client, make_consumer, make_queue, now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor
    from datetime import datetime, timedelta

    from worker.aws.sqs import SqsQueue
    from worker.backfill.loaders import InMemoryDeadLetters, Loader
    from worker.backfill.report import FailedFile
    from worker.pipeline.consumer import Consumer
    from worker.settings import Settings

_SHOWN_FAILURES = 10
_FULL_SECONDS = 60.0
_NOT_SET = "(its setting is missing)"
_LOCAL_BUCKET = "local"  # what documents of a folder tree name in place of a bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The options as they were given."""

    bucket: str | None
    prefix: tuple[str, ...]
    local: Path | None
    account: tuple[str, ...]
    org: tuple[str, ...]
    region: tuple[str, ...]
    kind: tuple[str, ...]
    since: datetime | None
    until: datetime | None
    last: timedelta | None
    missing: bool
    incomplete: bool
    retry_failed: Path | None
    via: str
    direct: bool
    rate: int
    max_depth: int
    workers: int
    patience: timedelta
    dry_run: bool
    yes: bool
    restart: bool
    state: Path | None
    report: Path | None
    progress: bool | None
    as_json: bool

    @property
    def directly(self) -> bool:
        return self.direct or self.via == "direct"

    def check(self) -> None:
        """Refuse what contradicts itself."""
        if self.last and (self.since or self.until):
            raise click.UsageError("--last stands alone, without --since and --until.")
        if self.since and self.until and self.since >= self.until:
            raise click.UsageError("--since must be earlier than --until.")
        if self.local and not self.directly:
            raise click.UsageError("--local needs --direct: the pipeline cannot read this machine's files.")
        if self.retry_failed and not self.directly:
            raise click.UsageError("--retry-failed needs --direct; what failed via the queue is for `trailsink dlq`.")
        if self.retry_failed and (self.missing or self.incomplete):
            raise click.UsageError("--retry-failed loads exactly what the report names, without --missing.")
        if not (self.yes or self.dry_run or sys.stdin.isatty()):
            raise click.UsageError("There is no terminal to ask on: give --yes, or --dry-run to look only.")

    def asked(self, settings: Settings, bucket: str) -> dict[str, str]:
        """Say what makes this backfill the same as an earlier one: what is asked for, and where it goes."""
        where = (
            {"cluster": settings.opensearch_url, "index_prefix": settings.index_prefix}
            if self.directly
            else {"queue": settings.queue_url}
        )
        return where | {
            "bucket": bucket,
            "local": str(self.local.resolve()) if self.local else "",
            **{name: " ".join(sorted(getattr(self, name))) for name in ("prefix", "account", "org", "region", "kind")},
            **{name: str(getattr(self, name) or "") for name in ("since", "until", "last")},
            "missing": f"{self.missing or self.incomplete} {self.incomplete}",
            "way": "direct" if self.directly else "queue",
        }


def backfill(**given: Any) -> None:  # noqa: ANN401 - one per option above
    """Load what is already in the bucket: last year's files, or those whose notices were lost.

    Shows what it will do, and asks. Loading a file again changes nothing, so any span may be loaded twice. Interrupted,
    it goes on where it was when the same command is run again.

    Days and times are those of delivery, which a file's key tells. An event of 23:58 is in a file of the next day: so
    files delivered within an hour after --until are loaded too.
    """
    options = _Options(**given)
    options.check()
    settings = load_settings()
    with ExitStack() as house:
        _Door(options, settings, house).run()


class _Door:
    """The command, step by step."""

    def __init__(self, options: _Options, settings: Settings, house: ExitStack) -> None:
        self._options, self._settings, self._house = options, settings, house
        self._bucket = _bucket(options, settings)
        self._pool: Executor = house.enter_context(ThreadPoolExecutor(LISTINGS, "list"))
        self._tree = LocalTree(options.local) if options.local else None
        self._lister = self._tree or BucketLister(
            open_session().client("s3", config=config(connections=LISTINGS)), self._bucket
        )
        self._stop = threading.Event()
        self._warned = False
        self._live = sys.stderr.isatty() if options.progress is None else options.progress

    @cached_property
    def _queue(self) -> SqsQueue:
        return make_queue(self._settings)

    def run(self) -> None:
        """Plan, ask, do, tell."""
        options = self._options
        holdings = self._check_neighbours()
        asked = options.asked(self._settings, self._bucket)
        state = None if options.retry_failed else CheckpointFile(options.state or state_path(os.environ, asked))
        if state and not options.dry_run:
            self._house.enter_context(state.held())
        saved = self._saved(state, asked)
        job = self._job(saved, holdings)
        plan = self._plan(job, saved)
        self._say_plan(plan, saved)
        if options.dry_run or not (plan.files or saved.mark):
            return
        if plan.files and not confirm("Go on?", yes=options.yes):
            raise SetupError("Nothing was done.")
        self._carry_out(job, plan, saved, state)

    # Before

    def _check_neighbours(self) -> IndexInventory | None:
        """Say at once what would fail later: the queue, or the cluster and its template."""
        options = self._options
        if not (options.directly or options.dry_run):
            self._queue.check()
        missing = options.missing or options.incomplete
        if not (missing or (options.directly and not options.dry_run)):
            return None
        client, prefix = make_client(self._settings).connect(), self._settings.index_prefix
        check_template(client, prefix)
        return IndexInventory(client, prefix, self._bucket) if missing else None

    def _saved(self, state: CheckpointFile | None, asked: dict[str, str]) -> Checkpoint:
        """Return what an earlier run left, or a beginning."""
        options = self._options
        found = state.load(asked) if state and not options.restart else None
        if found:
            click.echo(f"Going on with the run of {_minute(found.started_at)}: {found.tally().files:,} files are done.",
                       err=True)  # fmt: skip
            if options.report and options.report.absolute() != Path(found.report):
                raise SetupError(f"That run lists its failures in {found.report}: leave out --report, or --restart.")
            return found
        if options.report and options.report.exists():
            raise SetupError(f"{options.report} exists already: no report is overwritten.")
        began = now()
        since, until = window(began, since=options.since, until=options.until, last=options.last)
        roots = [] if options.retry_failed else self._roots()
        name = f"failed-{began:%Y%m%dT%H%M%S}-{os.getpid()}.jsonl"
        report = options.report or state_folder(os.environ) / name
        return Checkpoint(
            asked=asked, started_at=began, since=since, until=until, roots=roots, report=str(report.absolute())
        )

    def _roots(self) -> list[str]:
        if self._options.prefix:
            given = {root_of(prefix) for prefix in self._options.prefix}
            if inner := inside_another(given):
                raise click.UsageError(f"--prefix {inner} lies below the {ROOT} of another one.")
            return sorted(given)
        roots = find_roots(self._lister)
        if not roots:
            raise SetupError(
                f"No AWSLogs/ was found in {self._where}, down to three folders: name what is before it with --prefix."
            )
        return roots

    @property
    def _where(self) -> str:
        return str(self._options.local) if self._options.local else f"s3://{self._bucket}"

    def _job(self, saved: Checkpoint, holdings: IndexInventory | None) -> BackfillJob:
        options = self._options
        if report := options.retry_failed:
            return BackfillJob(lambda _: (failed_file(failure) for failure in failures(report, self._bucket)))
        selection = Selection(
            saved.until,
            saved.since,
            frozenset(options.account),
            frozenset(options.org),
            frozenset(options.region),
            frozenset(KINDS[kind] for kind in options.kind),
        )
        return BackfillJob(
            lambda mark: files(self._lister, self._pool, selection, saved.roots, mark),
            holdings.lookup if holdings else None,
            options.incomplete,
        )

    def _plan(self, job: BackfillJob, saved: Checkpoint) -> BackfillPlan:
        with self._bar(SpinnerColumn(), TextColumn("listing: {task.completed:,.0f} files")) as bar:
            task = bar.add_task("", total=None)
            for plan in job.plan(saved.mark):
                if (plan.files + plan.present) % 100 == 0:
                    bar.update(task, completed=plan.files + plan.present)
        return plan

    def _say_plan(self, plan: BackfillPlan, saved: Checkpoint) -> None:
        options = self._options
        days = sorted(plan.days)
        if options.as_json:
            _say(
                kind="plan", files=plan.files, bytes=plan.bytes, accounts=len(plan.accounts), days=len(days),
                first_day=days[0] if days else None, last_day=days[-1] if days else None, present=plan.present,
                incomplete=plan.incomplete, since=saved.since, until=saved.until, done_before=saved.tally().files,
            )  # fmt: skip
        elif plan.files:
            for line in self._plan_lines(plan, saved):
                click.echo(line)
        if plan.files or saved.mark:
            return
        if plan.present:
            more = f"; {plan.incomplete:,} are incomplete: --incomplete loads them" if plan.incomplete else ""
            click.echo(f"Nothing is missing: the index holds records of all {plan.present:,} files{more}.", err=True)
            return
        raise SetupError(
            f"Nothing is selected: no log file of CloudTrail in {self._where} is asked for by these options."
        )

    def _plan_lines(self, plan: BackfillPlan, saved: Checkpoint) -> Iterator[str]:
        options, days = self._options, sorted(plan.days)
        yield f"From      {', '.join(f'{self._where}/{root}{ROOT}' for root in saved.roots) or options.retry_failed}"
        if not options.retry_failed:
            begin = _minute(saved.since) if saved.since else "any time"
            yield f"delivered {begin} to {_minute(saved.until + LATE)} UTC"
        yield f"files     {plan.files:,}"
        yield f"bytes     {_bytes(plan.bytes)}"
        yield f"accounts  {len(plan.accounts):,}"
        yield f"days      {len(days):,}, {days[0]} to {days[-1]}"
        if options.missing or options.incomplete:
            more = f", {plan.incomplete:,} of them incomplete" if plan.incomplete else ""
            yield f"present   {plan.present:,} files have records in the index{more}"
        if options.directly:
            yield f"to        {self._settings.opensearch_url or _NOT_SET}, {self._settings.index_prefix}-*"
            yield f"          by {options.workers} workers"
        else:
            yield f"to        {self._settings.queue_url or _NOT_SET}"
            yield f"          at most {options.rate:,} a second, while it holds fewer than"
            yield f"          {options.max_depth:,} messages"

    # The work

    def _carry_out(self, job: BackfillJob, plan: BackfillPlan, saved: Checkpoint, state: CheckpointFile | None) -> None:
        options, began = self._options, time.monotonic()
        report = FailureReport(Path(saved.report), saved.report_bytes)
        report.path.parent.mkdir(parents=True, exist_ok=True)
        way = self._way()
        ledger = OrderedProgress(saved.tally(), saved.mark)
        patience = options.patience.total_seconds()
        run = BackfillRun(
            way, job.source(saved.mark), ledger, workers=options.workers, patience=patience, stop=self._stop
        )
        before = ledger.tally.files
        try:
            with graceful_shutdown(self._stop, "what is under way is finished"), self._bar(*_COLUMNS) as bar:
                task = bar.add_task("", total=plan.files + plan.present, said="")
                for _ in run_job(run, saved, report, state, self._bucket):
                    said = _words(ledger.tally, run, way, time.monotonic() - began, ledger.tally.files - before)
                    bar.update(task, completed=ledger.tally.files - before, said=said)
                    self._warn_of_full_queue(way)
        except TrailsinkError as error:
            self._tell(ledger.tally, report, run, time.monotonic() - began, finished=False)
            sentence = str(error).rstrip(".")
            raise SetupError(f"{sentence}. {self._how_to_go_on(state)}") from error
        if not run.is_complete:
            self._tell(ledger.tally, report, run, time.monotonic() - began, finished=False)
            raise SetupError(f"Interrupted. {self._how_to_go_on(state)}")
        if state:
            state.forget()
        self._tell(ledger.tally, report, run, time.monotonic() - began, finished=True)
        if failed := ledger.tally.outcomes[LoadOutcome.FAILED]:
            raise SetupError(
                f"{failed:,} file{'' if failed == 1 else 's'} failed; when what is wrong is mended, "
                f"`trailsink backfill --direct{self._local_words()} --retry-failed {report.path}` loads what is "
                "listed there."
            )

    def _warn_of_full_queue(self, way: Loader) -> None:
        if self._warned or not isinstance(way, QueueLoader) or way.full_seconds < _FULL_SECONDS:
            return
        self._warned = True
        click.echo(
            f"The queue holds {way.depth:,} messages, and at most {self._options.max_depth:,} are wanted: waiting for "
            "its consumer.", err=True,
        )  # fmt: skip

    def _local_words(self) -> str:
        return f" --local {self._options.local}" if self._options.local else ""

    def _how_to_go_on(self, state: CheckpointFile | None) -> str:
        if state is None:
            return "Run the same command again: what was loaded is not loaded twice."
        return f"Run the same command to go on; {state.path} says how far it came."

    def _way(self) -> Loader:
        options, settings = self._options, self._settings
        if not options.directly:
            return QueueLoader(
                self._queue, self._bucket, RateLimiter(options.rate, QueueLoader.batch), options.max_depth
            )

        def make(letters: InMemoryDeadLetters) -> Consumer:
            return make_consumer(settings, store=self._tree, queue=letters)

        way = DirectLoader(make, self._bucket, workers=options.workers, seconds=settings.batch_seconds, stop=self._stop)
        self._house.callback(way.close)
        return way

    @contextmanager
    def _bar(self, *columns: Any) -> Iterator[Progress]:  # noqa: ANN401 - columns of rich
        """Show progress on standard error, or nothing."""
        with Progress(*columns, console=Console(stderr=True), transient=True, disable=not self._live) as bar:
            yield bar

    # After

    def _tell(
        self, tally: LoadTally, report: FailureReport, run: BackfillRun, seconds: float, *, finished: bool
    ) -> None:
        """Print the table by day and outcome, the records, and files that failed."""
        if self._options.as_json:
            self._tell_json(tally, report, run, seconds, finished=finished)
            return
        outcomes = [outcome for outcome in LoadOutcome if tally.outcomes[outcome]]
        rows = [
            [day, *(f"{counted[outcome]:,}" for outcome in outcomes)] for day, counted in sorted(tally.days.items())
        ]
        if len(rows) > 1:
            rows.append(["all", *(f"{tally.outcomes[outcome]:,}" for outcome in outcomes)])
        if rows:
            print_table(["day", *outcomes], rows, right=outcomes)
        if tally.records:
            click.echo("records: " + ", ".join(f"{tally.records[name]:,} {name}" for name in RECORDS))
        for failure in islice(self._failures(report), _SHOWN_FAILURES):
            click.echo(f"{failure.reason}  {failure.object}\n  {failure.detail}")
        if tally.outcomes[LoadOutcome.FAILED] > _SHOWN_FAILURES:
            click.echo(f"... and {tally.outcomes[LoadOutcome.FAILED] - _SHOWN_FAILURES:,} more, in {report.path}")
        if tally.outcomes[LoadOutcome.ANNOUNCED]:
            click.echo("What cannot be loaded will be in the dead-letter queue: trailsink dlq list")

    def _tell_json(
        self, tally: LoadTally, report: FailureReport, run: BackfillRun, seconds: float, *, finished: bool
    ) -> None:
        for day, counted in sorted(tally.days.items()):
            _say(kind="day", day=day, files=dict(counted))
        for failure in self._failures(report):
            _say(kind="failed", **msgspec.to_builtins(failure))
        path = str(report.path) if report.size else None
        _say(kind="end", finished=finished, files=dict(tally.outcomes), records=dict(tally.records),
             retries=dict(run.retries), seconds=round(seconds, 3), report=path)  # fmt: skip

    def _failures(self, report: FailureReport) -> Iterator[FailedFile]:
        return failures(report.path, self._bucket) if report.size else iter(())


_COLUMNS = (BarColumn(bar_width=10), MofNCompleteColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn())


def _words(tally: LoadTally, run: BackfillRun, way: Loader, seconds: float, done: int) -> str:
    said = [f"{done / max(seconds, 0.001):,.0f}/s"]
    if tally.records:
        said.append(f"{tally.records['read']:,} records")
    if isinstance(way, QueueLoader):
        said.append(f"depth {way.depth:,}")
    if run.retries:
        said.append(f"{run.retries.total():,} retries")
    return " · ".join(said)


def _bucket(options: _Options, settings: Settings) -> str:
    if options.bucket:
        return options.bucket
    if options.local:
        return _LOCAL_BUCKET
    if not settings.bucket:
        raise SetupError("There is no bucket to load from: give --bucket, or set TRAILSINK_BUCKET.")
    return settings.bucket


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004 - SI units
            return f"{size:,.0f} B" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def _say(**members: Any) -> None:  # noqa: ANN401 - JSON values
    print_json(members)
