"""Which files of a trail's bucket a backfill selects.

Day and time in a key are those of the delivery, so an event's own day can be the one before. A time range is meant for
events: files delivered up to an hour after its end are selected too. CloudTrail delivers after about five minutes. What
AWS delivers later than an hour (after an outage, up to 30 days) needs a later end. Loading one file more changes
nothing.

The layout of keys: worker.cloudtrail.keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from worker.cloudtrail.keys import ROOT

if TYPE_CHECKING:
    from worker.cloudtrail.keys import FileKey

ALLOWED_LATENESS = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected files. An empty set selects all values; `since` is inclusive, `until` exclusive."""

    until: datetime
    since: datetime | None = None
    accounts: frozenset[str] = frozenset()
    orgs: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()

    def matches(self, file: FileKey) -> bool:
        """Return whether a file is selected."""
        return (
            is_selected(file.account, self.accounts)
            and is_selected(file.org, self.orgs)
            and is_selected(file.region, self.regions)
            and is_selected(file.kind, self.kinds)
            and self.first_day <= file.day <= self.last_day
            and (file.delivered_at is None or self._first_minute <= file.delivered_at < self.until + ALLOWED_LATENESS)
        )

    @property
    def first_day(self) -> date:
        """The first day whose folder can hold a selected file."""
        return self.since.date() if self.since else date.min

    @property
    def last_day(self) -> date:
        """The last day whose folder can hold a selected file."""
        return (self.until + ALLOWED_LATENESS - timedelta(microseconds=1)).date()

    @property
    def _first_minute(self) -> datetime:
        # A name holds only the minute: a file of 12:40 may have been delivered at 12:40:59.
        return self.since.replace(second=0, microsecond=0) if self.since else datetime.min.replace(tzinfo=UTC)


def is_selected(value: str, selected: frozenset[str]) -> bool:
    """Return whether a value is selected; an empty set selects all."""
    return not selected or value in selected


def time_range(
    now: datetime, *, since: datetime | None, until: datetime | None, last: timedelta | None
) -> tuple[datetime | None, datetime]:
    """Return the start (None for the first file) and the end of the selected time; `last` counts back from `now`."""
    # Nothing is delivered in the future, but clocks differ.
    return now - last if last else since, min(until or now, now + timedelta(days=1))


def root_of(prefix: str) -> str:
    """Return what comes before AWSLogs/; the prefix may have slashes around it, or end with AWSLogs/."""
    bare = f"{prefix.strip('/')}/".lstrip("/")
    return bare[: -len(ROOT)] if f"/{bare}".endswith(f"/{ROOT}") else bare


def nested_root(roots: set[str]) -> str:
    """Return a root that lies below the AWSLogs/ of another root, "" where none does."""
    return next((root for root in sorted(roots) for other in roots if root.startswith(other + ROOT)), "")
