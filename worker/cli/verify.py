"""`trailsink verify`: what it is held against, the run, and what it prints."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.digest_keys import list_public_keys
from worker.aws.errors import error_text
from worker.aws.session import config, open_session
from worker.backfill.checkpoint import state_folder, state_path
from worker.backfill.listing import SourceLayout
from worker.backfill.sources import BucketLister, LocalTree
from worker.cli.options import stack_name
from worker.cli.output import graceful_shutdown, print_json, print_line
from worker.cli.sources import choose_sources
from worker.cli.template_check import check_own_template
from worker.cli.verify_options import VerifyOptions
from worker.cloudtrail.filters.matching import RecordFilter
from worker.errors import TrailsinkError
from worker.health.stack_advice import for_stack
from worker.humanize import format_minute, pluralize
from worker.opensearch.verdicts import record_verdict
from worker.settings import load_settings
from worker.verify.checkpoint import VerifyState, VerifyStateFile
from worker.verify.deep import FileExaminer
from worker.verify.evidence import BucketFiles, FolderFiles, IndexedFiles
from worker.verify.join import Judge
from worker.verify.keys import KeyRing, KeysUnavailable, PublicKey, read_keys, write_keys
from worker.verify.known_filters import KnownFilters
from worker.verify.load import MissingFileLoader
from worker.verify.report import FIRST_HASH, ChainedReport
from worker.verify.run import Progress, Verification
from worker.verify.signatures import check_library
from worker.verify.verdict import NOT_JUDGED, exit_code, explanation, summary, verdict_line
from worker.wiring import (
    make_client,
    make_consumer,
    make_filter_source,
    make_s3_client,
    make_selector_file,
    make_store,
    now,
    open_s3_session,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from worker.backfill.loaders import InMemoryDeadLetters
    from worker.pipeline.consumer import Consumer
    from worker.settings import Settings
    from worker.verify.evidence import Files
    from worker.verify.states import VerifyTotals

_PROGRESS_SECONDS = 5.0
_SAVE_SECONDS = 1.0  # between two writes of the state file
_YEAR = timedelta(days=366)
_LOADERS = 4  # consumers at most: each has threads and connections of its own


def known_filters(settings: Settings, others: Iterable[str]) -> KnownFilters:
    """Read the filter that is set, and `others` by which files were loaded earlier; raises SetupError."""
    filters = [RecordFilter(make_selector_file(settings, location).read()) for location in others]
    source = make_filter_source(settings)
    return KnownFilters(filters, source.current() if source else None)


class NotJudgedError(click.ClickException):
    """What kept a verification from a verdict."""

    exit_code = NOT_JUDGED


def verify(**options: Any) -> None:  # noqa: ANN401 - the fields of VerifyOptions
    """Verify, print the verdict, and exit with its code."""
    if click.get_current_context().invoked_subcommand:
        return
    click.get_current_context().exit(exit_code(run_verification(VerifyOptions(**options))))


def run_verification(options: VerifyOptions, stop: threading.Event | None = None) -> VerifyTotals:
    """Verify, print the verdict, and record it for `trailsink status`; `stop` interrupts the run.

    Raises NotJudgedError when there is no verdict, and UsageError for options that contradict each other.
    """
    options.check()
    try:
        with ExitStack() as resources:
            return _Command(options, load_settings(), resources, stop or threading.Event()).run()
    except TrailsinkError as error:
        sentence = for_stack(str(error).rstrip("."), stack_name())
        raise NotJudgedError(f"Not judged: {sentence}.") from error


class _Command:
    """The command, step by step. `resources` closes what it opens."""

    def __init__(self, options: VerifyOptions, settings: Settings, resources: ExitStack, stop: threading.Event) -> None:
        check_library()
        self._options, self._settings, self._resources, self._stop = options, settings, resources, stop

    def run(self) -> VerifyTotals:
        """Verify, and print the verdict; raises TrailsinkError."""
        options = self._options
        bucket = (options.bucket or "") if options.local else options.bucket or self._settings.required("bucket")
        files = self._open_files(bucket)
        fingerprint = options.fingerprint(self._settings, bucket)
        state_file = VerifyStateFile(state_path(os.environ, fingerprint, "verify"))
        self._resources.enter_context(state_file.lock())
        state = None if options.restart else state_file.load(fingerprint)
        if state:
            print_line(f"Resuming the run of {format_minute(state.started_at)} UTC.", err=True)
        else:
            state = VerifyState(
                fingerprint=fingerprint,
                started_at=now(),
                trees=self._find_trees(files),
                progress=Progress(report_hash=FIRST_HASH),
            )
        if options.restart and options.report:
            with suppress(FileNotFoundError):
                options.report.unlink()
        report = ChainedReport(options.report, state.progress.report_bytes, state.progress.report_hash)
        verification = Verification(
            files,
            self._open_keys(),
            self._open_judge(files, bucket),
            options.selection(state.started_at),
            now=state.started_at,
            progress=state.progress,
            report=report,
            stop=self._stop,
        )
        self._run(verification, state, state_file)
        totals = verification.totals
        report.append([summary(totals)])
        state_file.delete()
        self._print(totals)
        if not options.local and options.is_whole:
            self._record(state.started_at, totals)
        return totals

    def _record(self, started: datetime, totals: VerifyTotals) -> None:
        settings = self._settings
        try:
            record_verdict(make_client(settings).connect(), settings.index_prefix, started, summary(totals))
        except TrailsinkError as error:  # the verdict stands without
            print_line(str(error), err=True)

    def _run(self, verification: Verification, state: VerifyState, state_file: VerifyStateFile) -> None:
        options, saved_at, shown_at = self._options, time.monotonic(), time.monotonic()
        shows = sys.stderr.isatty() if options.progress is None else options.progress
        state_file.save(state)
        try:
            with graceful_shutdown(self._stop, "what is done is saved"):
                for unit in verification.run(state.trees, options.workers):
                    moment = time.monotonic()
                    if moment - saved_at >= _SAVE_SECONDS:
                        state_file.save(state)
                        saved_at = moment
                    if shows and moment - shown_at >= _PROGRESS_SECONDS:
                        files = pluralize(verification.totals.files, "file")
                        print_line(f"{files} verified, up to {unit.account} {unit.region}", err=True)
                        shown_at = moment
        finally:
            state_file.save(state)
        if self._stop.is_set():
            raise NotJudgedError("Interrupted: run the same command again to resume.")

    def _open_files(self, bucket: str) -> Files:
        options, settings = self._options, self._settings
        if options.local:
            return FolderFiles(options.local, LocalTree(options.local), bucket)
        own = settings.model_copy(update={"buckets": bucket, "fetch_ahead": options.workers})
        client = make_s3_client(settings, open_s3_session(settings), connections=2 * options.workers)
        return BucketFiles(bucket, BucketLister(client, bucket), make_store(own), client)

    def _find_trees(self, files: Files) -> list[str]:
        sources = choose_sources(files.lister, self._options.prefix)
        return sorted(source.folder for source in sources if source.layout is SourceLayout.TREE)

    def _open_keys(self) -> KeyRing:
        if self._options.keys:
            return KeyRing(read_keys(self._options.keys))
        cache = state_folder(os.environ) / "public-keys.json"
        return KeyRing(read_keys(cache) if cache.exists() else [], _CloudTrailKeys(), cache)

    def _open_judge(self, files: Files, bucket: str) -> Judge:
        options, settings = self._options, self._settings
        trails = frozenset(options.trail)
        if options.local:
            return Judge(settings.max_inflated_bytes, trails=trails)
        client = make_client(settings)
        filters = known_filters(settings, options.filters)
        index = IndexedFiles(client.connect, settings.index_prefix, bucket, filters.active_digest)
        examiner = FileExaminer(files, index, settings.limits, percent=options.deep or 0.0, now=now, filters=filters)
        return Judge(
            settings.max_inflated_bytes, index, examiner, self._open_loader(bucket) if options.load else None, trails
        )

    def _open_loader(self, bucket: str) -> MissingFileLoader:
        settings = self._settings.model_copy(update={"buckets": bucket})
        # With another partition, what is present already would be loaded a second time.
        check_own_template(make_client(settings).connect(), settings)

        def make(letters: InMemoryDeadLetters) -> Consumer:
            return make_consumer(settings, queue=letters)

        loader = MissingFileLoader(
            make,
            bucket,
            workers=min(_LOADERS, self._options.workers),
            batch_seconds=settings.batch_seconds,
            stop=self._stop,
        )
        self._resources.callback(loader.close)
        return loader

    def _print(self, totals: VerifyTotals) -> None:
        if self._options.as_json:
            print_json(summary(totals))
            return
        print_line(verdict_line(totals))
        for state, text, examples, advice in explanation(totals):
            print_line(f"  {text}: {advice}")
            for example in examples:
                print_line(f"    {example}")
            if totals.states[state] > len(examples) and self._options.report:
                print_line(f"    all of them: {self._options.report}")


class _CloudTrailKeys:
    """CloudTrail's public keys, asked of each region. Needs cloudtrail:ListPublicKeys."""

    def fetch(self, region: str, since: datetime, until: datetime) -> list[PublicKey]:
        """Return the keys of a region that were valid in a time; raises KeysUnavailable."""
        client = open_session().client("cloudtrail", region_name=region, config=config(connections=1))
        try:
            return [
                PublicKey(
                    fingerprint=key.fingerprint,
                    value=key.value,
                    validity_start_time=key.valid_from,
                    validity_end_time=key.valid_until,
                    region=region,
                )
                for key in list_public_keys(client, since, until)
            ]
        except (ClientError, BotoCoreError) as error:
            raise KeysUnavailable(
                f"CloudTrail's public keys of {region} cannot be listed: {error_text(error)}"
            ) from error


def save_keys(*, file: Path, region: tuple[str, ...], since: datetime | None) -> None:
    """Save the public keys of some regions in a file; raises SetupError and KeysUnavailable."""
    check_library()
    existing = read_keys(file) if file.exists() else []
    moment = datetime.now(UTC)
    regions = region or (str(open_session().region_name),)
    listed = [key for name in regions for key in _CloudTrailKeys().fetch(name, since or moment - _YEAR, moment)]
    keys = list(dict.fromkeys([*existing, *listed]))
    for key in keys:
        key.check()
    write_keys(file, keys)
    print_line(f"{pluralize(len(keys), 'key')} in {file}: {len(keys) - len(existing)} new.")
