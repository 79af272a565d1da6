"""Compares a file's records with their documents: each is read by its id, and its bytes are held against the record's.

What differs is named by position and member, never by content.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from opensearchpy.exceptions import OpenSearchException

from worker.cloudtrail.keys import delivered_at
from worker.cloudtrail.picking import ADDED_MEMBERS
from worker.errors import IndexUnavailable, NoEvents, UnreadableObject
from worker.humanize import pluralize
from worker.opensearch.complete_search import search_all_shards
from worker.opensearch.errors import classify_error
from worker.opensearch.retry import retry_while_busy
from worker.pipeline.accounting import FileTally
from worker.pipeline.deadline import Deadline
from worker.pipeline.objects import ObjectRef
from worker.pipeline.reader import FileReader
from worker.verify.join import FileCheck
from worker.verify.known_filters import KnownFilters
from worker.verify.states import ProofState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from opensearchpy import OpenSearch

    from worker.cloudtrail.records import Record
    from worker.pipeline.ledger import LedgerEntry
    from worker.pipeline.limits import Limits
    from worker.verify.evidence import Files, IndexedFiles

_ATTEMPTS = 6

# Documents of one request: of the largest, 1 MiB each, an answer would be too much, so their bytes are bounded as well.
_DOCUMENTS, _BYTES = 500, 4 << 20

_SECONDS = 3_600.0  # for the records of one file: no batch waits for it

_SHOWN = 3  # positions in the one line for people


class _Origin(msgspec.Struct, frozen=True):
    object: str = ""
    raw: str | None = None


class _Ours(msgspec.Struct, frozen=True):
    trailsink: _Origin = _Origin()


class _Document(msgspec.Struct, frozen=True):
    found: bool = False
    source: msgspec.Raw = msgspec.field(name="_source", default_factory=lambda: msgspec.Raw(b"{}"))


class _Documents(msgspec.Struct, frozen=True):
    docs: list[_Document]


class RecordCheck(NamedTuple):
    """One record and its document: whether it is there, the file it names, and the member that differs, "" for none.

    The record itself is only held where it has no document.
    """

    position: int
    is_indexed: bool
    object: str = ""
    difference: str = ""
    record: Record | None = None


class FileExaminer:
    """Examines files; needs `indices:data/read/mget` on the indices. Thread-safe.

    `percent` of the files that the ledger has are examined, chosen by their
    names, so that a second run chooses the same. `filters` says which records may be missing.
    """

    def __init__(  # noqa: PLR0913 - two sources, and what bounds and explains
        self,
        files: Files,
        index: IndexedFiles,
        limits: Limits,
        *,
        percent: float,
        now: Callable[[], datetime],
        filters: KnownFilters | None = None,
    ) -> None:
        self._files, self._index, self._limits, self._percent, self._now = files, index, limits, percent, now
        self.filters = filters or KnownFilters()

    def is_sampled(self, key: str) -> bool:
        """Return whether a file is among those that are examined."""
        return int.from_bytes(sha256(key.encode()).digest()[:4]) < self._percent / 100 * 2**32

    def examine(self, key: str, entries: Sequence[LedgerEntry]) -> FileCheck:
        """Compare one file with its documents; raises Unavailable and SetupError."""
        try:
            tally, checks = self.read(key)
        except (NoEvents, UnreadableObject):  # signed as it is, and not in the index
            return FileCheck(ProofState.MISSING, "it cannot be read", 0)
        without = [check for check in checks if not check.is_indexed]
        unexplained, unknown = self.filters.judge(without, entries)
        if not entries and len(without) == len(checks):
            unexplained = without  # nothing says that it was loaded
        absent = [str(check.position) for check in unexplained]
        absent += [str(position) for position, _ in tally.rejections]
        different = [f"{check.position} ({check.difference})" for check in checks if check.difference]
        if different:
            return FileCheck(ProofState.ALTERED_IN_INDEX, _positions("different", different), len(checks))
        if len(absent) == len(checks):
            return FileCheck(ProofState.MISSING, "" if checks else "it has no records", len(checks))
        if absent:
            return FileCheck(ProofState.INCOMPLETE, _positions("not indexed", absent), len(checks))
        if unknown:
            detail = f"left out by the selectors of digest {', '.join(unknown)}: pass their file with --filters"
            return FileCheck(ProofState.NOT_JUDGED, f"{pluralize(len(without), 'record')} {detail}", len(checks))
        own = sum(check.object == tally.ref.uri for check in checks)
        return self._check_extra(tally.ref.uri, own, len(checks))

    def read(self, key: str) -> tuple[FileTally, list[RecordCheck]]:
        """Read a file, and the document of each of its records.

        Raises NoEvents, UnreadableObject, Unavailable and SetupError.
        """
        tally = FileTally(ObjectRef(self._files.name, key), delivered_at(key))
        reader = FileReader(self._limits, Deadline(lambda: _SECONDS, 0.0), self._now)
        records = reader.read(tally, self._files.fetch(key, self._limits.max_inflated_bytes))
        naming = reader.index_naming(tally)
        checks: list[RecordCheck] = []
        for group in _groups(records):
            places = [{"_index": naming.index_of(record), "_id": record.id.decode()} for record in group]
            documents = _read(self._index.client, places)
            checks += [_check(record, document) for record, document in zip(group, documents, strict=True)]
        return tally, checks

    def _check_extra(self, uri: str, own: int, records: int) -> FileCheck:
        """Look for documents that claim to be of this file, and are none of its records."""
        body = {"size": 0, "track_total_hits": True, "query": {"term": {"trailsink.object": uri}}}
        response = search_all_shards(self._index.client, f"{self._limits.index_prefix}-*", body)
        extra = response["hits"]["total"]["value"] - own
        if extra > 0:
            return FileCheck(ProofState.ALTERED_IN_INDEX, f"{extra} documents are none of its records", records)
        return FileCheck(ProofState.VERIFIED, "", records)


def _groups(records: Sequence[Record]) -> Iterator[list[Record]]:
    group: list[Record] = []
    size = 0
    for record in records:
        length = len(memoryview(record.raw))
        if group and (len(group) == _DOCUMENTS or size + length > _BYTES):
            yield group
            group, size = [], 0
        group.append(record)
        size += length
    if group:
        yield group


def _read(client: OpenSearch, places: list[dict[str, str]]) -> list[_Document]:
    """Read documents by id, with the bytes of their sources."""

    def request() -> str:
        # Not by the client's own method: it parses the answer, and the bytes would be gone.
        connection: Any = client.transport.get_connection()
        body = msgspec.json.encode({"docs": places})
        headers = {"content-type": "application/json"}
        _, _, text = connection.perform_request("POST", "/_mget", body=body, headers=headers)
        return str(text)

    try:
        documents = msgspec.json.decode(retry_while_busy(request, _ATTEMPTS), type=_Documents).docs
    except OpenSearchException as error:
        raise classify_error(error) from error
    except msgspec.DecodeError as error:
        raise IndexUnavailable("OpenSearch's answer cannot be read") from error
    if len(documents) != len(places):
        raise IndexUnavailable("OpenSearch did not answer for each document")
    return documents


def _check(record: Record, document: _Document) -> RecordCheck:
    if not document.found:
        return RecordCheck(record.position, is_indexed=False, record=record)
    source, raw = bytes(document.source), bytes(record.raw)
    try:
        origin = msgspec.json.decode(source, type=_Ours).trailsink
    except msgspec.DecodeError:
        return RecordCheck(record.position, True, "", "trailsink")
    if origin.raw is not None:
        is_equal = origin.raw in (raw.decode("utf-8", "backslashreplace"), _one_line(raw).decode("utf-8", "replace"))
        return RecordCheck(record.position, True, origin.object, "" if is_equal else "trailsink.raw")
    return RecordCheck(record.position, True, origin.object, _difference(_one_line(raw), source))


def _one_line(raw: bytes) -> bytes:
    """Return a record as it stands in a bulk request: a line break is never inside a string."""
    return raw.replace(b"\n", b" ")


def _difference(raw: bytes, source: bytes) -> str:
    """Return the first member by which a document differs from its record, "" where its bytes are the record's."""
    body = raw.rstrip()[:-1]
    if source.startswith(body) and _is_ours(source[len(body) :]):
        return ""
    try:
        expected, actual = msgspec.json.decode(raw), msgspec.json.decode(source)
    except msgspec.DecodeError:
        return "its text"
    for name in (*expected, *actual):
        if name not in ADDED_MEMBERS and (name not in actual or name not in expected or actual[name] != expected[name]):
            return str(name)
    return "its text"


def _is_ours(rest: bytes) -> bool:
    """Return whether the end of a document holds only what trailsink adds."""
    try:
        members = msgspec.json.decode(b"{" + rest.lstrip()[1:])
    except msgspec.DecodeError:
        return False
    return isinstance(members, dict) and set(members) <= ADDED_MEMBERS


def _positions(what: str, positions: Sequence[str]) -> str:
    more = ", ..." if len(positions) > _SHOWN else ""
    return f"{len(positions)} records {what}, by position: {', '.join(positions[:_SHOWN])}{more}"
