"""Promises about the lenient JSON reader: it reads what the server's parser refuses, and only objects."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.json_strategies import characters, spaces, values, written_object
from worker.cloudtrail.lenient_json import BrokenJson, root_members


@given(members=st.dictionaries(st.text(characters, max_size=5), values, max_size=5), space=spaces)
def test_root_members_are_the_raw_texts_of_an_object(members: dict[str, bytes], space: bytes) -> None:
    """The degraded form is made of them."""
    record = written_object([(json.dumps(name).encode(), value) for name, value in members.items()], space)

    assert root_members(record) == members


def test_of_two_members_of_one_name_the_last_one_counts() -> None:
    """As JSON parsers do, so that identity is the same on every road."""
    assert root_members(b'{"a":1,"b":{"a":2},"a":3}') == {"a": b"3", "b": b'{"a":2}'}


def test_root_members_are_found_at_any_depth_of_their_values() -> None:
    """A record of 100,000 levels must not exhaust the stack."""
    deep = b"[" * 100_000 + b"]" * 100_000

    assert root_members(b'{"a":' + deep + b',"b":1}') == {"a": deep, "b": b"1"}


@given(record=st.binary(max_size=40) | st.text(st.sampled_from('{}[]",:\\u0d8aNtruefls1.-+E \t\n')).map(str.encode))
@example(record=b'{"\\ud800":NaN}')
@example(record=b'{"a":"\xff"}')
def test_root_members_agree_with_pythons_parser(record: bytes) -> None:
    """What one calls JSON, the other does: else a record's fate would hang on its neighbours."""
    expected: Any
    try:
        expected = json.loads(record.decode("utf-8", "surrogateescape"), strict=False)
    except ValueError:
        expected = None

    try:
        names = set(root_members(record))
    except BrokenJson:
        assert not isinstance(expected, dict)
        return

    assert isinstance(expected, dict)
    assert names == set(expected)


@pytest.mark.parametrize("name", [b"\xff", b"\xed\xa0\x80", b"\\ud800", b"a\x00b"])
def test_a_member_of_an_odd_name_costs_nothing(name: bytes) -> None:
    """Bytes that are no UTF-8 may stand in a name as anywhere else; the other members are found."""
    assert root_members(b'{"' + name + b'":1,"b":2}')["b"] == b"2"


@pytest.mark.parametrize("record", [b"", b"[]", b"1", b'"a"', b"null", b"{", b"{}}", b'{"a"}', b'{"a":1,}', b"{} {}"])
def test_what_is_no_object_has_no_members(record: bytes) -> None:
    """It is rejected by its position."""
    with pytest.raises(BrokenJson):
        root_members(record)
