"""Fills the copy of an index from the files of its events in S3, where documents themselves must change.

Each file that has an event in the old index is read as the pipeline reads it. Records that belong to other indices are
passed over. Then each event of the old index is looked for in the copy.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import msgspec

from worker.cloudtrail.identity import content_id
from worker.opensearch.complete_search import composite_buckets, search_all_shards, search_texts
from worker.opensearch.reindex.copying import checkpoint, last_write
from worker.opensearch.reindex.filler import CopyProgress, CopyStopped, DocumentsRefused
from worker.pipeline.objects import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from opensearchpy import OpenSearch

    from worker.opensearch.complete_search import HitText
    from worker.opensearch.reindex.copy_loader import CopiedFile, CopyLoader


_FILES = 16  # of one batch

# How often a file is tried that was handed back, as by a cluster that is overloaded.
_ATTEMPTS, _WAIT_SECONDS = 5, 5.0

# Files that are left for the time of the block, and how often the copy tries to come so close before.
_SHORT, _ROUNDS = _FILES, 5

_PAGE = 5_000  # files in one response

# Sequence numbers whose documents are read at once. Each shard has its own, and a request returns so many at most.
_WINDOW, _MAX_HITS = 500, 10_000

_TIMESTAMP = b',"@timestamp":"'  # where our own members begin


class FileFiller:
    """Fills the copy of the index `source`, which has `shards` and the public name `name`, from files.

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
        shards: int,
        before_each: Callable[[], None],
        sleep: Callable[[float], None],
    ) -> None:
        self._client, self._loader, self._source, self._alias = client, loader, source, alias
        self._before_each, self._sleep = before_each, sleep
        self._loaded: dict[str, int] = {}  # how many events the copy accepted of each file
        self._window = max(1, min(_WINDOW, _MAX_HITS // shards))
        self._compared = -1  # the last sequence number whose event was looked for
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
        """Load files, 16 at a time, until not many new ones are left; then look for each old event in the copy."""
        for _ in range(_ROUNDS):
            missing, total = self._missing()
            for done in self._load_all(missing):
                yield CopyProgress(total - len(missing) + done, total, "files loaded")
            if len(missing) <= _SHORT:
                break
        self._client.indices.refresh(index=self._alias)
        last = checkpoint(self._client, self._source)
        for compared in self._compared_until(last):
            yield CopyProgress(compared + 1, last + 1, "events compared")

    def fill_rest(self) -> None:
        """Load the files whose events came meanwhile."""
        missing, _ = self._missing()
        for _ in self._load_all(missing):
            pass
        self._client.indices.refresh(index=self._alias)

    def compare(self) -> int:
        """Look for the rest of the old events in the copy; returns how many events the copy has.

        It has more where a forged record had kept a true one out, and fewer where an event was in the index twice.
        """
        for _ in self._compared_until(last_write(self._client, self._source)):
            pass
        return int(self._client.count(index=self._alias)["count"])

    def _compared_until(self, last: int) -> Iterator[int]:
        """Look for the events in the copy that were written up to a sequence number; yields how far it has come."""
        while self._compared < last:
            self._before_each()
            end = min(self._compared + self._window, last)
            query = {"range": {"_seq_no": {"gt": self._compared, "lte": end}}}
            self._look_for(search_texts(self._client, self._source, {"size": _MAX_HITS, "query": query}))
            self._compared = end
            yield end

    def _look_for(self, olds: Sequence[HitText]) -> None:
        """Raise DocumentsRefused unless the copy has each event, under the id that its text has."""
        if not olds:
            return
        events = {old.id: _OldEvent.of(bytes(old.source)) for old in olds}
        ids = list({*events, *(event.id for event in events.values())})
        body = {"size": len(ids), "_source": False, "query": {"ids": {"values": ids}}}
        hits = search_all_shards(self._client, self._alias, body)["hits"]["hits"]
        found = {hit["_id"] for hit in hits}
        for id_, event in events.items():
            if not (event.id in found or id_ in found or (event.is_degraded and self._has_position(event))):
                raise DocumentsRefused(
                    f"{event.object}, record {event.position}: the event is not in the file as it is in the index"
                )

    def _has_position(self, event: _OldEvent) -> bool:
        """Return whether the copy has this record of the file: a degraded one need not have the file's text."""
        filters = [{"term": {f"trailsink.{name}": getattr(event, name)}} for name in ("object", "position")]
        body = {"size": 1, "_source": False, "query": {"bool": {"filter": filters}}}
        return bool(search_all_shards(self._client, self._alias, body)["hits"]["hits"])

    def _missing(self) -> tuple[list[SourceFile], int]:
        """Return the files that were not loaded, or have more events by now, and how many files there are."""
        self._client.indices.refresh(index=self._source)
        search = partial(search_all_shards, self._client, self._source)
        buckets = composite_buckets(search, [{"uri": {"terms": {"field": "trailsink.object"}}}], _PAGE)
        files = [SourceFile(bucket["key"]["uri"], bucket["doc_count"]) for bucket in buckets]
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


class _DocumentOrigin(msgspec.Struct):
    object: str = ""
    position: int = -1
    raw: str | None = None


class _MarkedDocument(msgspec.Struct):
    trailsink: _DocumentOrigin


class _OldEvent(NamedTuple):
    """An event of the old index: where it is from, and the id that its text has today."""

    object: str
    position: int
    id: str
    is_degraded: bool

    @classmethod
    def of(cls, source: bytes) -> Self:
        """Read it from a document."""
        origin = msgspec.json.decode(source, type=_MarkedDocument).trailsink
        if origin.raw is None:
            record, found, _ = source.rpartition(_TIMESTAMP)
            text = record + b"}" if found else source
        else:
            text = origin.raw.encode("utf-8", "replace")
        return cls(origin.object, origin.position, content_id(text).decode(), origin.raw is not None)
