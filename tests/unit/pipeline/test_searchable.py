"""Promises about values that no index takes, and about values that no search finds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import as_json, event
from worker.opensearch.schema import index_template
from worker.pipeline.limits import MAX_KEYWORD
from worker.pipeline.searchable import (
    EVERYTHING,
    FREE_FORM_ROOTS,
    KEYWORD_ROOTS,
    OBJECT_ROOTS,
    overlong_paths,
    shorten,
)

LONG = "x" * 8_192


def test_the_lists_of_members_are_those_of_the_template() -> None:
    """A member that moves from one kind to another must move here, too."""
    properties = index_template("x")["template"]["mappings"]["properties"]
    own = {name: field for name, field in properties.items() if name not in ("@timestamp", "trailsink", "eventTime")}
    keywords = {name for name, field in own.items() if field.get("type") in ("keyword", "match_only_text")}
    objects = {name for name, field in own.items() if field.get("type") == "object"}

    assert keywords == set(KEYWORD_ROOTS)
    assert {name for name, field in own.items() if field.get("type") == "flat_object"} == FREE_FORM_ROOTS
    assert objects == OBJECT_ROOTS
    assert properties["eventName"]["ignore_above"] == MAX_KEYWORD


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"userAgent": LONG}, ["userAgent"]),
        ({"userAgent": LONG[1:]}, []),
        ({"userAgent": '"' * 8_192}, ["userAgent"]),
        ({"userAgent": "\U0001f600" * 4_096}, ["userAgent"]),
        ({"userAgent": "\U0001f600" * 4_095}, []),
        ({"userAgent": "ä" * 8_191}, []),
        ({"errorMessage": LONG}, ["errorMessage.keyword"]),
        ({"userIdentity": {"arn": LONG, "type": "Root"}}, ["userIdentity.arn"]),
        ({"resources": [{"ARN": "short"}, {"ARN": LONG}]}, ["resources.ARN"]),
        ({"requestParameters": {"a": LONG}}, []),
        ({"a": LONG, "b": LONG}, ["a", "b"]),
        ({str(number): LONG for number in range(30)}, sorted(str(number) for number in range(30))[:20]),
    ],
)
def test_long_values_are_named_by_their_paths(changes: dict[str, Any], paths: list[str]) -> None:
    """OpenSearch counts UTF-16 code units. Free-form members take longer values."""
    assert overlong_paths(as_json(event(5, **changes))) == paths


def test_a_record_that_only_others_can_read_is_named_whole() -> None:
    """It is better to say too much than to hide one."""
    assert overlong_paths(b'{"a":"' + b"x" * 9_000 + b'","b":' + b"9" * 5_000 + b"}") == [EVERYTHING]


@pytest.mark.parametrize(
    ("changes", "left", "paths", "too_long"),
    [
        (
            {"requestParameters": {"a": {"b": ["x", "y" * 40_000]}, "c": 1}},
            {"requestParameters": {"a": {"b": ["x", "y" * 4_096]}, "c": 1}},
            ["requestParameters.a.b"],
            True,
        ),
        (
            {"responseElements": {"n" * 40_000: "x", "c": 1}},
            {"responseElements": {"c": 1}},
            ["responseElements"],
            True,
        ),
        ({"additionalEventData": "a sentence"}, {"additionalEventData": ...}, ["additionalEventData"], False),
        ({"requestParameters": [1, 2]}, {"requestParameters": ...}, ["requestParameters"], False),
        ({"eventName": {"a": "b"}}, {"eventName": ...}, ["eventName"], False),
        ({"eventName": [["a"]]}, {"eventName": ...}, ["eventName"], False),
        ({"resources": ["arn"]}, {"resources": ...}, ["resources"], False),
    ],
)
def test_what_is_in_the_way_is_left_out(
    changes: dict[str, Any],
    left: dict[str, Any],
    paths: list[str],
    too_long: bool,  # noqa: FBT001
) -> None:
    """Everything else is searched as before."""
    shortened = shorten(as_json(event(5, **changes)))

    assert shortened is not None
    assert json.loads(shortened.text) == event(5, **left)
    assert (shortened.paths, shortened.too_long) == (paths, too_long)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"eventName": ["a", "b"], "resources": [{"ARN": "a"}], "userIdentity": None, "requestParameters": None},
        {"requestParameters": {"a": "y" * 30_000}},
        {"somethingNew": [{"a": LONG * 10}, "x"]},
    ],
)
def test_a_record_that_every_index_takes_has_no_shortened_form(changes: dict[str, Any]) -> None:
    """It was refused for something else."""
    assert shorten(as_json(event(5, **changes))) is None


@given(length=st.integers(32_500, 33_000), letter=st.sampled_from("aä€\U0001f600"))
def test_no_term_of_a_shortened_record_is_too_long(length: int, letter: str) -> None:
    """Lucene counts bytes of UTF-8, with the path in front."""
    raw = as_json(event(5, requestParameters={"a": letter * (length // len(letter.encode()))}))

    shortened = shorten(raw)

    left = json.loads(shortened.text if shortened else raw)["requestParameters"]["a"]
    assert len(f"requestParameters.a={left}".encode()) <= 32_766
