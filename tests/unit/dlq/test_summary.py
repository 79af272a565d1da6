"""Promises about the summary of any number of letters."""

from __future__ import annotations

import pytest

from tests.support.fake_dlq import SENT_AT, FakeDlq, letter
from worker.dlq.letters import LetterFilter
from worker.dlq.summary import LetterSummary, NewestLetters, ReasonGroup
from worker.errors import SetupError


@pytest.mark.parametrize(("limit", "kept"), [(0, [2, 4, 1, 3]), (2, [2, 4]), (4, [2, 4, 1, 3]), (9, [2, 4, 1, 3])])
def test_the_newest_letters_are_kept_in_whatever_order_they_come(limit: int, kept: list[int]) -> None:
    """A queue returns its letters in no order, and a screen has room for a few; 0 keeps all of them."""
    newest = NewestLetters(limit, SENT_AT + 60)

    for number, age in ((1, 20), (2, 0), (3, 30), (4, 10)):
        newest.add(letter(number, sent_at=SENT_AT - age))

    assert [view.id for view in newest.letters] == [f"id-{number}" for number in kept]
    assert newest.letters[0].age_seconds == 60


def test_the_groups_come_largest_first_with_their_oldest_and_newest_letter() -> None:
    """The operator fixes the most frequent reason first; equal numbers are in alphabetical order."""
    summary = LetterSummary()

    for number, (reason, age) in enumerate([("corrupt", 0), ("truncated", 60), ("truncated", 5), ("archived", 9)]):
        summary.add(letter(number, reason, sent_at=SENT_AT - age))

    assert summary.groups == [
        ReasonGroup("truncated", 2, SENT_AT - 60, SENT_AT - 5),
        ReasonGroup("archived", 1, SENT_AT - 9, SENT_AT - 9),
        ReasonGroup("corrupt", 1, SENT_AT, SENT_AT),
    ]
    assert (summary.count, summary.ids) == (4, {"id-0", "id-1", "id-2", "id-3"})


def test_letters_that_were_received_and_not_selected_are_the_others() -> None:
    """`No matching dead letters` says how many letters the queue holds."""
    summary = LetterSummary()
    summary.add(letter(1))

    summary.finish(received=5, in_flight=2, complete=False)

    assert (summary.others, summary.in_flight, summary.complete) == (4, 2, False)


def test_unknown_ids_mention_letters_that_another_consumer_holds(dlq: FakeDlq) -> None:
    """The letter may exist, and another command holds it."""
    dlq.queue.add(letter(1))
    dlq.queue.receive(60)
    letter_filter = LetterFilter(ids=frozenset({"id-1"}))
    summary = dlq.service.list_letters(letter_filter)

    with pytest.raises(
        SetupError, match=r"id-1 \(1 letter in flight, received by another consumer; .*\); nothing was moved\.$"
    ):
        summary.require_ids(letter_filter, "; nothing was moved")
