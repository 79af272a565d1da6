"""Makes the ledger of files that were loaded before there was one: each is read, hashed, cut, and asked for by ids."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
from opensearchpy.exceptions import ConflictError, OpenSearchException

from worker.errors import NoEvents, StoreUnavailable, UnreadableObject
from worker.opensearch.errors import classify_error
from worker.opensearch.ledger import LedgerReader
from worker.pipeline.ledger import ledger_index, make_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from worker.pipeline.accounting import FileTally
    from worker.verify.deep import FileExaminer
    from worker.verify.evidence import IndexedFiles


@dataclass(slots=True)
class RebuildTally:
    """Files by what became of them; `examples` are some that are not wholly in the index."""

    recorded: int = 0
    present: int = 0  # in the ledger before
    absent: list[str] = field(default_factory=list)
    not_read: list[str] = field(default_factory=list)


class LedgerRebuild:
    """Writes the documents of files that are wholly in the index; thread-safe. `now` is the wall clock in UTC."""

    def __init__(
        self, index: IndexedFiles, examiner: FileExaminer, prefix: str, bucket: str, now: Callable[[], datetime]
    ) -> None:
        self._index, self._examiner, self._prefix, self._bucket, self._now = index, examiner, prefix, bucket, now

    def rebuild(self, keys: Sequence[str]) -> RebuildTally:
        """Record up to 1,000 files; raises SetupError and IndexUnavailable."""
        tally = RebuildTally()
        uris = {key: f"s3://{self._bucket}/{key}" for key in keys}
        entries = LedgerReader(self._index.client, self._prefix).lookup(list(uris.values()))
        for key, uri in uris.items():
            if uri in entries:
                tally.present += 1
                continue
            try:
                is_recorded = self._record(key)
            except (NoEvents, StoreUnavailable, UnreadableObject) as error:
                tally.not_read.append(f"{key}: {error}")
                continue
            if is_recorded:
                tally.recorded += 1
            else:
                tally.absent.append(key)
        return tally

    def _record(self, key: str) -> bool:
        """Write a file's document if all of its records are in the index; returns whether they are."""
        file, checks = self._examiner.read(key)
        without = [check for check in checks if not check.is_indexed]
        unexplained, _ = self._examiner.filters.judge(without, ())
        if file.rejected or unexplained or any(check.difference for check in checks) or len(without) == len(checks) > 0:
            return False
        uri = file.ref.uri
        own = sum(check.object == uri for check in checks)
        file.indexed, file.duplicate, file.complete = own, len(checks) - own - len(without), True
        self._examiner.filters.count(without, file)
        self._write(file)
        return True

    def _write(self, file: FileTally) -> None:
        entry = make_entry(file, self._now())
        try:
            self._index.client.create(
                index=ledger_index(self._prefix, entry.delivered_at), id=entry.id, body=msgspec.to_builtins(entry)
            )
        except ConflictError:
            return  # another run, or the pipeline, was faster
        except OpenSearchException as error:
            raise classify_error(error) from error
