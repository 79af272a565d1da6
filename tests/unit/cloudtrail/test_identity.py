"""Promises about document ids: equal records have one, different records never share it."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import aggregated, as_json, event, insight
from worker.cloudtrail.identity import content_id

FAMILIES = pytest.mark.parametrize(
    "raw", [event(5), insight(5), aggregated(5), {}], ids=["API", "Insights", "aggregated", "empty"]
)


def digest(text: bytes) -> bytes:
    """The id by the letter of its definition."""
    return urlsafe_b64encode(sha256(text).digest()[:16]).rstrip(b"=")


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@FAMILIES
def test_an_id_is_the_digest_of_the_records_text(raw: dict[str, Any]) -> None:
    """Anybody can compute it again from the file in the bucket."""
    text = as_json(raw)

    assert content_id(msgspec.Raw(text)) == content_id(text) == digest(text)


def test_an_id_is_short_and_needs_no_escape() -> None:
    """OpenSearch packs an id of base64url characters; one that needs escapes could break out of its quotes."""
    ids = {content_id(b"%d" % number) for number in range(2_000)}

    assert len(ids) == 2_000
    assert {len(id_) for id_ in ids} == {22}
    assert set(b"".join(ids)) == set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize("separators", [(", ", ": "), (",", ": "), (" ,", " :"), (",\n", ":\n"), (",\t", ":\t")])
@pytest.mark.parametrize("indent", [None, 0, 2])
def test_a_record_that_is_printed_for_people_has_the_same_id(separators: tuple[str, str], indent: int | None) -> None:
    """A tool that copies files may format them."""
    raw = event(5, requestParameters={"text": 'a: b, c\\ "d" : e'})
    printed = json.dumps(raw, separators=separators, indent=indent, ensure_ascii=False).encode()

    assert content_id(msgspec.Raw(printed)) == content_id(compact(raw))


@pytest.mark.parametrize("raw", [b'{"a": NaN}', b'{ "a":', b"[" * 5_000, b"", b"\xff", b'{"a": "\\ud800"}'])
def test_what_is_not_json_is_known_by_its_bytes(raw: bytes) -> None:
    """It is indexed or rejected, and must not be taken for another record."""
    assert content_id(raw) == digest(raw)


MEMBERS = st.dictionaries(
    st.text(max_size=4),
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=4
    ),
    max_size=4,
)


@given(one=MEMBERS, two=MEMBERS, indent=st.none() | st.integers(0, 3))
def test_two_records_share_an_id_only_when_they_are_equal(
    one: dict[str, Any], two: dict[str, Any], indent: int | None
) -> None:
    """Whatever they claim to be, and however they are printed."""
    same = json.dumps(one, indent=indent, ensure_ascii=False).encode("utf-8", "replace")

    equal = list(one.items()) == list(two.items())
    assert (content_id(compact_safely(one)) == content_id(compact_safely(two))) is equal
    assert content_id(same) == content_id(compact_safely(one))


def compact_safely(value: dict[str, Any]) -> bytes:
    """Compact JSON; `?` for what UTF-8 cannot hold."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
