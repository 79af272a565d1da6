"""Promises about correlations: the same groups as by counting every window, wherever a pass begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

from worker.detect.correlation import CorrelationScan
from worker.detect.rules import Correlation
from worker.opensearch.search import Hit

if TYPE_CHECKING:
    from collections.abc import Sequence

START = datetime(2026, 3, 1, tzinfo=UTC)
SPAN = timedelta(minutes=5)
EVENT_COUNT = Correlation(("caller",), SPAN, 4)
VALUE_COUNT = Correlation(("caller",), SPAN, 3, ("name",))


def hits(seed: int, number: int = 400) -> list[Hit]:
    """Events of three callers at random seconds of two hours, in order of time."""
    chance = Random(seed)
    seconds = sorted(chance.randrange(7200) for _ in range(number))
    return [
        Hit(
            "i",
            f"e{position}",
            {
                "@timestamp": (START + timedelta(seconds=second)).isoformat(),
                "caller": chance.choice(("ada", "bob", "eve")),
                "name": f"Call{chance.randrange(5)}",
            },
        )
        for position, second in enumerate(seconds)
    ]


def counted(events: Sequence[Hit], correlation: Correlation) -> set[tuple[str, int]]:
    """Caller and period of each event at which enough lie within the span, by counting all before it."""
    times = [datetime.fromisoformat(hit.source["@timestamp"]) for hit in events]
    groups = set()
    for position, (hit, time) in enumerate(zip(events, times, strict=True)):
        values = {
            other.source["name"] if correlation.fields else other.id
            for other, earlier in zip(events[: position + 1], times, strict=False)
            if other.source["caller"] == hit.source["caller"] and time - earlier <= correlation.span
        }
        if len(values) >= correlation.minimum:
            groups.add((hit.source["caller"], int(time.timestamp() // correlation.span.total_seconds())))
    return groups


def scanned(events: Sequence[Hit], correlation: Correlation) -> list[tuple[str, int]]:
    return [(group.values["caller"], group.period) for group in CorrelationScan(correlation).add(events)]


def test_groups_are_those_of_every_window() -> None:
    """Fixed windows would miss a burst that lies over the border of two."""
    for seed in range(10):
        for correlation in (EVENT_COUNT, VALUE_COUNT):
            groups = scanned(hits(seed, 120), correlation)

            assert len(set(groups)) == len(groups)
            assert set(groups) == counted(hits(seed, 120), correlation)


def test_a_pass_that_begins_later_names_the_same_groups() -> None:
    """Each run begins elsewhere, and must not find the same again under another name."""
    events = hits(7, 120)
    later = [hit for hit in events if datetime.fromisoformat(hit.source["@timestamp"]) >= START + timedelta(hours=1)]
    from_one_period_on = int((START + timedelta(hours=1) + SPAN * 2).timestamp() // SPAN.total_seconds())

    whole = {group for group in scanned(events, EVENT_COUNT) if group[1] >= from_one_period_on}

    assert {group for group in scanned(later, EVENT_COUNT) if group[1] >= from_one_period_on} == whole


def test_an_event_without_the_field_is_not_counted() -> None:
    """It belongs to no group."""
    events = [Hit("i", str(number), {"@timestamp": START.isoformat()}) for number in range(10)]

    assert scanned(events, EVENT_COUNT) == []


def test_memory_does_not_grow_with_a_group() -> None:
    """A caller with a million events in a span must not cost the process its memory."""
    scan = CorrelationScan(Correlation(("caller",), timedelta(days=1), 4))
    events = (Hit("i", str(number), {"@timestamp": START.isoformat(), "caller": "ada"}) for number in range(25_000))

    groups = list(scan.add(events))

    assert len(groups) == 1
    assert scan.remembered <= 100
