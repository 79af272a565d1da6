"""What the index holds of a file: counted by the cluster from `trailsink.object`, a page of files at a time."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import OpenSearchException, TransportError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from worker.errors import IndexUnavailable, SetupError
from worker.opensearch.errors import connection_fault, is_busy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opensearchpy import OpenSearch


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file of which there are documents, and whether one before the last of them is not there under its name."""

    incomplete: bool


class IndexInventory:
    """Asks a cluster what it holds of files; needs `indices:data/read/search` on the indices."""

    def __init__(self, client: OpenSearch, index_prefix: str, bucket: str) -> None:
        self._client, self._prefix, self._bucket = client, index_prefix, bucket

    def lookup(self, keys: Sequence[str]) -> dict[str, IndexedFile]:
        """Say what there is of up to 1,000 files, by key; a file without any documents is left out.

        Sees what is searchable: a file indexed within the last ten seconds may be left out too. Raises SetupError and
        IndexUnavailable.
        """
        uris = {f"s3://{self._bucket}/{key}": key for key in keys}
        body = {
            "size": 0,
            "query": {"terms": {"trailsink.object": list(uris)}},
            "aggs": {
                "files": {
                    "terms": {"field": "trailsink.object", "size": len(uris)},
                    "aggs": {"last": {"max": {"field": "trailsink.position"}}},
                }
            },
        }
        try:
            answer: Any = _PATIENCE(self._search, body)
        except OpenSearchException as error:
            raise holdings_fault(error) from error
        if answer["_shards"].get("failed"):
            raise IndexUnavailable("OpenSearch could not ask all of its indices: its health should be looked at")
        buckets = answer.get("aggregations", {}).get("files", {}).get("buckets", [])
        return {uris[one["key"]]: _held(one) for one in buckets}

    def _search(self, body: dict[str, Any]) -> Any:  # noqa: ANN401 - a foreign answer
        return self._client.search(index=f"{self._prefix}-*", body=body)


def holdings_fault(error: OpenSearchException) -> IndexUnavailable | SetupError:
    """Arrange a client's error by whether waiting can help."""
    if isinstance(error, NoConnection):
        return IndexUnavailable(f"OpenSearch does not answer: {connection_fault(error)}")
    if isinstance(error, TransportError):
        if error.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return SetupError(f"OpenSearch refuses with {error.status_code}: {error.error}.")
        return IndexUnavailable(f"OpenSearch refuses with {error.status_code}: {error.error}")
    return SetupError("What answers at this address does not speak OpenSearch.")


def _held(bucket: dict[str, Any]) -> IndexedFile:
    # Positions count from 0, so 0 to n without a hole are n + 1 documents.
    last = bucket["last"]["value"]
    return IndexedFile(last is not None and bucket["doc_count"] < last + 1)


def _can_pass(error: BaseException) -> bool:
    return isinstance(error, NoConnection) or is_busy(error)


_PATIENCE = Retrying(
    retry=retry_if_exception(_can_pass),
    wait=wait_random_exponential(multiplier=1, max=20),
    stop=stop_after_attempt(6),
    reraise=True,
)
