"""Promises about cutting a file into records: byte for byte, and one bad record costs only itself."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import aggregated, as_json, event, event_id, file_text, insight, text
from tests.support.json_strategies import objects, odd_records, spaces, strings, values, written_list
from worker.cloudtrail.split import MAX_RECORDS, RawRecords, split_records
from worker.errors import NoEvents, Reason, UnreadableObject


def whole_file(records: list[bytes], space: bytes, *, before: bytes = b"", after: bytes = b"") -> bytes:
    members = [
        part for part in (before, b'"Records"' + space + b":" + space + written_list(records, space), after) if part
    ]
    return space + b"{" + space + (space + b"," + space).join(members) + space + b"}" + space


def found(slices: RawRecords) -> list[bytes]:
    return [bytes(one) for one in slices.records]


def refusal(content: bytes, *, truncated: bool = False) -> Reason:
    with pytest.raises(UnreadableObject) as caught:
        split_records(text(content, truncated=truncated))
    return caught.value.reason


@given(records=st.lists(objects, max_size=6), space=spaces)
def test_cutting_a_good_file_gives_back_every_record_byte_for_byte(records: list[bytes], space: bytes) -> None:
    """Documents are made of these bytes: numbers, escapes and spaces stay what they were."""
    slices = split_records(text(whole_file(records, space)))

    assert found(slices) == records
    assert slices.problem is None
    assert all(isinstance(one, msgspec.Raw) for one in slices.records)


@given(records=st.lists(objects, max_size=6), odd=odd_records, at=st.integers(0, 6), space=spaces)
def test_an_odd_record_changes_nothing_for_its_neighbours(
    records: list[bytes], odd: bytes, at: int, space: bytes
) -> None:
    """The parser refuses the whole file for it; the tolerant road gives the same bytes, and the odd one as it is."""
    at = min(at, len(records))
    several = [*records[:at], odd, *records[at:]]

    slices = split_records(text(whole_file(several, space)))

    assert found(slices) == several
    assert slices.problem is None
    assert [place for place, one in enumerate(slices.records) if isinstance(one, bytes)] == [at]


@given(records=st.lists(objects, max_size=4), name=strings, value=values, space=spaces, first=st.booleans())
@pytest.mark.parametrize("odd", [[], [b'{"a":NaN}']], ids=["fast", "tolerant"])
def test_other_members_of_the_file_are_passed_over(  # noqa: PLR0913 - one per part of a file
    *, records: list[bytes], name: bytes, value: bytes, space: bytes, first: bool, odd: list[bytes]
) -> None:
    """Tools add their own, and their values may look like records."""
    if json.loads(name) == "Records":
        name = b'"others"'
    member = name + b":" + value

    slices = split_records(text(whole_file(records + odd, space, **{"before" if first else "after": member})))

    assert found(slices) == records + odd
    assert slices.problem is None


@pytest.mark.parametrize(
    "member",
    [
        b'"other":{"Records":[{"eventID":"inner"}]}',
        b'"other":[{"Records":[{"eventID":"inner"}]}]',
        b'"other":"\\"Records\\":[{"',
        b'"other":"Records"',
    ],
)
@pytest.mark.parametrize("odd", [[], [b'{"a":NaN}']], ids=["fast", "tolerant"])
def test_only_the_files_own_list_is_cut(member: bytes, odd: list[bytes]) -> None:
    """A member that has a `Records` of its own, or says the word, holds no records of this file."""
    records = [as_json(event(1)), *odd]

    slices = split_records(text(b"{" + member + b',"Records":[' + b",".join(records) + b"]," + member + b"}"))

    assert found(slices) == records
    assert slices.problem is None


def test_a_record_that_speaks_of_records_is_one_record() -> None:
    """CloudTrail logs calls that carry CloudTrail's own format."""
    record = as_json(event(1, requestParameters={"Records": [{"eventID": "a"}, {"eventID": "b"}]}))

    assert found(split_records(text(file_text(record)))) == [record]


@pytest.mark.parametrize("odd", [[], [b'{"a":NaN}']], ids=["fast", "tolerant"])
def test_two_lists_of_one_name_are_both_cut(odd: list[bytes]) -> None:
    """JSON parsers keep the last of two members, and the events of the first would be gone."""
    one, two, three = (as_json(event(number)) for number in (1, 2, 3))

    slices = split_records(text(b'{"Records":[' + one + b'],"Records":[' + b",".join([two, three, *odd]) + b"]}"))

    assert found(slices) == [one, two, three, *odd]


def test_a_file_of_no_records_is_a_good_file() -> None:
    """CloudTrail writes them; they are done, not broken."""
    for content in (b'{"Records":[]}', b' { "Records" : [ ] } ', b'{"Records":[],"more":1}'):
        assert split_records(text(content)) == RawRecords([])


@pytest.mark.parametrize("odd", [[], [b'{"a":NaN}']], ids=["fast", "tolerant"])
def test_elements_that_are_no_objects_keep_their_places(odd: list[bytes]) -> None:
    """Each is named by its position in the dead letter."""
    elements = [b"1", b'"text"', b"null", b"[]", as_json(event(1)), b"true", b"[[{}]]", *odd]

    assert found(split_records(text(whole_file(elements, b"")))) == elements


@pytest.mark.parametrize("content", [b"", b"  \n "])
def test_a_text_of_nothing_is_refused(content: bytes) -> None:
    """Nothing is not a file of no records."""
    assert refusal(content) in (Reason.EMPTY, Reason.NOT_JSON)


@pytest.mark.parametrize(
    "content",
    [
        b"null",
        b"42",
        b'"text"',
        b"[]",
        b'[{"eventID":"1"}]',
        b"<xml/>",
        b"version account-id interface-id",
        b"{not json",
        '{"Records":[]}'.encode("utf-16"),
        '{"Records":[]}'.encode("utf-16-le"),
        b"\x00\x01\x02",
    ],
)
def test_a_text_that_is_no_json_object_is_not_json(content: bytes) -> None:
    """Other services' files end here, each with its reason."""
    assert refusal(content) is Reason.NOT_JSON


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b'{"records":[]}',
        b'{"Records":null}',
        b'{"Records":{}}',
        b'{"Records":"text"}',
        b'{"Records":{"Records":[{}]}}',
        b'{"logFiles":[],"digestEndTime":"2026-11-23T10:00:00Z"}',
        b'{"Records":1,"Recordss":[]}',
        as_json(event(1)),
    ],
)
def test_json_without_a_list_of_records_is_named(content: bytes) -> None:
    """A peer took a missing list for an empty one, and acknowledged files that it had not read."""
    assert refusal(content) is Reason.NO_RECORDS


def test_json_lines_are_not_json() -> None:
    """One event per line is another format; nothing of it may pass for a whole file."""
    lines = b"\n".join(as_json(event(number)) for number in range(3))

    assert refusal(lines) is Reason.NOT_JSON


def test_text_behind_the_file_costs_the_file_but_not_its_records() -> None:
    """Two files written behind one another: the first one's records are true, the rest needs a person."""
    one, two = as_json(event(1)), as_json(event(2))

    slices = split_records(text(file_text(one) + b"\n" + file_text(two)))

    assert found(slices)[:1] == [one]
    assert slices.problem is not None
    assert slices.problem.reason is Reason.NOT_JSON


@given(
    records=st.lists(objects | odd_records, min_size=1, max_size=4),
    space=spaces,
    share=st.floats(0, 1),
    unzipped=st.booleans(),
)
def test_a_text_that_just_ends_gives_its_complete_records(
    *, records: list[bytes], space: bytes, share: float, unzipped: bool
) -> None:
    """Wherever an upload broke off: no complete record is lost, and none is made up."""
    content = whole_file(records, space)
    at = min(max(content.index(b"{") + 1, int(len(content) * share)), len(content.rstrip()) - 1)
    start = content.index(b"[") + 1
    complete = []
    for record in records:
        start = content.index(record, start) + len(record)
        if start <= at:
            complete.append(record)

    slices = split_records(text(content[:at], truncated=unzipped))

    assert found(slices) == complete
    assert slices.problem is not None
    assert slices.problem.reason is Reason.TRUNCATED


def test_what_a_cut_off_record_holds_never_becomes_a_record() -> None:
    """A list of objects inside it may look like a list of records; an event that never was must not be indexed."""
    inner = [{"eventName": f"inner-{number}", "eventID": f"inner-{number}"} for number in range(5)]
    first, last = as_json(event(1)), as_json(event(2, requestParameters={"events": inner}))
    content = file_text(first, last)

    slices = [
        split_records(text(content[:at])) for at in range(content.index(last) + 1, content.index(last) + len(last))
    ]

    assert all(found(one)[:1] == [first] for one in slices)
    assert {piece for one in slices for piece in found(one)[1:] if b"inner" in piece} == set()


def test_a_gzip_stream_that_ends_before_any_content_is_truncated() -> None:
    """There is nothing to index, and nothing to call by another name."""
    assert refusal(b"", truncated=True) is Reason.TRUNCATED
    assert refusal(b"  ", truncated=True) is Reason.TRUNCATED


def test_a_whole_text_of_a_gzip_stream_that_just_ends_is_still_truncated() -> None:
    """The checksum behind it was never seen: the records are indexed, and somebody looks at the file."""
    records = [as_json(event(1)), as_json(event(2))]

    slices = split_records(text(file_text(*records), truncated=True))

    assert found(slices) == records
    assert slices.problem is not None
    assert slices.problem.reason is Reason.TRUNCATED


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b'{"Records":[' + b",".join([b"{}"] * (MAX_RECORDS + 1)) + b"]}", id="small objects"),
        pytest.param(b'{"Records":[' + b",".join([b'{"a":1}'] * (MAX_RECORDS + 1)) + b"]}", id="objects"),
        pytest.param(b'{"Records":[' + b"0," * (3 * MAX_RECORDS) + b"0]}", id="numbers"),
    ],
)
def test_a_file_of_too_many_records_is_too_large(content: bytes) -> None:
    """Each record costs memory before it is sent, however short it is."""
    assert refusal(content) is Reason.TOO_LARGE


def test_every_family_of_records_is_cut_alike() -> None:
    """Insights and aggregated events come in files of the same form."""
    records = [as_json(insight(1)), as_json(aggregated(2)), as_json(event(3, eventID=event_id(3)))]

    assert found(split_records(text(file_text(*records)))) == records


DIGEST: dict[str, object] = {
    "awsAccountId": "123456789012",
    "digestStartTime": "2026-11-23T06:00:00Z",
    "digestEndTime": "2026-11-23T07:00:00Z",
    "digestS3Bucket": "trail-bucket",
    "digestS3Object": "AWSLogs/123456789012/CloudTrail-Digest/x.json.gz",
    "previousDigestS3Bucket": None,
    "logFiles": [],
}


@pytest.mark.parametrize("log_files", [[], [{"s3Bucket": "trail-bucket", "s3Object": "k"}]])
def test_a_digest_is_known_by_its_content(log_files: list[object]) -> None:
    """A copy under another name holds no events either: it is no dead letter."""
    with pytest.raises(NoEvents) as caught:
        split_records(text(as_json(DIGEST | {"logFiles": log_files})))

    assert caught.value.name == "digest"


def test_records_in_a_digest_are_read() -> None:
    """Nothing that holds events is ignored, whatever else it holds."""
    raws = split_records(text(as_json(DIGEST | {"Records": [event(1)]})))

    assert (len(raws.records), raws.problem) == (1, None)


@pytest.mark.parametrize(
    "changes", [{"logFiles": None}, {"logFiles": "text"}, {"digestS3Object": None}, {"digestS3Object": 1}]
)
def test_what_only_resembles_a_digest_is_refused(changes: dict[str, object]) -> None:
    """Not recognising a file must never mean losing it."""
    assert refusal(as_json(DIGEST | changes)) is Reason.NO_RECORDS
