"""What a `_bulk` response means: a verdict for each action, and what to do about the request as a whole.

docs.opensearch.org/latest/api-reference/document-apis/bulk/
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from isal import igzip_lib

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from worker.pipeline.documents import Action


class Verdict(Enum):
    """What became of one action."""

    INDEXED = auto()
    DUPLICATE = auto()  # already there: an earlier delivery of the same record
    DEGRADED = auto()  # indexed in degraded form
    REJECTED = auto()  # refused for its content, in degraded form too
    UNAVAILABLE = auto()  # not the record's fault: ask again later


class Outcome(NamedTuple):
    """A verdict and its cause: a short code or OpenSearch's error type, not its text, which quotes the record."""

    verdict: Verdict
    cause: str = ""


ACCEPTED = frozenset({Verdict.INDEXED, Verdict.DUPLICATE, Verdict.DEGRADED})

INDEXED = Outcome(Verdict.INDEXED)
DUPLICATE = Outcome(Verdict.DUPLICATE)

# Below this size a smaller request is no gentler: a node's limits are megabytes, and each request has its own price.
SMALLEST_SPLIT = 512 << 10

# A rejected request is retried whole if it is at most this part of the node's memory for requests, up to this many
# times. After that it is split: only smaller requests fit beside long-lived ones.
_WHOLE_PART = 1 / 4
_WHOLE_RETRIES = 4


class DeliveryResult(NamedTuple):
    """What came of one request: an outcome per action, by position, and what it cost.

    `stop_reason` says why nothing more should be sent in this batch, "" when all is well. `refused` are the places of
    actions that are unavailable because they were refused in every form, and their index accepted no other.
    """

    outcomes: Sequence[Outcome]
    stop_reason: str = ""
    requests: int = 1
    retries: int = 0
    throttled: int = 0
    wire_bytes: int = 0
    seconds: float = 0.0
    refused: Sequence[int] = ()


class BulkResponse(msgspec.Struct, frozen=True):
    """What the server answered to one request.

    `status` is the HTTP status, 0 when there was no response at all; `cause` the error type or a short code. `items`
    are the status and error type of each action of a 200, in order. `memory` is how many bytes the node, or a shard,
    has for requests in flight, 0 where a rejection does not tell. `lost` says that the connection ended after the
    request was sent.
    """

    status: int
    cause: str = ""
    items: tuple[tuple[int, str], ...] = ()
    memory: int = 0
    lost: bool = False


CREATED = (201, "")  # the status of nearly every item


class Disposition(Enum):
    """What to do about one item, or one whole request."""

    INDEXED = auto()
    DUPLICATE = auto()
    REFUSED = auto()  # the content: degraded form, then rejected
    RETRY = auto()  # backoff, then the same
    DEFER = auto()  # a condition of the cluster or its set-up: back to the queue
    SPLIT = auto()  # too much at once: in halves, now
    RETRY_SPLIT = auto()  # backoff, then whole or in halves


THROTTLED = 429

# Causes that are not OpenSearch's error types: the sender names them.
TOO_LARGE = "too_large"
TLS_FAILURE = "tls_failure"
TIMEOUT = "timeout"

# Causes of a record whose request costs the connection: alone and in degraded form, and in degraded form.
UNINDEXABLE = "unindexable"
CONNECTION_LOST = "connection_lost"
THROTTLED_BY_AWS = "throttled"  # docs.aws.amazon.com/opensearch-service/latest/developerguide/handling-errors.html
# By the node setting rest.action.multi.allow_explicit_index; its error type is that of many faulty records.
NO_EXPLICIT_INDEX = "explicit_index_not_allowed"

# Conditions of the cluster or its set-up that arrive with a status that could mean the record.
_CLUSTER_CONDITIONS = frozenset(
    {
        "cluster_block_exception",  # write block, read-only, flood-stage disk; arrives as 403 or 429
        "index_closed_exception",
        "index_not_found_exception",  # auto-create is off
        "invalid_index_name_exception",  # our set-up: the prefix
        "security_exception",
        NO_EXPLICIT_INDEX,
        "validation_exception",  # maximum shards open
        TLS_FAILURE,  # the operator has to provide the right certificate
    }
)


def classify_item(status: int, cause: str) -> Disposition:
    """Judge one item of a 200 response by its status and error type."""
    if status in (200, 201):
        return Disposition.INDEXED
    if cause in _CLUSTER_CONDITIONS or status in (401, 403, 404):
        return Disposition.DEFER
    if status == 409:
        return Disposition.DUPLICATE
    if status in (402, 408, 429) or status >= 500:
        return Disposition.RETRY
    return Disposition.REFUSED if 400 <= status < 500 else Disposition.DEFER


def classify_response(response: BulkResponse) -> Disposition:
    """Judge the response to a whole request that was not a 200 with items."""
    status, cause = response.status, response.cause
    if cause in _CLUSTER_CONDITIONS:
        return Disposition.DEFER
    if status == 413 or (status == 400 and cause):  # a 400 without an error type is not OpenSearch speaking
        return Disposition.SPLIT
    if status == THROTTLED:
        # Indexing pressure counts the body: one above the node's limit can never pass whole.
        return Disposition.RETRY_SPLIT
    if status in (0, 200, 402, 408) or status >= 500 or cause == THROTTLED_BY_AWS:
        return Disposition.RETRY
    return Disposition.DEFER  # 401, 403, 404, a redirect: credentials, policy, address


def is_overload(response: BulkResponse) -> bool:
    """Return whether a response shows that the cluster has too much to do, or cannot be reached."""
    if response.items:
        return any(classify_item(*item) is Disposition.RETRY for item in set(response.items))
    return classify_response(response) in (Disposition.RETRY, Disposition.RETRY_SPLIT)


def is_over_capacity(response: BulkResponse) -> bool:
    """Return whether there was no room for a request, or some of it, beside others in flight."""
    return response.status == THROTTLED or any(status == THROTTLED for status, _ in response.items)


def should_split(response: BulkResponse, size: int, retries: int) -> bool:
    """Return whether a body of `size` bytes that was retried this often is sent in halves after this response."""
    if response.items or classify_response(response) is not Disposition.RETRY_SPLIT or size <= SMALLEST_SPLIT:
        return False
    return retries >= _WHOLE_RETRIES or size > _WHOLE_PART * response.memory


def compress_body(body: bytes) -> bytes:
    """Gzip a request body: ISA-L's level 1 takes a 17th of the CPU of zlib's level 6 and sends 21 % more."""
    packed: bytes = igzip_lib.compress(body, level=1, flag=igzip_lib.COMP_GZIP)
    return packed


def cut_requests(actions: Iterable[Action | None], max_bytes: int, max_actions: int) -> Iterator[list[Action]]:
    """Cut a stream of actions into requests of at most `max_bytes` uncompressed and `max_actions`, in order.

    None says that no more actions come for a while: a request that is not full is sent. A single action above
    `max_bytes` becomes a request of its own.
    """
    request: list[Action] = []
    size = 0
    for action in actions:
        if request and (action is None or size + len(action.lines) > max_bytes or len(request) == max_actions):
            yield request
            request, size = [], 0
        if action is not None:
            request.append(action)
            size += len(action.lines)
    if request:
        yield request
