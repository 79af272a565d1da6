"""Promises about a dead letter: what it holds, and which letters a filter selects."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.fake_dlq import SENT_AT, letter
from worker.dlq.letters import Attribute, LetterFilter


def test_a_letter_that_sqs_moved_itself_says_so_whatever_attributes_it_has() -> None:
    """A letter that SQS's own task moved back keeps its old reason; when SQS gives it up, that is no longer true."""
    assert letter(1, "").reason == "unknown"
    assert letter(1, "empty").reason == "empty"
    moved = letter(1, "empty", source="arn:q", receives=43)
    assert (moved.reason, moved.attempts) == ("max_receives", 43)
    assert moved.detail == "moved here by SQS after too many receives: 43 so far, reads by operators included"
    assert letter(1, "").attempts is None


@pytest.mark.parametrize(
    ("attributes", "detail"),
    [
        (
            {"RULE_ARN": "arn:r", "ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": "The queue's\npolicy"},
            "EventBridge could not deliver it: NO_PERMISSIONS: The queue's policy",
        ),
        ({"ERROR_CODE": "NO_RESOURCE"}, "EventBridge could not deliver it: NO_RESOURCE"),
        (
            {"RequestID": "r", "ErrorCode": "AccessDenied", "ErrorMessage": "no"},
            "SNS could not deliver it: AccessDenied: no",
        ),
    ],
)
def test_a_letter_that_a_service_could_not_deliver_says_why(attributes: dict[str, str], detail: str) -> None:
    """EventBridge and SNS put what the source queue did not take into the same dead-letter queue."""
    undelivered = replace(letter(1), attributes={n: Attribute("String", text) for n, text in attributes.items()})

    assert (undelivered.reason, undelivered.detail) == ("undelivered", detail)
    assert len(replace(undelivered, attributes={"ERROR_CODE": Attribute("String", "x" * 9_999)}).detail) == 1_000
    assert replace(undelivered, source="arn:q").reason == "max_receives"


@pytest.mark.parametrize("text", ["", "not json", "{}", '[["1","x"]]', "[[1]]"])
def test_attributes_of_other_senders_do_no_harm(text: str) -> None:
    """Anybody may send to the queue."""
    attributes = {"rejected": Attribute("String", text), "attempts": Attribute("String", "x")}
    strange = replace(letter(1), attributes=attributes)

    assert (strange.rejected, strange.attempts, strange.reason) == ((), None, "unknown")


@pytest.mark.parametrize(
    ("letter_filter", "selected"),
    [
        (LetterFilter(), True),
        (LetterFilter(ids=frozenset({"id-1"})), True),
        (LetterFilter(ids=frozenset({"id-2"})), False),
        (LetterFilter(reasons=frozenset({"empty", "corrupt"})), True),
        (LetterFilter(reasons=frozenset({"corrupt"})), False),
        (LetterFilter(prefix="s3://trail/1"), True),
        (LetterFilter(prefix="s3://trail2/"), False),
        (LetterFilter(prefix="1.json"), True),
        (LetterFilter(prefix="json"), False),
        (LetterFilter(sent_before=SENT_AT), True),
        (LetterFilter(sent_before=SENT_AT - 1), False),
        (LetterFilter(sent_after=SENT_AT), True),
        (LetterFilter(sent_after=SENT_AT + 1), False),
        (LetterFilter(reasons=frozenset({"empty"}), prefix="2"), False),
    ],
)
def test_a_letter_is_selected_when_every_condition_holds(
    letter_filter: LetterFilter,
    selected: bool,  # noqa: FBT001
) -> None:
    """Each condition narrows the selection, as a user of any list expects."""
    assert letter_filter.matches(letter(1)) is selected


def test_only_a_filter_without_conditions_selects_all() -> None:
    """`discard` wants --all for it."""
    assert LetterFilter().selects_all
    assert not LetterFilter(sent_after=0.0).selects_all


def test_a_letter_without_an_object_has_no_prefix() -> None:
    """An empty key would start with every prefix that is empty."""
    assert not LetterFilter(prefix="s3://").matches(letter(1, "malformed_message", "garbage"))


def test_a_letter_of_several_objects_is_selected_by_any_of_them() -> None:
    """CloudTrail's own notifications name several."""
    several = letter(1, "", '{"s3Bucket":"b","s3ObjectKey":["x","y"]}', source="arn:q")

    assert LetterFilter(prefix="s3://b/y").matches(several)
