"""What a backfill counts and decides: outcomes by day, how far it has come, when a file is tried again or given up.

Files end in any order and are settled in the order in which they were found. So one mark, the key up to which
everything is settled, says where an interrupted run goes on; what had ended beyond it is loaded once more, which
changes nothing.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.backfill.listing import File


class LoadOutcome(StrEnum):
    """How a file ended."""

    ANNOUNCED = "announced"  # to the queue: the pipeline has it now
    LOADED = "loaded"
    DUPLICATE = "duplicate"  # all its records were there
    EMPTY = "empty"  # it holds no records
    PRESENT = "present"  # --missing: the index holds records of it, so it was left alone
    FAILED = "failed"


RECORDS = ("read", "indexed", "duplicate", "degraded", "rejected")


@dataclass(frozen=True, slots=True)
class Finished:
    """One file's end: its records as `RECORDS` names them, and for a failure the reason's code and one line more."""

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
    """Files by day and outcome, and records by what became of them: as large as there are days."""

    days: dict[str, Counter[str]] = field(default_factory=dict)
    records: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(init=False)  # all days together

    def __post_init__(self) -> None:
        self.outcomes = sum(self.days.values(), Counter())

    def add(self, file: File, ended: Finished) -> None:
        """Count one file."""
        self.days.setdefault(file.day, Counter())[ended.outcome] += 1
        self.outcomes[ended.outcome] += 1
        self.records.update(dict(zip(RECORDS, ended.records, strict=False)))

    @property
    def files(self) -> int:
        """All files."""
        return self.outcomes.total()


@dataclass(slots=True)
class BackfillPlan:
    """What a run would do, counted while it streams by: as large as there are accounts and days."""

    files: int = 0
    bytes: int = 0
    present: int = 0  # --missing: files of which the index holds records
    incomplete: int = 0  # among those, files of which a record is missing before the last one that is there
    accounts: Counter[str] = field(default_factory=Counter)
    days: Counter[str] = field(default_factory=Counter)

    def add(self, file: File) -> None:
        """Count a file that would be loaded."""
        self.files += 1
        self.bytes += file.size
        self.accounts[file.account] += 1
        self.days[file.day] += 1


@dataclass(slots=True)
class _Slot:
    file: File
    ended: Finished | None = None


class OrderedProgress:
    """Settles files in the order in which they were entered, whatever the order in which they end."""

    def __init__(self, tally: LoadTally, mark: str = "") -> None:
        self.tally, self.mark = tally, mark
        self._places: deque[_Slot] = deque()
        self._first = 0

    @property
    def open(self) -> int:
        """How many files are entered and not settled."""
        return len(self._places)

    def enter(self, file: File) -> int:
        """Take a file in; returns its number."""
        self._places.append(_Slot(file))
        return self._first + len(self._places) - 1

    def end(self, number: int, ended: Finished) -> None:
        """Say how a file ended."""
        self._places[number - self._first].ended = ended

    def settle(self) -> Iterator[tuple[File, Finished]]:
        """Count what has ended up to the first file that has not, and move the mark there."""
        while self._places and (ended := self._places[0].ended):
            file = self._places.popleft().file
            self._first += 1
            self.tally.add(file, ended)
            self.mark = file.key
            yield file, ended
