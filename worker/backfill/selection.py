"""Which files of a trail's bucket are asked for, and which stretches of its keys can hold them.

  [prefix/]AWSLogs/[o-ORGANISATION/]ACCOUNT/KIND/REGION/YYYY/MM/DD/name_YYYYMMDDTHHmmZ_unique.json.gz
docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html

Day and time in a key are those of the delivery, so an event's own day can be the one before. A range of time is meant
for events: files delivered up to an hour after its end are taken too. CloudTrail delivers after about five minutes;
what AWS delivers later than an hour (after an outage, up to 30 days) needs a later end. One file more changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from worker.cloudtrail.keys import ROOT

if TYPE_CHECKING:
    from worker.cloudtrail.keys import FileKey

LATE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Selection:
    """What is asked for; an empty set asks for all. `since` is the first instant, `until` the first one no more."""

    until: datetime
    since: datetime | None = None
    accounts: frozenset[str] = frozenset()
    orgs: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()

    def takes(self, file: FileKey) -> bool:
        """Say whether a file is asked for."""
        return (
            is_among(file.account, self.accounts)
            and is_among(file.org, self.orgs)
            and is_among(file.region, self.regions)
            and is_among(file.kind, self.kinds)
            and self.first_day <= file.day <= self.last_day
            and (file.delivered_at is None or self._first_minute <= file.delivered_at < self.until + LATE)
        )

    @property
    def first_day(self) -> date:
        """The first day whose folder can hold what is asked."""
        return self.since.date() if self.since else date.min

    @property
    def last_day(self) -> date:
        """The last one."""
        return (self.until + LATE - timedelta(microseconds=1)).date()

    @property
    def _first_minute(self) -> datetime:
        # A name tells the minute only: a file of 12:40 may have been delivered at 12:40:59.
        return self.since.replace(second=0, microsecond=0) if self.since else datetime.min.replace(tzinfo=UTC)


def is_among(value: str, wanted: frozenset[str]) -> bool:
    """Return whether a value is selected; an empty set selects all."""
    return not wanted or value in wanted


def window(
    now: datetime, *, since: datetime | None, until: datetime | None, last: timedelta | None
) -> tuple[datetime | None, datetime]:
    """Return from when, None for the first file, and until when files are asked for: `last` counts back from `now`."""
    # Nothing is delivered in the future, but clocks differ.
    return now - last if last else since, min(until or now, now + timedelta(days=1))


def root_of(prefix: str) -> str:
    """Return what stands before AWSLogs/, however it is written: with slashes around it, with AWSLogs/ at its end."""
    bare = f"{prefix.strip('/')}/".lstrip("/")
    return bare[: -len(ROOT)] if f"/{bare}".endswith(f"/{ROOT}") else bare


def inside_another(roots: set[str]) -> str:
    """Name a root that lies below the AWSLogs/ of another one, "" where none does."""
    return next((root for root in sorted(roots) for other in roots if root.startswith(other + ROOT)), "")
