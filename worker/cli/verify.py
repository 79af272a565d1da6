"""`trailsink verify`: what it is held against, the run, and what it prints."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.digest_keys import list_public_keys
from worker.aws.errors import error_text
from worker.aws.session import config, open_session
from worker.backfill.checkpoint import state_folder, state_path
from worker.backfill.listing import SourceLayout
from worker.backfill.selection import Selection, time_range
from worker.backfill.sources import BucketLister, LocalTree
from worker.cli.options import check_times
from worker.cli.output import graceful_shutdown, print_json, print_line
from worker.cli.sources import choose_sources
from worker.errors import TrailsinkError
from worker.humanize import format_minute, pluralize
from worker.settings import load_settings
from worker.verify.checkpoint import VerifyState, VerifyStateFile
from worker.verify.deep import FileExaminer
from worker.verify.evidence import BucketFiles, FolderFiles, IndexedFiles
from worker.verify.join import Judge
from worker.verify.keys import KeyRing, KeysUnavailable, PublicKey, read_keys, write_keys
from worker.verify.load import MissingFileLoader
from worker.verify.report import FIRST_HASH, ChainedReport
from worker.verify.run import Progress, Verification
from worker.verify.signatures import check_library
from worker.verify.verdict import NOT_JUDGED, exit_code, explanation, summary, verdict_line
from worker.wiring import make_client, make_consumer, make_s3_client, make_store, now, open_s3_session

if TYPE_CHECKING:
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


class NotJudgedError(click.ClickException):
    """What kept a verification from a verdict."""

    exit_code = NOT_JUDGED


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """The options of the command line, under the names that the command declares."""

    bucket: str | None
    prefix: tuple[str, ...]
    local: Path | None
    keys: Path | None
    account: tuple[str, ...]
    org: tuple[str, ...]
    region: tuple[str, ...]
    trail: tuple[str, ...]
    since: datetime | None
    until: datetime | None
    last: timedelta | None
    deep: float | None
    load: bool
    report: Path | None
    workers: int
    restart: bool
    progress: bool | None
    as_json: bool

    def check(self) -> None:
        """Raise UsageError when options contradict each other."""
        check_times(self.since, self.until, self.last)
        if self.local and not self.keys:
            raise click.UsageError("--local needs --keys: it asks nobody. `trailsink verify keys` saves them.")
        if self.local and (self.deep or self.load):
            raise click.UsageError("--local compares digests and files only: leave out --deep and --load.")

    def fingerprint(self, bucket: str) -> dict[str, str]:
        """Return what identifies a verification: a run with equal parameters resumes its state."""
        names = ("prefix", "local", "account", "org", "region", "trail", "since", "until", "last", "deep", "report")
        values = {name: getattr(self, name) for name in names} | {"bucket": bucket}
        return {name: str(sorted(value) if isinstance(value, tuple) else value) for name, value in values.items()}

    def selection(self, started: datetime) -> Selection:
        """Return the accounts and the time."""
        since, until = time_range(started, since=self.since, until=self.until, last=self.last)
        return Selection(
            min(until, started), since, frozenset(self.account), frozenset(self.org), frozenset(self.region)
        )


def verify(**options: Any) -> None:  # noqa: ANN401 - the fields of VerifyOptions
    """Verify, print the verdict, and exit with its code."""
    if click.get_current_context().invoked_subcommand:
        return
    checked = VerifyOptions(**options)
    checked.check()
    try:
        with ExitStack() as resources:
            totals = _Command(checked, load_settings(), resources).run()
    except TrailsinkError as error:
        raise NotJudgedError(f"Not judged: {str(error).rstrip('.')}.") from error
    click.get_current_context().exit(exit_code(totals))


class _Command:
    """The command, step by step. `resources` closes what it opens."""

    def __init__(self, options: VerifyOptions, settings: Settings, resources: ExitStack) -> None:
        check_library()
        self._options, self._settings, self._resources = options, settings, resources
        self._stop = threading.Event()

    def run(self) -> VerifyTotals:
        """Verify, and print the verdict; raises TrailsinkError."""
        options = self._options
        bucket = (options.bucket or "") if options.local else options.bucket or self._settings.required("bucket")
        files = self._open_files(bucket)
        fingerprint = options.fingerprint(bucket)
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
        return totals

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
        index = IndexedFiles(client.connect, settings.index_prefix, bucket)
        examiner = FileExaminer(files, index, settings.limits, percent=options.deep or 0.0, now=now)
        return Judge(
            settings.max_inflated_bytes, index, examiner, self._open_loader(bucket) if options.load else None, trails
        )

    def _open_loader(self, bucket: str) -> MissingFileLoader:
        settings = self._settings.model_copy(update={"buckets": bucket})

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
