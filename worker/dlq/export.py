"""Files of exported letters: whole or not there, on the disk before anything is deleted, and read as a stream."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from worker.atomicfile import sync_folder
from worker.dlq.letters import read_line
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.dlq.letters import Line

STREAM = Path("-")  # standard input or output

# Letters name accounts and buckets: nobody else's business.
_MODE = 0o600
# Standard input is read twice, checked first: what is larger than this goes through a file.
_IN_MEMORY = 16 << 20


@contextmanager
def writing(path: Path) -> Iterator[Callable[[bytes], object]]:
    """Give what writes to a new file; afterwards all of it is on the disk, or after a failure none of it is there.

    Raises SetupError when the file is there already or cannot be written.
    """
    if path == STREAM:
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    part = path.with_name(f"{path.name}.part")
    if path.exists():
        raise SetupError(f"The file {path} is there already; give the name of a new one.")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE), "wb") as file:
            yield file.write
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        raise SetupError(f"The file {path} cannot be written: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def reading(path: Path) -> Iterator[Callable[[], Iterator[Line]]]:
    """Give what reads the letters of a file from its beginning, as often as it is asked; raises SetupError."""
    with _opened(path) as file:

        def lines() -> Iterator[Line]:
            file.seek(0)
            return (read_line(text, number) for number, text in enumerate(file, 1) if text.strip())

        yield lines


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    if path == STREAM:
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spooled:
            shutil.copyfileobj(sys.stdin.buffer, spooled)
            yield spooled
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise SetupError(f"The file {path} cannot be read: {error.strerror}.") from error
    with file:
        yield file
