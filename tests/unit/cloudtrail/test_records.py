"""Promises about who a record is and when it happened."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.factories import (
    aggregated,
    as_json,
    event,
    file_text,
    insight,
    network_activity,
    read,
    record,
    text,
)
from worker.cloudtrail.identity import content_id
from worker.cloudtrail.records import Record, Rejection, read_record, read_records
from worker.cloudtrail.split import split_records
from worker.pipeline.documents import IndexNaming
from worker.pipeline.limits import Partition


def in_file(raw: bytes) -> Record | Rejection:
    """Read one record as it stands in a file, with a neighbour."""
    first = split_records(text(file_text(raw, event(7)))).records[0]
    return read_record(first, 0, max_depth=64, max_bytes=1 << 20)


# Identity


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(event(5), id="API event"),
        pytest.param(insight(5), id="Insights event"),
        pytest.param(aggregated(5), id="aggregated event"),
        pytest.param(network_activity(5), id="network activity event"),
    ],
)
def test_a_record_of_every_family_is_known_by_its_content_and_time(raw: dict[str, Any]) -> None:
    """The id makes a second delivery harmless; the time says which index."""
    found = record(raw, 3)

    assert (found.position, found.id, found.time, found.degrade_reason) == (
        3,
        content_id(as_json(raw)),
        "2026-11-23T10:00:00Z",
        "",
    )


@pytest.mark.parametrize("version", ["1.0", "1.01", "1.05", "1.08", "1.10", "1.11", "1.12", "2.0", "3", "", None, 1.08])
def test_a_record_of_every_version_is_indexed_as_it_is(version: Any) -> None:
    """New versions add fields; a consumer that knows better than CloudTrail loses events."""
    assert record(event(5, eventVersion=version)).degrade_reason == ""


@pytest.mark.parametrize("given_id", [..., None, "", "x" * 513, "ä" * 257, 5, {"a": 1}, ["x"], True])
def test_a_record_without_a_usable_event_id_is_indexed_as_it_is(given_id: Any) -> None:
    """Records of version 1.0 have none."""
    found = record(event(5, eventID=given_id))

    assert (found.time, found.degrade_reason) == ("2026-11-23T10:00:00Z", "")


def test_identity_does_not_hang_on_the_neighbours() -> None:
    """One odd neighbour sends the whole file through the tolerant road; ids must come out the same."""
    raw = as_json(event(5, eventID=...))
    alone = split_records(text(file_text(raw))).records[0]
    beside = split_records(text(file_text(raw, b'{"a":NaN}'))).records[0]

    one, two = (read_record(it, 0, max_depth=64, max_bytes=1 << 20) for it in (alone, beside))

    assert isinstance(one, Record)
    assert isinstance(two, Record)
    assert (one.id, one.time, one.degrade_reason, bytes(one.raw)) == (
        two.id,
        two.time,
        two.degrade_reason,
        bytes(two.raw),
    )


# Time


@pytest.mark.parametrize(
    ("given_time", "time"),
    [
        ("2026-11-23T10:00:00Z", "2026-11-23T10:00:00Z"),
        ("2026-11-23T10:00:00.123Z", "2026-11-23T10:00:00.123000Z"),
        ("2026-11-23T10:00:00.123456789Z", "2026-11-23T10:00:00.123456Z"),
        ("2026-11-23T10:00:00+00:00", "2026-11-23T10:00:00Z"),
        ("2026-11-23T01:00:00+02:00", "2026-11-22T23:00:00Z"),
        ("2026-11-23T23:30:00-0130", "2026-11-24T01:00:00Z"),
        ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59Z"),
    ],
)
def test_a_time_is_read_in_utc(given_time: str, time: str) -> None:
    """The index is named after the day in UTC, whatever zone a tool has written."""
    found = record(event(eventTime=given_time))

    assert (found.time, found.degrade_reason) == (time, "")


@pytest.mark.parametrize(
    ("given_time", "time"),
    [
        ("2024-01-31 10:00:00", "2024-01-31T10:00:00Z"),
        ("2024-01-31T10:00:00", "2024-01-31T10:00:00Z"),
        ("2024-01-31", "2024-01-31T00:00:00Z"),
        ("20240131T100000Z", "2024-01-31T10:00:00Z"),
        ("2024-01-31T10:00Z", "2024-01-31T10:00:00Z"),
        ("2024-01-31 10:00:00+01:00", "2024-01-31T09:00:00Z"),
    ],
)
def test_a_time_that_only_we_can_read_dates_the_record_and_is_named(given_time: str, time: str) -> None:
    """Tools that touch files rewrite times so; the server leaves such an `eventTime` out of its index."""
    found = record(event(eventTime=given_time))

    assert (found.time, found.degrade_reason, found.time_problem) == (time, "", "event_time_unreadable")


@pytest.mark.parametrize(
    "given_time", ["2014-03-06T21: 22: 54Z", "yesterday", "2026-13-01T00:00:00Z", "2026-02-30T10:00:00Z", "1764"]
)
def test_a_time_that_nobody_can_read_leaves_the_record_undated(given_time: str) -> None:
    """It is indexed by its file's delivery time, and says so."""
    found = record(event(eventTime=given_time))

    assert (found.time, found.degrade_reason, found.time_problem) == (None, "", "event_time_unreadable")


@pytest.mark.parametrize("given_time", [..., None, ""])
def test_a_record_without_a_time_says_so(given_time: Any) -> None:
    """Its document is dated by its file."""
    found = record(event(eventTime=given_time))

    assert (found.time, found.degrade_reason, found.time_problem) == (None, "", "event_time_missing")


@pytest.mark.parametrize("given_time", [1_764_000_000, 1.5, {"a": 1}, ["2026-11-23T10:00:00Z"], True])
def test_a_time_of_another_type_leaves_the_record_undated(given_time: Any) -> None:
    """A number may be seconds or milliseconds: a guess would put an event into the wrong year."""
    found = record(event(5, eventTime=given_time))

    assert found.time is None
    assert found.time_problem


@pytest.mark.parametrize(
    "given_time",
    ["2025-W47-1T10:00:00Z", "2026-11-23T100000.1Z", "2026-W47-1T10:00:00", "2026W471", "2026-11-23T24:00:00Z"],
)
def test_an_exotic_time_never_reaches_the_server_as_it_is(given_time: str) -> None:
    """ISO 8601 has week dates; one as `@timestamp` would be refused, one in an index name would go back for ever."""
    found = record(event(eventTime=given_time))

    assert found.time_problem == "event_time_unreadable"
    assert found.time is None or found.time[:10] in ("2025-11-17", "2026-11-16", "2026-11-23", "2026-11-24")
    assert found.time is None or found.time[13::3][:2] == "::"


@given(given_time=st.text(st.sampled_from("0123456789-:TZW+. ,")) | st.datetimes().map(lambda at: f"{at.isoformat()}Z"))
def test_every_time_that_is_kept_is_one_form(given_time: str) -> None:
    """Index names and the server's date fields are made of it."""
    found = record(event(eventTime=given_time))

    if found.time is not None:
        day, _, rest = found.time.partition("T")
        assert [len(part) for part in day.split("-")] == [4, 2, 2]
        assert (day.replace("-", "") + rest[:8].replace(":", "")).isdigit()
        assert len(rest) in (9, 16)
        assert rest[-1] == "Z"


def test_times_at_the_end_of_the_calendar_are_unreadable() -> None:
    """In UTC they are no date at all."""
    for given_time in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-10:00"):
        assert record(event(eventTime=given_time)).time is None


@pytest.mark.parametrize("window", [..., None, {}, {"windowStart": None}, "PT5M", 5, {"windowStart": 5}])
def test_an_aggregated_event_without_a_window_is_undated_but_known(window: Any) -> None:
    """Its file says when it was delivered."""
    raw = {name: value for name, value in aggregated(5, timeWindow=window).items() if value is not ...}

    found = record(raw)

    assert found.time is None
    assert found.time_problem


# Values that surprise


@pytest.mark.parametrize(
    "changes",
    [
        {"userIdentity": None},
        {"userIdentity": ...},
        {"userIdentity": {}},
        {"userIdentity": {"type": "AWSService", "invokedBy": "AWS Internal"}},
        {"userIdentity": {"type": "IAMUser", "accessKeyId": ""}},
        {"userIdentity": {"type": "AssumedRole", "sessionContext": {"sessionIssuer": {}, "webIdFederationData": {}}}},
        {"userIdentity": "root"},
        {"sourceIPAddress": "AWS Internal/3"},
        {"sourceIPAddress": "ec2.amazonaws.com"},
        {"sourceIPAddress": ""},
        {"sourceIPAddress": ...},
        {"requestParameters": "text"},
        {"requestParameters": [1, 2]},
        {"requestParameters": {"a.b": 1, "": 2, "...": 3}},
        {"readOnly": "true"},
        {"resources": {}},
        {"somethingNew": {"in": "2030"}},
    ],
)
def test_only_identity_and_time_are_validated(changes: dict[str, Any]) -> None:
    """CloudTrail adds and changes fields without notice: whatever else stands there is none of our business."""
    found = record(event(5, **changes))

    assert (found.time, found.degrade_reason) == ("2026-11-23T10:00:00Z", "")


@pytest.mark.parametrize(
    "raw",
    [
        b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","n":9007199254740993}',
        b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","n":123456789012345678901234567890}',
        b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","n":2.0,"m":2,"o":-0,"p":-0.0}',
        b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","n":1e400,"m":1E+5,"o":0.1000}',
        b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","n":0.0020833333333333333333}',
        b'{ "eventID" : "1" ,\t"eventTime":"2026-11-23T10:00:00Z","u":"\\u00e4 \\/ \xc3\xa4"}',
    ],
)
def test_a_record_keeps_its_bytes(raw: bytes) -> None:
    """Numbers beyond 2^53, floats and escapes are evidence: nothing may parse and rewrite them."""
    found = in_file(raw)

    assert isinstance(found, Record)
    assert (bytes(found.raw), found.degrade_reason) == (raw, "")


# Records that need the degraded form


def nested(levels: int) -> bytes:
    """A record of so many levels, its own braces among them."""
    return (
        b'{"eventID":"deep","eventTime":"2026-11-23T10:00:00Z","a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"
    )


@pytest.mark.parametrize(("levels", "odd"), [(2, ""), (64, ""), (65, "too_deep"), (199, "too_deep"), (500, "too_deep")])
def test_a_record_of_too_many_levels_takes_the_degraded_form(levels: int, odd: str) -> None:
    """A node of OpenSearch 2.19 hangs at 990 levels, and takes the request with it."""
    found = in_file(nested(levels))

    assert isinstance(found, Record)
    assert (found.time, found.degrade_reason) == ("2026-11-23T10:00:00Z", odd)


@pytest.mark.parametrize("levels", [1_100, 50_000])
def test_a_record_of_more_levels_than_any_parser_takes_the_degraded_form(levels: int) -> None:
    """It is odd, but it is JSON: nothing of it may be lost."""
    found = in_file(nested(levels))

    assert isinstance(found, Record)
    assert found.time == "2026-11-23T10:00:00Z"
    assert found.degrade_reason in ("too_deep", "not_representable")


def test_brackets_inside_strings_are_no_levels() -> None:
    """Policies and queries are full of them."""
    found = record(event(5, requestParameters={"query": "[" * 300 + '"' + "{" * 300}))

    assert found.degrade_reason == ""


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b"-Infinity", id="Infinity"),
        pytest.param(b'"\\ud800"', id="lone surrogate"),
        pytest.param(b'"\\udc00\\ud800"', id="surrogates in the wrong order"),
        pytest.param(b'"a\x00b"', id="control character"),
        pytest.param(b'"a\nb"', id="line break in a string"),
        pytest.param(b'"\xff"', id="byte that is no UTF-8"),
        pytest.param(b'"\xed\xa0\x80"', id="surrogate as bytes"),
    ],
)
def test_what_the_server_cannot_parse_takes_the_degraded_form(value: bytes) -> None:
    """The record is known and dated like any other; its text is kept as a string."""
    found = in_file(b'{"eventID":"odd","eventTime":"2026-11-23T10:00:00Z","a":' + value + b"}")

    assert isinstance(found, Record)
    assert (found.time, found.degrade_reason) == ("2026-11-23T10:00:00Z", "not_representable")


NESTED = b'{"eventTime":"2026-11-23T10:00:00Z","a":[%b]}'


@pytest.mark.parametrize(
    ("raw", "odd"),
    [
        pytest.param(NESTED % b",".join([b"1"] * 19_996), "", id="20,000 members"),
        pytest.param(NESTED % b",".join([b"1"] * 20_000), "too_many_members", id="elements of a list"),
        pytest.param(NESTED % b",".join(b'{"k%d":1}' % n for n in range(10_000)), "too_many_members", id="objects"),
        pytest.param(NESTED % (b'"' + b"," * 30_000 + b'"'), "", id="commas in a string"),
        pytest.param(NESTED % (b'"' + b"{[," * 30_000 + b'\\"' + b"," * 9 + b'"'), "", id="structure in a string"),
        pytest.param(NESTED % (b'"' + b"x" * ((1 << 20) - 60) + b'"'), "", id="a mebibyte"),
        pytest.param(NESTED % (b'"' + b"x" * (1 << 20) + b'"'), "too_long", id="more than a mebibyte"),
    ],
)
def test_a_record_that_could_exhaust_a_nodes_memory_takes_the_degraded_form(raw: bytes, odd: str) -> None:
    """A record of 450,000 members ended a node, and came back to it 40 times."""
    slices = split_records(text(file_text(raw, event(7)))).records
    found, neighbour = read_records(slices, 0, max_depth=64, max_bytes=9 << 20)

    assert isinstance(found, Record)
    assert isinstance(neighbour, Record)
    assert (found.degrade_reason, neighbour.degrade_reason) == (odd, "")
    assert found.time == "2026-11-23T10:00:00Z"


@pytest.mark.parametrize(
    "name",
    [
        b"trailsink",
        b"@timestamp",
        b"trailsink.object",
        b"trailsink.position",
        b"trailsink.anything.else",
        b"trailsink.",
        rb"\u0074railsink.object",
        rb"trailsink\u002eobject",
        rb"\u0040timestamp",
        rb"trail\u0073ink",
    ],
)
def test_a_record_with_a_member_of_ours_takes_the_degraded_form(name: bytes) -> None:
    """As a field, it would say that the record came from another file."""
    raw = b'{"eventTime":"2026-11-23T10:00:00Z","%b":"s3://forged/key"}' % name
    found, neighbour = read_records([msgspec.Raw(raw), msgspec.Raw(as_json(event()))], 0, max_depth=64, max_bytes=9_999)

    assert isinstance(found, Record)
    assert isinstance(neighbour, Record)
    assert (found.degrade_reason, neighbour.degrade_reason) == ("reserved_field", "")


@pytest.mark.parametrize(
    "members",
    [
        {"requestParameters": {"trailsink.object": "x", "@timestamp": "y", "trailsink": 1}},
        {"userAgent": "trailsink"},
        {"userAgent": '"trailsink":'},
        {"trailsinks": 1},
        {"Trailsink": 1},
        {"@timestamps": 1},
    ],
)
def test_our_names_elsewhere_in_a_record_are_its_own(members: dict[str, Any]) -> None:
    """The API calls of trailsink itself are in CloudTrail, too."""
    assert record(event(5, **members)).degrade_reason == ""


# Many at once

ODD = st.sampled_from(
    [
        b"{}",
        b"[]",
        b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","eventID":"2"}',
        rb'{"event\u0049D":"1","eventTime":"2026-11-23T10:00:00Z"}',
        b'{"eventID":5,"eventTime":"2026-11-23T10:00:00Z"}',
        b'{"eventID":null,"eventTime":"2026-11-23T10:00:00Z"}',
        b'{"eventID":"1","eventTime":"2024-01-31 10:00:00"}',
        b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","a":"\xff"}',
        b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","a":"\xed\xa0\x80"}',
        b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","a":"\xc3\xa9"}',
        rb'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","a":"\ud83d\ude00"}',
        b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","a":1e400,"b":%b}' % (b"9" * 400),
        b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","a":%b%b}' % (b"[" * 63, b"]" * 63),
        b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","a":%b%b}' % (b"[" * 64, b"]" * 64),
        b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","a":[%b]}' % b",".join([b"{}"] * 70),
        b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","a":"%b"}' % (b"[" * 70),
        b'{\n"eventID":"1",\n"eventTime":"2026-11-23T10:00:00Z"}',
        b'{"eventID":"%b","eventTime":"2026-11-23T10:00:00Z"}' % (b"x" * 600),
        b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","a":"%b"}' % (b"x" * 3_000),
        b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","trailsink.object":"s3://b/k"}',
        rb'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","\u0074railsink.object":"s3://b/k"}',
        rb'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","a":"\u003c@timestamp"}',
        b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","@timestamp":"2020-01-01T00:00:00Z"}',
        b'{"eventTime":"2026-11-23T10:00:00Z","a":[%b]}' % b",".join([b"1"] * 20_000),
        as_json(aggregated(5)),
    ]
)


@given(
    raws=st.lists(st.one_of(ODD, st.integers(0, 9).map(lambda number: as_json(event(number)))), max_size=12),
    times=st.integers(1, 30),
    split=st.booleans(),
    most=st.sampled_from([2_000, 1 << 20]),
)
def test_many_records_are_read_as_each_alone(raws: list[bytes], times: int, most: int, *, split: bool) -> None:
    """Looking over many together is for speed; it must not see anything else."""
    slices = [raw if split and at % 5 == 0 else msgspec.Raw(raw) for at, raw in enumerate(raws * times)]

    together = list(read_records(slices, 7, max_depth=64, max_bytes=most))

    alone = [read_record(one, at, max_depth=64, max_bytes=most) for at, one in enumerate(slices, 7)]
    assert together == alone


# Rejections


@pytest.mark.parametrize(
    "raw",
    [b"1", b'"text"', b"null", b"true", b"[]", b'[{"eventID":"1"}]', b'{"eventID":}', b'{"eventID":"1"', b"x", b"{,}"],
)
def test_what_is_no_json_object_is_rejected_by_its_position(raw: bytes) -> None:
    """There is nothing to index; the dead letter says where it stands."""
    for one in (raw, msgspec.Raw(raw)):
        assert read_record(one, 5, max_depth=64, max_bytes=1_000) == Rejection(5, "not_a_json_object")


def test_a_record_that_can_never_be_sent_is_rejected() -> None:
    """No request is that large, in whatever form."""
    raw = as_json(event(5, requestParameters={"a": "x" * 1_000}))

    assert read_record(msgspec.Raw(raw), 5, max_depth=64, max_bytes=len(raw) - 1) == Rejection(5, "too_large")
    assert isinstance(read_record(msgspec.Raw(raw), 5, max_depth=64, max_bytes=len(raw)), Record)


def test_an_empty_object_is_a_record() -> None:
    """It says nothing, but CloudTrail's file counts it."""
    found = read(b"{}")

    assert isinstance(found, Record)
    assert found.time_problem == "event_time_missing"


@given(
    raw=st.binary(max_size=60) | st.text(st.sampled_from('{}[]",:\\ eventIDTime0123ud8'), max_size=40).map(str.encode)
)
@example(raw=b'{"eventID":"\xff"}')
@example(raw=b'{"\xff":"eventID"}')
@example(raw=b'{"eventTime":"\xff"}')
def test_no_bytes_are_too_strange_to_read(raw: bytes) -> None:
    """A record is read or rejected; an error would be a crash, and cost the file."""
    found = read_record(raw, 0, max_depth=64, max_bytes=1_000)

    assert isinstance(found, Rejection) or found.degrade_reason


@given(
    when=st.datetimes().map(lambda at: f"{at.replace(microsecond=0).isoformat()}Z"),
    partition=st.sampled_from(list(Partition)),
)
def test_twins_meet_in_one_index_whatever_their_file(when: str, partition: Partition) -> None:
    """The index is a function of the record alone, or a redelivery would double it."""
    routing = IndexNaming("cloudtrail", partition, "2013-11", "2026-11-24T12:00:00Z", 100)

    one, two = record(event(5, eventTime=when), 0), record(event(5, eventTime=when), 77)

    assert routing.index_of(one) == routing.index_of(two)
