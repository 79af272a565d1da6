"""Finds where the log files of a bucket are: trees of CloudTrail's layout, and copies that have lost it.

[prefix/]AWSLogs/[folder/][o-ORGANISATION/]ACCOUNT/KIND/REGION/YYYY/MM/DD/   a tree: only selected days are listed
[prefix/][o-ORGANISATION/]ACCOUNT/KIND/REGION/YYYY/MM/DD/                    the same, copied without AWSLogs/
[prefix/]ACCOUNT_KIND_REGION_TIME_unique.json.gz                             a folder: its own files are listed
deeper folders that hold such files                                          a prefix: all of it is listed
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.backfill.listing import KeySource, SourceLayout
from worker.cloudtrail.keys import ACCOUNT, ORGANISATION, ROOT, parse_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.backfill.listing import Lister

_LEVELS = 3  # of folders above AWSLogs/: a trail's prefix rarely has more
_LEVELS_BELOW_ROOT = 2  # of folders between AWSLogs/ and the accounts
_MAX_REQUESTS = 500

# A partition by minute has twelve digits, as an account has. So many folders are looked into before one is believed.
_ACCOUNTS_TRIED = 3


@dataclass(slots=True)
class SearchResult:
    """The sources of a bucket; not `complete` when there were more folders than are searched."""

    sources: list[KeySource] = field(default_factory=list)
    complete: bool = True


def find_sources(lister: Lister, start: str = "") -> SearchResult:
    """Find the sources below a folder, at most three levels deep for a tree and at any depth for copies.

    Stops after 500 requests, and returns what was found until then.
    """
    search = _SourceSearch(lister)
    level = [start]
    try:
        for depth in range(_LEVELS + 1):
            level = [child for folder in level for child in search.visit(folder)]
            if depth == _LEVELS:
                search.sample(level)
    except _TooManyRequestsError:
        return SearchResult(sorted(search.sources), complete=False)
    return SearchResult(sorted(search.sources))


def find_sources_at(lister: Lister, folder: str) -> SearchResult:
    """Find the sources of a folder that an operator has named: its own, or else those below it."""
    search = _SourceSearch(lister)
    search.visit(folder)
    return SearchResult(sorted(search.sources)) if search.sources else find_sources(lister, folder)


class _TooManyRequestsError(Exception):
    """The search has used up its requests."""


class _SourceSearch:
    """One search, and what it has found."""

    def __init__(self, lister: Lister) -> None:
        self._lister = lister
        self._requests = 0
        self.sources: set[KeySource] = set()

    def visit(self, folder: str) -> list[str]:
        """Look for sources in a folder; returns the folders in it that are still to be visited."""
        self._count()
        folders, has_log_files = self._lister.survey(folder, _is_log_file)
        if has_log_files:
            self.sources.add(KeySource(folder, SourceLayout.FOLDER))
        if f"/{folder}".endswith(f"/{ROOT}") or self._holds_accounts(folders):
            self.sources.add(KeySource(folder, SourceLayout.TREE))
            folders = [child for child in folders if not is_account_or_organisation(child)]
        if folder + ROOT in folders:
            folders.remove(folder + ROOT)
            self._visit_root(folder + ROOT)
        return [child for child in folders if not _is_partition(child)]

    def _visit_root(self, root: str) -> None:
        level = [root]
        for _ in range(_LEVELS_BELOW_ROOT + 1):
            level = [child for folder in level for child in self.visit(folder)]

    def sample(self, folders: Iterable[str]) -> None:
        """Look at the first keys below each folder, at any depth."""
        for folder in folders:
            self._count()
            if any(_is_log_file(listed.key) for listed in self._lister.page(folder, "").keys):
                self.sources.add(KeySource(folder, SourceLayout.PREFIX))

    def _holds_accounts(self, folders: Iterable[str]) -> bool:
        accounts = [folder for folder in folders if is_account_or_organisation(folder)]
        for account in accounts[:_ACCOUNTS_TRIED]:
            self._count()
            children = self._lister.folders(account)
            if any(_name(child).startswith("CloudTrail") or ACCOUNT.fullmatch(_name(child)) for child in children):
                return True
        return False

    def _count(self) -> None:
        if self._requests == _MAX_REQUESTS:
            raise _TooManyRequestsError
        self._requests += 1


def _is_log_file(key: str) -> bool:
    return parse_name(key) is not None


def is_account_or_organisation(folder: str) -> bool:
    """Return whether a folder has the name of an account or of an organisation."""
    name = _name(folder)
    return bool(ACCOUNT.fullmatch(name) or ORGANISATION.fullmatch(name))


def _is_partition(folder: str) -> bool:
    return _name(folder).startswith("aws-account-id=")  # other services' files


def _name(folder: str) -> str:
    return folder[:-1].rpartition("/")[2]
