"""Hypothesis strategies for JSON text, in any of the ways in which it can be written."""

from __future__ import annotations

import json

from hypothesis import strategies as st

spaces = st.text(" \t\r\n", max_size=3).map(str.encode)
characters = st.characters(exclude_categories=["Cs"])

strings = st.builds(
    lambda value, plain: json.dumps(value, ensure_ascii=not plain).encode(), st.text(characters), st.booleans()
)

scalars = (
    strings
    | st.sampled_from([b"null", b"true", b"false", b"-0", b"2.0", b"1e5", b"9007199254740993", b"1" * 40, b'"\\""'])
    | st.integers().map(lambda value: b"%d" % value)
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda value: json.dumps(value).encode())
)


def written_list(items: list[bytes], space: bytes) -> bytes:
    return b"[" + space + (space + b"," + space).join(items) + space + b"]"


def written_object(items: list[tuple[bytes, bytes]], space: bytes) -> bytes:
    members = [name + space + b":" + space + value for name, value in items]
    return b"{" + space + (space + b"," + space).join(members) + space + b"}"


values = st.recursive(
    scalars,
    lambda inner: (
        st.builds(written_list, st.lists(inner, max_size=3), spaces)
        | st.builds(written_object, st.lists(st.tuples(strings, inner), max_size=3), spaces)
    ),
    max_leaves=10,
)

# JSON objects in any of the ways in which they can be written.
objects = st.builds(written_object, st.lists(st.tuples(strings | st.just(b'"eventID"'), values), max_size=5), spaces)

# What msgspec refuses, and a reader can make sense of.
odd_records = st.sampled_from(
    [
        b'{"eventID":"odd","a":NaN}',
        b'{"eventID":"odd","a":[-Infinity,{}]}',
        b'{"eventID":"odd","a":"\\ud800"}',
        b'{"eventID":"odd","a":"tab\there, ]}{ and \\" there"}',
    ]
)
