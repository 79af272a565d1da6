"""The state file of a backfill: how far it has come, so that an interrupted run can resume.

It is one small document (a cursor, and counts by day) that is replaced as a whole. A kill at any moment leaves the old
document or the new one. A journal or a database would have to be replayed or repaired, and nothing in it would ever be
searched for. The report of failed files is only appended to, before the state file counts them as failed. A resume cuts
off the lines that the state does not count.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from contextlib import contextmanager
from datetime import datetime  # noqa: TC003 - msgspec needs it at runtime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from worker.atomicfile import make_private_folders, open_private, write_atomically
from worker.backfill.listing import KeySource
from worker.backfill.progress import LoadTally
from worker.cloudtrail.keys import ROOT
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_VERSION = 1


class Checkpoint(msgspec.Struct, kw_only=True):
    """How far a run has come: all files up to the key `cursor` are committed.

    `fingerprint` identifies the backfill. `since`, `until`, `roots` and `others` are what the first run resolved, and a
    resume uses them again. `roots` is what comes before each AWSLogs/, and `others` are other sources. `report` is the
    path of the report, `report_bytes` its length at the cursor.
    """

    version: int = _VERSION
    fingerprint: dict[str, str] = msgspec.field(name="asked")
    started_at: datetime
    since: datetime | None
    until: datetime
    roots: list[str]
    others: list[KeySource] | msgspec.UnsetType = msgspec.UNSET  # absent in most state files
    cursor: str = msgspec.field(default="", name="mark")
    days: dict[str, dict[str, int]] = {}
    records: dict[str, int] = {}
    report: str
    report_bytes: int = 0

    @property
    def sources(self) -> list[KeySource]:
        """Where the files are."""
        others = self.others or []
        return [*(KeySource(root + ROOT) for root in self.roots), *others]

    def tally(self) -> LoadTally:
        """Return the counts of the committed files."""
        return LoadTally({day: Counter(outcomes) for day, outcomes in self.days.items()}, Counter(self.records))

    def update(self, tally: LoadTally, cursor: str, report_bytes: int) -> None:
        """Set the counts, the cursor, and the length of the report."""
        self.days = {day: dict(outcomes) for day, outcomes in tally.days.items()}
        self.records, self.cursor, self.report_bytes = dict(tally.records), cursor, report_bytes


def state_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of state files and reports: specifications.freedesktop.org/basedir-spec."""
    home = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "trailsink"


class StateFile:
    """A state on disk, of a run of this kind. Every method raises SetupError when the disk refuses."""

    kind = "backfill"

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second run with the same state out."""
        lock = self.path.with_name(self.path.name + ".lock")
        with translate_disk_errors(lock):
            make_private_folders(self.path.parent)
            file = open_private(lock, os.O_CREAT)
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise SetupError(f"Another process is running this {self.kind}: it holds {lock}.") from error
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)

    def save(self, state: msgspec.Struct) -> None:
        """Replace the state; when this returns, it is on the disk."""
        with translate_disk_errors(self.path), write_atomically(self.path) as file:
            file.write(msgspec.json.encode(state))

    def delete(self) -> None:
        """Delete the state."""
        with translate_disk_errors(self.path):
            self.path.unlink(missing_ok=True)


def state_path(environment: Mapping[str, str], fingerprint: Mapping[str, str], kind: str = StateFile.kind) -> Path:
    """Return the path of a run's state file: the same fingerprint has the same path."""
    digest = sha256(msgspec.json.encode(fingerprint, order="sorted")).hexdigest()[:16]
    return state_folder(environment) / f"{kind}-{digest}.json"


class CheckpointFile(StateFile):
    """A checkpoint on disk."""

    def load(self, fingerprint: Mapping[str, str]) -> Checkpoint | None:
        """Read the checkpoint of an earlier run, None if there is none.

        Raises SetupError when it belongs to another backfill.
        """
        try:
            checkpoint = msgspec.json.decode(self.path.read_bytes(), type=Checkpoint)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SetupError(f"{self.path} cannot be read: {error.strerror}.") from error
        except msgspec.DecodeError as error:
            raise self._refuse("is not the state file of a backfill") from error
        if checkpoint.version != _VERSION:
            raise self._refuse("was written by another version of trailsink")
        if different := _differences(checkpoint.fingerprint, fingerprint):
            raise self._refuse(f"belongs to another backfill (different: {', '.join(different)})")
        return checkpoint

    def _refuse(self, problem: str) -> SetupError:
        return SetupError(f"{self.path} {problem}: pass --restart to overwrite it.")


def _differences(saved: Mapping[str, str], current: Mapping[str, str]) -> list[str]:
    return sorted(name for name in {**saved, **current} if saved.get(name) != current.get(name))


@contextmanager
def translate_disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into a SetupError that names the file."""
    try:
        yield
    except OSError as error:
        raise SetupError(f"{error.filename or path} cannot be used: {error.strerror}.") from error
