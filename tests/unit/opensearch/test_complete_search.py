"""Promises about searches that decide something: an answer without some shards is none."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from worker.errors import IndexUnavailable
from worker.opensearch.complete_search import composite_buckets, search_texts

DOCUMENT = b'{"eventID": "1",  "n":1.0}'


def client(**shards: int) -> Any:
    """A cluster that answers each search with one document, byte for byte."""

    def perform_request(*_: str, **__: object) -> tuple[int, dict[str, str], str]:
        hit = b'{"_id":"a","_source":%b}' % DOCUMENT
        text = b'{"_shards":%b,"hits":{"hits":[%b]}}' % (json.dumps(shards).encode(), hit)
        return 200, {}, text.decode()

    connection = SimpleNamespace(perform_request=perform_request)
    return SimpleNamespace(transport=SimpleNamespace(get_connection=lambda: connection))


def test_the_text_of_a_document_is_the_one_in_the_response() -> None:
    """Parsed and written again it would be another."""
    (hit,) = search_texts(client(total=2, successful=2, failed=0), "t-*", {})

    assert (hit.id, bytes(hit.source)) == ("a", DOCUMENT)


@pytest.mark.parametrize("shards", [{"total": 2, "successful": 1, "failed": 1}, {"total": 2, "successful": 1}])
def test_a_response_without_some_shards_is_no_answer(shards: dict[str, int]) -> None:
    """What is compared with it would be passed over; a shard of a removed index counts as neither."""
    with pytest.raises(IndexUnavailable):
        search_texts(client(**shards), "t-*", {})


def test_all_pages_of_groups_are_read() -> None:
    """Each page says where the next one begins, and the last one does not."""
    pages = [
        {"buckets": [{"key": {"k": "a"}}, {"key": {"k": "b"}}], "after_key": {"k": "b"}},
        {"buckets": [{"key": {"k": "c"}}]},
    ]
    asked: list[Any] = []

    def search(body: dict[str, Any]) -> Any:
        asked.append(json.loads(json.dumps(body)))
        return {"aggregations": {"groups": pages[len(asked) - 1]}}

    buckets = list(composite_buckets(search, [{"k": {"terms": {"field": "f"}}}], 2, query={"match_all": {}}))

    assert [bucket["key"]["k"] for bucket in buckets] == ["a", "b", "c"]
    assert [body["aggs"]["groups"]["composite"].get("after") for body in asked] == [None, {"k": "b"}]
    assert {json.dumps(body["query"]) for body in asked} == {'{"match_all": {}}'}
