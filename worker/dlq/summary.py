"""What letters there are: counted by reason, and the newest of them kept to be shown."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.dlq.letters import iso
from worker.dlq.views import LetterView, ReasonGroup
from worker.errors import SetupError

if TYPE_CHECKING:
    from worker.dlq.letters import Letter, LetterFilter


@dataclass(slots=True)
class LetterSummary:
    """What letters there are: groups by reason, and which of the ids that were asked for."""

    groups: dict[str, tuple[int, float, float]] = field(default_factory=dict)  # number, oldest, newest
    ids: set[str] = field(default_factory=set)
    others: int = 0  # letters that were not meant
    hidden: int = 0  # in somebody else's hands when the look began
    complete: bool = True

    def add(self, letter: Letter) -> None:
        """Count one letter."""
        number, oldest, newest = self.groups.get(letter.reason, (0, letter.sent_at, letter.sent_at))
        self.groups[letter.reason] = (number + 1, min(oldest, letter.sent_at), max(newest, letter.sent_at))
        self.ids.add(letter.id)

    def end(self, *, seen: int, hidden: int, complete: bool) -> None:
        """Take over what the look as a whole found."""
        self.others, self.hidden, self.complete = seen - self.count, hidden, complete

    @property
    def count(self) -> int:
        """How many letters were meant."""
        return sum(number for number, _, _ in self.groups.values())

    def by_size(self) -> list[tuple[str, tuple[int, float, float]]]:
        """Return the groups, the largest first."""
        return sorted(self.groups.items(), key=lambda one: (-one[1][0], one[0]))

    def as_groups(self) -> list[ReasonGroup]:
        """Return the groups as they are printed."""
        return [
            ReasonGroup(reason, number, iso(oldest), iso(newest)) for reason, (number, oldest, newest) in self.by_size()
        ]

    def refuse_unknown(self, choice: LetterFilter, nothing: str = "") -> None:
        """Raise SetupError that names ids of no letter; `nothing` says what was not done."""
        if unknown := sorted(choice.ids - self.ids):
            hidden = f" (in somebody else's hands: {self.hidden}; try again in a minute)" if self.hidden else ""
            raise SetupError(f"No such letter: {', '.join(unknown)}{hidden}{nothing}.")


class NewestLetters:
    """Keeps the newest `most` letters of any number, or all with 0, as they are shown at `now`, in epoch seconds."""

    def __init__(self, most: int, now: float) -> None:
        self._most, self._now = most, now
        self._kept: list[tuple[float, str, LetterView]] = []

    def add(self, letter: Letter) -> None:
        """Keep a letter, if it is among the newest."""
        one = letter.sent_at, letter.id, LetterView.of(letter, self._now)
        if self._most and len(self._kept) == self._most:
            heapq.heappushpop(self._kept, one)
        else:
            heapq.heappush(self._kept, one)

    @property
    def letters(self) -> list[LetterView]:
        """The letters, the newest first."""
        return [shown for _, _, shown in sorted(self._kept, reverse=True)]
