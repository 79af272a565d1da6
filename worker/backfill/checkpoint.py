"""What a backfill writes down: how far it has come, and the files that failed.

The state is one small document (a mark, counts by day), replaced as a whole: written beside it, synced, renamed. A kill
at any moment leaves the old one or the new one. A journal or a database would have to be replayed or repaired, and
there is nothing to look up in it. The report is only ever appended to, before the state says so; a resume cuts off what
the state does not know.
"""

from __future__ import annotations

import fcntl
from collections import Counter
from contextlib import contextmanager
from datetime import datetime  # noqa: TC003 - msgspec needs it at runtime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from worker.atomicfile import write_atomically
from worker.backfill.progress import LoadTally
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


_VERSION = 1


class Checkpoint(msgspec.Struct, kw_only=True):
    """How far a run has come. `asked` is what it was asked for; `mark` the key up to which everything is settled."""

    version: int = _VERSION
    asked: dict[str, str]
    started_at: datetime
    since: datetime | None
    until: datetime
    roots: list[str]
    mark: str = ""
    days: dict[str, dict[str, int]] = {}
    records: dict[str, int] = {}
    report: str
    report_bytes: int = 0

    def tally(self) -> LoadTally:
        """Return the counts of what is settled."""
        return LoadTally({day: Counter(counted) for day, counted in self.days.items()}, Counter(self.records))

    def take(self, tally: LoadTally, mark: str, report_bytes: int) -> None:
        """Take over counts and mark, and the length of the report at that moment."""
        self.days = {day: dict(counted) for day, counted in tally.days.items()}
        self.records, self.mark, self.report_bytes = dict(tally.records), mark, report_bytes


def state_folder(environment: Mapping[str, str]) -> Path:
    """Say where states and reports are kept: specifications.freedesktop.org/basedir-spec."""
    home = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "trailsink"


def state_path(environment: Mapping[str, str], asked: Mapping[str, str]) -> Path:
    """Name the state file of what is asked: the same question finds it again."""
    digest = sha256(msgspec.json.encode(asked, order="sorted")).hexdigest()[:16]
    return state_folder(environment) / f"backfill-{digest}.json"


class CheckpointFile:
    """The state on disk. Every method raises SetupError where the disk refuses."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep a second run of the same backfill out."""
        lock = self.path.with_name(self.path.name + ".lock")
        with disk_errors(lock):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = lock.open("w")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise SetupError(f"Another process runs this backfill: it holds {lock}.") from error
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)

    def load(self, asked: Mapping[str, str]) -> Checkpoint | None:
        """Read what an earlier run left; None if there is nothing. Raises SetupError when it is another backfill's."""
        try:
            saved = msgspec.json.decode(self.path.read_bytes(), type=Checkpoint)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SetupError(f"{self.path} cannot be read: {error.strerror}.") from error
        except msgspec.DecodeError as error:
            raise SetupError(f"{self.path} is no state of a backfill; --restart overwrites it.") from error
        if saved.version != _VERSION:
            raise SetupError(f"{self.path} was written by another version of trailsink; --restart overwrites it.")
        if saved.asked != dict(asked):
            names = (name for name in {**saved.asked, **asked} if saved.asked.get(name) != asked.get(name))
            raise SetupError(
                f"{self.path} belongs to another backfill ({', '.join(sorted(names))} differ); --restart overwrites it."
            )
        return saved

    def save(self, saved: Checkpoint) -> None:
        """Replace the state; when this returns it is on the disk."""
        with disk_errors(self.path), write_atomically(self.path) as file:
            file.write(msgspec.json.encode(saved))

    def forget(self) -> None:
        """Remove the state."""
        with disk_errors(self.path):
            self.path.unlink(missing_ok=True)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into a SetupError that names the file."""
    try:
        yield
    except OSError as error:
        raise SetupError(f"{error.filename or path} cannot be used: {error.strerror}.") from error
