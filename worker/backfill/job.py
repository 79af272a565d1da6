"""One backfill from its plan to its end: what is found, what of it the index has, and what is written down."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from worker.backfill.progress import BackfillPlan, Finished, LoadOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from worker.backfill.checkpoint import Checkpoint, CheckpointFile
    from worker.backfill.listing import File
    from worker.backfill.report import FailureReport
    from worker.backfill.runner import BackfillRun
    from worker.opensearch.inventory import IndexedFile


# Asked for in one search: far below the server's bounds for terms (65,536) and buckets (65,535).
# docs.opensearch.org/latest/query-dsl/term/terms/
_FILES = 1_000


_SAVE_SECONDS = 1.0  # between two writings of the state: what a kill makes it load twice


@dataclass(frozen=True, slots=True)
class BackfillJob:
    """What is to be loaded: `found` yields the files after a mark, `held` (--missing) says what is there of 1,000 keys.

    With `incomplete`, files of which a record is missing before the last that is there are loaded too.
    """

    found: Callable[[str], Iterator[File]]
    held: Callable[[list[str]], Mapping[str, IndexedFile]] | None = None
    incomplete: bool = False

    def plan(self, mark: str) -> Iterator[BackfillPlan]:
        """Count what would be loaded after `mark`: yields the plan as it grows, at last whole."""
        plan = BackfillPlan()
        yield plan
        for file, held in self._sifted(mark):
            plan.present += held is not None
            plan.incomplete += held is not None and held.incomplete
            if self._is_wanted(held):
                plan.add(file)
            yield plan

    def source(self, mark: str) -> Iterator[tuple[File, Finished | None]]:
        """Yield the files after `mark`, those that need not be loaded with their end."""
        for file, held in self._sifted(mark):
            yield file, None if self._is_wanted(held) else Finished(LoadOutcome.PRESENT)

    def _is_wanted(self, held: IndexedFile | None) -> bool:
        return held is None or (self.incomplete and held.incomplete)

    def _sifted(self, mark: str) -> Iterator[tuple[File, IndexedFile | None]]:
        if self.held is None:
            yield from ((file, None) for file in self.found(mark))
            return
        found = self.found(mark)
        while files := list(islice(found, _FILES)):
            held = self.held([file.key for file in files])
            yield from ((file, held.get(file.key)) for file in files)


def run_job(
    run: BackfillRun, saved: Checkpoint, report: FailureReport, state: CheckpointFile | None, bucket: str
) -> Generator[None, None, None]:
    """Run to the end, or until stopped, writing down what is settled; yields several times a second.

    A failed file is in the report before the state says that it is settled, however the run ends.
    """
    if state:
        state.save(saved)  # from the first moment, so that a resume asks for the same span of time
    at = time.monotonic()
    try:
        for settled in run.go():
            if settled:
                report.add(bucket, (one for one in settled if one[1].outcome is LoadOutcome.FAILED))
                saved.take(run.ledger.tally, run.ledger.mark, report.size)
            if state and settled and time.monotonic() - at >= _SAVE_SECONDS:
                state.save(saved)
                at = time.monotonic()
            yield
    finally:
        if state:
            state.save(saved)
