"""Finds where enough events of a group lie within a span of time, in one pass over events in order of time."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from worker.opensearch.search import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from worker.detect.rules import Correlation
    from worker.opensearch.search import Hit

MAX_IDS = 100  # of events that a finding names, and that are remembered of a group beyond the minimum
_EVENTS_BETWEEN_SWEEPS = 10_000


@dataclass(frozen=True, slots=True)
class EventGroup:
    """The events of a group that lie within the span: at least as many as the correlation asks for.

    `period` is the number of the span since 1970 in which the last of them lies. It makes the group's identity the same
    wherever a pass over the events begins.
    """

    values: dict[str, str]
    period: int
    hits: tuple[Hit, ...]
    first: datetime
    last: datetime


@dataclass(slots=True)
class _GroupWindow:
    """The counted values of one group, by the last time of each; `period` is the last in which it was enough."""

    times: OrderedDict[str, tuple[datetime, Hit]] = field(default_factory=OrderedDict)
    period: int = -1


class CorrelationScan:
    """Takes events in order of time, and yields each group once per period in which it has enough of them."""

    def __init__(self, correlation: Correlation) -> None:
        self._correlation = correlation
        self._windows: dict[tuple[str, ...], _GroupWindow] = {}
        self._events = 0

    def add(self, hits: Iterable[Hit]) -> Iterator[EventGroup]:
        """Take a page of events."""
        for hit in hits:
            time = parse_time(hit.value("@timestamp"))
            key = self._values(hit, self._correlation.group_by)
            counted = self._values(hit, self._correlation.fields) if self._correlation.fields else (hit.id,)
            if time and key is not None and counted is not None:
                yield from self._count(key, "\0".join(counted), time, hit)

    @property
    def remembered(self) -> int:
        """The number of events that are held in memory."""
        return sum(len(window.times) for window in self._windows.values())

    def _values(self, hit: Hit, paths: tuple[str, ...]) -> tuple[str, ...] | None:
        """Return the values of an event as texts; None where it lacks one."""
        values = [hit.value(path) for path in paths]
        return None if None in values else tuple(map(_text, values))

    def _count(self, key: tuple[str, ...], counted: str, time: datetime, hit: Hit) -> Iterator[EventGroup]:
        self._sweep(time)
        window = self._windows.setdefault(key, _GroupWindow())
        window.times[counted] = time, hit
        window.times.move_to_end(counted)
        self._forget(window, time)
        period = int(time.timestamp() // self._correlation.span.total_seconds())
        if len(window.times) < self._correlation.minimum or window.period == period:
            return
        window.period = period
        hits = [hit for _, hit in window.times.values()]
        first = next(iter(window.times.values()))[0]
        names = dict(zip(self._correlation.group_by, key, strict=True))
        yield EventGroup(names, period, tuple(hits[-MAX_IDS:]), first, time)

    def _forget(self, window: _GroupWindow, time: datetime) -> None:
        """Drop what is older than the span, and what is beyond what a finding says."""
        maximum = max(self._correlation.minimum, MAX_IDS)
        while window.times:
            oldest = next(iter(window.times.values()))[0]
            if time - oldest <= self._correlation.span and len(window.times) <= maximum:
                return
            window.times.popitem(last=False)

    def _sweep(self, time: datetime) -> None:
        """Drop groups without recent events, now and then: there can be one per caller."""
        self._events += 1
        if self._events % _EVENTS_BETWEEN_SWEEPS:
            return
        for key in list(self._windows):
            self._forget(self._windows[key], time)
            if not self._windows[key].times:
                del self._windows[key]


def _text(value: Any) -> str:  # noqa: ANN401 - whatever the event holds
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
