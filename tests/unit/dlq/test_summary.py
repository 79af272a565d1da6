"""Promises about what is kept of a look at any number of letters."""

from __future__ import annotations

import pytest

from tests.support.fake_dlq import SENT_AT, letter
from worker.dlq.summary import NewestLetters


@pytest.mark.parametrize(("most", "kept"), [(0, [2, 4, 1, 3]), (2, [2, 4]), (4, [2, 4, 1, 3]), (9, [2, 4, 1, 3])])
def test_the_newest_letters_are_kept_whatever_their_order(most: int, kept: list[int]) -> None:
    """A queue gives its letters in no order, and a screen has room for some; 0 is for all of them."""
    newest = NewestLetters(most, SENT_AT + 60)

    for number, age in ((1, 20), (2, 0), (3, 30), (4, 10)):
        newest.add(letter(number, sent_at=SENT_AT - age))

    assert [one.id for one in newest.letters] == [f"id-{number}" for number in kept]
    assert newest.letters[0].age_seconds == 60
