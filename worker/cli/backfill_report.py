"""What `trailsink backfill` prints: the plan, the progress, and the result, as text or as JSON documents."""

from __future__ import annotations

import shlex
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from worker.backfill.loaders import QueueLoader
from worker.backfill.progress import RECORD_COUNTS, BackfillPlan, LoadOutcome, LoadTally
from worker.backfill.report import read_report
from worker.backfill.selection import ALLOWED_LATENESS
from worker.cli.backfill_options import Scope
from worker.cli.options import stack_name
from worker.cli.output import print_json, print_line, print_table
from worker.health.stack_advice import for_stack
from worker.humanize import format_minute, format_size, pluralize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from worker.backfill.checkpoint import Checkpoint
    from worker.backfill.loaders import Loader
    from worker.backfill.report import FailedFile, FailureReport
    from worker.backfill.runner import BackfillRun
    from worker.cli.backfill_options import BackfillOptions
    from worker.settings import Settings

_SHOWN_FAILURES = 10
_FULL_SECONDS = 60.0
_PLAN_STEP = 100  # files between two updates of the spinner

_COLUMNS = (BarColumn(bar_width=10), MofNCompleteColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn())


# The plan


def plan_document(plan: BackfillPlan, checkpoint: Checkpoint) -> dict[str, object]:
    """Return the plan as a JSON document."""
    days = sorted(plan.days)
    return {
        "kind": "plan",
        "files": plan.files,
        "bytes": plan.bytes,
        "accounts": len(plan.accounts),
        "days": len(days),
        "first_day": days[0] if days else None,
        "last_day": days[-1] if days else None,
        "present": plan.present,
        "incomplete": plan.incomplete,
        "filtered": plan.filtered,
        "discarded": plan.discarded,
        "since": checkpoint.since,
        "until": checkpoint.until,
        "done_before": checkpoint.tally().files,
    }


def plan_lines(plan: BackfillPlan, checkpoint: Checkpoint, options: BackfillOptions, location: str) -> Iterator[str]:
    """Yield what is loaded, as text: the files of a plan that has any. `location` comes before the folders."""
    if options.retry_failed:
        yield f"from      {options.retry_failed}"
    else:
        yield f"from      {', '.join(f'{location}{source.folder}' for source in checkpoint.sources)}"
        start = format_minute(checkpoint.since) if checkpoint.since else "any time"
        # Events before the end may be delivered an hour after it; without an end, that hour is in the future.
        until = checkpoint.until + ALLOWED_LATENESS if options.until else checkpoint.until
        yield f"delivered {start} to {format_minute(until)} UTC"
    yield f"files     {plan.files:,}"
    yield f"size      {format_size(plan.bytes)}"
    yield f"accounts  {len(plan.accounts):,}"
    yield f"days      {len(plan.days):,}, {min(plan.days)} to {max(plan.days)}"
    if options.scope is not Scope.ALL:
        incomplete = f", {plan.incomplete:,} of them incomplete" if plan.incomplete else ""
        yield f"present   {pluralize(plan.present, 'file')} with records in the index{incomplete}"
    if plan.filtered:
        yield f"filtered  {pluralize(plan.filtered, 'file')} of which filters left records out"
    if plan.discarded:
        yield f"discarded {pluralize(plan.discarded, 'file')}: the dead letters were discarded"


def destination_lines(options: BackfillOptions, settings: Settings) -> Iterator[str]:
    """Yield where the files go, and how fast, as text."""
    if options.loads_directly:
        address = settings.opensearch_url or "(TRAILSINK_OPENSEARCH_URL is not set)"
        yield f"to        {address}, {settings.index_prefix}-*"
        yield f"          with {pluralize(options.workers, 'worker')}"
    else:
        yield f"to        {settings.queue_url or '(TRAILSINK_QUEUE_URL is not set)'}"
        yield f"          up to {pluralize(options.rate, 'file')} per second,"
        yield f"          while the queue holds fewer than {pluralize(options.max_depth, 'message')}"


def nothing_missing(plan: BackfillPlan) -> str:
    """Say that the index holds records of all selected files."""
    sentence = f"Nothing is missing: the index holds records of all {plan.present:,} files"
    if plan.incomplete:
        sentence += f", but {plan.incomplete:,} of them lack records: pass --incomplete to load those"
    if not plan.discarded:
        return f"{sentence}."
    letters = "letter was" if plan.discarded == 1 else "letters were"
    return f"{sentence}. {pluralize(plan.discarded, 'more file')} left alone: the dead {letters} discarded."


# The progress


@contextmanager
def _progress_bar(*columns: ProgressColumn, shown: bool) -> Iterator[Progress]:
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not shown) as bar:
        yield bar


def count_files(plans: Iterator[BackfillPlan], *, shown: bool) -> BackfillPlan:
    """Show the number of files while a plan grows; returns the complete plan."""
    plan = BackfillPlan()
    with _progress_bar(SpinnerColumn(), TextColumn("listing: {task.completed:,.0f} files"), shown=shown) as bar:
        task = bar.add_task("", total=None)
        for plan in plans:
            if plan.listed % _PLAN_STEP == 0:
                bar.update(task, completed=plan.listed)
    return plan


def progress_text(tally: LoadTally, retries: Mapping[str, int], loader: Loader, files_per_second: float) -> str:
    """Return the counts of a run in progress, on one line."""
    parts = [f"{files_per_second:,.0f}/s"]
    if tally.records:
        parts.append(f"{tally.records['read']:,} records")
    if isinstance(loader, QueueLoader):
        parts.append(f"depth {loader.depth:,}")
    if retries:
        parts.append(f"{sum(retries.values()):,} retries")
    return " · ".join(parts)


class FullQueueWarning:
    """Warns, once, when the queue has been too full for a minute."""

    def __init__(self, loader: Loader, max_depth: int) -> None:
        self._loader, self._max_depth = loader, max_depth
        self._printed = False

    def check(self) -> None:
        """Print the warning when it is due."""
        if self._printed or not isinstance(self._loader, QueueLoader) or self._loader.full_seconds < _FULL_SECONDS:
            return
        self._printed = True
        depth = pluralize(self._loader.depth, "message")
        print_line(
            f"The queue holds {depth}, and --max-depth is {self._max_depth:,}: waiting for its consumer.", err=True
        )


# The result


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReporter:
    """Shows the progress of a run, and prints its result.

    `started_at` is in seconds of the monotonic clock, `files_before` the number of files that earlier runs committed.
    """

    options: BackfillOptions
    bucket: str
    run: BackfillRun
    loader: Loader
    report: FailureReport
    started_at: float
    files_before: int

    def show_progress(self, beats: Iterator[None], total: int) -> None:
        """Consume `beats`, what a run yields several times a second, and show the progress of `total` files."""
        tally, warning = self.run.progress.tally, FullQueueWarning(self.loader, self.options.max_depth)
        with _progress_bar(*_COLUMNS, shown=self.options.shows_progress) as bar:
            task = bar.add_task("", total=total, text="")
            for _ in beats:
                files = tally.files - self.files_before
                rate = files / max(self._seconds, 0.001)
                bar.update(task, completed=files, text=progress_text(tally, self.run.retries, self.loader, rate))
                warning.check()

    def print_result(self, *, finished: bool) -> None:
        """Print the files by day and outcome, the records, and the files that failed."""
        if self.options.as_json:
            for document in self._documents(finished=finished):
                print_json(document)
        else:
            self._print_text()

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self.started_at

    def _documents(self, *, finished: bool) -> Iterator[dict[str, object]]:
        tally = self.run.progress.tally
        for day, outcomes in sorted(tally.days.items()):
            yield {"kind": "day", "day": day, "files": dict(outcomes)}
        for failed in self._failed_files():
            yield {"kind": "failed", **msgspec.to_builtins(failed)}
        yield {
            "kind": "end",
            "finished": finished,
            "files": dict(tally.outcomes),
            "records": dict(tally.records),
            "retries": dict(self.run.retries),
            "seconds": round(self._seconds, 3),
            "report": str(self.report.path) if self.report.size else None,
        }

    def _print_text(self) -> None:
        tally = self.run.progress.tally
        print_outcomes(tally)
        for failed in islice(self._failed_files(), _SHOWN_FAILURES):
            print_line(f"{failed.reason}  {failed.object}")
            print_line(f"  {failed.detail}")
        if (failures := tally.outcomes[LoadOutcome.FAILED]) > _SHOWN_FAILURES:
            print_line(f"... and {failures - _SHOWN_FAILURES:,} more, in {self.report.path}")
        if tally.outcomes[LoadOutcome.ANNOUNCED]:
            print_line("Files that cannot be loaded go to the dead-letter queue: trailsink dlq list")

    def _failed_files(self) -> Iterator[FailedFile]:
        return read_report(self.report.path, self.bucket) if self.report.size else iter(())


def print_outcomes(tally: LoadTally) -> None:
    """Print the files by day and outcome, and the records by outcome."""
    outcomes = [outcome for outcome in LoadOutcome if tally.outcomes[outcome]]
    rows = [[day, *(f"{files[outcome]:,}" for outcome in outcomes)] for day, files in sorted(tally.days.items())]
    if len(rows) > 1:
        rows.append(["all", *(f"{tally.outcomes[outcome]:,}" for outcome in outcomes)])
    if rows:
        print_table(["day", *outcomes], rows, right=outcomes)
    if tally.records:
        # Without filters, nothing can be filtered.
        names = [name for name in RECORD_COUNTS if name != "filtered" or tally.records[name]]
        print_line("records: " + ", ".join(f"{tally.records[name]:,} {name}" for name in names))


def resume_advice(state: Path | None) -> str:
    """Say how to continue after an interruption; `state` is the path of the state file, if there is one."""
    if state is None:
        return "Run the same command again: no record is indexed twice."
    return f"Run the same command to resume: {state} holds its progress."


def failure_advice(failures: int, options: BackfillOptions, report: Path) -> str:
    """Say how to load files that failed."""
    place = f" --bucket {shlex.quote(options.bucket)}" if options.bucket else ""
    place += f" --local {shlex.quote(str(options.local))}" if options.local else ""
    command = f"trailsink backfill --direct{place} --retry-failed {shlex.quote(str(report))}"
    return (
        f"{pluralize(failures, 'file')} failed: fix the cause, then run"
        f" `{for_stack(command, stack_name())}` to load what the report lists."
    )
