"""Files that are whole or not there, on the disk before anything depends on them, and nobody else's to read.

Shared folders are assumed: a link that somebody planted is never followed, and no file that was there is written to.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from secrets import token_hex
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def write_atomically(path: Path, *, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes the place of `path` at the end, or is gone after a failure.

    When this returns, content and name are on the disk, power cut or not. Raises OSError.
    """
    partial = path.with_name(f".trailsink-{token_hex(8)}.part")
    with open_private(partial, os.O_CREAT | os.O_EXCL, mode=mode) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    _sync_folder(path.parent)


def open_private(path: Path, flags: int, *, mode: int = 0o600) -> IO[bytes]:
    """Open a file for writing, not through a link; one that is created is readable to its owner only. Raises OSError.

    `flags` are added to those of `os.open`.
    """
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | flags, mode), "ab" if flags & os.O_APPEND else "wb")


def make_private_folders(folder: Path) -> None:
    """Create a folder, and those above it that are missing, for their owner only. Raises OSError."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)


def _sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, those of files just renamed into it too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
