"""What a backfill counts, and how far it has come.

Files end in any order and are committed in the order in which they were listed. So one cursor, the key up to which all
files are committed, says where an interrupted run resumes. Files that ended beyond the cursor are loaded once more,
which changes nothing.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.backfill.listing import SelectedFile


class LoadOutcome(StrEnum):
    """How a file ended."""

    ANNOUNCED = "announced"  # to the queue: from here on it is the pipeline's
    LOADED = "loaded"
    DUPLICATE = "duplicate"  # all its records were in the index before
    EMPTY = "empty"  # it holds no records
    FILTERED = "filtered"  # filters left out all of its records
    PRESENT = "present"  # --missing: the index holds records of it, so it was not loaded
    DISCARDED = "discarded"  # --missing: its dead letter was discarded, so it was not loaded
    FAILED = "failed"


RECORD_COUNTS = ("read", "indexed", "duplicate", "degraded", "rejected", "filtered")


@dataclass(frozen=True, slots=True)
class Finished:
    """How one file ended.

    `records` are its counts in the order of `RECORD_COUNTS`. A failure has a `reason`, a code, and a `detail`, one line
    of text; `rejected` holds positions and reasons.
    """

    outcome: LoadOutcome
    records: tuple[int, ...] = ()
    reason: str = ""
    detail: str = ""
    rejected: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RetryLater:
    """A file that could not be loaded for a cause that can pass."""

    cause: str


@dataclass(slots=True)
class LoadTally:
    """Files by day and outcome, and records by outcome. Its size grows with the number of days only."""

    days: dict[str, Counter[str]] = field(default_factory=dict)
    records: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(init=False)  # all days together

    def __post_init__(self) -> None:
        self.outcomes = sum(self.days.values(), Counter())

    def add(self, file: SelectedFile, finished: Finished) -> None:
        """Count one file."""
        self.days.setdefault(file.day, Counter())[finished.outcome] += 1
        self.outcomes[finished.outcome] += 1
        self.records.update(dict(zip(RECORD_COUNTS, finished.records, strict=False)))

    @property
    def files(self) -> int:
        """The number of files."""
        return self.outcomes.total()


@dataclass(slots=True)
class BackfillPlan:
    """What a run would do, counted while files are listed. Its size grows with the accounts and days only."""

    files: int = 0
    bytes: int = 0
    present: int = 0  # --missing: files of which the index holds records
    discarded: int = 0  # --missing: files whose dead letter was discarded
    incomplete: int = 0  # of those, files that lack a record before their last indexed one
    filtered: int = 0  # --no-filters: of those, files of which filters left records out
    accounts: Counter[str] = field(default_factory=Counter)
    days: Counter[str] = field(default_factory=Counter)

    @property
    def listed(self) -> int:
        """The number of files, those that are left alone included."""
        return self.files + self.present + self.discarded

    def add(self, file: SelectedFile) -> None:
        """Count a file that would be loaded."""
        self.files += 1
        self.bytes += file.size
        self.accounts[file.account] += 1
        self.days[file.day] += 1


@dataclass(slots=True)
class _Slot:
    file: SelectedFile
    finished: Finished | None = None


class OrderedProgress:
    """Commits files in the order in which they were added, in whatever order they end."""

    def __init__(self, tally: LoadTally, cursor: str = "") -> None:
        self.tally, self.cursor = tally, cursor
        self._slots: deque[_Slot] = deque()
        self._first_number = 0

    @property
    def uncommitted(self) -> int:
        """The number of files that were added and are not committed."""
        return len(self._slots)

    def add(self, file: SelectedFile) -> int:
        """Add a file; returns its number."""
        self._slots.append(_Slot(file))
        return self._first_number + len(self._slots) - 1

    def finish(self, number: int, finished: Finished) -> None:
        """Record how a file ended."""
        self._slots[number - self._first_number].finished = finished

    def commit(self) -> Iterator[tuple[SelectedFile, Finished]]:
        """Count the files that ended, up to the first one that has not, and move the cursor; yields them."""
        while self._slots and (finished := self._slots[0].finished):
            file = self._slots.popleft().file
            self._first_number += 1
            self.tally.add(file, finished)
            self.cursor = file.key
            yield file, finished
