"""Where files to load are listed: a bucket by ListObjectsV2, or a folder tree; and how a tree's files are read.

docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

from __future__ import annotations

import os
from bisect import bisect_right
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_code, error_text
from worker.backfill.listing import ListedKey, Page
from worker.errors import Reason, SetupError, StoreUnavailable, UnreadableObject
from worker.pipeline.objects import FetchedObject

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from types_boto3_s3 import S3Client

    from worker.pipeline.objects import ObjectRef


_PAGE = 10_000  # of a tree: a folder's names are read anew for each page


_ELSEWHERE = ("PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")


class BucketLister:
    """The keys of a bucket, at most `most` in a page. Needs s3:ListBucket."""

    def __init__(self, client: S3Client, name: str, *, most: int = 1_000) -> None:
        self._s3, self.name, self._most = client, name, most

    def folders(self, prefix: str) -> list[str]:
        """List the folders whose names begin with `prefix`; raises SetupError."""
        try:
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix, Delimiter="/")
            return sorted(one["Prefix"] for page in pages for one in page.get("CommonPrefixes", []))
        except (ClientError, BotoCoreError) as error:
            raise self._fault(error) from error

    def page(self, prefix: str, after: str) -> Page:
        """List a page of keys; raises SetupError."""
        try:
            answer = self._s3.list_objects_v2(Bucket=self.name, Prefix=prefix, StartAfter=after, MaxKeys=self._most)
        except (ClientError, BotoCoreError) as error:
            raise self._fault(error) from error
        return Page([ListedKey(one["Key"], one["Size"]) for one in answer.get("Contents", [])], answer["IsTruncated"])

    def _fault(self, error: ClientError | BotoCoreError) -> SetupError:
        code = error_code(error)
        if code == "NoSuchBucket":
            return SetupError(f"There is no bucket {self.name}.")
        if code in ("AccessDenied", "403"):
            return SetupError(f"These credentials may not list s3://{self.name}: they need s3:ListBucket on it.")
        if code in _ELSEWHERE:
            return SetupError(
                f"The bucket {self.name} is not in {self._s3.meta.region_name}: set the region to its own."
            )
        return SetupError(f"The bucket {self.name} cannot be listed: {error_text(error)}.")


class LocalTree:
    """A folder tree with the layout of a bucket: keys are paths relative to it. Lists and reads."""

    def __init__(self, top: Path) -> None:
        self._top = str(top)
        if not top.is_dir():
            raise SetupError(f"There is no folder {top}.")

    def folders(self, prefix: str) -> list[str]:
        """List the folders whose names begin with `prefix`."""
        above, _, begin = prefix.rpartition("/")
        above += "/" if above else ""
        return [name for name in self._names(above) if name.endswith("/") and name.startswith(above + begin)]

    def page(self, prefix: str, after: str) -> Page:
        """List the next files."""
        above = prefix[: prefix.rfind("/") + 1]
        found = list(islice(self._files(above, prefix, after), _PAGE + 1))
        return Page(found[:_PAGE], len(found) > _PAGE)

    def fetch(self, ref: ObjectRef, limit: int) -> FetchedObject:
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

    def start_get(self, ref: ObjectRef, limit: int) -> None:
        """Say that a file has to be fetched."""

    def _files(self, folder: str, prefix: str, after: str) -> Iterator[ListedKey]:
        """Yield the files below a folder in the order of their keys: one folder's names at a time are in memory."""
        names = self._names(folder)
        # What lies before `after` is passed by; the folder that holds it is not.
        first = bisect_right(names, after)
        if first and names[first - 1].endswith("/") and after.startswith(names[first - 1]):
            first -= 1
        for name in names[first:]:
            if not name.startswith(prefix):
                continue
            if name.endswith("/"):
                yield from self._files(name, prefix, after)
            else:
                yield ListedKey(name, os.path.getsize(os.path.join(self._top, name)))  # noqa: PTH118, PTH202 - as above

    def _names(self, folder: str) -> list[str]:
        """List what a folder holds as keys, folders with their slash: sorted, they are in the order of a bucket."""
        try:
            with os.scandir(os.path.join(self._top, folder)) as entries:  # noqa: PTH118 - as above
                names = sorted(folder + one.name + ("/" if one.is_dir() else "") for one in entries)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise SetupError(f"The folder {error.filename} cannot be read: {error.strerror}.") from error
        if strange := [name for name in names if not name.isascii() and not _is_unicode(name)]:
            raise SetupError(f"{strange[0]!r} is no name that a bucket can have; move the file away.")
        return names


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8, as Python carries them
        return False
    return True
