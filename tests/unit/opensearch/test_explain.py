"""Promises about explanations: every known fact about a document, and no guess about an unknown one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.opensearch_server import connected
from worker.errors import SetupError
from worker.opensearch.explain import EventLocation, explain, related

KEY = (
    "AWSLogs/123456789012/CloudTrail/eu-west-1/2026/03/01/123456789012_CloudTrail_eu-west-1_20260301T1005Z_abc.json.gz"
)
DOCUMENT: dict[str, Any] = {
    "@timestamp": "2026-03-01T10:00:00Z",
    "eventID": "e0",
    "eventSource": "s3.amazonaws.com",
    "eventName": "GetObject",
    "trailsink": {"object": f"s3://b/{KEY}", "position": 3, "indexed_at": "2026-03-01T10:06:30Z"},
}


def found(*documents: dict[str, Any]) -> dict[str, Any]:
    hits = [{"_index": "trail-2026-03-01", "_id": f"d{n}", "_source": source} for n, source in enumerate(documents)]
    return {"_shards": {"total": 1, "failed": 0}, "hits": {"total": {"value": len(hits)}, "hits": hits}}


def explained(*documents: dict[str, Any]) -> list[EventLocation]:
    with connected(lambda *_: (200, found(*documents))) as client:
        explanation = explain(client, "trail", "e0")
    assert explanation.total == len(documents)
    return explanation.locations


def test_a_document_of_ours_is_explained_with_everything_known() -> None:
    """The time of delivery is in the file's name; the lag is from the event to its indexing."""
    (location,) = explained(DOCUMENT)

    assert location == EventLocation(
        event_id="e0",
        document_id="d0",
        index="trail-2026-03-01",
        object=f"s3://b/{KEY}",
        position=3,
        event_time=datetime(2026, 3, 1, 10, tzinfo=UTC),
        delivered_at=datetime(2026, 3, 1, 10, 5, tzinfo=UTC),
        indexed_at=datetime(2026, 3, 1, 10, 6, 30, tzinfo=UTC),
        lag_seconds=390.0,
        degraded="",
        event="s3.amazonaws.com GetObject",
        record=DOCUMENT,
    )


@pytest.mark.parametrize(
    "trailsink",
    [None, {}, "a sentence", {"object": 7, "position": "x", "indexed_at": "yesterday"}, {"object": "s3://b"}],
)
def test_unknown_facts_of_other_tools_documents_stay_unknown(trailsink: Any) -> None:
    """Anybody may have written into these indices, in any form."""
    (location,) = explained({"@timestamp": "no time", "eventName": "GetObject", "trailsink": trailsink})

    assert location.object in ("", "s3://b")
    assert (location.position, location.event_time, location.delivered_at, location.indexed_at) == (None,) * 4
    assert (location.lag_seconds, location.degraded, location.event) == (None, "", "GetObject")


def test_the_same_event_in_several_documents_is_no_conflict() -> None:
    """Another tool, an older version or another partition may have written it before."""
    degraded = {
        "@timestamp": "2026-03-01T10:00:00Z",
        "trailsink": {
            "object": "s3://b/k",
            "raw": '{"eventID": "e0", "eventSource": "s3.amazonaws.com", "eventName": "GetObject"}',
        },
    }
    assert explained() == []
    locations = explained(DOCUMENT, DOCUMENT, degraded)

    assert [location.document_id for location in locations] == ["d0", "d1", "d2"]
    assert not any(location.conflicting for location in locations)


@pytest.mark.parametrize("change", [{"eventName": "CreateAccessKey"}, {"more": 1}, {"trailsink": {"raw": "no JSON"}}])
def test_records_that_claim_one_id_with_different_contents_are_a_conflict(change: dict[str, Any]) -> None:
    """At most one is CloudTrail's own; nobody may take the other for it."""
    first, second = explained(DOCUMENT, DOCUMENT | change)

    assert first.conflicting
    assert second.conflicting


def test_a_record_of_an_unchecked_file_says_so() -> None:
    """Its file ended before the checksum."""
    (location,) = explained(DOCUMENT | {"trailsink": DOCUMENT["trailsink"] | {"unchecked": True}})

    assert location.unchecked


def test_a_member_with_a_dot_does_not_say_where_a_record_came_from() -> None:
    """A record of an older version can have one; our own member is the nested one."""
    (location,) = explained({"trailsink.object": "s3://forged/key", "trailsink.position": 9} | DOCUMENT)

    assert (location.object, location.position) == (f"s3://b/{KEY}", 3)


def test_another_kind_of_id_is_recognised() -> None:
    """The id of a request or of a shared event leads to its events."""
    events = {"eventID": "e0"}, {"eventId": "e1"}

    def answer(_method: str, _path: str, _query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        return 200, found(*events) if body["query"]["term"] == {"sharedEventID": "known"} else found()

    with connected(answer) as client:
        assert related(client, "trail", "known") == ("sharedEventID", ["e0", "e1"])
        assert related(client, "trail", "unknown") == ("", [])


def test_incomplete_results_are_refused() -> None:
    """Nobody may conclude from some indices that an event was never indexed."""
    response = found() | {"_shards": {"total": 2, "failed": 1}}

    with connected(lambda *_: (200, response)) as client, pytest.raises(SetupError, match="results are incomplete"):
        explain(client, "trail", "e0")
