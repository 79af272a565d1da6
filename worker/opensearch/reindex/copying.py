"""Copies the documents of one index into another, window by window, and compares both.

A window is a range of sequence numbers, which each write to a shard gets in order. So what was written after a copy
began is what has higher numbers.
github.com/opensearch-project/OpenSearch, org.opensearch.index.seqno
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import TransportError

from worker.opensearch.complete_search import search_texts
from worker.opensearch.reindex.filler import CopyProgress, CopyStopped, DocumentsRefused
from worker.opensearch.retry import retry_while_busy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opensearchpy import OpenSearch

_ATTEMPTS = 6

# Sequence numbers in one request, and how long it may take. A window that takes longer is halved.
_WINDOW, _SMALLEST_WINDOW = 10_000, 500
_REQUEST_SECONDS = 60.0

# Documents of each index that are compared byte by byte.
_SAMPLE = 500

# Writes that are left for the time of the block, and how often the copy tries to come so close before.
_SHORT, _ROUNDS = 1_000, 5

# Causes that are a condition of the cluster, not of a document.
_CLUSTER_CONDITIONS = frozenset(
    ("cluster_block_exception", "unavailable_shards_exception", "index_not_found_exception")
)


class _WindowTooLong(Exception):  # noqa: N818
    """A window was not copied in the time of a request."""


def checkpoint(client: OpenSearch, index: str) -> int:
    """Return a sequence number up to which every write is in all copies of all shards."""
    return min(_sequence_numbers(client, index, "global_checkpoint"), default=-1)


def last_write(client: OpenSearch, index: str) -> int:
    """Return the highest sequence number in any shard."""
    return max(_sequence_numbers(client, index, "max_seq_no"), default=-1)


def _sequence_numbers(client: OpenSearch, index: str, kind: str) -> list[int]:
    members = f"indices.*.shards.*.routing.primary,indices.*.shards.*.seq_no.{kind}"
    params = {"level": "shards", "filter_path": members}
    response: Any = client.transport.perform_request("GET", f"/{index}/_stats/docs", params=params)
    return [
        int(shard["seq_no"][kind])
        for state in response.get("indices", {}).values()
        for shards in state["shards"].values()
        for shard in shards
        if shard["routing"].get("primary") and "seq_no" in shard
    ]


class Copying:
    """Fills a copy by `_reindex`, from one index to the alias of the one that gets its documents.

    `rate` is in documents a second, and `before_each` is called before each window.
    """

    def __init__(
        self, client: OpenSearch, source: str, target_alias: str, before_each: Callable[[], None], rate: int = 0
    ) -> None:
        self._client, self._source, self._target_alias, self._rate = client, source, target_alias, rate
        self._before_each = before_each
        self._copied = -1

    @property
    def memory(self) -> dict[str, Any]:
        """The last sequence number that was copied."""
        return {"copied": self._copied}

    def resume(self, memory: dict[str, Any]) -> bool:
        """Go on behind the last sequence number that another run copied."""
        if "copied" not in memory:
            return False
        self._copied = int(memory["copied"])
        return True

    def fill(self) -> Iterator[CopyProgress]:
        """Copy what is in the index while events arrive, until little is left."""
        for _ in range(_ROUNDS):
            last = checkpoint(self._client, self._source)
            self._client.indices.refresh(index=self._source)
            for copied in self._windows(last):
                yield CopyProgress(copied + 1, last + 1)
            if last_write(self._client, self._source) - self._copied <= _SHORT:
                return

    def fill_rest(self) -> None:
        """Copy what was written meanwhile."""
        self._client.indices.refresh(index=self._source)
        for _ in self._windows(last_write(self._client, self._source)):
            pass
        self._client.indices.refresh(index=self._target_alias)

    def compare(self) -> int:
        """Compare the numbers of documents, and a sample byte by byte: nothing writes to either any more."""
        indices = (self._source, self._target_alias)
        events, copied = (int(_complete(self._client.count(index=index))["count"]) for index in indices)
        if copied != events:
            raise CopyStopped(f"the copy has {copied:,} documents, and the index has {events:,}")
        random: dict[str, Any] = {"function_score": {"query": {"match_all": {}}, "random_score": {}}}
        sample = self._texts(self._source, random)
        copies = self._texts(self._target_alias, {"ids": {"values": list(sample)}})
        differing = [id_ for id_, text in sample.items() if copies.get(id_) != text]
        if differing:
            raise CopyStopped(f"{len(differing)} of {len(sample)} documents differ from the index, as {differing[0]}")
        return events

    def _texts(self, index: str, query: dict[str, Any]) -> dict[str, bytes]:
        hits = search_texts(self._client, index, {"size": _SAMPLE, "query": query})
        return {hit.id: bytes(hit.source) for hit in hits}

    def _windows(self, last: int) -> Iterator[int]:
        """Copy what was written after the last window, up to `last`, and yield how far it has come.

        What is there already changes nothing.
        """
        paced = int(self._rate * _REQUEST_SECONDS / 3)
        size = max(_SMALLEST_WINDOW, min(_WINDOW, paced)) if self._rate else _WINDOW
        while self._copied < last:
            self._before_each()
            end = min(self._copied + size, last)
            try:
                self._copy(self._copied, end)
            except _WindowTooLong as error:
                if size <= _SMALLEST_WINDOW:
                    raise CopyStopped(
                        "the cluster is too slow to copy anything: try again when it has less to do"
                    ) from error
                size //= 2
                continue
            self._copied = end
            yield end

    def _copy(self, after: int, end: int) -> None:
        body = {
            "conflicts": "proceed",
            "source": {"index": self._source, "query": {"range": {"_seq_no": {"gt": after, "lte": end}}}},
            "dest": {"index": self._target_alias, "op_type": "create"},
        }
        # An index that was deleted meanwhile must not come back without its mapping.
        params = {"require_alias": "true", "timeout": "30s"} | (
            {"requests_per_second": str(self._rate)} if self._rate else {}
        )

        def send() -> Any:  # noqa: ANN401 - a foreign answer
            try:
                return self._client.transport.perform_request(
                    "POST", "/_reindex", params=params, body=body, timeout=_REQUEST_SECONDS
                )
            except NoConnection as error:
                if error.status_code == "TIMEOUT":  # it goes on in the cluster, and changes nothing twice
                    raise _WindowTooLong from error
                raise
            except TransportError as error:
                # Where documents were refused, the status is theirs.
                if isinstance(error.info, dict) and error.info.get("failures"):
                    return error.info
                raise

        response = retry_while_busy(send, _ATTEMPTS)
        for failure in response.get("failures") or ():
            cause = failure.get("cause") or failure.get("reason") or {}
            kind = str(cause.get("type"))
            if kind in _CLUSTER_CONDITIONS or failure.get("status") in (429, 503) or "id" not in failure:
                raise CopyStopped(f"the cluster stopped it: {cause.get('reason') or kind}")
            raise DocumentsRefused(f"the new mapping refuses the event {failure['id']} ({kind})")


def _complete(response: Any) -> Any:  # noqa: ANN401 - a foreign answer
    if response["_shards"]["successful"] < response["_shards"]["total"]:
        raise CopyStopped("some shards did not answer")
    return response
