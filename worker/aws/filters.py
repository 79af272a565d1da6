"""Reads the selectors of a filter: from a file, or from an object of S3, and again when either has changed."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_code, error_text
from worker.cloudtrail.filters.coverage import check_coverage
from worker.cloudtrail.filters.matching import RecordFilter
from worker.cloudtrail.filters.selectors import MAX_BYTES, parse_selectors
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from types_boto3_s3 import S3Client

    from worker.cloudtrail.filters.selectors import SelectorSet

_OBJECT = re.compile(r"s3://(?P<bucket>[A-Za-z0-9._-]{3,255})/(?P<key>.+)", re.DOTALL)

# Between two looks for a change. A function keeps its consumer for hours.
_SECONDS = 60.0

_NOT_CHANGED = ("304", "NotModified")


def object_address(location: str) -> tuple[str, str] | None:
    """Return bucket and key of an `s3://` address, None for the path of a file; raises SetupError."""
    if not location.startswith("s3://"):
        return None
    match = _OBJECT.fullmatch(location)
    if match is None:
        raise SetupError(f"{location} names no object: it must be s3://BUCKET/KEY.")
    return match["bucket"], match["key"]


class SelectorFile:
    """A file of selectors, or an object: `open_client` opens what reads it. Raises SetupError in one sentence."""

    def __init__(self, location: str, open_client: Callable[[], S3Client]) -> None:
        self.location = location
        self._address, self._open_client = object_address(location), open_client
        self._client: S3Client | None = None
        self._version = ""  # of what was read last: the object's eTag, or the file's time and size

    def read(self) -> SelectorSet:
        """Return the selectors."""
        self._version = ""
        selectors = self.read_if_changed()
        if selectors is None:  # cannot happen: no version was named
            raise SetupError(f"{self.location} cannot be read.")
        return selectors

    def read_if_changed(self) -> SelectorSet | None:
        """Return the selectors, None where they are those that were read last."""
        content, version = self._read_object(*self._address) if self._address else self._read_file()
        if content is None:
            return None
        # What is refused is not read again until it changes.
        self._version = version
        if len(content) > MAX_BYTES:
            raise SetupError(f"{self.location} is larger than {MAX_BYTES >> 10} KiB: it is no file of selectors.")
        selectors = parse_selectors(content, self.location)
        check_coverage(selectors, self.location)
        return selectors

    def _read_object(self, bucket: str, key: str) -> tuple[bytes | None, str]:
        self._client = client = self._client or self._open_client()
        try:
            if self._version:
                response = client.get_object(Bucket=bucket, Key=key, IfNoneMatch=self._version)
            else:
                response = client.get_object(Bucket=bucket, Key=key)
            return response["Body"].read(MAX_BYTES + 1), response["ETag"]
        except ClientError as error:
            if error_code(error) in _NOT_CHANGED:
                return None, self._version
            raise SetupError(f"{self.location} cannot be read: {error_text(error)}.") from error
        except (BotoCoreError, OSError) as error:
            text = error_text(error) if isinstance(error, BotoCoreError) else str(error)
            raise SetupError(f"{self.location} cannot be read: {text}.") from error

    def _read_file(self) -> tuple[bytes | None, str]:
        path = Path(self.location)
        try:
            status = path.stat()
            version = f"{status.st_mtime_ns} {status.st_size} {status.st_ino}"
            if version == self._version:
                return None, version
            with path.open("rb") as file:
                return file.read(MAX_BYTES + 1), version
        except OSError as error:
            raise SetupError(f"{self.location} cannot be read: {error.strerror}.") from error


class FilterSource:
    """The filter of a consumer, read now, and again every minute if it has changed. Thread-safe.

    A change that cannot be read, or is refused, changes nothing and is passed to `warn`: no record is left out, or
    indexed, by half a filter. `monotonic` is a clock in seconds.
    """

    def __init__(self, file: SelectorFile, *, monotonic: Callable[[], float], warn: Callable[[str], None]) -> None:
        self._file, self._monotonic, self._warn = file, monotonic, warn
        self._lock = threading.Lock()
        self._filter = RecordFilter(file.read())
        self._read_at = monotonic()

    def current(self) -> RecordFilter:
        """Return the filter for the next batch."""
        with self._lock:
            if self._monotonic() - self._read_at >= _SECONDS:
                self._read_at = self._monotonic()
                self._read_again()
            return self._filter

    def _read_again(self) -> None:
        try:
            if selectors := self._file.read_if_changed():
                self._filter = RecordFilter(selectors)
                self._warn(f"{self._file.location} has changed: its digest is {selectors.digest} now.")
        except SetupError as error:
            self._warn(f"The filters stay as they are: {error}")
