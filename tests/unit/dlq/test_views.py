"""Promises about everything that is told of one letter."""

from __future__ import annotations

from tests.support.fake_dlq import SENT_AT, letter
from worker.dlq.eligibility import Assessment, RedriveAction
from worker.dlq.reasons import MEANINGS
from worker.dlq.views import LetterDetail

JUDGED = Assessment(RedriveAction.STAYS, "the object has not changed", "")


def test_a_letter_tells_what_it_announced_and_what_a_redrive_would_do() -> None:
    """Size and eTag of the announcement say which bytes were read."""
    told = LetterDetail.of(letter(1, "truncated"), JUDGED, SENT_AT + 5, None)

    assert (told.size, told.etag, told.version_id) == (3, "old", None)
    assert (told.meaning, told.redrive, told.redrive_why) == (MEANINGS["truncated"], RedriveAction.STAYS, JUDGED.why)
    assert told.attributes == {"reason": "truncated", "attempts": "2"}
    assert (told.letter.id, told.letter.age_seconds, told.source_queue) == ("id-1", 5, None)


def test_a_letter_of_another_version_or_without_an_object_is_told_as_far_as_it_goes() -> None:
    """A reason may be newer than this code, and a body may be no notice at all."""
    told = LetterDetail.of(letter(1, "of_tomorrow", body="?", source="arn:q"), JUDGED, SENT_AT, None)
    newer = LetterDetail.of(letter(2, "of_tomorrow"), JUDGED, SENT_AT, None)

    assert (told.size, told.etag, told.source_queue, told.body) == (None, None, "arn:q", "?")
    assert newer.meaning == "a reason that this version of trailsink does not know"
