"""The options of `trailsink verify`, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from worker.backfill.selection import Selection, time_range
from worker.cli.options import check_times
from worker.settings import variable

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from pathlib import Path

    from worker.settings import Settings

# The settings that decide what the files of a bucket are compared with.
_WHERE = ("opensearch_url", "index_prefix", "filters")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """The options of the command line, under the names that the command declares."""

    bucket: str | None = None
    prefix: tuple[str, ...] = ()
    local: Path | None = None
    keys: Path | None = None
    account: tuple[str, ...] = ()
    org: tuple[str, ...] = ()
    region: tuple[str, ...] = ()
    trail: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    last: timedelta | None = None
    deep: float | None = None
    load: bool = False
    filters: tuple[str, ...] = ()
    report: Path | None = None
    workers: int = 8
    restart: bool = False
    progress: bool | None = None
    as_json: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether all accounts and regions of the bucket are verified, if only for a time."""
        return not (self.prefix or self.account or self.org or self.region or self.trail)

    def check(self) -> None:
        """Raise UsageError when options contradict each other."""
        check_times(self.since, self.until, self.last)
        if self.local and not self.keys:
            raise click.UsageError("--local needs --keys: it asks nobody. `trailsink verify keys` saves them.")
        if self.local and (self.deep or self.load):
            raise click.UsageError("--local compares digests and files only: leave out --deep and --load.")

    def fingerprint(self, settings: Settings, bucket: str) -> dict[str, str]:
        """Return what identifies a verification: a run with equal parameters resumes its state.

        What one cluster holds proves nothing of another, and what one filter left out is missing with another.
        """
        names = ("prefix", "account", "org", "region", "trail", "since", "until", "last", "deep", "load", "filters")
        values = {name: getattr(self, name) for name in names} | {"bucket": bucket}
        for name in ("local", "keys", "report"):
            path: Path | None = getattr(self, name)
            values[name] = path and path.resolve()
        if not self.local:
            values |= {variable(name): getattr(settings, name) for name in _WHERE}
        return {name: str(sorted(value) if isinstance(value, tuple) else value) for name, value in values.items()}

    def selection(self, started: datetime) -> Selection:
        """Return the accounts and the time."""
        since, until = time_range(started, since=self.since, until=self.until, last=self.last)
        return Selection(
            min(until, started), since, frozenset(self.account), frozenset(self.org), frozenset(self.region)
        )
