"""The report of a verification: JSON lines, each of which holds the hash of the line before.

Whoever verifies the same time again gets the same lines. A line that was changed, removed or added breaks the hashes
that follow.
"""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from worker.atomicfile import make_private_folders, open_private
from worker.backfill.checkpoint import translate_disk_errors
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

FIRST_HASH = "0" * 64


class ChainedReport:
    """A report that a run appends to, or none without a path. `size` and `last_hash` are those of its end.

    What a killed run wrote beyond `size` is cut off.
    """

    def __init__(self, path: Path | None, size: int = 0, last_hash: str = FIRST_HASH) -> None:
        self._path, self.size, self.last_hash = path, size, last_hash
        if path is None:
            return
        if not size and path.exists() and path.stat().st_size:
            raise SetupError(f"{path} already exists and is not overwritten: name another --report.")
        with translate_disk_errors(path):
            make_private_folders(path.absolute().parent)
            with open_private(path, os.O_APPEND | os.O_CREAT) as file:
                file.truncate(size)

    def append(self, members: Iterable[Mapping[str, object]]) -> None:
        """Append lines; when this returns, they are on the disk."""
        lines = []
        for line in members:
            encoded = msgspec.json.encode({"previous": self.last_hash} | dict(line))
            self.last_hash = sha256(encoded).hexdigest()
            lines.append(encoded + b"\n")
        if self._path is None or not lines:
            return
        with translate_disk_errors(self._path), open_private(self._path, os.O_APPEND) as file:
            self.size += file.write(b"".join(lines))
            file.flush()
            os.fsync(file.fileno())


def check_report(path: Path) -> int:
    """Return the number of lines of a report; raises SetupError where their hashes do not follow from each other."""
    expected, number = FIRST_HASH, 0
    with translate_disk_errors(path), path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                previous = msgspec.json.decode(line)["previous"]
            except (msgspec.DecodeError, LookupError, TypeError) as error:
                raise SetupError(f"{path}, line {number}, is not a line of a report.") from error
            if previous != expected:
                raise SetupError(f"{path}, line {number}: the lines before it were changed.")
            expected = sha256(line.rstrip(b"\n")).hexdigest()
    return number
