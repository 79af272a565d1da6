"""Promises about documents: the record's own bytes, where they go, and the form for what the cluster cannot take."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import (
    ACCOUNT,
    ORIGIN,
    ROUTING,
    action,
    address,
    aggregated,
    as_json,
    document,
    event,
    event_id,
    file_text,
    insight,
    record,
    text,
)
from worker.cloudtrail.identity import content_id
from worker.cloudtrail.records import Record, read_record
from worker.cloudtrail.split import split_records
from worker.errors import Reason, UnreadableObject
from worker.opensearch.schema import index_template
from worker.pipeline.documents import (
    FIRST_EVENT,
    Action,
    Form,
    IndexNaming,
    Provenance,
    degrade,
    simpler_form,
    to_actions,
)
from worker.pipeline.limits import Partition

HARD = {
    "line breaks": b'{\n  "eventID": "1",\r\n  "eventTime": "2026-11-23T10:00:00Z"\n}',
    "a float": b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","a":2.0}',
    "a large number": b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","a":123456789012345678901234567890}',
    "spaces": b'{ "eventID" : "1" , "eventTime":"2026-11-23T10:00:00Z" , "a" : [ ] }',
}


def made_of(raw: bytes) -> Action:
    """The action of one record as it stands in a file."""
    found = read_record(split_records(text(file_text(raw))).records[0], 0, max_depth=64, max_bytes=1 << 20)
    assert isinstance(found, Record)
    (one,) = to_actions([found], 0, ORIGIN, ROUTING)
    return one


def without_ours(whole: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in whole.items() if name not in ("@timestamp", "trailsink")}


# The record's own form


@pytest.mark.parametrize("raw", [event(5), insight(5), aggregated(5)], ids=["API", "Insights", "aggregated"])
def test_a_document_is_the_record_and_where_it_came_from(raw: dict[str, Any]) -> None:
    """Nothing is flattened or renamed: rules and people search for CloudTrail's own paths."""
    whole = document(action(raw, 3))

    assert without_ours(whole) == raw
    assert whole["@timestamp"] == "2026-11-23T10:00:00Z"
    assert whole["trailsink"] == {
        "object": ORIGIN.uri,
        "position": 3,
        "indexed_at": "2026-11-23T12:00:00Z",
    } | ({"request": {"bucketName": "somebody", "key": "object/5"}} if "requestParameters" in raw else {})


@pytest.mark.parametrize("raw", [HARD["a float"], HARD["a large number"], HARD["spaces"], as_json(event(5))])
def test_the_records_own_bytes_stand_in_the_document(raw: bytes) -> None:
    """Evidence is what CloudTrail wrote, not what a parser made of it."""
    line = made_of(raw).lines.split(b"\n")[1]

    assert line.startswith(raw[:-1])
    assert line[len(raw) - 1 :].startswith(b',"@timestamp":"')


@pytest.mark.parametrize("raw", HARD.values(), ids=HARD)
def test_a_document_is_one_line(raw: bytes) -> None:
    """A second line break in a bulk request makes all of it unreadable; pretty-printed files exist."""
    one = made_of(raw)

    assert one.lines.count(b"\n") == 2
    assert one.lines.endswith(b"}\n")
    assert without_ours(document(one)) == json.loads(raw)


@given(
    members=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])).filter(lambda name: name not in ("@timestamp", "trailsink")),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=6,
        ),
    ),
    indent=st.none() | st.integers(0, 3),
)
def test_every_record_comes_back_out_of_its_document(members: dict[str, Any], indent: int | None) -> None:
    """Whatever it holds and however it was printed."""
    raw = json.dumps(event(5) | members | {"eventID": "1", "eventTime": "2026-11-23T10:00:00Z"}, indent=indent)

    one = action(raw.encode())

    assert without_ours(document(one)) == json.loads(raw)
    assert one.lines.count(b"\n") == 2


def test_a_document_is_addressed_by_its_content() -> None:
    """An `eventID` is a claim: two records that make the same one are two documents."""
    one, two = event(5, eventName="CreateAccessKey"), event(5, eventName="DescribeInstances")

    assert address(action(one)) == {"_index": "cloudtrail-2026-11-23", "_id": content_id(as_json(one)).decode()}
    assert address(action(one)) != address(action(two))


def test_a_record_of_a_file_without_a_checksum_says_so() -> None:
    """Nothing proves that it was not altered."""
    unchecked = msgspec.structs.replace(ORIGIN, unchecked=True)
    (one,) = to_actions([record()], 0, unchecked, ROUTING)

    assert document(one)["trailsink"]["unchecked"] is True
    assert document(degrade(one, "x"))["trailsink"]["unchecked"] is True
    assert "unchecked" not in document(action())["trailsink"]


def test_an_object_with_odd_characters_is_named_as_it_is() -> None:
    """S3 allows nearly everything in a key."""
    uri = 's3://b/ä "quoted" \\ \n.gz'

    (one,) = to_actions([record()], 0, Provenance(uri, "2026-11-23T10:05:00Z", "2026-11-23T12:00:00Z"), ROUTING)

    assert document(one)["trailsink"]["object"] == uri


def test_actions_keep_the_order_and_the_places_of_the_records() -> None:
    """Outcomes are told by position."""
    records = [record(event(number), number) for number in (4, 2, 9)]

    made = list(to_actions(records, 6, ORIGIN, ROUTING))

    assert [(one.file, one.position) for one in made] == [(6, 4), (6, 2), (6, 9)]
    assert [document(one)["eventID"] for one in made] == [event_id(4), event_id(2), event_id(9)]


# Routing

UNDATED = ("undated-2026-11-23", "undated-2026-11")  # by the file's delivery


@pytest.mark.parametrize(
    ("given_time", "day", "month"),
    [
        ("2026-11-23T10:00:00Z", "2026-11-23", "2026-11"),
        ("2026-11-23T23:59:59.999Z", "2026-11-23", "2026-11"),
        ("2026-11-01T01:00:00+02:00", "2026-10-31", "2026-10"),
        ("2013-11-01T00:00:00Z", "2013-11-01", "2013-11"),
        ("2026-11-24T11:59:59Z", "2026-11-24", "2026-11"),
        ("2013-10-31T23:59:59Z", *UNDATED),
        ("1970-01-01T00:00:00Z", *UNDATED),
        ("0001-01-01T00:00:00Z", *UNDATED),
        ("2026-11-24T12:00:00Z", *UNDATED),
        ("9999-12-31T23:59:59Z", *UNDATED),
        ("no time", *UNDATED),
        ("", *UNDATED),
    ],
)
def test_an_index_is_named_after_the_day_or_month_of_the_record(given_time: str, day: str, month: str) -> None:
    """A time that cannot be true would create indices in other centuries. Retention deletes by index."""
    one = record(event(eventTime=given_time))
    latest, delivered = "2026-11-24T12:00:00Z", "2026-11-23T12:00:00Z"

    by_day = IndexNaming("trail", Partition.DAY, FIRST_EVENT, latest, 100, delivered).index_of(one)
    by_month = IndexNaming("trail", Partition.MONTH, FIRST_EVENT, latest, 100, delivered).index_of(one)

    assert (by_day, by_month) == (f"trail-{day}", f"trail-{month}")


@given(given_time=st.text(st.sampled_from("0123456789-:TZW+. "), min_size=1) | st.datetimes().map(str))
def test_every_index_name_is_one_that_the_server_takes(given_time: str) -> None:
    """A name that it refuses would send the file back for ever."""
    name = ROUTING.index_of(record(event(eventTime=given_time)))

    assert name == "cloudtrail-undated" or len(name) == len("cloudtrail-2026-11-23")
    assert set(name.removeprefix("cloudtrail-")) <= set("0123456789-undated")


def test_a_week_date_makes_no_index_of_its_own() -> None:
    """The server takes no capital letter in a name, and answers so for ever."""
    name = ROUTING.index_of(record(event(eventTime="2025-W47-1T10:00:00Z")))

    assert name in ("cloudtrail-2025-11-17", "cloudtrail-undated")


@pytest.mark.parametrize(("days", "refused"), [(100, False), (101, True)])
def test_a_file_of_too_many_days_is_refused(*, days: int, refused: bool) -> None:
    """A corrupt or hostile file must not create a thousand indices."""
    first = datetime(2026, 1, 1, tzinfo=UTC)
    records = [record(event(n, eventTime=f"{first + timedelta(days=n):%Y-%m-%dT%H:%M:%SZ}"), n) for n in range(days)]

    try:
        ROUTING.check(records)
        found = None
    except UnreadableObject as problem:
        found = problem.reason

    assert found is (Reason.TOO_SCATTERED if refused else None)


def test_days_that_share_an_index_are_not_scattered() -> None:
    """With an index per month, or times that cannot be true, many days are few indices."""
    first = datetime(2025, 1, 1, tzinfo=UTC)
    year = [record(event(n, eventTime=f"{first + timedelta(days=n):%Y-%m-%dT%H:%M:%SZ}"), n) for n in range(365)]
    ancient = [record(event(n, eventTime=f"{1500 + n}-01-01T00:00:00Z"), n) for n in range(300)]

    IndexNaming("trail", Partition.MONTH, "2013-11", "2026-11-24T12:00:00Z", 12).check(year)
    ROUTING.check(ancient)


# The degraded form


def test_the_degraded_form_can_be_found_and_holds_the_whole_text() -> None:
    """Searchable by time, name, source, account and caller; nothing of the record is lost."""
    raw = as_json(event(5, errorCode="AccessDenied", errorMessage="no"))

    whole = document(degrade(action(raw), "mapper_parsing_exception"))

    assert whole["trailsink"] == {
        "object": ORIGIN.uri,
        "position": 0,
        "indexed_at": "2026-11-23T12:00:00Z",
        "request": {"bucketName": "somebody", "key": "object/5"},
        "degraded": "mapper_parsing_exception",
        "unsearchable": ["eventTime", "requestParameters", "userIdentity"],
        "raw": raw.decode(),
    }
    assert whole["@timestamp"] == "2026-11-23T10:00:00Z"
    expected = {
        "eventSource",
        "eventName",
        "awsRegion",
        "sourceIPAddress",
        "errorCode",
        "recipientAccountId",
        "eventID",
    }
    assert {name: whole[name] for name in expected} == {
        "eventSource": "s3.amazonaws.com",
        "eventName": "GetObject",
        "awsRegion": "eu-central-1",
        "sourceIPAddress": "192.0.2.10",
        "errorCode": "AccessDenied",
        "recipientAccountId": ACCOUNT,
        "eventID": event_id(5),
    }
    assert whole["readOnly"] is True
    assert whole["userIdentity"]["arn"].endswith("assumed-role/reader/session")
    assert whole["userIdentity"]["sessionContext"]["sessionIssuer"]["userName"] == "reader"
    assert "requestParameters" not in whole


def test_the_degraded_form_stays_under_the_same_id_and_index() -> None:
    """Else a second delivery would find the record missing, and double it."""
    one = action(event(5))

    assert address(degrade(one, "x")) == address(one)
    assert (degrade(one, "x").file, degrade(one, "x").position) == (one.file, one.position)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","a":NaN}', id="NaN"),
        pytest.param(b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","a":"\\ud800"}', id="lone surrogate"),
        pytest.param(b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","eventName":"\\ud800"}', id="in a field"),
        pytest.param(b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","a":"x\x00\ny"}', id="control characters"),
        pytest.param(b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","eventName":"\xff"}', id="no UTF-8"),
        pytest.param(b'{"requestParameters":{"bucketName":"\xff"}}', id="no UTF-8 in a parameter"),
        pytest.param(b'{"requestParameters":{"bucketName":"\\ud800"}}', id="lone surrogate in a parameter"),
        pytest.param(b"{}", id="empty object"),
        pytest.param(b"{ }", id="empty object with a space"),
        pytest.param(
            b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","a":' + b"[" * 900 + b"]" * 900 + b"}", id="deep"
        ),
        pytest.param(b'{"userIdentity":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001, id="deep caller"),
        pytest.param(b'{"userIdentity":{"type":"\\udfff","arn":5,"sessionContext":[]}}', id="odd caller"),
    ],
)
def test_an_odd_record_is_a_document_that_the_server_can_parse(raw: bytes) -> None:
    """The degraded form is the last chance: it must be plain JSON on one line whatever it holds."""
    one = made_of(raw)

    whole = json.loads(one.lines.split(b"\n")[1].decode("utf-8"), parse_constant=pytest.fail)
    assert one.lines.count(b"\n") == 2
    assert json.dumps(whole, ensure_ascii=False).encode("utf-8")
    assert whole["trailsink"]["degraded"] == one.degraded != ""
    assert whole["trailsink"]["raw"] == raw.decode("utf-8", "backslashreplace")


@pytest.mark.parametrize(
    ("changes", "degraded", "unsearchable"),
    [
        ({"eventTime": ...}, "event_time_missing", None),
        ({"eventTime": None}, "event_time_missing", ["eventTime"]),
        ({"eventTime": "yesterday"}, "event_time_unreadable", ["eventTime"]),
        ({"eventTime": "2026-11-23 10:00:00"}, "event_time_unreadable", ["eventTime"]),
        ({"eventTime": 1_764_000_000}, "event_time_missing", ["eventTime"]),
    ],
)
def test_an_odd_time_costs_nothing_else(changes: dict[str, Any], degraded: str, unsearchable: Any) -> None:
    """Tools that copy files rewrite times; what such a record asked for is searched like any other's."""
    raw = event(5, **changes)
    one = action(raw)

    whole = document(one)

    assert without_ours(whole) == raw
    assert (whole["trailsink"]["degraded"], one.degraded, one.form) == (degraded, degraded, Form.FULL)
    assert whole["trailsink"].get("unsearchable") == unsearchable
    assert whole["trailsink"]["request"] == {"bucketName": "somebody", "key": "object/5"}
    assert "raw" not in whole["trailsink"]


def test_a_long_keyword_is_named() -> None:
    """It is stored, and no search finds it."""
    assert document(action(event(5, userAgent="x" * 8_192)))["trailsink"]["unsearchable"] == ["userAgent"]
    assert "unsearchable" not in document(action(event(5, userAgent="x" * 8_191)))["trailsink"]
    assert action(event(5, userAgent="x" * 8_192)).degraded == ""


def test_a_value_that_no_index_takes_costs_only_itself() -> None:
    """Anybody can make one, with a long parameter of an API call."""
    raw = event(5, requestParameters={"long": "x" * 40_000, "bucketName": "b"})

    one = simpler_form(action(raw), "illegal_argument_exception")

    assert one is not None
    whole = document(one)
    assert (one.form, one.degraded, address(one)) == (Form.SHORTENED, "value_too_long", address(action(raw)))
    assert without_ours(whole) == raw | {"requestParameters": {"long": "x" * 4_096, "bucketName": "b"}}
    assert whole["trailsink"]["unsearchable"] == ["requestParameters.long"]
    assert json.loads(whole["trailsink"]["raw"]) == raw


def test_each_form_is_followed_by_a_simpler_one() -> None:
    """The last chance holds no field that a server could refuse."""
    full = action(event(5, additionalEventData="a sentence"))

    shortened = simpler_form(full, "mapper_parsing_exception")
    assert shortened is not None
    degraded = simpler_form(shortened, "mapper_parsing_exception")

    assert degraded is not None
    assert [one.form for one in (full, shortened, degraded)] == [Form.FULL, Form.SHORTENED, Form.DEGRADED]
    assert "additionalEventData" not in document(shortened)
    assert document(shortened)["requestParameters"] == {"bucketName": "somebody", "key": "object/5"}
    assert document(degraded) == document(degrade(full, "mapper_parsing_exception"))
    assert simpler_form(degraded, "mapper_parsing_exception") is None


def test_a_record_with_nothing_to_leave_out_is_degraded_at_once() -> None:
    """A shortened form that is the same would be refused again."""
    one = simpler_form(action(event(5)), "mapper_parsing_exception")

    assert one is not None
    assert (one.form, one.degraded) == (Form.DEGRADED, "mapper_parsing_exception")


def test_a_mark_is_not_left_in_a_simpler_form() -> None:
    """A name twice in one object is an error for the server."""
    one = simpler_form(action(event(5, eventTime="yesterday", userAgent="x" * 9_000)), "mapper_parsing_exception")

    assert one is not None
    assert one.lines.count(b'"degraded"') == one.lines.count(b'"unsearchable"') == 1
    assert document(one)["trailsink"]["degraded"] == "mapper_parsing_exception"


def test_a_degraded_record_without_a_time_is_dated_by_its_file() -> None:
    """It can be found where its neighbours are."""
    whole = document(made_of(b'{"eventID":"1","eventName":"x"}'))

    assert whole["@timestamp"] == ORIGIN.delivered_at


def test_a_record_that_uses_our_names_keeps_its_own() -> None:
    """The degraded form keeps both sides apart."""
    raw = as_json(event(5) | {"@timestamp": "theirs", "trailsink": {"object": "theirs"}, "trailsink.position": 7})

    whole = document(action(raw))

    assert whole["@timestamp"] == "2026-11-23T10:00:00Z"
    assert whole["trailsink"]["object"] == ORIGIN.uri
    assert whole["trailsink"]["degraded"] == "reserved_field"
    assert "trailsink.position" not in whole
    assert json.loads(whole["trailsink"]["raw"])["trailsink"] == {"object": "theirs"}


@pytest.mark.parametrize("odd", [b"\xff", b"\\ud800", b"a\x00b"], ids=["no UTF-8", "surrogate", "control character"])
def test_the_caller_can_be_found_whatever_else_is_odd(odd: bytes) -> None:
    """A single byte somewhere in the identity must not hide who it was."""
    raw = b'{"eventID":"1","eventTime":"2026-11-23T10:00:00Z","userIdentity":{"arn":"arn:x","userName":"' + odd + b'"}}'

    assert document(made_of(raw))["userIdentity"]["arn"] == "arn:x"


@pytest.mark.parametrize("value", [5, 2.5, True, None, [], ["x"], {}, {"a": "b"}])
def test_a_field_of_an_unexpected_type_is_left_to_the_full_text(value: Any) -> None:
    """It may be what the cluster refused; a second refusal would cost the record."""
    raw = as_json(event(5, eventName=value, userIdentity=value, sourceIPAddress=value))

    whole = document(degrade(action(raw), "mapper_parsing_exception"))

    assert not {"eventName", "userIdentity", "sourceIPAddress"} & set(whole)
    assert json.loads(whole["trailsink"]["raw"]) == json.loads(raw)


def test_a_huge_field_is_left_to_the_full_text() -> None:
    """Identity is short; a megabyte that calls itself a user agent need not be there twice."""
    raw = as_json(event(5, userAgent="x" * 100_000))

    whole = document(degrade(action(raw), "x"))

    assert "userAgent" not in whole
    assert "eventName" in whole


def test_every_field_of_the_degraded_form_can_never_be_refused() -> None:
    """A string in a keyword of bounded length always passes; anything else might not."""
    properties = index_template("cloudtrail")["template"]["mappings"]["properties"]
    everything = dict.fromkeys(set(properties) - {"@timestamp", "trailsink"}, "x") | {
        "eventTime": "2026-11-23T10:00:00Z"
    }
    issuer = properties["userIdentity"]["properties"]["sessionContext"]["properties"]["sessionIssuer"]
    identity = dict.fromkeys(properties["userIdentity"]["properties"], "x")
    session = {"sessionContext": {"sessionIssuer": dict.fromkeys(issuer["properties"], "x")}}
    raw = as_json(everything | {"userIdentity": identity | session})

    whole = without_ours(document(degrade(action(raw), "x")))

    caller = whole.pop("userIdentity")
    from_session = caller.pop("sessionContext")["sessionIssuer"]
    assert {"eventSource", "eventName", "eventID", "recipientAccountId"} <= set(whole)
    for name in whole:
        kinds = [properties[name], *properties[name].get("fields", {}).values()]
        assert kinds[0]["type"] in ("keyword", "match_only_text")
        assert all(kind.get("ignore_above") == 8191 for kind in kinds if kind["type"] == "keyword")
        assert all(kind.get("ignore_malformed") for kind in kinds if kind["type"] == "ip")
    for name in caller:
        assert properties["userIdentity"]["properties"][name] == {"type": "keyword", "ignore_above": 8191}
    for name in from_session:
        assert issuer["properties"][name] == {"type": "keyword", "ignore_above": 8191}


def test_every_field_of_the_degraded_form_is_mapped() -> None:
    """A field that the mapping does not know could not be searched for."""
    ours = index_template("cloudtrail")["template"]["mappings"]["properties"]
    names = set(document(degrade(action(event(5)), "x")))

    assert names <= set(ours)


@given(value=st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_the_full_text_comes_back_byte_for_byte(value: str) -> None:
    """It is the only copy of what the cluster would not take."""
    raw = msgspec.json.encode(event(5, userAgent=value.encode("utf-8", "replace").decode()))

    whole = document(degrade(action(raw), "x"))

    assert whole["trailsink"]["raw"].encode() == raw
