"""What a panel is: what it draws, of which events, measured and grouped how, and where it stands on its board."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Agg = dict[str, Any]
Grid = tuple[int, int, int, int]  # x, y, width and height on the board's columns

BOARD_COLUMNS = 48

NO_VALUE = "(none)"


class Pattern(StrEnum):
    """The index patterns: a board's range of time applies to the time field of its panels' pattern."""

    EVENTS = "events"  # by @timestamp
    INDEXED = "indexed"  # by trailsink.indexed_at
    FILES = "files"  # the ledger, without a time field: a range hides what went silent before it
    VERDICTS = "verdicts"  # of trailsink verify, without a time field


def count(label: str = "Events") -> Agg:
    """Count events."""
    return {"type": "count", "params": {"customLabel": label}}


def metric(kind: str, name: str, label: str, **params: object) -> Agg:
    """Measure a field."""
    return {"type": kind, "params": {"field": name, "customLabel": label, **params}}


def terms(name: str, label: str, size: int = 10, **params: object) -> Agg:
    """Group by the values of a field, those with the most events first."""
    common = {"field": name, "size": size, "order": "desc", "orderBy": "1", "customLabel": label, "otherBucket": False}
    common |= {"missingBucket": False, "missingBucketLabel": NO_VALUE, **params}
    return {"type": "terms", "params": common}


def terms_or_none(name: str, label: str, size: int = 10, **params: object) -> Agg:
    """Group by the values of a field; the events without one are a group, too."""
    return terms(name, label, size, missingBucket=True, **params)


def over_time(name: str = "@timestamp") -> Agg:
    """Group by time, in intervals that suit the range."""
    return {"type": "date_histogram", "params": {"field": name, "interval": "auto", "min_doc_count": 1}}


def cases(**queries: str) -> Agg:
    """Group by queries."""
    filters = [{"input": {"query": query, "language": "lucene"}, "label": name} for name, query in queries.items()]
    return {"type": "filters", "params": {"filters": filters}}


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: what it draws (`kind`), of which events (`query`), measured by `metrics` and grouped by `groups`.

    A "counter" is red from `red_from` events on, and green below. `colors` are those of named series.
    """

    id: str
    title: str
    kind: str
    grid: Grid
    query: str = ""
    groups: tuple[Agg, ...] = ()
    metrics: tuple[Agg, ...] = field(default_factory=lambda: (count(),))
    description: str = ""
    pattern: Pattern = Pattern.EVENTS
    red_from: int = 1
    colors: dict[str, str] = field(default_factory=dict)
    scale: str = "linear"
    unit: str = "Events"


@dataclass(frozen=True, slots=True)
class Note:
    """A panel of text; `links` lead to other boards by their names, and `events` to the saved search."""

    id: str
    title: str
    grid: Grid
    text: str


@dataclass(frozen=True, slots=True)
class Controls:
    """A panel of drop-down lists that filter the board, by label and field."""

    id: str
    title: str
    grid: Grid
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class Board:
    """A board: its panels, the range of time it opens with ("" keeps the current one), and its refresh in seconds."""

    id: str
    title: str
    panels: tuple[Panel | Note | Controls, ...]
    search_grid: Grid | None = None
    time_from: str = "now-24h"
    refresh_seconds: int = 0

    @property
    def data_panels(self) -> tuple[Panel, ...]:
        """The panels that search."""
        return tuple(panel for panel in self.panels if isinstance(panel, Panel))
