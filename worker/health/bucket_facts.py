"""How far the index lags behind the bucket, folder by folder: one for each account and region of the trail.

The bucket says which folders there are, so a new account that was never indexed is looked at, too.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from worker.cloudtrail.keys import ACCOUNT, ORGANISATION, ROOT
from worker.health.flow_snapshot import BucketLag
from worker.health.observe import fact, require
from worker.health.rules import PASSED_OVER_WINDOW, UNINDEXED_FILE
from worker.health.snapshot import RATE_WINDOW, Unobserved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.health.aws_facts import AwsFacts
    from worker.health.index_facts import IndexFacts
    from worker.settings import Settings

# Bound the requests to the bucket: listings of accounts, and of folders, which are one account in one region. What is
# left out has its turn in a later look, and the figures say how many were looked at.
_MAX_ACCOUNTS, _MAX_FOLDERS = 100, 100
_THREADS = 8

# A listing of files is one page. Of a folder that fills it in a day, only the newest files are looked at.
_MAX_FILES, _SHORT_WINDOW = 1_000, timedelta(hours=1)

Item = TypeVar("Item")
Upload: TypeAlias = tuple[str, datetime]  # a key, and the time of its upload


class _Folder(NamedTuple):
    bucket: str
    path: str
    last_indexed: str = ""  # the key of a file that was indexed of late, "" where none was


class BucketFacts:
    """The trail's bucket beside the index."""

    def __init__(self, settings: Settings, aws: AwsFacts, indices: IndexFacts, now: datetime) -> None:
        self._settings, self._aws, self._indices, self._now = settings, aws, indices, now

    @fact
    def lag(self) -> BucketLag | None:
        """Compare the newest files of each folder with the index; None where there is nothing to compare.

        Names begin with the time, so a listing that starts after a name is short however large the bucket is.
        """
        freshness = require(self._indices.freshness)
        recent = self._recently_indexed(freshness.indexed)
        with ThreadPoolExecutor(_THREADS) as pool:
            folders, total = self._folders(recent, pool)
            uploads = dict(zip(folders, pool.map(self._uploads, folders), strict=True))
        keys = {f"s3://{folder.bucket}/{key}" for folder, files in uploads.items() for key, _ in files}
        indexed = self._indices.indexed_files(sorted(keys))
        without = self._indices.files_without_events(sorted(keys - indexed) if self._settings.ledger else [])
        indexed |= without.discarded | without.empty
        late, passed_over = [], 0
        for folder, files in uploads.items():
            unindexed = [(key, f"s3://{folder.bucket}/{key}" not in indexed) for key, _ in files]
            last = max((key for key, is_missing in unindexed if not is_missing), default=folder.last_indexed)
            late += [time for key, time in files if key > last]
            missing = {key for key, is_missing in unindexed if is_missing}
            passed_over += sum(
                key < last and key in missing and self._now - time > UNINDEXED_FILE for key, time in files
            )
        newest = max(chain.from_iterable((time for _, time in files) for files in uploads.values()), default=None)
        newest = newest or (freshness.indexed if recent else None)
        if newest is None:
            return None
        return BucketLag(
            newest, len(late), min(late, default=None), passed_over, len(folders), total, len(without.discarded)
        )

    def _recently_indexed(self, indexed: datetime | None) -> dict[tuple[str, str], str]:
        """Return the last indexed file of each bucket and folder; only of the trail's bucket, where that is set."""
        if indexed is None:
            return {}
        trail_bucket = self._settings.bucket
        return {
            (bucket, folder): key
            for (bucket, folder), key in self._indices.last_files(indexed - RATE_WINDOW).items()
            if not trail_bucket or (bucket == trail_bucket and self._is_announced(folder))
        }

    def _folders(self, recent: dict[tuple[str, str], str], pool: ThreadPoolExecutor) -> tuple[list[_Folder], int]:
        """Return the folders to look at now, and how many there are."""
        bucket, total_accounts, listed = self._settings.bucket, 0, 0
        paths: set[tuple[str, str]] = set(recent)
        if bucket:
            accounts = self._account_folders()
            total_accounts, accounts = len(accounts), self._turn(accounts, _MAX_ACCOUNTS)
            regions = pool.map(lambda account: self._aws.folders(f"{account}CloudTrail/"), accounts)
            paths |= {(bucket, path) for path in chain.from_iterable(regions) if self._is_announced(path)}
            listed = len(accounts)
        # An account that was not listed has as many folders as those that were.
        total = len(paths) * total_accounts // listed if listed else len(paths)
        chosen = self._turn(sorted(paths), _MAX_FOLDERS)
        return [_Folder(*place, recent.get(place, "")) for place in chosen], max(total, len(paths))

    def _account_folders(self) -> list[str]:
        """Return the folders of all accounts that are announced, or else of each prefix of this account's trails."""
        prefixes = self._aws.trail_prefixes
        known = set() if isinstance(prefixes, Unobserved) else prefixes
        roots = sorted({_root_folder(prefix) for prefix in known or {ROOT}})
        names = [folder for root in roots for folder in self._aws.folders(root)]
        organisations = [name for name in names if ORGANISATION.fullmatch(_last_part(name))]
        names += [folder for organisation in organisations for folder in self._aws.folders(organisation)]
        return [name for name in names if ACCOUNT.fullmatch(_last_part(name)) and self._is_announced(name)]

    def _is_announced(self, folder: str) -> bool:
        """Return whether files in a folder are announced, or in a part of it."""
        prefix = self._settings.trail_prefix
        return folder.startswith(prefix) or prefix.startswith(folder)

    def _turn(self, items: Sequence[Item], maximum: int) -> list[Item]:
        """Return as many as may be looked at now; others come next minute."""
        if len(items) <= maximum:
            return list(items)
        start = int(self._now.timestamp()) // 60 * maximum % len(items)
        return list(islice(chain(items[start:], items), maximum))

    def _uploads(self, folder: _Folder) -> list[Upload]:
        """List the newest files of a folder: of the last day, or of the last hour where a day is too many to list."""
        uploads = self._uploads_of(folder, PASSED_OVER_WINDOW)
        if len(uploads) >= _MAX_FILES:
            uploads = self._uploads_of(folder, _SHORT_WINDOW) or uploads
        if uploads:
            return uploads
        if folder.last_indexed:
            # The listing starts after a name, without it: the longest one before the file's own.
            return self._aws.uploads_after(folder.bucket, folder.path, folder.last_indexed[:-1])
        return []

    def _uploads_of(self, folder: _Folder, window: timedelta) -> list[Upload]:
        return self._aws.uploads_after(folder.bucket, folder.path, _name_before(folder.path, self._now - window))


def _root_folder(prefix: str) -> str:
    """Return the folder AWSLogs/ that a prefix of keys lies in, or else leads to."""
    before, is_there, _ = f"/{prefix}".rpartition(f"/{ROOT}")
    return f"{before}/{ROOT}"[1:] if is_there else prefix + ROOT


def _last_part(folder: str) -> str:
    return folder.rstrip("/").rpartition("/")[2]


def _name_before(folder: str, moment: datetime) -> str:
    """Return a key that sorts before the files that CloudTrail delivers into a folder from a moment on."""
    *_, account, _, region = folder.rstrip("/").split("/")[-3:]
    return f"{folder}{moment:%Y/%m/%d}/{account}_CloudTrail_{region}_{moment:%Y%m%dT%H%M}Z"
