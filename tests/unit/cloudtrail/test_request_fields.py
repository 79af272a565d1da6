"""Promises about the request parameters that are picked out of a record."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import as_json, event
from worker.cloudtrail.request_fields import REQUEST_FIELDS, read_request
from worker.opensearch.schema import index_template

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from([*REQUEST_FIELDS, "other", "bucketname", "bucketName "])


def request(parameters: Any) -> Any:
    text = read_request(as_json(event(5, requestParameters=parameters)))
    return json.loads(text) if text else None


@pytest.mark.parametrize(
    ("parameters", "picked"),
    [
        ({"bucketName": "b", "key": "k/1", "Host": "h"}, {"bucketName": "b", "key": "k/1"}),
        ({"publiclyAccessible": True, "name": 5}, {"publiclyAccessible": True, "name": 5}),
        ({"attribute": {"value": "x"}, "instanceId": "i-1"}, {"instanceId": "i-1"}),
        ({"groupId": ["sg-1", "sg-2"]}, None),
        ({"name": "with { and ["}, {"name": "with { and ["}),
        ({"key": "x" * 3_000, "bucketName": "b"}, {"bucketName": "b"}),
        ({"Host": "h"}, None),
        ({}, None),
        (None, None),
        (..., None),
        ("a sentence", None),
        ([{"bucketName": "b"}], None),
    ],
)
def test_values_are_picked_and_nothing_else(parameters: Any, picked: Any) -> None:
    """A keyword field refuses an object, and one of a kilobyte is no group."""
    assert request(parameters) == picked


@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_whatever_is_picked_stands_in_the_record(parameters: dict[str, Any]) -> None:
    """Only values that a keyword takes, as they are."""
    for name, value in (request(parameters) or {}).items():
        assert parameters[name] == value
        assert not isinstance(value, (dict, list))


def test_what_is_picked_is_mapped() -> None:
    """Otherwise nothing could be grouped by it."""
    ours = index_template("x")["template"]["mappings"]["properties"]["trailsink"]["properties"]["request"]

    assert set(ours["properties"]) == set(REQUEST_FIELDS)
    assert {field["type"] for field in ours["properties"].values()} == {"keyword"}
