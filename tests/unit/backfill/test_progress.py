"""Promises about the progress of a backfill: files are committed in order, and counted once."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_backfill import loaded, selected_file
from worker.backfill.progress import BackfillPlan, Finished, LoadOutcome, LoadTally, OrderedProgress


@given(st.permutations(range(12)), st.integers(0, 12))
def test_the_cursor_never_passes_a_file_that_has_not_ended(order: list[int], ended: int) -> None:
    """Files end in any order; everything up to the cursor is done, so a resume leaves nothing out."""
    progress = OrderedProgress(LoadTally())
    numbers = [progress.add(selected_file(index)) for index in range(12)]
    finished: set[int] = set()

    for index in order[:ended]:
        progress.finish(numbers[index], loaded())
        finished.add(index)
        list(progress.commit())

        committed = next((number for number in range(12) if number not in finished), 12)
        assert progress.cursor == (selected_file(committed - 1).key if committed else "")
        assert progress.tally.files == committed
        assert progress.uncommitted == 12 - committed


def test_a_tally_continues_where_an_earlier_run_stopped() -> None:
    """The totals at the end are those of all runs together."""
    tally = LoadTally({"2025-01-30": Counter(loaded=2, failed=1)}, Counter(read=5))

    tally.add(selected_file(0, "2025-01-30"), Finished(LoadOutcome.LOADED, (3, 2, 1, 0, 0)))
    tally.add(selected_file(1, "2025-01-31"), Finished(LoadOutcome.EMPTY))

    assert tally.files == 5
    assert tally.days == {"2025-01-30": {"loaded": 3, "failed": 1}, "2025-01-31": {"empty": 1}}
    assert tally.outcomes == {"loaded": 3, "failed": 1, "empty": 1}
    assert tally.records == {"read": 8, "indexed": 2, "duplicate": 1, "degraded": 0, "rejected": 0}


def test_a_plan_counts_files_bytes_accounts_and_days() -> None:
    """What the operator agrees to."""
    plan = BackfillPlan()

    for number, day in enumerate(["2025-01-30", "2025-01-31", "2025-01-31"]):
        plan.add(selected_file(number, day))

    assert (plan.files, plan.bytes) == (3, 300)
    assert plan.accounts == {"123456789012": 3}
    assert plan.days == {"2025-01-30": 1, "2025-01-31": 2}
