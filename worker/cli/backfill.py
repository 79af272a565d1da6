"""`trailsink backfill`: loads files that are already in a bucket or a folder."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from worker.atomicfile import make_private_folders
from worker.backfill.checkpoint import Checkpoint, CheckpointFile, state_folder, state_path, translate_disk_errors
from worker.backfill.job import BackfillJob, run_job
from worker.backfill.listing import LISTINGS, KeySource, is_root, list_files
from worker.backfill.loaders import DirectLoader, QueueLoader
from worker.backfill.progress import LoadOutcome, OrderedProgress
from worker.backfill.report import FailureReport, read_report
from worker.backfill.retry import RateLimiter
from worker.backfill.runner import BackfillRun
from worker.backfill.selection import time_range
from worker.backfill.sources import BucketLister, LocalTree
from worker.cli.backfill_options import BackfillOptions, Scope
from worker.cli.backfill_report import (
    RunReporter,
    count_files,
    destination_lines,
    failure_advice,
    nothing_missing,
    plan_document,
    plan_lines,
    resume_advice,
)
from worker.cli.output import announced_wait, confirm, graceful_shutdown, print_json, print_line
from worker.cli.sources import choose_sources
from worker.cli.template_check import check_own_template
from worker.cloudtrail.keys import ROOT
from worker.errors import SetupError, TrailsinkError
from worker.humanize import format_minute, pluralize
from worker.opensearch.inventory import IndexInventory, LedgerInventory
from worker.opensearch.ledger import LedgerReader
from worker.pipeline.objects import ObjectRef
from worker.settings import load_settings
from worker.wiring import make_client, make_consumer, make_queue, make_s3_client, now, open_s3_session

if TYPE_CHECKING:
    from worker.aws.sqs import SqsQueue
    from worker.backfill.listing import Lister
    from worker.backfill.loaders import InMemoryDeadLetters, Loader
    from worker.backfill.progress import BackfillPlan
    from worker.pipeline.consumer import Consumer
    from worker.settings import Settings


def backfill(**options: Any) -> None:  # noqa: ANN401 - the fields of BackfillOptions
    """Load files that are already in a bucket or a folder; raises SetupError."""
    checked = BackfillOptions(**options)
    checked.check()
    settings = load_settings()
    settings.require(*checked.needed_settings)
    with ExitStack() as resources:
        BackfillCommand(checked, settings, resources).run()


@dataclass(frozen=True, slots=True)
class FileSource:
    """Where the files are: a bucket, or a folder tree that is also the store to read them from.

    `location` is what their keys are relative to, with a slash at the end.
    """

    bucket: str
    location: str
    lister: Lister
    tree: LocalTree | None


def _open_source(options: BackfillOptions, settings: Settings) -> FileSource:
    bucket = options.bucket_name(settings)
    if options.local:
        tree = LocalTree(options.local)
        return FileSource(bucket, f"{options.local}/", tree, tree)
    client = make_s3_client(settings, open_s3_session(settings), connections=LISTINGS)
    return FileSource(bucket, ObjectRef(bucket, "").uri, BucketLister(client, bucket), None)


class BackfillCommand:
    """The command, step by step. `resources` closes what it opens."""

    def __init__(self, options: BackfillOptions, settings: Settings, resources: ExitStack) -> None:
        self._options, self._settings, self._resources = options, settings, resources
        self._source = _open_source(options, settings)
        self._bucket = self._source.bucket
        self._pool = resources.enter_context(ThreadPoolExecutor(LISTINGS, "list"))
        self._stop = threading.Event()

    @cached_property
    def _queue(self) -> SqsQueue:
        return make_queue(self._settings)

    def run(self) -> None:
        """Plan, confirm, load and report."""
        options = self._options
        inventory = self._check_destination()
        fingerprint = options.fingerprint(self._settings, self._bucket)
        state = None if options.retry_failed else CheckpointFile(options.state or state_path(os.environ, fingerprint))
        if state and not options.dry_run:
            self._resources.enter_context(state.lock())
        checkpoint = _load_checkpoint(options, state, fingerprint) or _new_checkpoint(
            options, fingerprint, self._source
        )
        job = self._job(checkpoint, inventory)
        plan = count_files(job.plan(checkpoint.cursor), shown=options.shows_progress)
        self._print_plan(plan, checkpoint)
        if options.dry_run or not (plan.files or checkpoint.cursor):
            return
        if not options.loads_directly and self._settings.allowed_buckets.refusal(self._bucket):
            raise SetupError(
                f"The pipeline does not read the bucket {self._bucket}: add it to TRAILSINK_BUCKETS, here and in the"
                " consumer's environment, or load the files with --direct."
            )
        if plan.files and not confirm("Continue?", yes=options.yes):
            raise SetupError("Nothing was done.")
        self._load(job, plan, checkpoint, state)

    # Before

    def _check_destination(self) -> IndexInventory | LedgerInventory | None:
        """Find out now what would fail later: a missing queue, cluster or template.

        Returns the inventory of the index where --missing or --incomplete needs it.
        """
        options = self._options
        if not (options.loads_directly or options.dry_run):
            self._queue.check()
        needs_inventory = options.scope is not Scope.ALL
        if not (needs_inventory or (options.loads_directly and not options.dry_run)):
            return None
        client, prefix = make_client(self._settings).connect(), self._settings.index_prefix
        with announced_wait("OpenSearch"):
            check_own_template(client, self._settings)
        if not needs_inventory:
            return None
        inventory = IndexInventory(client, prefix, self._bucket)
        if not self._settings.ledger:
            return inventory
        return LedgerInventory(LedgerReader(client, prefix), inventory, self._bucket)

    def _job(self, checkpoint: Checkpoint, inventory: IndexInventory | LedgerInventory | None) -> BackfillJob:
        options = self._options
        if report := options.retry_failed:
            return BackfillJob(lambda _: (failed.to_selected() for failed in read_report(report, self._bucket)))
        selection = options.selection(checkpoint.since, checkpoint.until)
        return BackfillJob(
            lambda cursor: list_files(self._source.lister, self._pool, selection, checkpoint.sources, cursor),
            inventory.lookup if inventory else None,
            load_incomplete=options.incomplete,
            load_filtered=options.no_filters,
        )

    def _print_plan(self, plan: BackfillPlan, checkpoint: Checkpoint) -> None:
        options = self._options
        if options.as_json:
            print_json(plan_document(plan, checkpoint))
        elif plan.files:
            for line in plan_lines(plan, checkpoint, options, self._source.location):
                print_line(line)
            for line in destination_lines(options, self._settings):
                print_line(line)
        if plan.files or checkpoint.cursor:
            return
        if not plan.listed:
            raise SetupError(
                f"Nothing is selected: no CloudTrail log file in {self._source.location} matches these options."
            )
        print_line(nothing_missing(plan), err=True)

    # The load

    def _load(self, job: BackfillJob, plan: BackfillPlan, checkpoint: Checkpoint, state: CheckpointFile | None) -> None:
        """Load the files of the plan and print the result; raises SetupError unless all of them are loaded."""
        reporter = self._start(job, checkpoint)
        run, beats = reporter.run, run_job(reporter.run, checkpoint, reporter.report, state, self._bucket)
        advice = resume_advice(state.path if state else None)
        try:
            with graceful_shutdown(self._stop, "files in progress are finished"), closing(beats):
                reporter.show_progress(beats, plan.listed)
        except TrailsinkError as error:
            reporter.print_result(finished=False)
            sentence = str(error).rstrip(".")
            raise SetupError(f"{sentence}. {advice}") from error
        if not run.is_complete:
            reporter.print_result(finished=False)
            raise SetupError(f"Interrupted. {advice}")
        if state:
            state.delete()
        reporter.print_result(finished=True)
        if failures := run.progress.tally.outcomes[LoadOutcome.FAILED]:
            raise SetupError(failure_advice(failures, self._options, reporter.report.path))

    def _start(self, job: BackfillJob, checkpoint: Checkpoint) -> RunReporter:
        """Build the run that resumes at the checkpoint, and what reports on it."""
        options, started_at = self._options, time.monotonic()
        report = FailureReport(Path(checkpoint.report), checkpoint.report_bytes)
        with translate_disk_errors(report.path):
            make_private_folders(report.path.parent)
        loader = self._loader()
        progress = OrderedProgress(checkpoint.tally(), checkpoint.cursor)
        run = BackfillRun(
            loader,
            job.source(checkpoint.cursor),
            progress,
            workers=options.workers,
            patience=options.patience.total_seconds(),
            stop=self._stop,
        )
        return RunReporter(
            options=options,
            bucket=self._bucket,
            run=run,
            loader=loader,
            report=report,
            started_at=started_at,
            files_before=progress.tally.files,
        )

    def _loader(self) -> Loader:
        options, settings = self._options, self._settings
        if not options.loads_directly:
            limiter = RateLimiter(options.rate, QueueLoader.batch_size)
            return QueueLoader(self._queue, self._bucket, limiter, options.max_depth)

        # The operator has named this bucket, so it may be read.
        own = settings.model_copy(update={"buckets": self._bucket})
        if options.no_filters:
            own = own.model_copy(update={"filters": ""})

        def make(letters: InMemoryDeadLetters) -> Consumer:
            return make_consumer(own, store=self._source.tree, queue=letters)

        loader = DirectLoader(
            make, self._bucket, workers=options.workers, batch_seconds=settings.batch_seconds, stop=self._stop
        )
        self._resources.callback(loader.close)
        return loader


def _load_checkpoint(
    options: BackfillOptions, state: CheckpointFile | None, fingerprint: dict[str, str]
) -> Checkpoint | None:
    """Return the checkpoint of an interrupted run, None if there is none."""
    checkpoint = state.load(fingerprint) if state and not options.restart else None
    if checkpoint is None:
        return None
    started, files = format_minute(checkpoint.started_at), pluralize(checkpoint.tally().files, "file")
    print_line(f"Resuming the run of {started} UTC: {files} done.", err=True)
    if options.report and options.report.absolute() != Path(checkpoint.report):
        raise SetupError(
            f"The interrupted run has its report in {checkpoint.report}: leave out --report, or pass --restart."
        )
    return checkpoint


def _new_checkpoint(options: BackfillOptions, fingerprint: dict[str, str], source: FileSource) -> Checkpoint:
    if options.report and options.report.exists():
        raise SetupError(f"{options.report} already exists and is not overwritten: name another --report.")
    started = now()
    since, until = time_range(started, since=options.since, until=options.until, last=options.last)
    sources = set() if options.retry_failed else _choose_sources(options, source)
    trees = {key_source.folder for key_source in sources if is_root(key_source)}
    default_report = state_folder(os.environ) / f"failed-{started:%Y%m%dT%H%M%S}-{os.getpid()}.jsonl"
    return Checkpoint(
        fingerprint=fingerprint,
        started_at=started,
        since=since,
        until=until,
        roots=sorted(tree.removesuffix(ROOT) for tree in trees),
        others=sorted(key_source for key_source in sources if not is_root(key_source)) or msgspec.UNSET,
        report=str((options.report or default_report).absolute()),
    )


def _choose_sources(options: BackfillOptions, source: FileSource) -> set[KeySource]:
    """Return where the files are: below --prefix, or searched; raises SetupError when nothing is found."""
    sources = choose_sources(source.lister, options.prefix)
    if not sources:
        raise SetupError(
            f"No {ROOT} was found in {source.location} within three folders, and no file that is named like"
            " CloudTrail's: pass what comes before it as --prefix."
        )
    return sources
