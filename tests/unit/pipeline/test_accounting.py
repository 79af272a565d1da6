"""Promises about the account of a file: it is done only when every record has an outcome."""

from __future__ import annotations

import pytest

from worker.errors import Reason, UnreadableObject
from worker.pipeline.accounting import BatchStats, FileOutcome, FileTally
from worker.pipeline.bulk import DUPLICATE, INDEXED, DeliveryResult, Outcome, Verdict
from worker.pipeline.objects import ObjectRef


def tally(*, read: int, complete: bool = False) -> FileTally:
    return FileTally(ObjectRef("b", "k"), None, read=read, complete=complete)


def test_a_file_is_handed_back_until_all_of_it_is_accounted_for() -> None:
    """The default is "back to the queue": whatever is forgotten is loaded again."""
    file = tally(read=3)
    assert file.outcome is FileOutcome.HANDED_BACK

    file.record(0, INDEXED)
    file.record(1, DUPLICATE)
    file.record(2, Outcome(Verdict.DEGRADED, "mapper_parsing_exception"))
    assert file.outcome is FileOutcome.HANDED_BACK, "its last records may not have been handed on"

    file.complete = True
    assert (file.outcome, file.reason) == (FileOutcome.INDEXED, "")
    assert (file.indexed, file.duplicate, file.degraded) == (1, 1, 1)


def test_one_record_too_many_is_not_a_balance() -> None:
    """Counting a record twice is as wrong as losing one."""
    file = tally(read=1, complete=True)
    file.record(0, INDEXED)
    file.record(0, INDEXED)

    assert not file.is_balanced
    assert file.outcome is FileOutcome.HANDED_BACK


def test_rejected_records_are_named_up_to_a_bound() -> None:
    """A dead letter could not hold more, and a hostile file must not fill the memory."""
    file = tally(read=5_000, complete=True)
    for position in range(5_000):
        file.record(position, Outcome(Verdict.REJECTED, "too_large"))

    assert (file.rejected, len(file.rejections)) == (5_000, 1_000)
    assert (file.outcome, file.reason) == (FileOutcome.DEAD_LETTER, Reason.RECORDS_REJECTED)


def test_the_first_cause_of_a_file_that_goes_back_is_kept() -> None:
    """What came first is what an operator has to fix."""
    file = tally(read=2, complete=True)
    file.record(0, Outcome(Verdict.UNAVAILABLE, "cluster_block_exception"))
    file.record(1, Outcome(Verdict.UNAVAILABLE, "503"))

    assert (file.outcome, file.reason) == (FileOutcome.HANDED_BACK, "cluster_block_exception")


@pytest.mark.parametrize("reason", [Reason.CORRUPT, Reason.TOO_SCATTERED])
def test_a_file_that_is_refused_whole_has_read_nothing(reason: Reason) -> None:
    """Records that were not handed on must not stand in the balance."""
    file = tally(read=7)
    file.reject(3, "not_a_json_object")

    file.refuse(UnreadableObject(reason, "why"))

    assert (file.read, file.rejected, file.rejections) == (0, 0, [])
    assert (file.outcome, file.reason) == (FileOutcome.DEAD_LETTER, reason)


def test_the_cost_of_requests_adds_up() -> None:
    """The metrics of a batch are sums over its requests."""
    stats = BatchStats()
    for _ in range(2):
        stats.add(DeliveryResult([INDEXED], requests=3, retries=2, throttled=1, wire_bytes=100, seconds=0.5))

    assert (stats.bulk_requests, stats.bulk_retries, stats.bulk_throttled) == (6, 4, 2)
    assert (stats.bulk_bytes, stats.send_seconds) == (200, 1.0)
