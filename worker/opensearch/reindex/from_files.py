"""Fills the copy of an index from the files of its events in S3, where documents themselves must change.

Each file that has an event in the old index is read as the pipeline reads it, and must bring at least as many events as
the old index has of it. Records that belong to other indices are passed over.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from worker.cloudtrail.identity import content_id
from worker.opensearch.complete_search import search_all_shards
from worker.opensearch.reindex.copying import SAMPLE, read_sources
from worker.opensearch.reindex.filling import CopyProgress, CopyStopped, DocumentsRefused
from worker.pipeline.bulk import ACCEPTED, DUPLICATE, DeliveryResult
from worker.pipeline.documents import Action
from worker.pipeline.notifications import s3_notification
from worker.pipeline.objects import ObjectRef
from worker.pipeline.ports import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from opensearchpy import OpenSearch

    from worker.pipeline.bulk import Outcome
    from worker.pipeline.consumer import Consumer
    from worker.pipeline.ports import Index

# Files of one batch, and its time: the lease is renewed between two batches.
_FILES, _BATCH_SECONDS = 16, 75.0

# How often a file is tried that was handed back, as by a cluster that is overloaded.
_ATTEMPTS, _WAIT_SECONDS = 5, 5.0

# Files that are left for the time of the block, and how often the copy tries to come so close before.
_SHORT, _ROUNDS = _FILES, 5

_PAGE = 5_000  # files in one response

_TIMESTAMP = b',"@timestamp":"'  # where our own members begin


class RedirectedIndex:
    """Delivers the actions of one index to the alias of its copy, and passes over all others. Thread-safe.

    It counts what the copy accepted of each file of a batch, by the file's number.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._head = self._new_head = b""
        self._lock = threading.Lock()
        self.accepted = Counter[int]()

    def redirect(self, name: str, alias: str) -> None:
        """Deliver what belongs to one index to an alias, from now on."""
        self._head = b'{"create":{"_index":%b,' % msgspec.json.encode(name)
        # A copy that was deleted meanwhile must not come back without its mapping.
        self._new_head = b'{"create":{"_index":%b,"require_alias":true,' % msgspec.json.encode(alias)

    def deliver(self, request: Sequence[Action], remaining: Callable[[], float]) -> DeliveryResult:
        """Send the actions of the index, as another index does; the others count as duplicates."""
        outcomes: list[Outcome] = [DUPLICATE] * len(request)
        places = [place for place, action in enumerate(request) if action.lines.startswith(self._head)]
        if not places:
            return DeliveryResult(outcomes, requests=0)
        result = self._index.deliver([self._redirected(request[place]) for place in places], remaining)
        for place, outcome in zip(places, result.outcomes, strict=True):
            outcomes[place] = outcome
        accepted = Counter(request[place].file for place in places if outcomes[place].verdict in ACCEPTED)
        with self._lock:
            self.accepted += accepted
        return result._replace(outcomes=outcomes, refused=[places[place] for place in result.refused])

    def _redirected(self, action: Action) -> Action:
        longer = len(self._new_head) - len(self._head)
        return Action(
            action.file,
            action.position,
            self._new_head + action.lines[len(self._head) :],
            action.raw_start + longer,
            action.raw_end + longer,
            action.tail_end + longer,
            action.degraded,
            action.form,
        )


class CopiedFile(NamedTuple):
    """How many events the copy accepted of a file, and why not all, if so; one that was handed back comes again."""

    accepted: int
    reason: str
    is_handed_back: bool


class CopyLoader:
    """Loads files into the copy of an index, with a consumer like the pipeline's own.

    `make_consumer` gets a function through which the consumer's index has to go.
    """

    def __init__(self, make_consumer: Callable[[Callable[[Index], Index]], Consumer]) -> None:
        self._index: RedirectedIndex
        self._consumer = make_consumer(self._wrap)

    def _wrap(self, index: Index) -> RedirectedIndex:
        self._index = RedirectedIndex(index)
        return self._index

    def redirect(self, name: str, alias: str) -> None:
        """Load the events of one index into the copy behind an alias, from now on."""
        self._index.redirect(name, alias)

    def load(self, refs: Sequence[ObjectRef]) -> list[CopiedFile]:
        """Load files, and return what became of each."""
        self._index.accepted.clear()
        messages = [Message(str(number), "", s3_notification(ref)) for number, ref in enumerate(refs)]
        end = time.monotonic() + _BATCH_SECONDS
        result = self._consumer.consume(messages, lambda: end - time.monotonic())
        tallies = {tally.ref: (number, tally) for number, tally in enumerate(result.files)}
        loaded = []
        for message, ref in zip(messages, refs, strict=True):
            number, tally = tallies.get(ref, (-1, None))
            reason = tally.reason if tally else ""
            loaded.append(CopiedFile(self._index.accepted[number], reason, message.id in result.failed))
        return loaded

    def close(self) -> None:
        """End the consumer's threads."""
        self._consumer.close()


class FileFilling:
    """Fills the copy of the index `source`, whose public name is `name`, from files.

    `before_each` is called before each batch of files, and `sleep` waits.
    """

    def __init__(  # noqa: PLR0913
        self,
        client: OpenSearch,
        loader: CopyLoader,
        *,
        source: str,
        name: str,
        alias: str,
        before_each: Callable[[], None],
        sleep: Callable[[float], None],
    ) -> None:
        self._client, self._loader, self._source, self._alias = client, loader, source, alias
        self._before_each, self._sleep = before_each, sleep
        self._loaded: dict[str, int] = {}  # how many events the copy accepted of each file
        loader.redirect(name, alias)

    @property
    def memory(self) -> dict[str, Any]:
        """That it is filled from files."""
        return {"from_files": True}

    def resume(self, memory: dict[str, Any]) -> bool:
        """Go on with the same copy: each file is read again, and what is in the copy already changes nothing.

        How many documents the copy has of a file does not say that it has all: another file may have some of them.
        """
        return bool(memory.get("from_files"))

    def fill(self) -> Iterator[CopyProgress]:
        """Load files, 16 at a time, until not many new ones are left."""
        for _ in range(_ROUNDS):
            missing, total = self._missing()
            for done in self._load_all(missing):
                yield CopyProgress(total - len(missing) + done, total, "files")
            if len(missing) <= _SHORT:
                return

    def fill_rest(self) -> None:
        """Load the files whose events came meanwhile."""
        missing, _ = self._missing()
        for _ in self._load_all(missing):
            pass
        self._client.indices.refresh(index=self._alias)

    def compare(self, copy: str) -> int:
        """Hold a sample of the old documents against the copy, byte by byte; returns how many the copy has.

        That each file brought at least what the old index has of it is known: more where a forged record had kept a
        true one out, and elsewhere where two files have an event.
        """
        # Of a document in a simpler form, the text need not be the one in the file.
        whole = {"bool": {"must_not": {"exists": {"field": "trailsink.degraded"}}}}
        query: dict[str, Any] = {"function_score": {"query": whole, "random_score": {}}}
        olds = read_sources(self._client, self._source, {"size": SAMPLE, "query": query})
        records = {id_: _record(source) for id_, source in olds.items()}
        new_ids = {id_: content_id(record).decode() for id_, record in records.items()}
        ids = list({*new_ids, *new_ids.values()})
        copies = read_sources(self._client, copy, {"size": len(ids), "query": {"ids": {"values": ids}}})
        texts = {id_: _record(source) for id_, source in copies.items()}
        differing = [id_ for id_, record in records.items() if record not in (texts.get(id_), texts.get(new_ids[id_]))]
        if differing:
            raise DocumentsRefused(f"{len(differing)} of {len(records)} events are not in the files as they are here")
        return int(self._client.count(index=copy)["count"])

    def _missing(self) -> tuple[list[SourceFile], int]:
        """Return the files that were not loaded, or have more events by now, and how many files there are."""
        self._client.indices.refresh(index=self._source)
        files = [SourceFile(uri, events) for uri, events in _files(self._client, self._source)]
        return [file for file in files if self._loaded.get(file.uri, 0) < file.events], len(files)

    def _load_all(self, files: list[SourceFile]) -> Iterator[int]:
        for start in range(0, len(files), _FILES):
            self._load(files[start : start + _FILES])
            yield min(start + _FILES, len(files))

    def _load(self, files: Sequence[SourceFile]) -> None:
        causes: list[str] = []
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._sleep(_WAIT_SECONDS * attempt)
            self._before_each()
            results = list(zip(files, self._loader.load([file.ref for file in files]), strict=True))
            for file, loaded in results:
                if not loaded.is_handed_back:
                    self._check(file, loaded)
            files = [file for file, loaded in results if loaded.is_handed_back]
            causes = [loaded.reason for _, loaded in results if loaded.is_handed_back]
            if not files:
                return
        raise CopyStopped(f"{files[0].uri} cannot be loaded now ({causes[0] or 'crash'})")

    def _check(self, file: SourceFile, loaded: CopiedFile) -> None:
        """Raise DocumentsRefused where a file does not bring all the events that the old index has of it."""
        if loaded.accepted < file.events:
            why = f" ({loaded.reason})" if loaded.reason else ""
            raise DocumentsRefused(f"{file.uri} brings {loaded.accepted:,} of {file.events:,} events{why}")
        self._loaded[file.uri] = loaded.accepted


class SourceFile(NamedTuple):
    """A file, and how many events the old index has of it."""

    uri: str
    events: int

    @property
    def ref(self) -> ObjectRef:
        """The object, without its version."""
        bucket, _, key = self.uri.removeprefix("s3://").partition("/")
        return ObjectRef(bucket, key)


def _files(client: OpenSearch, index: str) -> Iterator[tuple[str, int]]:
    """Yield each file with a document in an index, and how many it has."""
    after: dict[str, Any] = {}
    while True:
        sources = [{"object": {"terms": {"field": "trailsink.object"}}}]
        composite = {"size": _PAGE, "sources": sources} | ({"after": after} if after else {})
        body = {"size": 0, "aggs": {"files": {"composite": composite}}}
        page: Any = search_all_shards(client, index, body)["aggregations"]["files"]
        for bucket in page["buckets"]:
            yield bucket["key"]["object"], bucket["doc_count"]
        if not (after := page.get("after_key") or {}):
            return


class _DegradedText(msgspec.Struct):
    raw: str | None = None


class _DocumentText(msgspec.Struct):
    trailsink: _DegradedText


def _record(source: bytes) -> bytes:
    """Return the text of the record that a document is of."""
    raw = msgspec.json.decode(source, type=_DocumentText).trailsink.raw
    if raw is not None:
        return raw.encode("utf-8", "replace")
    record, found, _ = source.rpartition(_TIMESTAMP)
    return record + b"}" if found else source
