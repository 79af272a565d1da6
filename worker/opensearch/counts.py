"""Counts events by the values of any path, those below free-form fields included.

The server cannot: an aggregation on a flat_object returns nonsense without an error. So events are read page by page.
docs.opensearch.org/latest/field-types/supported-field-types/flat-object/
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.opensearch.search import Hit

Key = tuple[str, ...]


@dataclass(slots=True)
class Group:
    """How many events have one combination of values, and the times of the first and the last, as in `@timestamp`."""

    count: int = 0
    first: str = ""
    last: str = ""

    def add(self, time: str) -> None:
        """Count one event."""
        self.count += 1
        self.first = min(self.first, time) if self.first else time
        self.last = max(self.last, time)


@dataclass(slots=True)
class EventCounts:
    """Groups of events by the values of some paths; memory grows with the number of groups, not of events.

    An event with several values at a path, as in a list, is counted once for each. `without` counts the events that
    lack one of the paths.
    """

    paths: tuple[str, ...]
    groups: dict[Key, Group] = field(default_factory=dict)
    without: int = 0

    def add(self, hit: Hit) -> None:
        """Count one event."""
        values = [_texts(hit.value(path)) for path in self.paths]
        if not all(values):
            self.without += 1
            return
        time = str(hit.value("@timestamp") or "")
        for key in product(*values):
            self.groups.setdefault(key, Group()).add(time)

    def most_common(self, limit: int | None) -> list[tuple[Key, Group]]:
        """Return the largest groups, in a stable order; all of them without a limit."""
        ordered = sorted(self.groups.items(), key=lambda item: (-item[1].count, item[0]))
        return ordered[:limit]


def _texts(value: Any) -> list[str]:  # noqa: ANN401 - whatever the event holds
    """Return the distinct texts of a value: those of a list's elements, and an object as JSON."""
    match value:
        case None:
            return []
        case list():
            return list(dict.fromkeys(text for element in value for text in _texts(element)))
        case str():
            return [value]
        case bool():
            return ["true" if value else "false"]
        case Mapping():
            return [json.dumps(value, sort_keys=True)]
        case _:
            return [str(value)]
