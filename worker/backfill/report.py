"""The report of a backfill: the files that failed, a JSON line each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from worker.backfill.checkpoint import disk_errors
from worker.backfill.listing import File
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from worker.backfill.progress import Finished


class FailedFile(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of a report: a file that failed, why, and its rejected records by position."""

    object: str
    key: str
    size: int
    account: str
    day: str
    reason: str
    detail: str = ""
    rejected: tuple[tuple[int, str], ...] = ()


class FailureReport:
    """The files that failed, a JSON line each. It is made with its first line."""

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path, self.size = path, size
        if path.exists():
            with disk_errors(path):
                os.truncate(path, size)

    def add(self, bucket: str, several: Iterable[tuple[File, Finished]]) -> None:
        """Append files that failed; when this returns they are on the disk."""
        lines = [msgspec.json.encode(_failure(bucket, file, ended)) + b"\n" for file, ended in several]
        if not lines:
            return
        with disk_errors(self.path), self.path.open("ab") as file:
            self.size += file.write(b"".join(lines))
            file.flush()
            os.fsync(file.fileno())


def _failure(bucket: str, file: File, ended: Finished) -> FailedFile:
    return FailedFile(
        object=f"s3://{bucket}/{file.key}",
        key=file.key,
        size=file.size,
        account=file.account,
        day=file.day,
        reason=ended.reason,
        detail=ended.detail,
        rejected=ended.rejected,
    )


def failures(path: Path, bucket: str) -> Iterator[FailedFile]:
    """Read a report line by line; raises SetupError when it is none, or speaks of another bucket."""
    with disk_errors(path), path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                failure = msgspec.json.decode(line, type=FailedFile)
            except msgspec.DecodeError as error:
                raise SetupError(f"{path}, line {number}: no failed file of a backfill.") from error
            if not failure.object.startswith(f"s3://{bucket}/"):
                raise SetupError(f"{path}, line {number}: {failure.object} is not in {bucket}.")
            yield failure


def failed_file(failure: FailedFile) -> File:
    """Return the file of a report's line."""
    return File(failure.key, failure.size, failure.account, failure.day)
