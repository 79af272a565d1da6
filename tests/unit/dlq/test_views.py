"""Promises about what is printed of letters."""

from __future__ import annotations

import gzip
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.support.fake_dlq import SENT_AT, letter
from worker.dlq.eligibility import Assessment, RedriveAction
from worker.dlq.letters import Attribute
from worker.dlq.reasons import MEANINGS
from worker.dlq.summary import ReasonGroup
from worker.dlq.views import FileNow, GroupView, LetterDetail, LetterView, RejectedRecord, read_again
from worker.errors import Reason, UnreadableObject
from worker.pipeline.objects import FetchedObject

if TYPE_CHECKING:
    from worker.dlq.letters import Letter
    from worker.pipeline.objects import ObjectRef

ASSESSMENT = Assessment(RedriveAction.STAYS, "the object has not changed", "")


def test_a_letter_is_shown_with_its_object_or_else_its_body() -> None:
    """Times are in ISO 8601, ages in seconds."""
    announcing = LetterView.of(letter(1), SENT_AT + 90.9)
    garbage = LetterView.of(letter(2, "malformed_message", "x"), SENT_AT - 5)

    assert (announcing.object, announcing.body, announcing.age_seconds) == ("s3://trail/1.json.gz", None, 90)
    assert (garbage.object, garbage.objects, garbage.body, garbage.age_seconds) == (None, [], "x", 0)
    assert announcing.sent_at == "2027-01-15T08:00:00Z"


def test_several_objects_are_listed() -> None:
    """CloudTrail's own notifications name several."""
    view = LetterView.of(letter(1, "", '{"s3Bucket":"b","s3ObjectKey":["x","y"]}', source="arn:q"), SENT_AT)

    assert (view.object, view.objects) == (None, ["s3://b/x", "s3://b/y"])


def test_a_group_is_shown_with_its_oldest_and_newest_letter() -> None:
    """The two columns of the summary, as the document for scripts names them."""
    view = GroupView.of(ReasonGroup("empty", 3, SENT_AT - 60, SENT_AT + 60))

    assert msgspec.json.encode(view) == (
        b'{"reason":"empty","letters":3,"oldest":"2027-01-15T07:59:00Z","newest":"2027-01-15T08:01:00Z"}'
    )


def test_the_details_name_what_the_letter_announces_and_what_a_redrive_would_do() -> None:
    """Size and eTag of the notification show which bytes were read."""
    detail = LetterDetail.of(letter(1, "truncated"), ASSESSMENT, SENT_AT + 5, None)

    assert (detail.size, detail.etag, detail.version_id) == (3, "old", None)
    assert detail.meaning == MEANINGS["truncated"]
    assert (detail.redrive, detail.redrive_why) == (RedriveAction.STAYS, ASSESSMENT.why)
    assert detail.attributes == {"reason": "truncated", "attempts": "2"}
    assert (detail.letter.id, detail.letter.age_seconds, detail.source_queue) == ("id-1", 5, None)


def test_a_letter_of_another_version_or_without_an_object_is_shown_as_far_as_possible() -> None:
    """A reason may be newer than this code, and a body need not be a notification."""
    moved = LetterDetail.of(letter(1, "of_tomorrow", body="?", source="arn:q"), ASSESSMENT, SENT_AT, None)
    newer = LetterDetail.of(letter(2, "of_tomorrow"), ASSESSMENT, SENT_AT, None)

    assert (moved.size, moved.etag, moved.source_queue, moved.body) == (None, None, "arn:q", "?")
    assert newer.meaning == "a reason that this version of trailsink does not know"


class OneObject:
    """A store that holds one object, or raises."""

    def __init__(self, content: bytes | UnreadableObject) -> None:
        self._content = content

    def fetch_verified(self, _ref: ObjectRef, _limit: int) -> FetchedObject:
        if isinstance(self._content, UnreadableObject):
            raise self._content
        return FetchedObject(self._content, datetime(2027, 1, 1, tzinfo=UTC))


def rejecting(*positions: int) -> Letter:
    """A letter about records that were rejected at these positions."""
    pairs = ",".join(f'[{position},"bad"]' for position in positions)
    return replace(letter(1), attributes={"rejected": Attribute("String", f"[{pairs}]")})


@pytest.mark.parametrize(
    ("max_records", "max_record_bytes", "rejected"),
    [
        (
            9,
            None,
            [RejectedRecord(1, "bad", 5, '"abc"', cut=False), RejectedRecord(7, "bad", None, None, cut=False)],
        ),
        (1, 2, [RejectedRecord(1, "bad", 5, '"a', cut=True)]),
    ],
)
def test_rejected_records_are_read_again(
    max_records: int, max_record_bytes: int | None, rejected: list[RejectedRecord]
) -> None:
    """The letter names positions only; the file may have fewer records now."""
    store = OneObject(gzip.compress(b'{"Records":[{},"abc"]}'))

    file = read_again(
        store, rejecting(1, 7), max_inflated=1_000, max_records=max_records, max_record_bytes=max_record_bytes
    )

    assert file == FileNow(2, None, None, rejected)


def test_bytes_that_are_not_utf8_are_shown_as_numbers() -> None:
    """A text in JSON cannot hold them."""
    store = OneObject(b'{"Records":["\xff"]}')

    file = read_again(store, rejecting(0), max_inflated=1_000, max_records=1, max_record_bytes=None)

    assert [record.text for record in file.rejected] == ['"\\xff"']


def test_a_file_that_is_still_broken_is_named_with_its_reason() -> None:
    """Its complete records are counted."""
    whole = gzip.compress(b'{"Records":[{"a":1}]}')
    truncated = OneObject(whole[:-9])
    missing = OneObject(UnreadableObject(Reason.NOT_FOUND, "no such key"))

    files = [
        read_again(store, letter(1), max_inflated=1_000, max_records=1, max_record_bytes=None)
        for store in (truncated, missing)
    ]

    assert [file.reason for file in files] == ["truncated", "not_found"]
    assert files[1] == FileNow(0, "not_found", "no such key", [])
