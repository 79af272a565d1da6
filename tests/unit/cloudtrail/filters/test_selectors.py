"""Promises about a file of selectors: AWS's own syntax, and one sentence for what is wrong with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from worker.cloudtrail.filters.selectors import Condition, make_set, parse_selectors, to_document
from worker.errors import SetupError

KMS = {"Name": "KMS", "FieldSelectors": [{"Field": "eventSource", "Equals": ["kms.amazonaws.com"]}]}


def parse(*selectors: dict[str, Any]) -> Any:
    return parse_selectors(json.dumps(selectors).encode(), "noise.json")


def one(**members: Any) -> dict[str, Any]:
    return {"Name": "noise", "FieldSelectors": [{"Field": "eventName"} | members]}


def test_the_same_selectors_have_the_same_digest_however_they_are_written() -> None:
    """The ledger holds it: white space and the order of values change nothing, a value does."""
    first = parse(one(Equals=["A", "B"]))
    second = parse_selectors(json.dumps([one(Equals=["B", "A", "A"])], indent=4).encode(), "other.json")

    assert first.digest == second.digest
    assert len({first.digest, parse(one(Equals=["A"])).digest, parse(one(StartsWith=["A", "B"])).digest}) == 3


def test_selectors_are_written_as_they_were_read() -> None:
    """`filter suggest` writes what TRAILSINK_FILTERS reads."""
    selectors = parse(KMS, one(NotEquals=["A"], StartsWith=["B"], EndsWith=["C"])).selectors

    assert parse(*map(to_document, selectors)) == make_set(selectors)
    assert to_document(selectors[0]) == KMS


@pytest.mark.parametrize(
    ("values", "holds"),
    [(["start"], True), (["end"], True), (["no start"], False), (["a", "start"], True), ([], False), (["is"], True)],
)
def test_any_of_what_selects_is_enough(values: list[str], *, holds: bool) -> None:
    """CloudTrail joins Equals, StartsWith and EndsWith of one field by OR."""
    condition = Condition("eventName", frozenset(["is"]), ("st",), ("nd",))

    assert condition.holds(values) is holds


@pytest.mark.parametrize(
    ("values", "holds"),
    [(["ok"], True), ([], True), (["is"], False), (["starts"], False), (["a", "ends"], False)],
)
def test_none_of_what_deselects_may_be(values: list[str], *, holds: bool) -> None:
    """CloudTrail joins NotEquals, NotStartsWith and NotEndsWith of one field by AND; a missing field has no value."""
    condition = Condition(
        "eventName", not_equals=frozenset(["is"]), not_starts_with=("start",), not_ends_with=("ends",)
    )

    assert condition.holds(values) is holds


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it is not JSON"),
        (b"\xff", "it is not JSON"),
        (b"{}", "must be a JSON list"),
        (b"[]", "must be a JSON list"),
        (b"[1]", "selector 1 needs a Name"),
        (b'[{"FieldSelectors":[{"Field":"eventName","Equals":["A"]}]}]', "selector 1 needs a Name"),
        (b'[{"Name":" ","FieldSelectors":[{"Field":"eventName","Equals":["A"]}]}]', "selector 1 needs a Name"),
        (b'[{"Name":"n","FieldSelectors":[]}]', "selector 1 needs a Name"),
        (b'[{"Name":"n","FieldSelectors":[{}]}]', "'n' has a field selector without a Field"),
        (b'[{"Name":"n","Fields":[],"FieldSelectors":[{"Field":"eventName"}]}]', "has a member 'Fields'"),
        (json.dumps([one()]).encode(), "'noise': eventName has no operator"),
        (json.dumps([one(Equals=[])]).encode(), "'noise': eventName has no operator"),
        (json.dumps([one(Contains=["A"])]).encode(), "'noise': Contains is no operator; there are Equals, StartsWith"),
        (json.dumps([one(equals=["A"])]).encode(), "'noise': equals is no operator"),
        (json.dumps([one(Equals="A")]).encode(), "'noise': Equals of eventName must be a list of texts"),
        (json.dumps([one(Equals=[True])]).encode(), "'noise': Equals of eventName must be a list of texts"),
        (json.dumps([one(StartsWith=[""])]).encode(), "'noise': StartsWith of eventName must be a list of texts"),
        (json.dumps([one(Field="eventname", Equals=["A"])]).encode(), "'noise': eventname is no field of a record"),
        (json.dumps([KMS, KMS]).encode(), "two selectors have the name 'KMS'"),
        (json.dumps([one(Equals=[str(number) for number in range(501)])]).encode(), "it has 501 values"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence_that_names_it(content: bytes, problem: str) -> None:
    """A filter that was not understood as it was meant would lose events."""
    with pytest.raises(SetupError) as caught:
        parse_selectors(content, "noise.json")

    text = str(caught.value)
    assert text.startswith("noise.json: ")
    assert problem in text
    assert text.endswith(".")
    assert "\n" not in text
