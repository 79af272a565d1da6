"""Promises about records without a document: only what every load's own selectors match is rightly missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.factories import as_json, event, record, record_filter
from tests.support.fake_ledger import entry
from worker.pipeline.accounting import FileTally
from worker.pipeline.objects import ObjectRef
from worker.verify.deep import RecordCheck
from worker.verify.known_filters import KnownFilters

if TYPE_CHECKING:
    from worker.cloudtrail.filters.matching import RecordFilter


def leaving_out(*names: str) -> RecordFilter:
    return record_filter(eventName=list(names))


def absent(position: int, name: str) -> RecordCheck:
    return RecordCheck(position, is_indexed=False, record=record(as_json(event(position, eventName=name)), position))


A, AB, C = leaving_out("A"), leaving_out("A", "B"), leaving_out("C")
RECORDS = [absent(0, "A"), absent(1, "B")]


def judge(known: KnownFilters, *loads: tuple[RecordFilter | None, int]) -> tuple[list[int], list[str]]:
    entries = [
        entry("a", filtered=filtered, selectors=selectors.digest if selectors else "") for selectors, filtered in loads
    ]
    unexplained, unknown = known.judge(RECORDS, entries)
    return [check.position for check in unexplained], unknown


def test_what_the_loads_own_selectors_match_is_explained() -> None:
    """Whichever selectors are set now: those of the load decide."""
    assert judge(KnownFilters([AB], active=C), (AB, 2)) == ([], [])
    assert judge(KnownFilters([A], active=AB), (A, 1)) == ([1], [])


def test_a_record_is_explained_only_if_every_load_left_it_out() -> None:
    """A file may be loaded by one set of selectors, and later by another: the second load indexes what it keeps."""
    assert judge(KnownFilters([A, AB]), (A, 1), (AB, 2)) == ([1], [])


def test_after_a_load_without_filters_nothing_may_be_missing() -> None:
    """`backfill --no-filters` brought everything back."""
    assert judge(KnownFilters([AB], active=AB), (AB, 2), (None, 0)) == ([0, 1], [])
    assert judge(KnownFilters(active=AB), (AB, 0)) == ([0, 1], []), "its selectors matched none of the records"


def test_selectors_that_are_not_known_are_named_unless_too_many_are_missing() -> None:
    """Nobody can say what they matched; but they matched no more than the ledger counted."""
    assert judge(KnownFilters(active=A), (AB, 2)) == ([], [AB.digest])
    assert judge(KnownFilters(active=A), (AB, 1)) == ([0, 1], [AB.digest])


def test_a_file_that_is_not_in_the_ledger_is_held_against_the_filter_that_is_set() -> None:
    """Without a ledger nothing else is known."""
    assert judge(KnownFilters(active=AB)) == ([], [])
    assert judge(KnownFilters(active=A)) == ([1], [])
    assert judge(KnownFilters([AB])) == ([0, 1], []), "none is set"
    assert KnownFilters(active=A).judge([], []) == ([], [])


def test_records_are_counted_for_a_ledger_that_is_made_afterwards() -> None:
    """`ledger rebuild` writes what the consumer would have written."""
    tally = FileTally(ObjectRef("b", "k"), None, read=2)

    KnownFilters(active=AB).count(RECORDS, tally)
    KnownFilters().count(RECORDS, tally)

    assert (tally.filtered, tally.filtered_by, tally.selectors_digest) == (2, {"eventName": 2}, AB.digest)
