"""Promises about trailsink's own small indices: made once, with the fields that they are given."""

from __future__ import annotations

from typing import Any

import pytest
from opensearchpy.exceptions import RequestError

from tests.support.opensearch_server import connected
from worker.opensearch.own_index import create_own_index


def answering(status: int, type_: str = "", asked: list[Any] | None = None) -> Any:
    def answer(_method: str, _path: str, _query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if asked is not None:
            asked.append(body)
        return status, {"error": {"type": type_, "reason": "no"}, "status": status}

    return answer


def test_an_index_that_exists_is_left_alone() -> None:
    """An earlier run made it, or another process at the same time."""
    with connected(answering(400, "resource_already_exists_exception")) as client:
        create_own_index(client, "trailsink-verdicts-trail", {})


def test_another_refusal_is_no_index_that_exists() -> None:
    """A document would be the next to be refused, with a worse reason."""
    with connected(answering(400, "mapper_parsing_exception")) as client, pytest.raises(RequestError):
        create_own_index(client, "trailsink-verdicts-trail", {})


def test_a_single_node_stays_green() -> None:
    """A copy that no node can hold makes a cluster yellow."""
    asked: list[Any] = []

    with connected(answering(200, asked=asked)) as client:
        create_own_index(client, "trailsink-verdicts-trail", {"complete": {"type": "boolean"}})

    assert asked[0]["settings"] == {"number_of_shards": 1, "auto_expand_replicas": "0-1"}
    assert asked[0]["mappings"] == {"dynamic": False, "properties": {"complete": {"type": "boolean"}}}
