"""Records in the ledger that the dead letter of a file was discarded: nobody wants the file loaded any more.

`trailsink backfill --missing`, `trailsink verify` and `trailsink status` say so instead of calling it missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from opensearchpy.exceptions import OpenSearchException

from worker import __version__
from worker.cloudtrail.keys import LogFile, classify, delivered_at, parse_name
from worker.cloudtrail.lenient_json import encodable
from worker.errors import IndexUnavailable, SetupError
from worker.humanize import iso_seconds
from worker.opensearch.errors import classify_error
from worker.opensearch.schema import ledger_name
from worker.pipeline.ledger import DISCARDED, LedgerEntry, ledger_index
from worker.pipeline.reader import is_plausible_delivery

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from typing import Any

    from opensearchpy import OpenSearch

    from worker.pipeline.objects import ObjectRef

_FILES_PER_REQUEST = 1_000


def record_discards(client: OpenSearch, prefix: str, refs: Iterable[ObjectRef], now: datetime) -> int:
    """Write a document for each file whose dead letter is discarded; returns how many files there are.

    Writing one again changes nothing. Raises SetupError and IndexUnavailable.
    """
    entries = list({entry.id: entry for entry in (_entry(ref, now) for ref in refs)}.values())
    try:
        # Without its template, the ledger would be created with guessed fields.
        if not client.indices.exists_index_template(name=ledger_name(prefix)):
            raise SetupError("the ledger is not set up: run trailsink setup")
        for start in range(0, len(entries), _FILES_PER_REQUEST):
            _write(client, prefix, entries[start : start + _FILES_PER_REQUEST])
    except OpenSearchException as error:
        raise classify_error(error) from error
    return len(entries)


def _entry(ref: ObjectRef, now: datetime) -> LedgerEntry:
    name, kind, time = parse_name(ref.key), classify(ref.key), delivered_at(ref.key)
    return LedgerEntry(
        object=encodable(ref.uri),
        read=0,
        indexed=0,
        duplicate=0,
        degraded=0,
        rejected=0,
        recorded_at=iso_seconds(now),
        version=__version__,
        # A name can say anything, and would name an index.
        delivered_at=iso_seconds(time if time and is_plausible_delivery(time, now) else now),
        kind=kind.kind if isinstance(kind, LogFile) else "",
        account=name.account if name else "",
        region=name.region if name else "",
        version_id=encodable(ref.version_id or ""),
        etag=encodable(ref.etag or ""),
        reason=DISCARDED,
    )


def _write(client: OpenSearch, prefix: str, entries: list[LedgerEntry]) -> None:
    lines: list[dict[str, Any]] = []
    for entry in entries:
        lines += [{"index": {"_index": ledger_index(prefix, entry.delivered_at), "_id": entry.id}}]
        lines += [msgspec.to_builtins(entry)]
    response: Any = client.bulk(body=lines, params={"refresh": "wait_for"})
    if response["errors"]:
        causes = sorted({item["index"]["error"]["type"] for item in response["items"] if "error" in item["index"]})
        raise IndexUnavailable(f"the ledger was not written: {', '.join(causes)}")
