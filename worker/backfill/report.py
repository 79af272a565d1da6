"""The report of a backfill: the files that failed, as JSON lines."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from worker.atomicfile import open_private
from worker.backfill.checkpoint import translate_disk_errors
from worker.backfill.listing import SelectedFile
from worker.errors import SetupError
from worker.pipeline.objects import ObjectRef

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

    def to_selected(self) -> SelectedFile:
        """Return the file, to load it again."""
        return SelectedFile(self.key, self.size, self.account, self.day)


class FailureReport:
    """A report that a run appends to. The file is created with its first line.

    `size` is the length of the report, in bytes. What a killed run wrote beyond it is cut off.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path, self.size = path, size
        self._exists = os.path.lexists(path)
        if self._exists:
            with translate_disk_errors(path), open_private(path, os.O_APPEND) as file:
                file.truncate(size)

    def append(self, bucket: str, failed: Iterable[tuple[SelectedFile, Finished]]) -> None:
        """Append files that failed; when this returns, they are on the disk."""
        lines = [msgspec.json.encode(_failed_file(bucket, file, finished)) + b"\n" for file, finished in failed]
        if not lines:
            return
        flags = os.O_APPEND if self._exists else os.O_APPEND | os.O_CREAT | os.O_EXCL
        with translate_disk_errors(self.path), open_private(self.path, flags) as file:
            self._exists = True
            self.size += file.write(b"".join(lines))
            file.flush()
            os.fsync(file.fileno())


def _failed_file(bucket: str, file: SelectedFile, finished: Finished) -> FailedFile:
    return FailedFile(
        object=ObjectRef(bucket, file.key).uri,
        key=file.key,
        size=file.size,
        account=file.account,
        day=file.day,
        reason=finished.reason,
        detail=finished.detail,
        rejected=finished.rejected,
    )


def read_report(path: Path, bucket: str) -> Iterator[FailedFile]:
    """Yield the lines of a report; raises SetupError when one is not a failed file, or is of another bucket."""
    with translate_disk_errors(path), path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                failed = msgspec.json.decode(line, type=FailedFile)
            except msgspec.DecodeError as error:
                raise SetupError(f"{path}, line {number}, is not a failed file of a backfill.") from error
            if not failed.object.startswith(ObjectRef(bucket, "").uri):
                raise SetupError(f"{path}, line {number}: {failed.object} is not in the bucket {bucket}.")
            yield failed
