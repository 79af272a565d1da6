"""Promises about answers to bulk requests: every item has its outcome, and no text of an error is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import ConnectionTimeout, TransportError

from worker.opensearch.responses import overload_signal, parse_error, parse_items
from worker.pipeline.bulk import NO_EXPLICIT_INDEX, THROTTLED_BY_AWS, BulkResponse

CREATED = {"create": {"status": 201}}
REJECTED = {"create": {"status": 429, "error": {"type": "rejected_execution_exception"}}}


@pytest.mark.parametrize(
    ("answer", "items"),
    [
        ({"errors": False, "items": [CREATED, CREATED]}, ((201, ""), (201, ""))),
        (
            {"errors": True, "items": [CREATED, REJECTED, {"index": {"status": 409}}]},
            ((201, ""), (429, "rejected_execution_exception"), (409, "")),
        ),
        ({"items": []}, ()),
    ],
)
def test_each_item_has_its_status_and_error_type(answer: Any, items: tuple[tuple[int, str], ...]) -> None:
    """Outcomes are matched with actions by position, so none may be lost."""
    assert parse_items(answer) == items


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "a login page",
        [],
        {},
        {"items": None},
        {"items": [{}]},
        {"items": [1]},
        {"items": [{"create": {}}]},
        {"items": [{"create": {"status": "x"}}]},
        {"items": [CREATED, {"create": {"status": 400, "error": "a sentence"}}]},
    ],
)
def test_an_unknown_shape_is_a_failed_request(answer: Any) -> None:
    """A proxy that answers 200 with anything else must not count as success, not even for a part."""
    assert parse_items(answer) == ()


IN_BYTES = (
    "rejected, max_coordinating_and_primary_bytes=107374182], and shard [max_coordinating_and_primary_bytes=1048]"
)


@pytest.mark.parametrize(
    ("error", "response"),
    [
        (NoConnection("N/A", "refused", OSError()), BulkResponse(0, "no_connection")),
        (ConnectionTimeout("TIMEOUT", "read", OSError()), BulkResponse(0, "timeout")),
        (TransportError(403, "", {"message": "Request throttled"}), BulkResponse(403, THROTTLED_BY_AWS)),
        (TransportError(503, "", "<html>down</html>"), BulkResponse(503)),
        (TransportError(502, "", None), BulkResponse(502)),
        (TransportError(413, "", "[" * 100_000), BulkResponse(413)),
        (TransportError(404, "", {"error": {"type": "x", "reason": 7}}), BulkResponse(404, "x")),
        (TransportError(404, "", json.dumps({"error": {"type": "x", "reason": "y"}})), BulkResponse(404, "x")),
        (
            TransportError(
                400,
                "",
                {"error": {"type": "illegal_argument_exception", "reason": "explicit index in bulk is not allowed"}},
            ),
            BulkResponse(400, NO_EXPLICIT_INDEX),
        ),
        (TransportError(429, "", {"error": {"type": "x", "reason": IN_BYTES}}), BulkResponse(429, "x", memory=1_048)),
        (TransportError(429, "", {"error": {"type": "x", "reason": "too busy"}}), BulkResponse(429, "x")),
    ],
)
def test_a_failed_request_has_its_status_its_type_and_the_nodes_memory(
    error: TransportError, response: BulkResponse
) -> None:
    """The reason can quote a record, so only the limit in it is kept: the smallest, of node and shard."""
    assert parse_error(error) == response


@pytest.mark.parametrize(
    ("response", "signal"),
    [
        (None, None),
        (BulkResponse(429), True),
        (BulkResponse(200, items=((201, ""), (429, "rejected_execution_exception"))), True),
        (BulkResponse(200, items=((201, ""),)), False),
        (BulkResponse(401), None),
    ],
)
def test_only_answers_about_documents_show_how_busy_the_cluster_is(
    response: BulkResponse | None,
    signal: bool | None,  # noqa: FBT001
) -> None:
    """A refused sign-in costs the cluster nothing, so it must not widen the limit."""
    assert overload_signal(response) is signal
