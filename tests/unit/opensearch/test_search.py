"""Promises about searches: their order, what is read from an event, and no answer that is only half an answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import RequestError, TransportError

from worker.errors import SetupError
from worker.opensearch.search import (
    Hit,
    Search,
    SearchSession,
    parse_time,
    require_complete,
    send_search,
)

EVENT: dict[str, Any] = {
    "eventName": "PutObject",
    "readOnly": False,
    "userIdentity": {"arn": "arn:aws:iam::123456789012:user/ada", "sessionContext": None},
    "resources": [{"ARN": "arn:aws:s3:::b", "type": "AWS::S3::Bucket"}, {"ARN": "arn:aws:s3:::b/k"}],
    "requestParameters": {"x.y": {"z": 1}, "x": {"w": 2}, "bytes": 7},
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("eventName", "PutObject"),
        ("readOnly", False),
        ("userIdentity.arn", "arn:aws:iam::123456789012:user/ada"),
        ("userIdentity.sessionContext.sourceIdentity", None),
        ("resources.ARN", ["arn:aws:s3:::b", "arn:aws:s3:::b/k"]),
        ("resources.type", ["AWS::S3::Bucket"]),
        ("requestParameters.x.y.z", 1),
        ("requestParameters.x.w", 2),
        ("requestParameters.bytes.more", None),
        ("nothing", None),
        ("_id", "an-id"),
        ("_index", "cloudtrail-2026-03-01"),
    ],
)
def test_a_dotted_path_finds_its_value(path: str, value: object) -> None:
    """It descends into lists of objects, keys may contain dots themselves, and a missing value is None."""
    assert Hit("cloudtrail-2026-03-01", "an-id", EVENT).value(path) == value


def test_the_order_of_a_search_has_no_ties() -> None:
    """A page starts after the last event of the previous one: of two equal events, one would be lost."""
    body = Search("cloudtrail", "*", since=datetime(2026, 3, 1, tzinfo=UTC), oldest_first=True).body({"match_all": {}})

    assert [next(iter(key)) for key in body["sort"]] == ["@timestamp", "trailsink.object", "trailsink.position"]
    assert body["query"]["bool"]["filter"][1] == {"range": {"@timestamp": {"gte": "2026-03-01T00:00:00+00:00"}}}


def test_half_an_answer_is_no_answer() -> None:
    """An auditor who is shown the events of nine indices out of ten concludes the wrong thing."""
    part = {"_shards": {"total": 10, "failed": 1, "failures": [{"reason": {"type": "circuit_breaking_exception"}}]}}

    with pytest.raises(SetupError, match=r"1 of 10 shards did not answer \(circuit_breaking_exception\); results are"):
        require_complete(part)
    with pytest.raises(SetupError, match="ran out of time; results are incomplete"):
        require_complete({"_shards": {"total": 1, "failed": 0}, "timed_out": True})


def test_a_busy_cluster_is_asked_again_and_a_bad_query_is_not() -> None:
    """An export of millions must not end with one refused page."""
    answers: list[Any] = [TransportError(429, "busy"), {"hits": 1}]

    def request() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert send_search(request) == {"hits": 1}

    answers = [RequestError(400, "parsing_exception", {}), {"hits": 1}]
    with pytest.raises(SetupError, match="The cluster refuses the query: parsing_exception"):
        send_search(request)
    assert len(answers) == 1


@pytest.mark.parametrize(
    ("kind", "reason", "sentence"),
    [
        ("illegal_argument_exception", "Text fields are not optimised for sorting", "The indices were created without"),
        ("illegal_argument_exception", "something else", "The cluster refuses the query: something else."),
    ],
)
def test_a_refused_query_is_one_sentence(kind: str, reason: str, sentence: str) -> None:
    """Lucene's own answer has forty lines."""

    def request() -> Any:
        raise RequestError(400, kind, {"error": {"root_cause": [{"type": kind, "reason": reason}]}})

    with pytest.raises(SetupError) as caught:
        send_search(request)

    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


class Paging(OpenSearch):
    """A cluster of numbered events; `pit` is what opening a point in time answers."""

    def __init__(self, events: int, pit: Any = None) -> None:
        super().__init__()
        self.events, self.pit = events, pit or {"pit_id": "p"}
        self.searches: list[dict[str, Any]] = []
        self.deleted: list[str] = []

    def create_pit(self, **_: Any) -> Any:
        if isinstance(self.pit, Exception):
            raise self.pit
        return self.pit

    def delete_pit(self, **options: Any) -> Any:
        self.deleted += options["body"]["pit_id"]

    def search(self, **options: Any) -> Any:
        body = options["body"]
        assert ("index" in options) != ("pit" in body)
        self.searches.append(dict(body))
        start = body["search_after"][0] + 1 if "search_after" in body else 0
        numbers = range(start, min(start + body["size"], self.events))
        hits = [{"_index": "i", "_id": str(number), "sort": [number]} for number in numbers]
        total = {"value": min(self.events, 10_000), "relation": "eq" if self.events <= 10_000 else "gte"}
        return {"_shards": {"total": 1, "failed": 0}, "hits": {"hits": hits, "total": total}}


@pytest.mark.parametrize("pit", [None, TransportError(403, "security_exception", {})])
@pytest.mark.parametrize("limit", [1, 500, 501, 1_200, None])
def test_pages_end_at_the_limit_or_with_the_last_event(limit: int | None, pit: Any) -> None:
    """Each event once, whether the server has points in time or refuses them."""
    cluster = Paging(1_100, pit)
    session = SearchSession(cluster, Search("trail", limit=limit))

    ids = [hit.id for page in session.pages() for hit in page]

    assert ids == [str(number) for number in range(min(limit or 1_100, 1_100))]
    assert (session.total, session.is_total_capped, session.no_index) == (1_100, False, False)
    is_open = pit is None and (limit is None or limit > 500)
    assert cluster.deleted == (["p"] if is_open else [])
    assert all(("pit" in body) is is_open for body in cluster.searches)


def test_a_point_in_time_is_deleted_when_the_reader_stops_early() -> None:
    """It keeps files of the cluster alive."""
    cluster = Paging(20_000)
    session = SearchSession(cluster, Search("trail"))
    pages = session.pages()

    next(pages)
    pages.close()

    assert cluster.deleted == ["p"]
    assert (session.total, session.is_total_capped) == (10_000, True)


def test_a_serverless_collection_is_read_without_a_point_in_time() -> None:
    """It has none, and need not report shards."""
    cluster = Paging(600)

    assert sum(map(len, SearchSession(cluster, Search("trail"), use_pit=False).pages())) == 600
    assert cluster.deleted == []


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2026-03-01T10:00:00Z", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01T10:00:00+02:00", datetime(2026, 3, 1, 8, tzinfo=UTC)),
        ("2026-03-01 10:00:00", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("0001-01-01T00:00:00+23:00", None),
        ("yesterday", None),
        (1_772_359_200, None),
        (None, None),
    ],
)
def test_a_time_in_a_document_is_read_as_utc(value: Any, time: datetime | None) -> None:
    """Other tools write what they like."""
    assert parse_time(value) == time
