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
    "eventSource": "s3.amazonaws.com",
    "eventName": "GetObject",
    "trailsink": {"object": f"s3://b/{KEY}", "position": 3, "indexed_at": "2026-03-01T10:06:30Z"},
}


def found(*documents: dict[str, Any]) -> dict[str, Any]:
    hits = [{"_index": "trail-2026-03-01", "_id": f"e{n}", "_source": source} for n, source in enumerate(documents)]
    return {"_shards": {"total": 1, "failed": 0}, "hits": {"hits": hits}}


def explained(*documents: dict[str, Any]) -> list[EventLocation]:
    with connected(lambda *_: (200, found(*documents))) as client:
        return explain(client, "trail", "e0")


def test_a_document_of_ours_is_explained_with_everything_known() -> None:
    """The time of delivery is in the file's name; the lag is from the event to its indexing."""
    (location,) = explained(DOCUMENT)

    assert location == EventLocation(
        event_id="e0",
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


def test_an_event_may_be_in_several_documents_or_in_none() -> None:
    """Another tool, or another partition, may have written it before."""
    assert explained() == []
    assert [location.event_id for location in explained(DOCUMENT, DOCUMENT)] == ["e0", "e1"]


def test_another_kind_of_id_is_recognised() -> None:
    """The id of a request or of a shared event leads to its events."""

    def answer(_method: str, _path: str, _query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        return 200, found({}, {}) if body["query"]["term"] == {"sharedEventID": "known"} else found()

    with connected(answer) as client:
        assert related(client, "trail", "known") == ("sharedEventID", ["e0", "e1"])
        assert related(client, "trail", "unknown") == ("", [])


def test_incomplete_results_are_refused() -> None:
    """Nobody may conclude from some indices that an event was never indexed."""
    response = found() | {"_shards": {"total": 2, "failed": 1}}

    with connected(lambda *_: (200, response)) as client, pytest.raises(SetupError, match="results are incomplete"):
        explain(client, "trail", "e0")
