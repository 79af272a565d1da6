"""What a filter would leave out of the events of some days, counted before it is set."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

# The source and the name of an event.
EventName = tuple[str, str]


@dataclass(slots=True)
class SelectorCounts:
    """The events that one selector would leave out: their bytes as CloudTrail writes them, and how many of each."""

    events: int = 0
    bytes: float = 0.0
    names: Counter[EventName] = field(default_factory=Counter)


@dataclass(slots=True)
class TrialCounts:
    """All events of some days, and by selector those that would go; each event counts for the first that matches."""

    selectors: dict[str, SelectorCounts]
    events: int = 0
    bytes: float = 0.0

    @property
    def left_out(self) -> SelectorCounts:
        """What all selectors together would leave out."""
        counts = self.selectors.values()
        return SelectorCounts(
            sum(each.events for each in counts),
            sum(each.bytes for each in counts),
            sum((each.names for each in counts), Counter()),
        )
