"""Reads the cluster's answers to bulk requests: the status of each item, or why the whole request failed."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from requests.exceptions import ChunkedEncodingError
from urllib3.exceptions import ProtocolError

from worker.pipeline.bulk import CREATED, NO_EXPLICIT_INDEX, THROTTLED_BY_AWS, TIMEOUT, BulkResponse, is_overload

if TYPE_CHECKING:
    from opensearchpy.exceptions import TransportError

_ALL_CREATED = {"create": {"status": CREATED[0]}}


def parse_items(answer: Any) -> tuple[tuple[int, str], ...]:  # noqa: ANN401 - a foreign answer
    """Return status and error type of each item; () for an unknown shape, which counts as a failed request."""
    try:
        if answer["items"] == [_ALL_CREATED] * len(answer["items"]):
            return (CREATED,) * len(answer["items"])
        items = [next(iter(item.values())) for item in answer["items"]]
        return tuple((int(item["status"]), str(item.get("error", {}).get("type", ""))) for item in items)
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration):
        return ()


def parse_error(error: TransportError) -> BulkResponse:
    """Return status and error type of a failed request; the text of an error is examined, never kept."""
    if not isinstance(error.status_code, int):  # "N/A" or "TIMEOUT": there was no response
        is_timeout = error.status_code == "TIMEOUT"
        return BulkResponse(0, TIMEOUT) if is_timeout else BulkResponse(0, "no_connection", lost=_is_lost(error.info))
    info = error.info
    if error.status_code == HTTPStatus.FORBIDDEN and "throttled" in str(info).lower():
        return BulkResponse(error.status_code, THROTTLED_BY_AWS)
    if isinstance(info, str):
        try:
            info = msgspec.json.decode(info)
        except (msgspec.DecodeError, RecursionError):
            info = None
    match info:
        case {"error": {"reason": "explicit index in bulk is not allowed"}}:
            return BulkResponse(error.status_code, NO_EXPLICIT_INDEX)
        case {"error": {"type": str(kind), "reason": str(reason)}}:
            return BulkResponse(error.status_code, kind, memory=_request_memory(reason))
        case {"error": {"type": str(kind)}}:
            return BulkResponse(error.status_code, kind)
    return BulkResponse(error.status_code)


def _is_lost(error: object) -> bool:
    """Return whether a connection ended after the request was sent; requests wraps the error of urllib3."""
    causes = (error, *(error.args if isinstance(error, Exception) else ()))
    return any(isinstance(cause, (ProtocolError, ChunkedEncodingError)) for cause in causes)


def _request_memory(reason: str) -> int:
    """Return how many bytes the node, or a shard, has for requests in flight; 0 when a rejection does not say.

    As OpenSearch's IndexingPressure.java and ShardIndexingPressure.java write it.
    """
    limits = re.findall(r"max_coordinating_and_primary_bytes=(\d{1,18})(?!\d)", reason)
    return min(map(int, limits), default=0)


def overload_signal(response: BulkResponse | None) -> bool | None:
    """Return whether a response shows an overload; None without a response, or for a refusal that proves nothing."""
    if response is None:
        return None
    return is_overload(response) or (False if response.items else None)
