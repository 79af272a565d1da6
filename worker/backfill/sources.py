"""Where a backfill lists its files: a bucket by ListObjectsV2, or a folder tree. The tree is also read from here.

docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

from __future__ import annotations

import os
from bisect import bisect_right
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_code, error_text, is_role_refusal
from worker.backfill.listing import ListedKey, Page
from worker.errors import Reason, SetupError, StoreUnavailable, UnreadableObject
from worker.pipeline.objects import FetchedObject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ListObjectsV2OutputTypeDef

    from worker.cutoff import Cutoff
    from worker.pipeline.objects import ObjectRef
    from worker.pipeline.ports import PendingGet

_TREE_PAGE = 10_000  # files: each page reads the names of its folders again

_WRONG_REGION = ("PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")


class BucketLister:
    """Lists the keys of a bucket, at most `page_size` in a page. Needs s3:ListBucket."""

    def __init__(self, client: S3Client, name: str, *, page_size: int = 1_000) -> None:
        self._s3, self.name, self._page_size = client, name, page_size

    def folders(self, prefix: str) -> list[str]:
        """List the folders whose names start with `prefix`; raises SetupError."""
        try:
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix, Delimiter="/")
            return sorted(folder["Prefix"] for page in pages for folder in page.get("CommonPrefixes", []))
        except (ClientError, BotoCoreError) as error:
            raise self._fault(error) from error

    def survey(self, folder: str, is_match: Callable[[str], bool]) -> tuple[list[str], bool]:
        """List the folders in a folder, and return whether a key directly in it is a match; raises SetupError."""
        folders: list[str] = []
        has_match = False
        for page in self._delimited_pages(folder, ""):
            folders += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
            has_match = has_match or any(is_match(entry["Key"]) for entry in page.get("Contents", []))
        return sorted(folders), has_match

    def files(self, folder: str, after: str) -> Iterator[ListedKey]:
        """Yield the keys directly in a folder that are greater than `after`; raises SetupError."""
        for page in self._delimited_pages(folder, after):
            yield from (ListedKey(entry["Key"], entry["Size"]) for entry in page.get("Contents", []))

    def _delimited_pages(self, folder: str, after: str) -> Iterator[ListObjectsV2OutputTypeDef]:
        try:
            yield from self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=folder, Delimiter="/", StartAfter=after
            )
        except (ClientError, BotoCoreError) as error:
            raise self._fault(error) from error

    def page(self, prefix: str, after: str) -> Page:
        """List a page of keys; raises SetupError."""
        try:
            response = self._s3.list_objects_v2(
                Bucket=self.name, Prefix=prefix, StartAfter=after, MaxKeys=self._page_size
            )
        except (ClientError, BotoCoreError) as error:
            raise self._fault(error) from error
        keys = [ListedKey(entry["Key"], entry["Size"]) for entry in response.get("Contents", [])]
        return Page(keys, response["IsTruncated"])

    def _fault(self, error: ClientError | BotoCoreError) -> SetupError:
        code = error_code(error)
        if is_role_refusal(error):
            return SetupError(f"The role of TRAILSINK_S3_ROLE_ARN cannot be assumed: {error_text(error)}.")
        if code == "NoSuchBucket":
            return SetupError(f"There is no bucket {self.name}.")
        if code in ("AccessDenied", "403"):
            return SetupError(f"These credentials may not list the bucket {self.name}: they need s3:ListBucket on it.")
        if code in _WRONG_REGION:
            region = self._s3.meta.region_name
            return SetupError(f"The bucket {self.name} is not in {region}: set AWS_REGION to the bucket's region.")
        return SetupError(f"The bucket {self.name} cannot be listed: {error_text(error)}.")


class LocalTree:
    """A folder tree with the layout of a bucket: keys are paths relative to it. Lists and reads its files."""

    def __init__(self, top: Path) -> None:
        self._top = str(top)
        if not top.is_dir():
            raise SetupError(f"There is no folder {top}.")

    # A lister

    def folders(self, prefix: str) -> list[str]:
        """List the folders whose names start with `prefix`; raises SetupError."""
        parent = prefix[: prefix.rfind("/") + 1]
        return [name for name in self._names(parent) if name.endswith("/") and name.startswith(prefix)]

    def page(self, prefix: str, after: str) -> Page:
        """List the next files; raises SetupError."""
        parent = prefix[: prefix.rfind("/") + 1]
        keys = list(islice(self._files(parent, prefix, after), _TREE_PAGE + 1))
        return Page(keys[:_TREE_PAGE], len(keys) > _TREE_PAGE)

    def files(self, folder: str, after: str) -> Iterator[ListedKey]:
        """Yield the files directly in a folder that are greater than `after`; raises SetupError."""
        return (self._listed(name) for name in self._names(folder) if name > after and not name.endswith("/"))

    def survey(self, folder: str, is_match: Callable[[str], bool]) -> tuple[list[str], bool]:
        """List the folders in a folder, and return whether a file directly in it is a match; raises SetupError."""
        names = self._names(folder)
        folders = [name for name in names if name.endswith("/")]
        return folders, any(is_match(name) for name in names if not name.endswith("/"))

    # A store

    def fetch(self, ref: ObjectRef, limit: int, cutoff: Cutoff | None = None) -> FetchedObject:  # noqa: ARG002
        """Read one file; raises UnreadableObject `not_found` or `too_large`, and StoreUnavailable."""
        try:
            with open(os.path.join(self._top, ref.key), "rb") as file:  # noqa: PTH118, PTH123 - a key, not a path
                status = os.fstat(file.fileno())
                if status.st_size > limit:
                    raise UnreadableObject(Reason.TOO_LARGE, f"{status.st_size} bytes, more than the limit of {limit}")
                return FetchedObject(file.read(), datetime.fromtimestamp(status.st_mtime, UTC))
        except FileNotFoundError as error:
            raise UnreadableObject(Reason.NOT_FOUND, "the file is gone") from error
        except OSError as error:
            raise StoreUnavailable(f"file:{error.strerror}") from error

    def fetch_verified(self, ref: ObjectRef, limit: int, cutoff: Cutoff | None = None) -> FetchedObject:
        """Read it once more: nothing on the way to a file changes it."""
        return self.fetch(ref, limit, cutoff)

    def start_get(self, ref: ObjectRef, limit: int) -> None:
        """Start nothing: a file is read when it is fetched."""

    def wait_any(self, pending: Sequence[PendingGet], seconds: float) -> Sequence[int]:  # noqa: ARG002
        """Wait for nothing: nothing was started."""
        return ()

    def _files(self, folder: str, prefix: str, after: str) -> Iterator[ListedKey]:
        """Yield the files below a folder in the order of their keys, with the names of one folder at a time in memory.

        Names before `after` are skipped, but not the folder that holds it.
        """
        names = self._names(folder)
        first = bisect_right(names, after)
        if first and names[first - 1].endswith("/") and after.startswith(names[first - 1]):
            first -= 1
        for name in names[first:]:
            if not name.startswith(prefix):
                continue
            if name.endswith("/"):
                yield from self._files(name, prefix, after)
            else:
                yield self._listed(name)

    def _listed(self, name: str) -> ListedKey:
        return ListedKey(name, os.path.getsize(os.path.join(self._top, name)))  # noqa: PTH118, PTH202 - as above

    def _names(self, folder: str) -> list[str]:
        """List the entries of a folder as keys. Folders get a slash before the sort: that is the order of a bucket."""
        try:
            with os.scandir(os.path.join(self._top, folder)) as entries:  # noqa: PTH118 - as above
                names = sorted(folder + entry.name + ("/" if entry.is_dir() else "") for entry in entries)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise SetupError(f"The folder {error.filename} cannot be read: {error.strerror}.") from error
        for name in names:
            if not name.isascii() and not _is_unicode(name):
                raise SetupError(f"{name!r} is not a name that a bucket can hold: rename the file or move it away.")
        return names


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are not UTF-8, which Python carries as surrogates
        return False
    return True
