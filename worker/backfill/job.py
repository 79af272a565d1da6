"""One backfill: the files to load, its plan, and the run that records its progress on disk."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from worker.backfill.progress import BackfillPlan, Finished, LoadOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from worker.backfill.checkpoint import Checkpoint, CheckpointFile
    from worker.backfill.listing import SelectedFile
    from worker.backfill.report import FailureReport
    from worker.backfill.runner import BackfillRun
    from worker.opensearch.inventory import IndexedFile

# Files in one search: far below the server's limits for terms (65,536) and buckets (65,535).
# docs.opensearch.org/latest/query-dsl/term/terms/
_FILES_PER_LOOKUP = 1_000

_SAVE_SECONDS = 1.0  # between two writes of the state file: a killed run loads the files of this time twice


@dataclass(frozen=True, slots=True)
class BackfillJob:
    """The files of a backfill. `list_files` yields those after a cursor.

    With --missing, `lookup` returns which of up to 1,000 keys the index holds records of, and these files are not
    loaded. With `load_incomplete`, those of them that lack a record before their last indexed one are loaded too; with
    `load_filtered`, those of which filters left records out.
    """

    list_files: Callable[[str], Iterator[SelectedFile]]
    lookup: Callable[[list[str]], Mapping[str, IndexedFile]] | None = None
    load_incomplete: bool = False
    load_filtered: bool = False

    def plan(self, cursor: str) -> Iterator[BackfillPlan]:
        """Count the files to load after `cursor`; yields the growing plan, which is complete at the end."""
        plan = BackfillPlan()
        yield plan
        for file, indexed in self._files_with_index(cursor):
            plan.discarded += indexed is not None and indexed.discarded
            plan.present += indexed is not None and not indexed.discarded
            plan.incomplete += indexed is not None and indexed.incomplete
            plan.filtered += self.load_filtered and indexed is not None and indexed.filtered
            if self._must_load(indexed):
                plan.add(file)
            yield plan

    def source(self, cursor: str) -> Iterator[tuple[SelectedFile, Finished | None]]:
        """Yield the files after `cursor`: with None to be loaded, or with how they ended."""
        for file, indexed in self._files_with_index(cursor):
            yield file, None if self._must_load(indexed) else Finished(_left_alone(indexed))

    def _must_load(self, indexed: IndexedFile | None) -> bool:
        return (
            indexed is None
            or (self.load_incomplete and indexed.incomplete)
            or (self.load_filtered and indexed.filtered)
        )

    def _files_with_index(self, cursor: str) -> Iterator[tuple[SelectedFile, IndexedFile | None]]:
        """Yield each file with what the index holds of it, None for nothing or without --missing."""
        files = self.list_files(cursor)
        if self.lookup is None:
            yield from ((file, None) for file in files)
            return
        while batch := list(islice(files, _FILES_PER_LOOKUP)):
            indexed = self.lookup([file.key for file in batch])
            yield from ((file, indexed.get(file.key)) for file in batch)


def _left_alone(indexed: IndexedFile | None) -> LoadOutcome:
    return LoadOutcome.DISCARDED if indexed and indexed.discarded else LoadOutcome.PRESENT


def run_job(
    run: BackfillRun, checkpoint: Checkpoint, report: FailureReport, state: CheckpointFile | None, bucket: str
) -> Generator[None, None, None]:
    """Run to the end, or until stopped, and save what is committed; yields several times a second.

    A failed file is in the report before the state file counts it, however the run ends.
    """
    if state:
        state.save(checkpoint)  # before the first file, so that a resume selects the same time range
    saved_at = time.monotonic()
    try:
        for committed in run.execute():
            if committed:
                failed = [entry for entry in committed if entry[1].outcome is LoadOutcome.FAILED]
                report.append(bucket, failed)
                checkpoint.update(run.progress.tally, run.progress.cursor, report.size)
            if state and committed and time.monotonic() - saved_at >= _SAVE_SECONDS:
                state.save(checkpoint)
                saved_at = time.monotonic()
            yield
    finally:
        if state:
            state.save(checkpoint)
