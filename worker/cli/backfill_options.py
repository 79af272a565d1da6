"""The options of `trailsink backfill`: checked, and turned into what they select and what identifies the backfill."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import click
import msgspec

from worker.backfill.selection import Selection
from worker.cli.commands.backfill import KINDS
from worker.cli.options import check_times, is_given
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta
    from pathlib import Path

    from worker.settings import Settings

_LOCAL_BUCKET = "local"  # the bucket of a folder tree in a dry run, where nothing names one


class Scope(StrEnum):
    """Which of the selected files are loaded. The values are texts of state files."""

    ALL = "False False"
    MISSING = "True False"
    INCOMPLETE = "True True"  # and the missing ones


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The parameters that identify a backfill: a run with equal ones resumes its state file.

    State files hold the names and texts, and their default path is a digest of them. A changed name or text would keep
    the runs of earlier releases from being resumed.
    """

    # Where to: a cluster and its indices, or a queue.
    cluster: str | None = None
    index_prefix: str | None = None
    queue: str | None = None
    bucket: str
    local: str
    prefix: str
    account: str
    org: str
    region: str
    kind: str
    since: str
    until: str
    last: str
    missing: Scope
    way: str
    filters: str = ""  # "off" without them

    def members(self) -> dict[str, str]:
        """Return the parameters as a state file holds them."""
        members: dict[str, str] = msgspec.to_builtins(self)
        return members


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillOptions:
    """The options of the command line, under the names that the command declares."""

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
    no_filters: bool
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

    def check(self) -> None:
        """Raise UsageError when options contradict each other."""
        check_times(self.since, self.until, self.last)
        if self.local and not self.loads_directly:
            raise click.UsageError("--local needs --direct: the pipeline cannot read this machine's files.")
        if self.loads_directly and is_given("rate"):
            raise click.UsageError("--rate is for the queue: with --direct, the cluster's answers set the pace.")
        if self.loads_directly and is_given("max_depth"):
            raise click.UsageError("--max-depth is for the queue: with --direct, nothing goes into it.")
        if self.no_filters and not self.loads_directly:
            raise click.UsageError("--no-filters needs --direct: the pipeline's consumer has filters of its own.")
        if self.retry_failed and not self.loads_directly:
            raise click.UsageError(
                "--retry-failed needs --direct: files that failed via the queue are in `trailsink dlq`."
            )
        if self.retry_failed and self.scope is not Scope.ALL:
            raise click.UsageError(
                "--retry-failed loads exactly the files in the report: leave out --missing and --incomplete."
            )
        if not (self.yes or self.dry_run or sys.stdin.isatty()):
            raise click.UsageError("There is no terminal to confirm on: pass --yes, or --dry-run to see only the plan.")

    @property
    def loads_directly(self) -> bool:
        """Whether files are loaded by this process, not announced to the queue."""
        return self.direct or self.via == "direct"

    @property
    def needed_settings(self) -> list[str]:
        """The settings of the pipeline that must not be empty; a bucket may be named otherwise."""
        loads_via_queue = not (self.loads_directly or self.dry_run)
        names = ["queue_url", "dead_letter_queue_url"] if loads_via_queue else []
        needs_cluster = self.scope is not Scope.ALL or (self.loads_directly and not self.dry_run)
        return names + (["opensearch_url"] if needs_cluster else [])

    @property
    def scope(self) -> Scope:
        """Which of the selected files are loaded."""
        if self.incomplete:
            return Scope.INCOMPLETE
        return Scope.MISSING if self.missing else Scope.ALL

    @property
    def shows_progress(self) -> bool:
        """Whether to show a progress bar."""
        return sys.stderr.isatty() if self.progress is None else self.progress

    def bucket_name(self, settings: Settings) -> str:
        """Return the bucket to load from; raises SetupError."""
        if self.bucket:
            return self.bucket
        if settings.bucket:
            return settings.bucket
        if not self.local:
            raise SetupError("There is no bucket to load from: pass --bucket, or set TRAILSINK_BUCKET.")
        # Nothing is written that could name the bucket.
        if self.dry_run and self.scope is Scope.ALL:
            return _LOCAL_BUCKET
        raise SetupError(
            "Documents name the bucket that their file is from, for ever: pass --bucket, or set TRAILSINK_BUCKET."
        )

    def selection(self, since: datetime | None, until: datetime) -> Selection:
        """Return the selected files of a time range."""
        return Selection(
            until,
            since,
            frozenset(self.account),
            frozenset(self.org),
            frozenset(self.region),
            frozenset(KINDS[kind] for kind in self.kind),
        )

    def fingerprint(self, settings: Settings, bucket: str) -> dict[str, str]:
        """Return the parameters that identify this backfill: what is selected, and where it goes."""
        direct = self.loads_directly
        return Fingerprint(
            cluster=settings.opensearch_url if direct else None,
            index_prefix=settings.index_prefix if direct else None,
            queue=None if direct else settings.queue_url,
            bucket=bucket,
            local=str(self.local.resolve()) if self.local else "",
            prefix=_join(self.prefix),
            account=_join(self.account),
            org=_join(self.org),
            region=_join(self.region),
            kind=_join(self.kind),
            since=str(self.since or ""),
            until=str(self.until or ""),
            last=str(self.last or ""),
            missing=self.scope,
            way="direct" if direct else "queue",
            filters="off" if self.no_filters else "",
        ).members()


def _join(values: Iterable[str]) -> str:
    return " ".join(sorted(values))
