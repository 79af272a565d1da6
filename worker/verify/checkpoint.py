"""The state file of a verification: how far it has come, so that a killed run resumes with the same report."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from datetime import datetime  # noqa: TC003 - msgspec needs it at runtime
from typing import TYPE_CHECKING

import msgspec

from worker.atomicfile import make_private_folders, open_private, write_atomically
from worker.backfill.checkpoint import translate_disk_errors
from worker.errors import SetupError
from worker.verify.run import Progress  # noqa: TC001 - msgspec needs it at runtime

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_VERSION = 1


class VerifyState(msgspec.Struct, kw_only=True):
    """What a run judges, and how far it has come. A resume judges by the time at which the first run started."""

    version: int = _VERSION
    fingerprint: dict[str, str]
    started_at: datetime
    trees: list[str]
    progress: Progress


class VerifyStateFile:
    """The state on disk. Every method raises SetupError when the disk refuses."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second run of the same verification out."""
        lock = self.path.with_name(self.path.name + ".lock")
        with translate_disk_errors(lock):
            make_private_folders(self.path.parent)
            file = open_private(lock, os.O_CREAT)
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise SetupError(f"Another process is running this verification: it holds {lock}.") from error
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)

    def load(self, fingerprint: Mapping[str, str]) -> VerifyState | None:
        """Read the state of an interrupted run, None where there is none."""
        try:
            state = msgspec.json.decode(self.path.read_bytes(), type=VerifyState)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise SetupError(f"{self.path} cannot be read: delete it, or pass --restart.") from error
        if state.version != _VERSION or state.fingerprint != dict(fingerprint):
            raise SetupError(f"{self.path} is of another verification: delete it, or pass --restart.")
        return state

    def save(self, state: VerifyState) -> None:
        """Replace the state; when this returns, it is on the disk."""
        with translate_disk_errors(self.path), write_atomically(self.path) as file:
            file.write(msgspec.json.encode(state))

    def delete(self) -> None:
        """Delete the state."""
        with translate_disk_errors(self.path):
            self.path.unlink(missing_ok=True)
