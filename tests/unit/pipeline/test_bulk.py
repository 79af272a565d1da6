"""Promises about a bulk request: every action ends, and each answer means the right thing."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import bulk_actions
from worker.pipeline.bulk import (
    BulkResponse,
    Disposition,
    classify_item,
    classify_response,
    compress_body,
    cut_requests,
)
from worker.pipeline.documents import Action

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("status", "cause", "ruling"),
    [
        (200, "", Disposition.INDEXED),
        (201, "", Disposition.INDEXED),
        (409, "version_conflict_engine_exception", Disposition.DUPLICATE),
        (429, "rejected_execution_exception", Disposition.RETRY),
        (429, "es_rejected_execution_exception", Disposition.RETRY),
        (429, "circuit_breaking_exception", Disposition.RETRY),
        (429, "", Disposition.RETRY),
        (429, "cluster_block_exception", Disposition.DEFER),
        (403, "cluster_block_exception", Disposition.DEFER),
        (400, "index_closed_exception", Disposition.DEFER),
        (400, "validation_exception", Disposition.DEFER),
        (404, "index_not_found_exception", Disposition.DEFER),
        (400, "invalid_index_name_exception", Disposition.DEFER),
        (403, "security_exception", Disposition.DEFER),
        (401, "", Disposition.DEFER),
        (403, "", Disposition.DEFER),
        (404, "", Disposition.DEFER),
        (400, "mapper_parsing_exception", Disposition.REFUSED),
        (400, "strict_dynamic_mapping_exception", Disposition.REFUSED),
        (400, "illegal_argument_exception", Disposition.REFUSED),
        (400, "document_parsing_exception", Disposition.REFUSED),
        (400, "something_new_exception", Disposition.REFUSED),
        (400, "", Disposition.REFUSED),
        (413, "", Disposition.REFUSED),
        (402, "service_quota_exceeded_exception", Disposition.RETRY),
        (408, "", Disposition.RETRY),
        (500, "", Disposition.RETRY),
        (503, "unavailable_shards_exception", Disposition.RETRY),
        (503, "process_cluster_event_timeout_exception", Disposition.RETRY),
        (302, "", Disposition.DEFER),
        (0, "", Disposition.DEFER),
    ],
)
def test_an_items_answer_means_what_opensearch_means_by_it(status: int, cause: str, ruling: Disposition) -> None:
    """Status and type together: some conditions of the cluster look like a fault of the record, and are none."""
    assert classify_item(status, cause) is ruling


@pytest.mark.parametrize(
    ("answer", "ruling"),
    [
        (BulkResponse(429, "rejected_execution_exception"), Disposition.RETRY_SPLIT),
        (BulkResponse(429, "circuit_breaking_exception"), Disposition.RETRY_SPLIT),
        (BulkResponse(429), Disposition.RETRY_SPLIT),
        (BulkResponse(429, "cluster_block_exception"), Disposition.DEFER),
        (BulkResponse(403, "cluster_block_exception"), Disposition.DEFER),
        (BulkResponse(402, "service_quota_exceeded_exception"), Disposition.RETRY),
        (BulkResponse(413), Disposition.SPLIT),
        (BulkResponse(413, "request_entity_too_large"), Disposition.SPLIT),
        (BulkResponse(400, "illegal_argument_exception"), Disposition.SPLIT),
        (BulkResponse(400, "action_request_validation_exception"), Disposition.SPLIT),
        (BulkResponse(400), Disposition.DEFER),
        (BulkResponse(401), Disposition.DEFER),
        (BulkResponse(401, "security_exception"), Disposition.DEFER),
        (BulkResponse(403), Disposition.DEFER),
        (BulkResponse(403, "security_exception"), Disposition.DEFER),
        (BulkResponse(403, "throttled"), Disposition.RETRY),
        (BulkResponse(404), Disposition.DEFER),
        (BulkResponse(404, "index_not_found_exception"), Disposition.DEFER),
        (BulkResponse(301), Disposition.DEFER),
        (BulkResponse(400, "explicit_index_not_allowed"), Disposition.DEFER),
        (BulkResponse(500), Disposition.RETRY),
        (BulkResponse(502), Disposition.RETRY),
        (BulkResponse(503, "cluster_manager_not_discovered_exception"), Disposition.RETRY),
        (BulkResponse(504), Disposition.RETRY),
        (BulkResponse(408), Disposition.RETRY),
        (BulkResponse(0, "no_connection"), Disposition.RETRY),
        (BulkResponse(0, "timeout"), Disposition.RETRY),
        (BulkResponse(0), Disposition.RETRY),
        (BulkResponse(200), Disposition.RETRY),
    ],
)
def test_a_requests_answer_means_what_opensearch_means_by_it(answer: BulkResponse, ruling: Disposition) -> None:
    """A request that is refused whole says nothing yet about any of its records."""
    assert classify_response(answer) is ruling


def sized(size: int, position: int = 0) -> Action:
    return Action(0, position, b"x" * size, 0, 0, size)


@given(sizes=st.lists(st.integers(1, 60), max_size=60), max_bytes=st.integers(1, 100), max_actions=st.integers(1, 10))
def test_requests_keep_the_order_and_stay_within_their_bounds(
    sizes: list[int], max_bytes: int, max_actions: int
) -> None:
    """A request above a managed node's limit is refused; one out of order pairs outcomes wrongly."""
    actions = [sized(size, position) for position, size in enumerate(sizes)]

    found = list(cut_requests(actions, max_bytes, max_actions))

    assert [one for request in found for one in request] == actions
    assert all(request for request in found)
    assert all(len(request) <= max_actions for request in found)
    assert all(len(request) == 1 or sum(len(one.lines) for one in request) <= max_bytes for request in found)


def test_requests_are_filled_before_they_are_sent() -> None:
    """Records of many small files share a request: a request each would be the slowest way."""
    found = list(cut_requests([sized(10) for _ in range(100)], 100, 1_000))

    assert [len(request) for request in found] == [10] * 10


def test_requests_are_made_while_actions_come() -> None:
    """A file of any size goes through in the memory of one request."""
    taken = []

    def stream() -> Iterator[Action]:
        for number in range(100):
            taken.append(number)
            yield sized(10, number)

    first = next(iter(cut_requests(stream(), 100, 1_000)))

    assert len(first) == 10
    assert len(taken) == 11


def test_a_compressed_body_is_gzip() -> None:
    """Level 1 costs a tenth of the CPU; the server reads it all the same."""
    body = b"".join(one.lines for one in bulk_actions(20))

    packed = compress_body(body)

    assert gzip.decompress(packed) == body
    assert len(packed) < len(body) / 3
