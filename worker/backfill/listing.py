"""Lists the selected files of a bucket: several key ranges at a time, in the order of the keys.

The order makes a resume cheap: "everything up to this key is done" is one line, however many keys there are. Memory
holds a few pages of keys. A folder tree is listed by the same rules.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from worker.backfill.key_ranges import account_folders, key_ranges
from worker.cloudtrail.keys import ROOT, parse_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Executor, Future

    from worker.backfill.key_ranges import KeyRange
    from worker.backfill.selection import Selection

# Listing requests in flight: each returns a page of at most 1,000 keys.
LISTINGS = 16

_SEARCH_LEVELS = 3  # of folders above AWSLogs/: a trail's prefix seldom has more
_SEARCH_FOLDERS = 500

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class ListedKey:
    """One key of a listing, and the object's size in bytes."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing, in the byte order of the keys; `truncated` when more keys follow."""

    keys: Sequence[ListedKey]
    truncated: bool


class Lister(Protocol):
    """Lists keys: of a bucket, or of a folder tree. Called by several threads at once."""

    def folders(self, prefix: str) -> list[str]:
        """List the folders whose names start with `prefix`: full names that end with a slash, in byte order."""

    def page(self, prefix: str, after: str) -> Page:
        """List the next keys that start with `prefix` and are greater than `after`."""


@dataclass(frozen=True, slots=True)
class SelectedFile:
    """A selected log file: its size in bytes, and the account and the day (YYYY-MM-DD) of its delivery."""

    key: str
    size: int
    account: str
    day: str


def find_roots(lister: Lister) -> list[str]:
    """Find what comes before each AWSLogs/: "" or "some/prefix/"; [] when there is none within three levels.

    Stops after 500 folders, and returns the roots found until then.
    """
    roots: list[str] = []
    level, searched = [""], 0
    for _ in range(_SEARCH_LEVELS + 1):
        next_level: list[str] = []
        for folder in level:
            searched += 1
            if searched > _SEARCH_FOLDERS:
                return sorted(roots)
            children = lister.folders(folder)
            if folder + ROOT in children:
                roots.append(folder)
            next_level += [child for child in children if child != folder + ROOT]
        level = next_level
    return sorted(roots)


def list_files(
    lister: Lister, pool: Executor, selection: Selection, roots: Iterable[str], cursor: str = ""
) -> Iterator[SelectedFile]:
    """Yield the selected files after `cursor`, in the order of their keys.

    No root may lie below the AWSLogs/ of another root: their files would not be in order.
    """
    for root in sorted(roots, key=lambda root: root + ROOT):
        for listed in _list_root(lister, pool, selection, root, cursor):
            file = parse_key(listed.key, root)
            if file and selection.matches(file):
                yield SelectedFile(listed.key, listed.size, file.account, file.day.isoformat())


def _list_root(lister: Lister, pool: Executor, selection: Selection, root: str, cursor: str) -> Iterator[ListedKey]:
    accounts = account_folders(selection, root, cursor, lister.folders)
    ranges_of_account = partial(_key_ranges, selection, cursor, lister)
    ranges = (key_range for batch in _map_ahead(pool, ranges_of_account, accounts) for key_range in batch)
    for key_range, page in _map_ahead(pool, partial(_first_page, lister), ranges):
        yield from page.keys
        if page.truncated:
            yield from _list_rest(lister, pool, key_range, page)


def _key_ranges(selection: Selection, cursor: str, lister: Lister, account: str) -> list[KeyRange]:
    return key_ranges(selection, account, cursor, lister.folders)


def _list_rest(lister: Lister, pool: Executor, key_range: KeyRange, first_page: Page) -> Iterator[ListedKey]:
    parts = key_range.split_after_page(first_page.keys[0].key, first_page.keys[-1].key)
    for part, first in _map_ahead(pool, partial(_first_page, lister), parts):
        page = first
        yield from page.keys
        while page.truncated:
            page = _page(lister, part, page.keys[-1].key)
            yield from page.keys


def _first_page(lister: Lister, key_range: KeyRange) -> tuple[KeyRange, Page]:
    return key_range, _page(lister, key_range, key_range.after)


def _page(lister: Lister, key_range: KeyRange, after: str) -> Page:
    page = lister.page(key_range.prefix, after)
    keys = [listed for listed in page.keys if listed.key < key_range.before]
    return Page(keys, page.truncated and 0 < len(keys) == len(page.keys))


def _map_ahead(pool: Executor, work: Callable[[T], R], arguments: Iterable[T]) -> Iterator[R]:
    """Call `work` in the pool, a few arguments ahead, and yield the results in the order of the arguments."""
    pending: deque[Future[R]] = deque()
    try:
        for argument in arguments:
            pending.append(pool.submit(work, argument))
            if len(pending) == LISTINGS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
