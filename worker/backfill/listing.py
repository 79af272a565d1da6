"""Lists the selected files of a bucket: several key ranges at a time, in the order of the keys.

The order makes a resume cheap: "everything up to this key is done" is one line, however many keys there are. Memory
holds a few pages of keys. A folder tree is listed by the same rules.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from worker.backfill.key_ranges import account_folders, key_ranges
from worker.cloudtrail.keys import ROOT, parse_key, parse_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Executor, Future

    from worker.backfill.key_ranges import KeyRange
    from worker.backfill.selection import Selection

# Listing requests in flight: each returns a page of at most 1,000 keys.
LISTINGS = 16

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

    def files(self, folder: str, after: str) -> Iterator[ListedKey]:
        """Yield the keys directly in a folder that are greater than `after`, in byte order."""

    def survey(self, folder: str, is_match: Callable[[str], bool]) -> tuple[list[str], bool]:
        """List the folders in a folder, and return whether a key directly in it is a match."""


@dataclass(frozen=True, slots=True)
class SelectedFile:
    """A selected log file: its size in bytes, and the account and the day (YYYY-MM-DD) of its delivery."""

    key: str
    size: int
    account: str
    day: str


class SourceLayout(StrEnum):
    """How the files of a source are found. The values are texts of state files."""

    TREE = "tree"  # folders of accounts, kinds, regions and days
    FOLDER = "folder"  # files directly in a folder, known by their names
    PREFIX = "prefix"  # the same, at any depth below it


class KeySource(msgspec.Struct, frozen=True, order=True):
    """A folder that holds log files: "" or a name that ends with a slash."""

    folder: str
    layout: SourceLayout = SourceLayout.TREE


def is_root(source: KeySource) -> bool:
    """Return whether a source is an AWSLogs/ folder."""
    return source.layout is SourceLayout.TREE and f"/{source.folder}".endswith(f"/{ROOT}")


def list_files(
    lister: Lister, pool: Executor, selection: Selection, sources: Iterable[KeySource], cursor: str = ""
) -> Iterator[SelectedFile]:
    """Yield the selected files after `cursor`, in the order of their keys. A file of two sources is yielded once."""
    previous = ""
    for file in _in_order(sorted(sources), partial(_list_source, lister, pool, selection, cursor)):
        if file.key != previous:
            yield file
        previous = file.key


def _in_order(
    sources: Sequence[KeySource], list_source: Callable[[KeySource], Iterator[SelectedFile]]
) -> Iterator[SelectedFile]:
    """Yield the files of sorted sources in the order of their keys.

    Sources that lie beside each other are listed one after the other. Only one that lies inside another is listed at
    the same time, so that memory holds the pages of few sources.
    """
    first = 0
    while first < len(sources):
        outer, end = sources[first], first + 1
        while end < len(sources) and sources[end].folder.startswith(outer.folder):
            end += 1
        inner = _in_order(sources[first + 1 : end], list_source)
        yield from heapq.merge(list_source(outer), inner, key=attrgetter("key"))
        first = end


def _list_source(
    lister: Lister, pool: Executor, selection: Selection, cursor: str, source: KeySource
) -> Iterator[SelectedFile]:
    match source.layout:
        case SourceLayout.TREE:
            keys = _list_tree(lister, pool, selection, source.folder, cursor)
        case SourceLayout.FOLDER:
            keys = lister.files(source.folder, cursor)
        case SourceLayout.PREFIX:
            keys = _list_prefix(lister, source.folder, cursor)
    for listed in keys:
        file = parse_key(listed.key, source.folder) if source.layout is SourceLayout.TREE else parse_name(listed.key)
        if file and selection.matches(file):
            yield SelectedFile(listed.key, listed.size, file.account, file.day.isoformat())


def _list_prefix(lister: Lister, prefix: str, cursor: str) -> Iterator[ListedKey]:
    page = lister.page(prefix, cursor)
    yield from page.keys
    while page.truncated:
        page = lister.page(prefix, page.keys[-1].key)
        yield from page.keys


def _list_tree(lister: Lister, pool: Executor, selection: Selection, tree: str, cursor: str) -> Iterator[ListedKey]:
    accounts = account_folders(selection, tree, cursor, lister.folders)
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
