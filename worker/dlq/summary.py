"""Which letters a queue holds: counted by reason, with the newest of them kept for display."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.dlq.views import LetterView
from worker.errors import SetupError
from worker.humanize import pluralize

if TYPE_CHECKING:
    from worker.dlq.letters import Letter, LetterFilter


@dataclass(slots=True)
class ReasonGroup:
    """All letters of one reason: how many, and when the oldest and the newest were sent, in epoch seconds."""

    reason: str
    letters: int
    oldest: float
    newest: float


@dataclass(slots=True)
class LetterSummary:
    """The letters that a filter selected, and those that one pass over the queue did not show.

    `others` are letters that the filter did not select. `in_flight` are letters that another consumer held when the
    pass began. The summary is `complete` unless the queue has more letters than can be in flight at once.
    """

    ids: set[str] = field(default_factory=set)
    others: int = 0
    in_flight: int = 0
    complete: bool = True
    _groups: dict[str, ReasonGroup] = field(default_factory=dict)

    def add(self, letter: Letter) -> None:
        """Count a letter that is selected."""
        group = self._groups.get(letter.reason)
        if group is None:
            group = self._groups[letter.reason] = ReasonGroup(letter.reason, 0, letter.sent_at, letter.sent_at)
        group.letters += 1
        group.oldest = min(group.oldest, letter.sent_at)
        group.newest = max(group.newest, letter.sent_at)
        self.ids.add(letter.id)

    def finish(self, *, received: int, in_flight: int, complete: bool) -> None:
        """Record the totals of the pass: how many letters it received, selected or not, and what it could not show."""
        self.others, self.in_flight, self.complete = received - self.count, in_flight, complete

    @property
    def count(self) -> int:
        """The number of letters that are selected."""
        return sum(group.letters for group in self._groups.values())

    @property
    def groups(self) -> list[ReasonGroup]:
        """The groups, the largest first."""
        return sorted(self._groups.values(), key=lambda group: (-group.letters, group.reason))

    def require_ids(self, letter_filter: LetterFilter, consequence: str = "") -> None:
        """Raise SetupError that names the ids of a filter that no letter has; `consequence` ends its sentence."""
        if missing := sorted(letter_filter.ids - self.ids):
            in_flight = (
                f" ({pluralize(self.in_flight, 'letter')} in flight, received by another consumer; try again in a"
                " minute)"
                if self.in_flight
                else ""
            )
            raise SetupError(f"No such letter: {', '.join(missing)}{in_flight}{consequence}.")


class NewestLetters:
    """Keeps the newest `limit` letters, or all with 0, as they are displayed at `now`, in epoch seconds."""

    def __init__(self, limit: int, now: float) -> None:
        self._limit, self._now = limit, now
        self._heap: list[tuple[float, str, LetterView]] = []

    def add(self, letter: Letter) -> None:
        """Keep a letter if it is among the newest."""
        entry = letter.sent_at, letter.id, LetterView.of(letter, self._now)
        if self._limit and len(self._heap) == self._limit:
            heapq.heappushpop(self._heap, entry)
        else:
            heapq.heappush(self._heap, entry)

    @property
    def letters(self) -> list[LetterView]:
        """The letters, the newest first."""
        return [view for _, _, view in sorted(self._heap, reverse=True)]
