"""Which files of a trail's bucket are asked for, and which stretches of its keys can hold them.

  [prefix/]AWSLogs/[o-ORGANISATION/]ACCOUNT/KIND/REGION/YYYY/MM/DD/name_YYYYMMDDTHHmmZ_unique.json.gz
docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html

Day and time in a key are those of the delivery, so an event's own day can be the one before. A range of time is meant
for events: files delivered up to an hour after its end are taken too. CloudTrail delivers after about five minutes;
what AWS delivers later than an hour (after an outage, up to 30 days) needs a later end. One file more changes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Digest files are no log files: their folder is never walked.
KINDS = ("CloudTrail", "CloudTrail-Aggregated", "CloudTrail-Insight", "CloudTrail-NetworkActivity")

LATE = timedelta(hours=1)

ROOT = "AWSLogs/"

ACCOUNT = re.compile(r"[0-9]{12}")
ORGANISATION = re.compile(r"o-[a-z0-9]{10,32}")

_KEY = re.compile(
    r"AWSLogs/(?:(?P<org>o-[a-z0-9]{10,32})/)?(?P<account>[0-9]{12})/(?P<kind>[^/]+)/(?P<region>[^/]+)/"
    r"(?P<year>[0-9]{4})/(?P<month>[0-9]{2})/(?P<day>[0-9]{2})/(?P<name>.*[^/])",
    re.DOTALL,
)
_DELIVERED = re.compile(r"_([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})Z_[^/]+$")
_DAY = "%Y/%m/%d/"


@dataclass(frozen=True, slots=True)
class FileKey:
    """What a log file's key says: `day` is that of the delivery, `delivered` its minute in UTC, None if not named."""

    org: str
    account: str
    kind: str
    region: str
    day: date
    delivered: datetime | None


def parse_key(key: str, root: str) -> FileKey | None:
    """Read a key below `root` (what stands before AWSLogs/); None when it is no log file of CloudTrail."""
    found = _KEY.fullmatch(key, len(root)) if key.startswith(root) else None
    if found is None or found["kind"] not in KINDS:
        return None
    try:
        day = date(int(found["year"]), int(found["month"]), int(found["day"]))
    except ValueError:  # digits that are no date
        return None
    return FileKey(found["org"] or "", found["account"], found["kind"], found["region"], day, _delivered(found["name"]))


def _delivered(name: str) -> datetime | None:
    found = _DELIVERED.search(name)
    if found is None:
        return None
    year, month, day, hour, minute = map(int, found.groups())
    try:
        return datetime(year, month, day, hour, minute, tzinfo=UTC)
    except ValueError:
        return None


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
            _among(file.account, self.accounts)
            and _among(file.org, self.orgs)
            and _among(file.region, self.regions)
            and _among(file.kind, self.kinds)
            and self.first_day <= file.day <= self.last_day
            and (file.delivered is None or self._first_minute <= file.delivered < self.until + LATE)
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


def _among(value: str, wanted: frozenset[str]) -> bool:
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


@dataclass(frozen=True, slots=True)
class Stretch:
    """The keys below `folder`, a region's, that are greater than `after` and less than `before`."""

    folder: str
    after: str
    before: str

    @property
    def prefix(self) -> str:
        """The longest prefix that all its log files have: to ask for less than the folder."""
        begins, ends = _day_of(self.after, self.folder), _day_of(self.before, self.folder)
        if begins and ends and ends - begins == timedelta(days=1):
            return self.folder + _folder_of(begins)
        pairs = zip(self.after, self.before, strict=False)
        return self.after[: next((at for at, (one, other) in enumerate(pairs) if one != other), len(self.after))]

    def rest(self, first: str, last: str) -> Iterator[Stretch]:
        """Cut what follows a page of keys into pieces that can be listed side by side.

        `first` and `last` are the page's own keys. As many days as it spans make a piece, so that each is about a page.
        """
        begins, ends, until = (_day_of(key, self.folder) for key in (first, last, self.before))
        if begins is None or ends is None or until is None or ends >= until:
            yield Stretch(self.folder, last, self.before)
            return
        step, after = (ends - begins) + timedelta(days=1), last
        day = ends + timedelta(days=1)
        while day < until:
            yield Stretch(self.folder, after, self.folder + _folder_of(day))
            after, day = self.folder + _folder_of(day), min(day + step, until)
        yield Stretch(self.folder, after, self.before)


def _day_of(key: str, folder: str) -> date | None:
    try:
        return datetime.strptime(key[len(folder) :][:11], _DAY).replace(tzinfo=UTC).date()
    except ValueError:
        return None


def account_folders(selection: Selection, root: str, mark: str, folders: Callable[[str], list[str]]) -> Iterator[str]:
    """Yield the folders of the accounts that are asked for, in order, those that lie before `mark` left out.

    `folders` lists the folders whose names begin with a prefix: whole, with their slash, in the order of their bytes.
    """
    for folder in folders(root + ROOT):
        name = _leaf(folder)
        if _is_behind(folder, mark):
            continue
        if ORGANISATION.fullmatch(name) and _among(name, selection.orgs):
            inner = (one for one in folders(folder) if not _is_behind(one, mark))
            yield from (one for one in inner if _is_account(_leaf(one), selection))
        elif not selection.orgs and _is_account(name, selection):
            yield folder


def stretches(selection: Selection, account: str, mark: str, folders: Callable[[str], list[str]]) -> list[Stretch]:
    """List the stretches of an account's folder that can hold what is asked and lies after `mark`, in order."""
    kinds = [f"{account}{kind}/" for kind in selection.kinds] or [
        folder for folder in folders(f"{account}CloudTrail") if _leaf(folder) in KINDS
    ]
    regions = [
        region
        for kind in sorted(kinds)
        if not _is_behind(kind, mark)
        for region in sorted([f"{kind}{region}/" for region in selection.regions] or folders(kind))
        if not _is_behind(region, mark)
    ]
    all_of_them = (_stretch(selection, region, mark) for region in regions)
    return [one for one in all_of_them if one.after < one.before]


def _stretch(selection: Selection, region: str, mark: str) -> Stretch:
    first = region + (_folder_of(selection.first_day) if selection.since else "")
    before = region + _folder_of(selection.last_day + timedelta(days=1))
    return Stretch(region, max(first, mark), before)


def _folder_of(day: date) -> str:
    return day.isoformat().replace("-", "/") + "/"  # strftime does not pad the years before 1000


def _leaf(folder: str) -> str:
    return folder[:-1].rpartition("/")[2]


def _is_account(name: str, selection: Selection) -> bool:
    return bool(ACCOUNT.fullmatch(name)) and _among(name, selection.accounts)


def _is_behind(folder: str, mark: str) -> bool:
    """Say whether all keys of a folder come before `mark`."""
    return folder < mark and not mark.startswith(folder)
