"""The key ranges of a bucket that can hold the selected files: what has to be listed, and no more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from worker.backfill.selection import Selection, is_among
from worker.cloudtrail.keys import ACCOUNT, KINDS, ORGANISATION, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_DAY = "%Y/%m/%d/"


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The keys below `folder`, a region's, that are greater than `after` and less than `before`."""

    folder: str
    after: str
    before: str

    @property
    def prefix(self) -> str:
        """The longest prefix that all its log files have: to ask for less than the folder."""
        begins, ends = _day_of(self.after, self.folder), _day_of(self.before, self.folder)
        if begins and ends and ends - begins == timedelta(days=1):
            return self.folder + day_folder(begins)
        pairs = zip(self.after, self.before, strict=False)
        return self.after[: next((at for at, (one, other) in enumerate(pairs) if one != other), len(self.after))]

    def rest(self, first: str, last: str) -> Iterator[KeyRange]:
        """Cut what follows a page of keys into pieces that can be listed side by side.

        `first` and `last` are the page's own keys. As many days as it spans make a piece, so that each is about a page.
        """
        begins, ends, until = (_day_of(key, self.folder) for key in (first, last, self.before))
        if begins is None or ends is None or until is None or ends >= until:
            yield KeyRange(self.folder, last, self.before)
            return
        step, after = (ends - begins) + timedelta(days=1), last
        day = ends + timedelta(days=1)
        while day < until:
            yield KeyRange(self.folder, after, self.folder + day_folder(day))
            after, day = self.folder + day_folder(day), min(day + step, until)
        yield KeyRange(self.folder, after, self.before)


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
        if ORGANISATION.fullmatch(name) and is_among(name, selection.orgs):
            inner = (one for one in folders(folder) if not _is_behind(one, mark))
            yield from (one for one in inner if _is_account(_leaf(one), selection))
        elif not selection.orgs and _is_account(name, selection):
            yield folder


def key_ranges(selection: Selection, account: str, mark: str, folders: Callable[[str], list[str]]) -> list[KeyRange]:
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


def _stretch(selection: Selection, region: str, mark: str) -> KeyRange:
    first = region + (day_folder(selection.first_day) if selection.since else "")
    before = region + day_folder(selection.last_day + timedelta(days=1))
    return KeyRange(region, max(first, mark), before)


def day_folder(day: date) -> str:
    """Return the folder of a day: `2026/03/01/`."""
    return day.isoformat().replace("-", "/") + "/"  # strftime does not pad the years before 1000


def _leaf(folder: str) -> str:
    return folder[:-1].rpartition("/")[2]


def _is_account(name: str, selection: Selection) -> bool:
    return bool(ACCOUNT.fullmatch(name)) and is_among(name, selection.accounts)


def _is_behind(folder: str, mark: str) -> bool:
    """Say whether all keys of a folder come before `mark`."""
    return folder < mark and not mark.startswith(folder)
