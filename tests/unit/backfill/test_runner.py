"""Promises about a run: what can pass is retried, what cannot is given up, and a stop loses no work."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from tests.support.fake_backfill import MemoryLoader, backfill_run, selected_file
from worker.backfill.progress import LoadOutcome, LoadTally
from worker.errors import SetupError


def test_a_file_that_is_refused_for_now_is_retried_until_it_is_loaded() -> None:
    """A throttled file is not a failed file."""
    loader = MemoryLoader(lambda file, attempt: "429" if file.key.endswith("3") and attempt < 4 else "")
    run = backfill_run(loader, 100)

    committed = [file.key for batch in run.execute() for file, _ in batch]

    assert committed == [selected_file(number).key for number in range(100)]
    assert run.progress.tally.outcomes == {LoadOutcome.LOADED: 100}
    assert run.retries == {"429": 30}


def test_a_file_that_can_never_be_loaded_fails_with_its_reason() -> None:
    """The others are not held up for ever by one whose key is disabled."""
    loader = MemoryLoader(lambda file, _attempt: "s3:KMS.DisabledException" if file == selected_file(50) else "")
    run = backfill_run(loader, 5_000)

    finished = dict(entry for batch in run.execute() for entry in batch)

    assert run.progress.tally.outcomes == {LoadOutcome.LOADED: 4_999, LoadOutcome.FAILED: 1}
    assert finished[selected_file(50)].reason == "s3:KMS.DisabledException"
    assert finished[selected_file(50)].detail.startswith("given up after 3 attempts")


def test_a_run_that_can_load_no_file_stops_and_fails_none() -> None:
    """The cluster is down: that is one error, and everything is still to be done."""
    run = backfill_run(MemoryLoader(lambda _file, _attempt: "no_connection"), 100, patience=0.05)

    with pytest.raises(SetupError, match="No file can be loaded: no_connection"):
        list(run.execute())

    assert run.progress.tally.files == 0
    assert run.progress.cursor == ""


def test_a_resumed_run_gets_past_files_that_are_denied() -> None:
    """Interrupted among an account's files that may not be read, it must not stop at them each time."""
    tally = LoadTally({"2025-01-30": Counter(loaded=1)})
    run = backfill_run(MemoryLoader(lambda _file, _attempt: "s3:AccessDenied"), 20, tally=tally)

    list(run.execute())

    assert run.progress.tally.outcomes == {LoadOutcome.LOADED: 1, LoadOutcome.FAILED: 20}


def test_a_stop_finishes_files_in_progress_and_starts_no_others() -> None:
    """Ctrl-C loses no work and does not take long."""
    stop = threading.Event()
    loader = MemoryLoader(on_load=stop.set)
    run = backfill_run(loader, 10_000, stop=stop)

    committed = [entry for batch in run.execute() for entry in batch]

    assert len(committed) == sum(loader.attempts.values()) <= 3 * loader.batch_size


def test_files_in_memory_are_bounded_while_one_is_not_done() -> None:
    """A file that is retried for ten minutes must not let a million others pile up behind it."""
    loader = MemoryLoader(lambda file, attempt: "429" if file == selected_file(0) and attempt < 6 else "")
    run = backfill_run(loader, 6_000)

    maximum = max(run.progress.uncommitted for _ in run.execute())

    assert maximum <= 2_000
    assert run.progress.tally.files == 6_000
