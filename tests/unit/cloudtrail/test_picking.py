"""Promises about what is picked out of many records at once: with a filter, what it names, and the rest as before."""

from __future__ import annotations

import msgspec

from tests.support.factories import as_json, event, record_filter
from worker.cloudtrail.picking import is_utf8, make_picker


def test_only_what_is_named_is_picked() -> None:
    """Every further member costs time for each record."""
    plain = make_picker(None).decode(as_json(event()))[0]
    named = make_picker(record_filter(eventName=["A"], **{"userIdentity.arn": ["B"]})).decode(as_json(event()))[0]

    fields = set(named.__struct_fields__) - set(plain.__struct_fields__)
    assert fields == {"eventName", "userIdentity"}
    assert named.eventName == "GetObject"
    assert msgspec.json.decode(named.userIdentity) == event()["userIdentity"]


def test_request_parameters_are_written_alike() -> None:
    """With a filter their text is picked, and read a second time."""
    plain, by_filter = make_picker(None), make_picker(record_filter(**{"requestParameters.x": ["A"]}))

    for record in (event(), event(requestParameters=None), event(requestParameters=...)):
        first, second = plain.decode(as_json(record))[0], by_filter.decode(as_json(record))[0]
        assert plain.encode_request(first.requestParameters) == by_filter.encode_request(second.requestParameters)


def test_a_time_that_a_filter_names_stays_a_text() -> None:
    """All times of a group are checked at once."""
    (picked,) = make_picker(record_filter(eventTime=["A"])).decode(as_json(event()))

    assert picked.eventTime == "2026-11-23T10:00:00Z"


def test_a_text_is_utf8_or_not() -> None:
    """A decoder of msgspec skips strings without looking."""
    assert [is_utf8(text) for text in (b"a", "ä".encode(), b"\xff")] == [True, True, False]
