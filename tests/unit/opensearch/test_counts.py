"""Promises about counts: each event once for each of its values, at any path."""

from __future__ import annotations

from typing import Any

from worker.opensearch.counts import EventCounts, Group
from worker.opensearch.search import Hit


def counted(*events: dict[str, Any], by: tuple[str, ...]) -> EventCounts:
    counts = EventCounts(by)
    for number, event in enumerate(events):
        counts.add(Hit("i", str(number), {"@timestamp": f"2026-03-0{number + 1}T00:00:00Z"} | event))
    return counts


def bucket(name: Any, **members: Any) -> dict[str, Any]:
    return {"requestParameters": {"bucketName": name}} | members


def test_events_are_counted_by_a_free_form_path() -> None:
    """An aggregation of the server answers this wrongly."""
    counts = counted(bucket("a"), bucket("b"), bucket("a"), {"eventName": "x"}, by=("requestParameters.bucketName",))

    assert counts.most_common(None) == [
        (("a",), Group(2, "2026-03-01T00:00:00Z", "2026-03-03T00:00:00Z")),
        (("b",), Group(1, "2026-03-02T00:00:00Z", "2026-03-02T00:00:00Z")),
    ]
    assert counts.most_common(1)[0][0] == ("a",)
    assert counts.without == 1


def test_several_paths_make_one_group_for_each_combination() -> None:
    """By bucket and caller."""
    events = [bucket("a", eventName="x"), bucket("a", eventName="y"), bucket("a", eventName="x")]

    groups = counted(*events, by=("requestParameters.bucketName", "eventName")).most_common(None)

    assert [(key, group.count) for key, group in groups] == [(("a", "x"), 2), (("a", "y"), 1)]


def test_an_event_is_counted_once_for_each_of_its_values() -> None:
    """A list holds several; the same one twice is one."""
    event = {"resources": [{"ARN": "x"}, {"ARN": "y"}, {"ARN": "x"}]}

    groups = counted(event, by=("resources.ARN",)).most_common(None)

    assert [(key, group.count) for key, group in groups] == [(("x",), 1), (("y",), 1)]


def test_values_of_every_kind_have_a_text() -> None:
    """CloudTrail writes numbers, booleans and objects, too."""
    events = [bucket(value) for value in (1, True, 2.5, {"b": 1, "a": None}, "")]

    keys = {key for key, _ in counted(*events, by=("requestParameters.bucketName",)).most_common(None)}

    assert keys == {("1",), ("true",), ("2.5",), ('{"a": null, "b": 1}',), ("",)}
