"""The key ranges of a bucket that can hold the selected files: only these are listed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING

from worker.backfill.selection import Selection, is_selected
from worker.cloudtrail.keys import ACCOUNT, KINDS, ORGANISATION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DAY = "%Y/%m/%d/"


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The keys below `folder`, the folder of a region, that are greater than `after` and less than `before`."""

    folder: str
    after: str
    before: str

    @property
    def prefix(self) -> str:
        """The longest prefix that all log files of the range share: a listing of the folder would return more."""
        first_day, end_day = _day_of(self.after, self.folder), _day_of(self.before, self.folder)
        if first_day and end_day and end_day - first_day == timedelta(days=1):
            return self.folder + day_folder(first_day)
        pairs = zip(self.after, self.before, strict=False)
        return "".join(character for character, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    def split_after_page(self, first: str, last: str) -> Iterator[KeyRange]:
        """Split what follows a page of keys into ranges that can be listed in parallel.

        `first` and `last` are the page's first and last key. Each range has as many days as the page spans, so that it
        is about one page long.
        """
        first_day, last_day, end_day = (_day_of(key, self.folder) for key in (first, last, self.before))
        if first_day is None or last_day is None or end_day is None or last_day >= end_day:
            yield KeyRange(self.folder, last, self.before)
            return
        step, after = (last_day - first_day) + timedelta(days=1), last
        day = last_day + timedelta(days=1)
        while day < end_day:
            yield KeyRange(self.folder, after, self.folder + day_folder(day))
            after, day = self.folder + day_folder(day), min(day + step, end_day)
        yield KeyRange(self.folder, after, self.before)


def _day_of(key: str, folder: str) -> date | None:
    try:
        return datetime.strptime(key[len(folder) :][:11], _DAY).replace(tzinfo=UTC).date()
    except ValueError:
        return None


def account_folders(
    selection: Selection, tree: str, cursor: str, list_folders: Callable[[str], list[str]]
) -> Iterator[str]:
    """Yield the folders of the selected accounts in order, without those that lie before `cursor`.

    `tree` is the folder that holds the folders of accounts, or of organisations.
    `list_folders` returns the folders whose names start with a prefix: full names that end with a slash, in byte order.
    """
    for folder in list_folders(tree):
        name = _last_part(folder)
        if _is_before(folder, cursor):
            continue
        if ORGANISATION.fullmatch(name) and is_selected(name, selection.orgs):
            for account in list_folders(folder):
                if not _is_before(account, cursor) and _is_account(_last_part(account), selection):
                    yield account
        elif not selection.orgs and _is_account(name, selection):
            yield folder


def key_ranges(
    selection: Selection, account: str, cursor: str, list_folders: Callable[[str], list[str]]
) -> list[KeyRange]:
    """Return the key ranges of an account's folder that can hold selected files after `cursor`, in order."""
    kinds = [f"{account}{kind}/" for kind in selection.kinds] or [
        folder for folder in list_folders(f"{account}CloudTrail") if _last_part(folder) in KINDS
    ]
    regions = [
        region
        for kind in sorted(kinds)
        if not _is_before(kind, cursor)
        for region in sorted([f"{kind}{region}/" for region in selection.regions] or list_folders(kind))
        if not _is_before(region, cursor)
    ]
    ranges = (_key_range(selection, region, cursor) for region in regions)
    return [key_range for key_range in ranges if key_range.after < key_range.before]


def _key_range(selection: Selection, region: str, cursor: str) -> KeyRange:
    first = region + (day_folder(selection.first_day) if selection.since else "")
    before = region + day_folder(selection.last_day + timedelta(days=1))
    return KeyRange(region, max(first, cursor), before)


def day_folder(day: date) -> str:
    """Return the folder of a day: `2026/03/01/`."""
    return day.isoformat().replace("-", "/") + "/"  # strftime does not pad the years before 1000


def _last_part(folder: str) -> str:
    return folder[:-1].rpartition("/")[2]


def _is_account(name: str, selection: Selection) -> bool:
    return bool(ACCOUNT.fullmatch(name)) and is_selected(name, selection.accounts)


def _is_before(folder: str, cursor: str) -> bool:
    """Return whether all keys of a folder come before `cursor`."""
    return folder < cursor and not cursor.startswith(folder)
