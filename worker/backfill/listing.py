"""Walks along the stretches of a bucket that can hold what is asked: listed side by side, yielded in order.

Order is what makes a resume cheap: "everything up to this key is done" is one line, however many keys there are. Memory
is a few pages of keys. A folder tree is walked by the same rules.
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


# Listings under way at once: each is a page of 1,000 keys at most.
LISTINGS = 16


_SEARCH_LEVELS = 3  # of folders above AWSLogs/; a trail's prefix seldom has more


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
    """A part of a listing, in the order of the keys' bytes; `more` when it is not the last."""

    listed: Sequence[ListedKey]
    more: bool


class Lister(Protocol):
    """What lists keys: a bucket, or a folder tree. Asked by several threads at once."""

    def folders(self, prefix: str) -> list[str]:
        """List the folders whose names begin with `prefix`, whole and with their slash, in the order of their bytes."""

    def page(self, prefix: str, after: str) -> Page:
        """List the next keys that begin with `prefix` and are greater than `after`."""


@dataclass(frozen=True, slots=True)
class File:
    """A log file that is asked for: its size in bytes, the account and the day (YYYY-MM-DD) of its delivery."""

    key: str
    size: int
    account: str
    day: str


def find_roots(lister: Lister) -> list[str]:
    """Find what stands before each AWSLogs/: "" or "some/prefix/"; [] when there is none within three levels.

    Gives up, with what was found, in a bucket of more than 500 folders on the way.
    """
    found: list[str] = []
    level, asked = [""], 0
    for _ in range(_SEARCH_LEVELS + 1):
        below: list[str] = []
        for folder in level:
            asked += 1
            if asked > _SEARCH_FOLDERS:
                return sorted(found)
            inner = lister.folders(folder)
            found += [folder] if folder + ROOT in inner else []
            below += [one for one in inner if one != folder + ROOT]
        level = below
    return sorted(found)


def files(lister: Lister, pool: Executor, selection: Selection, roots: Iterable[str], mark: str = "") -> Iterator[File]:
    """Yield the files that are asked for and come after `mark`, in the order of their keys.

    No root may lie below the AWSLogs/ of another one: their files would not be in order.
    """
    for root in sorted(roots, key=lambda root: root + ROOT):
        for listed in _below(lister, pool, selection, root, mark):
            file = parse_key(listed.key, root)
            if file and selection.takes(file):
                yield File(listed.key, listed.size, file.account, file.day.isoformat())


def _below(lister: Lister, pool: Executor, selection: Selection, root: str, mark: str) -> Iterator[ListedKey]:
    accounts = account_folders(selection, root, mark, lister.folders)
    of_account = partial(_stretches_of, selection, mark, lister)
    wanted = (stretch for several in _ahead(pool, of_account, accounts) for stretch in several)
    for stretch, page in _ahead(pool, partial(_first_page, lister), wanted):
        yield from page.listed
        if page.more:
            yield from _rest(lister, pool, stretch, page)


def _stretches_of(selection: Selection, mark: str, lister: Lister, account: str) -> list[KeyRange]:
    return key_ranges(selection, account, mark, lister.folders)


def _rest(lister: Lister, pool: Executor, stretch: KeyRange, page: Page) -> Iterator[ListedKey]:
    pieces = stretch.rest(page.listed[0].key, page.listed[-1].key)
    for piece, first in _ahead(pool, partial(_first_page, lister), pieces):
        following = first
        yield from following.listed
        while following.more:
            following = _page(lister, piece, following.listed[-1].key)
            yield from following.listed


def _first_page(lister: Lister, stretch: KeyRange) -> tuple[KeyRange, Page]:
    return stretch, _page(lister, stretch, stretch.after)


def _page(lister: Lister, stretch: KeyRange, after: str) -> Page:
    page = lister.page(stretch.prefix, after)
    inside = [one for one in page.listed if one.key < stretch.before]
    return Page(inside, page.more and 0 < len(inside) == len(page.listed))


def _ahead(pool: Executor, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Do the work of some items ahead of their turn, and yield the results in the items' order."""
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) == LISTINGS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for one in waiting:
            one.cancel()
