"""The report of `trailsink filter test`: as text of 80 columns, or as JSON lines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from worker.cli.output import print_line, print_table
from worker.cloudtrail.filters.fields import CHOSEN_BY_CALLERS
from worker.deploy.cost import storage_cost
from worker.humanize import ascii_json, format_minute, format_size, pluralize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from worker.cloudtrail.filters.selectors import SelectorSet
    from worker.cloudtrail.filters.trial import EventName, SelectorCounts, TrialCounts

_SHOWN = 10
_YEAR = 365
_MIN_DAYS = 1 / 24  # a shorter time says little about a day


@dataclass(frozen=True, slots=True)
class TrialReport:
    """What a filter would leave out. `retention_days` 0 keeps events for ever: then the cost is that of a year."""

    file: str
    selectors: SelectorSet
    counts: TrialCounts
    place: str
    since: datetime | None
    until: datetime
    retention_days: int
    replicas: int
    price: float

    def print_text(self, lost: Sequence[tuple[str, int, int]], *, has_rules: bool) -> None:
        """Print tables; `lost` are rules with how many of their hits would go."""
        left_out, counts = self.counts.left_out, self.counts
        start = f" from {format_minute(self.since)} UTC" if self.since else ""
        print_line(f"{self.file} (digest {self.selectors.digest})")
        print_line(f"on {self.place}{start}")
        rows = [self._row(name, each) for name, each in counts.selectors.items()]
        columns = ("selector", "events", "share", "bytes", "$ a month" if self._days else "$")
        print_table(columns, [*rows, self._row("all of them", left_out)], right=columns[1:])
        print_line(f"{left_out.events:,} of {pluralize(counts.events, 'event')} would go.")
        if self._days:
            kept = f"{self.retention_days} days" if self.retention_days else "a year"
            print_line(f"The cost is that of disk, with events kept for {kept}: docs/sizing.md.")
        for title, names in (("commonest", self._commonest()), ("rarest", self._rarest())):
            if names:
                print_line()
                print_table((f"{title} that would go", "service", "events"), names, right=("events",))
        if lost or has_rules:
            print_line()
        for title, hits, total in lost:
            print_line(f"{pluralize(hits, 'hit')} of `{title}` would go, of {total:,}.")
        if has_rules and not lost:
            print_line("No rule would lose a hit.")
        for name in self._open_to_callers():
            print_line(f"Warning: {name!r} names only what callers choose: they can hide in it.")

    def documents(self, lost: Sequence[tuple[str, int, int]]) -> Iterator[str]:
        """Yield the same as JSON documents."""
        for name, counts in self.counts.selectors.items():
            yield _line("selector", {"name": name, **self._figures(counts)})
        for (source, event), number in sorted(self.counts.left_out.names.items(), key=_by_count):
            yield _line("event", {"eventSource": source, "eventName": event, "events": number})
        for title, hits, total in lost:
            yield _line("rule", {"title": title, "lost": hits, "hits": total})
        yield _line(
            "end",
            {
                "digest": self.selectors.digest,
                "events": self.counts.events,
                "bytes": round(self.counts.bytes),
                "left_out": self._figures(self.counts.left_out),
                "chosen_by_callers": self._open_to_callers(),
            },
        )

    def _row(self, name: str, counts: SelectorCounts) -> list[str]:
        figures = self._figures(counts)
        cost = figures["dollars_a_month"]
        return [
            name,
            f"{counts.events:,}",
            f"{100 * figures['share']:.1f} %",
            format_size(counts.bytes),
            "" if cost is None else f"{cost:,.2f}",
        ]

    def _figures(self, counts: SelectorCounts) -> dict[str, Any]:
        share = counts.events / self.counts.events if self.counts.events else 0.0
        return {
            "events": counts.events,
            "bytes": round(counts.bytes),
            "share": round(share, 4),
            "dollars_a_month": self._cost(counts),
        }

    def _cost(self, counts: SelectorCounts) -> float | None:
        if not self._days or not self.counts.bytes:
            return None
        mean = self.counts.bytes / self.counts.events
        size = counts.bytes / counts.events / mean if counts.events else 1.0
        days = self.retention_days or _YEAR
        return round(storage_cost(counts.events / self._days, days, self.replicas, price=self.price, size=size), 4)

    @property
    def _days(self) -> float:
        """How many days the events are of, 0 where that is not known."""
        return max((self.until - self.since) / timedelta(days=1), _MIN_DAYS) if self.since else 0.0

    def _commonest(self) -> list[list[str]]:
        return [_event_row(entry) for entry in sorted(self.counts.left_out.names.items(), key=_by_count)[:_SHOWN]]

    def _rarest(self) -> list[list[str]]:
        """Return the rarest events that are not among the commonest."""
        ordered = sorted(self.counts.left_out.names.items(), key=_by_count)[_SHOWN:]
        return [_event_row(entry) for entry in reversed(ordered[-_SHOWN:])]

    def _open_to_callers(self) -> list[str]:
        """Return the names of the selectors of which every condition is on what a caller can choose."""
        return [
            selector.name
            for selector in self.selectors.selectors
            if all(condition.path[0] in CHOSEN_BY_CALLERS for condition in selector.conditions)
        ]


def _by_count(entry: tuple[EventName, int]) -> tuple[int, EventName]:
    return -entry[1], entry[0]


def _event_row(entry: tuple[EventName, int]) -> list[str]:
    (source, name), number = entry
    return [name or "(none)", source.removesuffix(".amazonaws.com") or "(none)", f"{number:,}"]


def _line(kind: str, members: dict[str, Any]) -> str:
    return ascii_json(json.dumps({"kind": kind} | members))
