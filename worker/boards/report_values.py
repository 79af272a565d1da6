"""The values of a report: scope, coverage, counters, tables and what is new. `--json` prints them."""

from __future__ import annotations

import shlex
from datetime import datetime, timedelta
from typing import Any

import msgspec

from worker.humanize import iso_seconds

# A chart has at most this many points in time.
_MAX_POINTS = 60
_INTERVALS = (60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 604_800, 2_592_000)


class ReportScope(msgspec.Struct, frozen=True):
    """What a report is about: events from `since` until `until`, of these accounts, or of all."""

    prefix: str
    since: datetime
    until: datetime
    accounts: list[str] = []

    @property
    def before(self) -> datetime:
        """The start of the range of the same length before this one."""
        return self.since - (self.until - self.since)

    @property
    def interval_seconds(self) -> int:
        """The interval of a time axis."""
        seconds = (self.until - self.since).total_seconds()
        return next((size for size in _INTERVALS if seconds <= size * _MAX_POINTS), _INTERVALS[-1])

    @property
    def starts(self) -> range:
        """The starts of the intervals that the range touches, in epoch seconds; the server's are multiples of them."""
        size = self.interval_seconds
        first, last = self.since.timestamp() // size, (self.until - timedelta(microseconds=1)).timestamp() // size
        return range(int(first) * size, int(last) * size + 1, size)

    @property
    def clause(self) -> dict[str, Any]:
        """The clause for the events of the accounts, of all time."""
        return {"terms": {"recipientAccountId": self.accounts}} if self.accounts else {"match_all": {}}

    def command(self, query: str) -> str:
        """Return the command that lists a panel's events."""
        if self.accounts:
            accounts = f"recipientAccountId:({' OR '.join(self.accounts)})"
            query = f"({query}) AND {accounts}" if query else accounts
        words = ["trailsink", "search", query or "*", "--since", iso_seconds(self.since)]
        return shlex.join([*words, "--until", iso_seconds(self.until)])


class CoverageFigures(msgspec.Struct, frozen=True):
    """What the report rests on: how many events there are, and what could be missing."""

    events: int
    files: int
    first: datetime | None
    last: datetime | None
    last_indexed: datetime | None
    degraded: int
    unsearchable: int
    interval_seconds: int
    intervals: int
    empty_intervals: int
    events_before: int


class Counter(msgspec.Struct, frozen=True):
    """One of the counters, and its number in the range before; red means that it needs a look."""

    id: str
    title: str
    description: str
    number: int
    before: int
    red: bool
    command: str


class ReportTable(msgspec.Struct, frozen=True):
    """A panel's rows under the names of its columns; the first columns are its groups."""

    id: str
    title: str
    description: str
    kind: str
    columns: list[str]
    rows: list[list[str | float | None]]
    command: str


class NewEntry(msgspec.Struct, frozen=True):
    """A new value: the time of its first event, the number of its events in the range, and how to list them."""

    value: str
    first: datetime
    events: int
    command: str


class NewValues(msgspec.Struct, frozen=True):
    """What is new of one kind against the range before, the latest first; `complete` unless there were too many."""

    id: str
    title: str
    values: list[NewEntry]
    complete: bool


class BoardReport(msgspec.Struct, frozen=True):
    """The whole report."""

    scope: ReportScope
    made_at: datetime
    coverage: CoverageFigures
    counters: list[Counter]
    panels: list[ReportTable]
    new: list[NewValues]
    silent: ReportTable | None
    silent_unavailable: str
    origins: list[ReportTable] = []
