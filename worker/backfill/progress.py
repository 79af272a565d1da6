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

_LONGEST_WAIT = 60.0
_DENIALS = 3  # a refusal for good is tried again twice: a policy just changed takes some seconds to hold
_ATTEMPTS = 5


class Outcome(StrEnum):
    """How a file ended."""

    ANNOUNCED = "announced"  # to the queue: the pipeline has it now
    LOADED = "loaded"
    DUPLICATE = "duplicate"  # all its records were there
    EMPTY = "empty"  # it holds no records
    PRESENT = "present"  # --missing: the index holds records of it, so it was left alone
    FAILED = "failed"


RECORDS = ("read", "indexed", "duplicate", "degraded", "rejected")


@dataclass(frozen=True, slots=True)
class Ended:
    """One file's end: its records as `RECORDS` names them, and for a failure the reason's code and one line more."""

    outcome: Outcome
    records: tuple[int, ...] = ()
    reason: str = ""
    detail: str = ""
    rejected: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Later:
    """A file that could not be loaded for a cause that can pass."""

    cause: str


@dataclass(slots=True)
class Tally:
    """Files by day and outcome, and records by what became of them: as large as there are days."""

    days: dict[str, Counter[str]] = field(default_factory=dict)
    records: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(init=False)  # all days together

    def __post_init__(self) -> None:
        self.outcomes = sum(self.days.values(), Counter())

    def add(self, file: File, ended: Ended) -> None:
        """Count one file."""
        self.days.setdefault(file.day, Counter())[ended.outcome] += 1
        self.outcomes[ended.outcome] += 1
        self.records.update(dict(zip(RECORDS, ended.records, strict=False)))

    @property
    def files(self) -> int:
        """All files."""
        return self.outcomes.total()


@dataclass(slots=True)
class Plan:
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
class _Place:
    file: File
    ended: Ended | None = None


class Ledger:
    """Settles files in the order in which they were entered, whatever the order in which they end."""

    def __init__(self, tally: Tally, mark: str = "") -> None:
        self.tally, self.mark = tally, mark
        self._places: deque[_Place] = deque()
        self._first = 0

    @property
    def open(self) -> int:
        """How many files are entered and not settled."""
        return len(self._places)

    def enter(self, file: File) -> int:
        """Take a file in; returns its number."""
        self._places.append(_Place(file))
        return self._first + len(self._places) - 1

    def end(self, number: int, ended: Ended) -> None:
        """Say how a file ended."""
        self._places[number - self._first].ended = ended

    def settle(self) -> Iterator[tuple[File, Ended]]:
        """Count what has ended up to the first file that has not, and move the mark there."""
        while self._places and (ended := self._places[0].ended):
            file = self._places.popleft().file
            self._first += 1
            self.tally.add(file, ended)
            self.mark = file.key
            yield file, ended


@dataclass(slots=True)
class Task:
    """A file under way: when it was first tried, in seconds of a monotonic clock, and how often."""

    number: int
    file: File
    began: float = 0.0
    attempts: int = 0


class Decision(StrEnum):
    """What to do with a file that could not be loaded."""

    AGAIN = "again"
    GIVE_UP = "give_up"
    STOP = "stop"  # it is not the file: nothing goes through


def decide(task: Task, cause: str, *, now: float, went_through: float | None, patience: float) -> Decision:
    """Decide on a file that could not be loaded; `went_through` is when another one last was, None for never.

    A file is given up when others go through and it does not. When none does, the fault is not the files': they are
    tried for `patience` seconds, then the run stops, and nothing is written down as failed.
    """
    if _is_denied(cause) and task.attempts >= _DENIALS:
        return Decision.STOP if went_through is None else Decision.GIVE_UP
    others = went_through is not None and went_through > task.began
    if others and task.attempts >= _ATTEMPTS and cause.startswith(("s3:", "sqs:", "file:", "crash")):
        return Decision.GIVE_UP
    if now - task.began < patience:
        return Decision.AGAIN
    return Decision.GIVE_UP if others else Decision.STOP


def _is_denied(cause: str) -> bool:
    return cause.startswith(("s3:AccessDenied", "s3:KMS", "s3:403", "file:Permission"))


def wait_before(attempts: int, first: float) -> float:
    """Return the seconds before the next attempt: doubling from `first`, a minute at most."""
    return min(_LONGEST_WAIT, first * 2.0 ** min(attempts - 1, 20))


class Pace:
    """Bounds how many files start in a second; `batch` is how many like to start together."""

    def __init__(self, per_second: float, batch: int) -> None:
        self._per_second, self._least = per_second, min(float(batch), max(1.0, per_second))
        self._allowed, self._at = 0.0, 0.0

    def most(self, now: float) -> int:
        """Return how many may start, `now` in seconds of a monotonic clock: none before there is enough for a batch."""
        # A second's worth is all that is saved up: after a pause there is no burst.
        earned = (now - self._at) * self._per_second
        self._allowed = min(self._allowed + earned, max(self._least, self._per_second))
        self._at = now
        return int(self._allowed) if self._allowed >= self._least else 0

    def spend(self, started: int) -> None:
        """Count files that were started."""
        self._allowed -= started
