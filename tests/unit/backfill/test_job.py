"""Promises about a job: the plan is what is then done, and no kill loses or doubles a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fake_backfill import MemoryLoader, backfill_job, backfill_run, selected_file
from worker.backfill.checkpoint import Checkpoint, CheckpointFile
from worker.backfill.job import run_job
from worker.backfill.progress import LoadOutcome
from worker.backfill.report import FailureReport, read_report
from worker.opensearch.inventory import IndexedFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest

FINGERPRINT = {"bucket": "b", "account": ""}


@dataclass
class MemoryInventory:
    """What the index holds; `batches` are the numbers of keys looked up together."""

    indexed: dict[str, IndexedFile]
    batches: list[int] = field(default_factory=list)

    def lookup(self, keys: Sequence[str]) -> dict[str, IndexedFile]:
        self.batches.append(len(keys))
        return {key: self.indexed[key] for key in keys if key in self.indexed}


def test_the_plan_is_what_is_then_done() -> None:
    """Whoever agrees to 2,498 files gets 2,498 files, looked up in batches."""
    indexed = {
        selected_file(7).key: IndexedFile(incomplete=False),
        selected_file(2_100).key: IndexedFile(incomplete=True),
    }
    inventory = MemoryInventory(indexed)

    *_, plan = backfill_job(2_500, inventory.lookup).plan("")
    to_load = [file for file, finished in backfill_job(2_500, inventory.lookup).source("") if finished is None]

    assert (plan.files, plan.present, plan.incomplete, plan.bytes) == (2_498, 2, 1, 249_800)
    assert {file.key for file in map(selected_file, range(2_500))} - {file.key for file in to_load} == set(indexed)
    assert inventory.batches[:3] == [1_000, 1_000, 500]


def test_discarded_files_are_counted_apart() -> None:
    """They are neither missing nor in the index."""
    inventory = MemoryInventory({selected_file(0).key: IndexedFile(incomplete=False, discarded=True)})

    *_, plan = backfill_job(2, inventory.lookup).plan("")
    outcomes = [finished and finished.outcome for _, finished in backfill_job(2, inventory.lookup).source("")]

    assert (plan.files, plan.present, plan.discarded, plan.listed) == (1, 0, 1, 2)
    assert outcomes == [LoadOutcome.DISCARDED, None]


def test_incomplete_files_are_loaded_when_they_are_selected() -> None:
    """A hole in a file's positions is a record that is somewhere else, or nowhere."""
    inventory = MemoryInventory(
        {
            selected_file(0).key: IndexedFile(incomplete=True),
            selected_file(1).key: IndexedFile(incomplete=False),
        }
    )

    source = backfill_job(2, inventory.lookup, load_incomplete=True).source("")
    to_load = [file.key for file, finished in source if finished is None]

    assert to_load == [selected_file(0).key]


def new_checkpoint(folder: Path) -> Checkpoint:
    return Checkpoint(
        fingerprint=FINGERPRINT,
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        since=None,
        until=datetime(2026, 1, 1, tzinfo=UTC),
        roots=[""],
        report=str(folder / "failed.jsonl"),
    )


@given(data=st.data())
@settings(max_examples=15)
def test_killed_anywhere_and_resumed_every_file_is_committed_once(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The disk always holds enough to resume: no file is left out, each is counted once, each failure listed once."""
    folder = tmp_path_factory.mktemp("killed")
    state = CheckpointFile(folder / "state.json")
    loader = MemoryLoader(lambda file, _attempt: "s3:AccessDenied" if file.key.endswith("9") else "")
    finished = False

    for _ in range(6):
        finished = _run_until_killed(data, state, folder, loader)
        if finished:
            break
    else:
        finished = _run_until_killed(None, state, folder, loader)

    checkpoint = state.load(FINGERPRINT)
    assert finished
    assert checkpoint
    assert checkpoint.tally().outcomes == {LoadOutcome.LOADED: 180, LoadOutcome.FAILED: 20}
    assert set(loader.attempts) == {selected_file(number).key for number in range(200)}
    assert [failed.to_selected().key for failed in read_report(folder / "failed.jsonl", "b")] == [
        selected_file(number).key for number in range(9, 200, 10)
    ]


def _run_until_killed(data: st.DataObject | None, state: CheckpointFile, folder: Path, loader: MemoryLoader) -> bool:
    """Run to the end, or to a kill: whatever is written after the kill is undone. Returns whether it ended."""
    checkpoint = state.load(FINGERPRINT) or new_checkpoint(folder)
    report = FailureReport(folder / "failed.jsonl", checkpoint.report_bytes)
    run = backfill_run(loader, 200, tally=checkpoint.tally(), cursor=checkpoint.cursor)
    beats = run_job(run, checkpoint, report, state, "b")
    for number, _ in enumerate(beats):
        state.save(checkpoint)
        if data and data.draw(st.booleans(), label=f"killed at {number}"):
            saved, lines = state.path.read_bytes(), report.path.read_bytes() if report.path.exists() else b""
            beats.close()
            state.path.write_bytes(saved)
            # A line that was written before the kill, and that the state does not count.
            report.path.write_bytes(lines + b'{"object": "s3://b/half')
            return False
    return True
