"""Promises about a dead letter: what it says of itself, which ones are meant, and that a file gives it back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_dlq import SENT_AT, letter
from worker.dlq.export import decode_line, encode_line, sent_attributes
from worker.dlq.letters import Attribute, Letter, LetterFilter
from worker.dlq.reasons import MEANINGS, REASONS
from worker.dlq.views import LetterView
from worker.errors import Reason, SetupError


def test_a_letter_that_sqs_moved_itself_says_so_whatever_it_carries() -> None:
    """Moved back by SQS's own task it keeps its old reason; given up afterwards, that is no longer true."""
    assert letter(1, "").reason == "unknown"
    assert letter(1, "empty").reason == "empty"
    moved = letter(1, "empty", source="arn:q", receives=43)
    assert (moved.reason, moved.attempts) == ("max_receives", 43)
    assert moved.detail == "moved here by SQS after too many receives: 43 by now, looks included"
    assert letter(1, "").attempts is None


@pytest.mark.parametrize("text", ["", "not json", "{}", '[["1","x"]]', "[[1]]"])
def test_attributes_of_others_do_no_harm(text: str) -> None:
    """Anybody may send to the queue."""
    one = replace(letter(1), attributes={"rejected": Attribute("String", text), "attempts": Attribute("String", "x")})

    assert (one.rejected, one.attempts, one.reason) == ((), None, "unknown")


def test_a_letter_is_shown_with_its_object_or_else_its_body() -> None:
    """Times in ISO 8601, ages in seconds."""
    known, garbage = (
        LetterView.of(letter(1), SENT_AT + 90.9),
        LetterView.of(letter(2, "malformed_message", "x"), SENT_AT - 5),
    )

    assert (known.object, known.body, known.age_seconds) == ("s3://trail/1.json.gz", None, 90)
    assert (garbage.object, garbage.objects, garbage.body, garbage.age_seconds) == (None, [], "x", 0)
    assert known.sent_at == "2027-01-15T08:00:00Z"


@pytest.mark.parametrize(
    ("choice", "meant"),
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
def test_a_letter_is_meant_when_every_condition_holds(choice: LetterFilter, meant: bool) -> None:  # noqa: FBT001
    """Conditions narrow each other, as a user of any list expects."""
    assert choice.takes(letter(1)) is meant


def test_a_letter_without_an_object_is_under_no_prefix() -> None:
    """An empty key would begin with nothing."""
    assert not LetterFilter(prefix="s3://").takes(letter(1, "malformed_message", "garbage"))


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)
attributes = st.dictionaries(texts, st.builds(Attribute, st.sampled_from(["String", "Number"]), texts), max_size=9)


@given(body=texts, carried=attributes, reason=st.sampled_from(REASONS))
def test_an_exported_letter_comes_back_as_it_was(body: str, carried: dict[str, Attribute], reason: str) -> None:
    """Whatever SQS can hold, one line can."""
    one = Letter("id", "r", body, {**carried, "reason": Attribute("String", reason)}, SENT_AT)
    text = encode_line(one)

    line = decode_line(text, 1)

    assert (line.body, line.attributes) == (body, one.attributes)
    assert text.count(b"\n") == 1


def test_binary_attributes_are_kept_in_base64() -> None:
    """They are rare, and a backup must hold them all the same."""
    line = decode_line(b'{"body":"x","attributes":{"b":{"type":"Binary","value":"AP8="}}}', 1)

    assert line.attributes["b"].value == "AP8="


@pytest.mark.parametrize(
    "text",
    [
        b"not json",
        b"[]",
        b"{}",
        b'{"body":1}',
        b'{"body":""}',
        b"\xff",
        b'{"body":"x","attributes":{"a":"plain"}}',
        b'{"body":"x","attributes":{"b":{"type":"Binary","value":"!"}}}',
        b'{"body":"x","attributes":{%s}}'
        % b",".join(b'"%d":{"type":"String","value":"v"}' % number for number in range(11)),
    ],
)
def test_a_line_that_is_no_letter_is_named_by_its_number(text: bytes) -> None:
    """The operator looks it up in an editor."""
    with pytest.raises(SetupError, match="Line 7 is no"):
        decode_line(text, 7)


def test_what_sqs_moved_comes_in_as_what_it_was() -> None:
    """Nobody can send SQS's mark, so it becomes an attribute; an old reason gives way."""
    line = decode_line(encode_line(letter(1, "empty", source="arn:q", receives=41)), 1)

    carried = sent_attributes(line)

    assert (carried["reason"].value, carried["attempts"].value) == ("max_receives", "41")
    assert sent_attributes(decode_line(encode_line(letter(1)), 1)) == letter(1).attributes


def test_every_reason_has_a_meaning() -> None:
    """`dlq show` explains each."""
    assert set(MEANINGS) == set(REASONS) == {reason.value for reason in Reason} | {"max_receives", "unknown"}


def test_what_several_objects_announce_is_listed() -> None:
    """CloudTrail's own notices name several."""
    one = letter(1, "", '{"s3Bucket":"b","s3ObjectKey":["x","y"]}', source="arn:q")

    shown = LetterView.of(one, SENT_AT)

    assert (shown.object, shown.objects) == (None, ["s3://b/x", "s3://b/y"])
    assert LetterFilter(prefix="s3://b/y").takes(one)
