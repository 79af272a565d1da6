"""Promises about which records selectors match: what AWS documents, and what a parsed record would say."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.factories import aggregated, as_json, event, file_text, insight, network_activity, text
from tests.support.json_strategies import objects, odd_records, scalars, values, written_object
from tests.support.naive_filter import matching_name
from worker.cloudtrail.filters.fields import DOCUMENTED, SCALARS
from worker.cloudtrail.filters.matching import RecordFilter
from worker.cloudtrail.filters.selectors import OPERATORS, parse_selectors
from worker.cloudtrail.records import FilteredRecord, Record, read_records
from worker.cloudtrail.split import split_records

MAX_BYTES = 1 << 20


def make_filter(selectors: list[dict[str, Any]]) -> RecordFilter:
    return RecordFilter(parse_selectors(json.dumps(selectors).encode(), "test"))


def selector(name: str = "noise", **fields: dict[str, list[str]]) -> dict[str, Any]:
    """A selector; a field's name has a double underscore for each dot."""
    return {
        "Name": name,
        "FieldSelectors": [{"Field": field.replace("__", ".")} | operators for field, operators in fields.items()],
    }


def read(records: list[bytes], record_filter: RecordFilter | None) -> list[Any]:
    raws = split_records(text(b'{"Records":[' + b",".join(records) + b"]}")).records
    return list(read_records(raws, 0, max_depth=64, max_bytes=MAX_BYTES, record_filter=record_filter))


# AWS's documented examples, by what they log. docs.aws.amazon.com/awscloudtrail/latest/userguide:
# filtering-data-events.html, logging-data-events-with-cloudtrail.html, logging-management-events-with-cloudtrail.html,
# logging-network-events-with-cloudtrail.html

S3_WRITE = event(
    1,
    readOnly=False,
    eventName="PutObject",
    resources=[
        {"type": "AWS::S3::Object", "ARN": "arn:aws:s3:::amzn-s3-demo-bucket1/folder/name.txt"},
        {"accountId": "123456789012", "type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::amzn-s3-demo-bucket1"},
    ],
)
LAMBDA = event(
    2,
    eventSource="lambda.amazonaws.com",
    eventName="Invoke",
    readOnly=False,
    resources=[{"type": "AWS::Lambda::Function", "ARN": "arn:aws:lambda:us-east-1:111122223333:function:f"}],
)
KMS = event(
    3,
    eventSource="kms.amazonaws.com",
    eventName="Decrypt",
    eventCategory="Management",
    managementEvent=True,
)
DESCRIBE = event(4, eventSource="ec2.amazonaws.com", eventName="DescribeInstances", eventCategory="Management")
NETWORK = network_activity(5, eventSource="ec2.amazonaws.com")
EVENTS = {"s3": S3_WRITE, "lambda": LAMBDA, "kms": KMS, "describe": DESCRIBE, "network": NETWORK}

EXAMPLES = [
    (selector(eventCategory={"Equals": ["Management"]}, eventSource={"NotEquals": ["kms.amazonaws.com"]}), "describe"),
    (selector(eventCategory={"Equals": ["Management"]}, readOnly={"Equals": ["true"]}), "kms describe"),
    (
        selector(
            eventCategory={"Equals": ["Data"]},
            resources__type={"Equals": ["AWS::S3::Object"]},
            resources__ARN={"StartsWith": ["arn:aws:s3:::amzn-s3-demo-bucket1/"]},
        ),
        "s3",
    ),
    (
        selector(
            eventCategory={"Equals": ["Data"]},
            resources__type={"Equals": ["AWS::S3::Object"]},
            resources__ARN={"NotStartsWith": ["arn:aws:s3:::amzn-s3-demo-bucket1/"]},
        ),
        "",
    ),
    (
        selector(
            eventCategory={"Equals": ["Data"]},
            resources__type={"Equals": ["AWS::S3::Object"]},
            resources__ARN={
                "StartsWith": ["arn:aws:s3:::amzn-s3-demo-bucket1/", "arn:aws:s3:::amzn-s3-demo-bucket2/"],
                "NotEndsWith": [".txt"],
            },
        ),
        "",
    ),
    (
        selector(
            eventCategory={"Equals": ["Data"]},
            resources__type={"Equals": ["AWS::S3::Object"]},
            resources__ARN={"StartsWith": ["arn:aws:s3:::nothing"], "EndsWith": [".txt"]},
        ),
        "s3",
    ),
    (
        selector(
            eventCategory={"Equals": ["Data"]},
            readOnly={"Equals": ["false"]},
            eventName={"StartsWith": ["Put", "Delete"]},
        ),
        "s3",
    ),
    (
        selector(
            eventCategory={"Equals": ["Data"]},
            resources__type={"Equals": ["AWS::Lambda::Function"]},
            eventName={"Equals": ["Invoke"]},
        ),
        "lambda",
    ),
    (
        selector(
            eventCategory={"Equals": ["Data"]},
            eventSource={"NotEquals": ["lambda.amazonaws.com"]},
            userIdentity__arn={"NotStartsWith": ["arn:aws:sts::999999999999:"]},
            sessionCredentialFromConsole={"NotEquals": ["true"]},
        ),
        "s3",
    ),
    (
        selector(
            eventCategory={"Equals": ["NetworkActivity"]},
            eventSource={"Equals": ["ec2.amazonaws.com"]},
            errorCode={"Equals": ["VpceAccessDenied"]},
            vpcEndpointId={"StartsWith": ["vpce-0123"]},
        ),
        "network",
    ),
]


@pytest.mark.parametrize(("example", "matched"), EXAMPLES)
def test_the_documented_examples_match_the_events_that_aws_says(example: dict[str, Any], matched: str) -> None:
    """Who knows the syntax from a trail must get what the trail would log."""
    record_filter = make_filter([example])

    names = [name for name, record in EVENTS.items() if record_filter.match_text(as_json(record))]

    assert names == matched.split()
    assert names == [name for name, record in EVENTS.items() if matching_name(as_json(record), [example])]


@pytest.mark.parametrize("record", [insight(1), aggregated(1), network_activity(1), event(1)])
def test_records_of_every_family_can_be_left_out(record: dict[str, Any]) -> None:
    """Insights and aggregated events have other members, and a time in another place."""
    record_filter = make_filter([selector(awsRegion={"Equals": ["eu-central-1"]})])

    assert read([as_json(record)], record_filter) == [FilteredRecord(0, "noise")]


def test_the_first_selector_that_matches_is_the_one_that_counts() -> None:
    """Each record is counted once, so the counts add up."""
    record_filter = make_filter(
        [
            selector("kms", eventSource={"Equals": ["kms.amazonaws.com"]}),
            selector("read", readOnly={"Equals": ["true"]}),
        ]
    )

    assert record_filter.match_text(as_json(KMS)) == "kms"
    assert record_filter.match_text(as_json(DESCRIBE)) == "read"


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(b'{"eventName":"GetObject","eventTime":"2026-11-23T10:00:00Z","a":NaN}', id="no JSON"),
        pytest.param(b'{"eventName":"GetObject","eventTime":"2026-11-23T10:00:00Z","a":"\\ud800"}', id="surrogate"),
        pytest.param(b'{"eventName":"GetObject","eventTime":"2026-11-23T10:00:00Z","a":"\xff"}', id="no UTF-8"),
        pytest.param(as_json(event(eventTime=...)), id="no time"),
        pytest.param(as_json(event(eventTime="2026-11-23 10:00:00")), id="another time"),
        pytest.param(as_json(event(trailsink={})), id="a member of ours"),
        pytest.param(as_json(event()).replace(b'{"bucket', b'{"a":' + b"[" * 70 + b"]" * 70 + b',"bucket'), id="deep"),
    ],
)
def test_a_record_that_is_not_as_cloudtrail_writes_it_is_never_left_out(record: bytes) -> None:
    """What was not understood must not be lost: it is indexed in its degraded form, or rejected by name."""
    record_filter = make_filter([selector(eventName={"Equals": ["GetObject"]})])

    results = read([record, as_json(event(1))], record_filter)

    assert not isinstance(results[0], FilteredRecord)
    assert results[1] == FilteredRecord(1, "noise")
    assert results[0] == read([record, as_json(event(1))], None)[0]


@pytest.mark.parametrize("field", ["userIdentity.arn", "requestParameters.bucketName"])
def test_a_value_that_cannot_be_read_is_not_matched(field: str) -> None:
    """Picking skips the text below a member, so a wrong escape is met only when a selector asks for the value."""
    root, member = field.split(".")
    records = [as_json(event(number, **{root: {member: "ODD"}})) for number in range(3)]
    records[1] = records[1].replace(b"ODD", b"\\ud800")
    record_filter = make_filter([selector("noise", **{field.replace(".", "__"): {"NotEquals": ["other"]}})])

    results = read(records, record_filter)

    assert [isinstance(result, FilteredRecord) for result in results] == [True, False, True]


def test_request_parameters_are_still_picked_where_a_selector_names_one() -> None:
    """People group by them; the filter needs the same member in another form."""
    records = [as_json(event(number, requestParameters=parameters)) for number, parameters in enumerate(PARAMETERS)]
    record_filter = make_filter([selector(requestParameters__bucketName={"Equals": ["noise"]})])

    assert read(records, record_filter)[:-1] == read(records, None)[:-1]
    assert read(records, record_filter)[-1] == FilteredRecord(len(records) - 1, "noise")


PARAMETERS = [{"bucketName": "x", "other": 1}, None, {}, {"roleName": ["a"]}, "text", [1], {"bucketName": ["noise"]}]


# The property: any record, any selectors, both ways.

NAMES = [
    "eventSource",
    "eventName",
    "readOnly",
    "eventTime",
    "userIdentity.arn",
    "userIdentity.sessionContext.sessionIssuer.arn",
    "resources.ARN",
    "resources.type",
    "requestParameters.a",
    "requestParameters.a.b",
    "requestParameters.bucketName",
    "sourceIPAddress",
    "errorCode",
    "additionalEventData.x",
]
TEXTS = ["a", "ab", "abc", "b", "true", "false", "1", "2.0", "1e5", "é", '"', "\\"]

json_texts = st.sampled_from(TEXTS).flatmap(
    lambda value: st.sampled_from([json.dumps(value).encode(), json.dumps(value, ensure_ascii=False).encode()])
)
leaves = json_texts | st.sampled_from([b"null", b"true", b"false", b"1", b"2.0", b"1e5", b"[]", b"{}"]) | scalars
shapes = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: b"[" + b", ".join(items) + b"]")
        | st.lists(st.tuples(st.sampled_from([b'"a"', b'"b"', b'"x"']), inner), max_size=2).map(
            lambda items: written_object(items, b" ")
        )
    ),
    max_leaves=5,
)
MEMBERS = ["arn", "ARN", "type", "a", "b", "x", "bucketName", "sessionContext", "sessionIssuer"]
members = st.lists(st.tuples(st.sampled_from(MEMBERS).map(lambda name: json.dumps(name).encode()), shapes), max_size=4)
roots = st.sampled_from(["eventSource", "eventName", "readOnly", "errorCode", "sourceIPAddress"])
record_members = st.lists(
    st.tuples(roots.map(lambda name: json.dumps(name).encode()), leaves | shapes)
    | st.tuples(
        st.sampled_from([b'"userIdentity"', b'"resources"', b'"requestParameters"', b'"additionalEventData"']),
        members.map(lambda items: written_object(items, b"")) | shapes,
    ),
    max_size=7,
)
records = st.tuples(record_members, st.booleans()).map(
    lambda parts: written_object(
        [
            *([(b'"eventVersion"', b'"1.11"')] if parts[1] else []),
            (b'"eventTime"', b'"2026-11-23T10:00:00Z"'),
            *parts[0],
        ],
        b"",
    )
)
value_lists = st.lists(st.sampled_from(TEXTS), min_size=1, max_size=3)
fields = st.tuples(
    st.sampled_from(NAMES), st.dictionaries(st.sampled_from(OPERATORS), value_lists, min_size=1, max_size=3)
).map(lambda parts: {"Field": parts[0]} | parts[1])
selectors = st.lists(st.lists(fields, min_size=1, max_size=3), min_size=1, max_size=4).map(
    lambda lists: [{"Name": f"selector {number}", "FieldSelectors": entry} for number, entry in enumerate(lists)]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(records, min_size=1, max_size=5), selectors)
def test_selectors_match_what_a_parsed_record_says(batch: list[bytes], chosen: list[dict[str, Any]]) -> None:
    """Picking members out of bytes must decide as the parsed record says: in a group, and alone."""
    record_filter = make_filter(chosen)

    results = read(batch, record_filter)

    assert len(results) == len(batch)
    for record, result, plain in zip(batch, results, read(batch, None), strict=True):
        expected = matching_name(record, chosen)
        understood = isinstance(plain, Record) and not (plain.degrade_reason or plain.time_problem)
        if understood and expected:
            assert result == FilteredRecord(plain.position, expected)
        else:
            assert result == plain


@settings(max_examples=100, deadline=None)
@given(objects | odd_records | values, selectors)
def test_no_text_at_all_is_a_fault(record: bytes, chosen: list[dict[str, Any]]) -> None:
    """Whatever stands in a file: it is matched or not, and nothing is raised."""
    record_filter = make_filter(chosen)

    name = record_filter.match_text(record)

    assert name in ("", *record_filter.selectors.names)


def test_what_is_remembered_of_combinations_is_bounded() -> None:
    """A function lives for hours, and an attacker chooses the names of events that do not exist."""
    record_filter = make_filter([selector(eventName={"Equals": ["A"]})])
    raws = split_records(text(file_text(*(event(number, eventName=f"E{number}") for number in range(5_000))))).records

    results = list(read_records(raws, 0, max_depth=64, max_bytes=MAX_BYTES, record_filter=record_filter))

    assert not any(isinstance(result, FilteredRecord) for result in results)
    assert record_filter.remembered <= 4_096


def test_every_field_can_be_picked() -> None:
    """A name that msgspec could not take as a field would fail in the function, not in the test of the file."""
    fields_of_all = (*SCALARS, *DOCUMENTED, "requestParameters.x", "summary.x")
    record_filter = make_filter(
        [selector(f"by {name}", **{name.replace(".", "__"): {"Equals": ["?"]}}) for name in fields_of_all]
    )

    assert read([as_json(event(1))], record_filter) == read([as_json(event(1))], None)
    assert msgspec.json.decode(as_json(event(1)))["eventName"] == "GetObject"
