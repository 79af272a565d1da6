"""Promises about a batch: every object and record is accounted for, and a message is done only when all of it is."""

from __future__ import annotations

import json
import threading
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.factories import (
    BUCKET,
    as_json,
    bridge_event,
    cloudtrail_notice,
    configuration_test_event,
    event,
    event_id,
    file_text,
    key,
    log_file,
    message,
    packed,
    s3_entry,
    s3_notice,
)
from tests.support.fakes import DOWN, FakePipeline, FetchMode, MemoryIndex, make_pipeline
from worker.cloudtrail.inflate import inflate
from worker.cloudtrail.split import split_records
from worker.errors import Reason, UnreadableObject
from worker.pipeline.accounting import FileOutcome
from worker.pipeline.bulk import BulkResponse
from worker.pipeline.limits import Limits
from worker.pipeline.notifications import parse_notification

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.pipeline.accounting import BatchResult
    from worker.pipeline.bulk import DeliveryResult
    from worker.pipeline.documents import Action
    from worker.pipeline.ports import Message


MAPPING = "mapper_parsing_exception"


def numbers(result: BatchResult) -> list[tuple[int, int, int, int, int]]:
    """Read, indexed, duplicate, degraded and rejected, of each file."""
    return [(file.read, file.indexed, file.duplicate, file.degraded, file.rejected) for file in result.files]


def outcomes(result: BatchResult) -> list[FileOutcome]:
    return [file.outcome for file in result.files]


def assert_nothing_lost(result: BatchResult, batch: Sequence[Message], letters: Counter[str]) -> None:
    """The invariant of every batch, whatever happened in it."""
    for file in result.files:
        if file.outcome is not FileOutcome.HANDED_BACK:
            assert file.read == file.indexed + file.duplicate + file.degraded + file.rejected
    by_ref = {(file.ref.bucket, file.ref.key, file.ref.version_id): file for file in result.files}
    for one in batch:
        if one.id in result.failed:
            continue
        for ref in parse_notification(one.body).objects:
            file = by_ref[ref.bucket, ref.key, ref.version_id]
            assert file.outcome is FileOutcome.INDEXED or letters[ref.key]


def buried(pipeline: FakePipeline) -> Counter[str]:
    return Counter(ref.key for letter in pipeline.queue.letters for ref in parse_notification(letter.body).objects)


def test_a_file_is_indexed_and_its_message_is_done(pipeline: FakePipeline) -> None:
    """The main road: all records in, nothing handed back, nothing dead-lettered."""
    one = pipeline.announce("one", log_file(event(1), event(2), event(3)))

    result = pipeline.consume(one)

    assert result.failed == ()
    assert numbers(result) == [(3, 3, 0, 0, 0)]
    assert pipeline.index.event_ids == {event_id(1), event_id(2), event_id(3)}
    assert (pipeline.queue.letters, pipeline.queue.handed_back) == ([], [])


def test_a_document_says_where_it_came_from(pipeline: FakePipeline) -> None:
    """From an event back to its file, which is the evidence."""
    pipeline.consume(pipeline.announce("one", log_file(event(1), event(2))))

    whole = pipeline.index.find("cloudtrail-2026-11-23", event_id(2))

    assert whole["trailsink"] == {
        "object": f"s3://{BUCKET}/{key('one')}",
        "position": 1,
        "indexed_at": "2026-11-23T12:00:00Z",
        "request": {"bucketName": "somebody", "key": "object/2"},
    }


def test_a_redelivery_changes_nothing(pipeline: FakePipeline) -> None:
    """Ids come from the records, so the second delivery finds them there."""
    one = pipeline.announce("one", log_file(event(1), event(2)))
    pipeline.consume(one)
    before = dict(pipeline.index.documents)

    result = pipeline.consume(one)

    assert result.failed == ()
    assert numbers(result) == [(2, 0, 2, 0, 0)]
    assert pipeline.index.documents == before


def test_an_event_that_comes_in_two_files_is_indexed_once(pipeline: FakePipeline) -> None:
    """CloudTrail delivers some events twice, in files of different names."""
    batch = [
        pipeline.announce("one", log_file(event(1), event(2)), 1),
        pipeline.announce("two", log_file(event(2), event(3)), 2),
    ]

    result = pipeline.consume(*batch)

    assert result.failed == ()
    assert len(pipeline.index.documents) == 3
    assert numbers(result) == [(2, 2, 0, 0, 0), (2, 1, 1, 0, 0)]


def test_an_event_without_an_id_is_indexed_once_too(pipeline: FakePipeline) -> None:
    """Records of version 1.0 have none: their bytes are their name."""
    batch = [pipeline.announce(name, log_file(event(1, eventID=...)), n) for n, name in enumerate(("one", "two"))]

    pipeline.consume(*batch)
    pipeline.consume(*batch)

    assert len(pipeline.index.documents) == 1


def test_records_of_many_files_share_a_request(pipeline: FakePipeline) -> None:
    """A request per small file would be the slowest way there is."""
    batch = [pipeline.announce(f"file-{n}", log_file(event(2 * n), event(2 * n + 1)), n) for n in range(20)]

    result = pipeline.consume(*batch)

    assert len(pipeline.index.documents) == 40
    assert pipeline.index.deliveries == result.stats.bulk_requests == 1


def test_a_large_file_is_sent_in_several_requests() -> None:
    """No request may grow with the file."""
    with make_pipeline(Limits(bulk_bytes=10_000, bulk_actions=7)) as pipeline:
        result = pipeline.consume(pipeline.announce("one", log_file(*(event(n) for n in range(50)))))

        assert numbers(result) == [(50, 50, 0, 0, 0)]
        assert all(len(body) <= 10_000 and body.count(b"\n") <= 14 for body in pipeline.index.bodies)


def test_a_file_of_no_records_is_done(pipeline: FakePipeline) -> None:
    """CloudTrail writes them; there is nothing to lose."""
    result = pipeline.consume(pipeline.announce("one", log_file()))

    assert result.failed == ()
    assert outcomes(result) == [FileOutcome.INDEXED]
    assert pipeline.queue.letters == []


def test_a_key_that_s3_encodes_is_fetched_by_its_plain_name(pipeline: FakePipeline) -> None:
    """Decoded once: not at all, or twice, is another object."""
    pipeline.store.put("trail/a b+c%2B ä.json.gz", log_file(event(1)))

    result = pipeline.consume(
        message(s3_notice("trail/a+b%2Bc%252B+%C3%A4.json.gz"), 1), message(bridge_event("trail/a b+c%2B ä.json.gz"), 2)
    )

    assert result.failed == ()
    assert set(pipeline.store.fetched) == {"trail/a b+c%2B ä.json.gz"}


def test_what_announces_nothing_is_done_and_counted(pipeline: FakePipeline) -> None:
    """Test events, other services' files and digests: named, and neither read nor dead-lettered."""
    batch = [
        message(configuration_test_event(), 1),
        message("CloudTrail validation message.", 2),
        message(s3_notice(key(kind="CloudTrail-Digest")), 3),
        message(s3_notice(key(kind="Config"), s3_entry("x", eventName="ObjectRemoved:Delete")), 4),
    ]

    result = pipeline.consume(*batch)

    assert result.failed == ()
    assert result.ignored == {
        "test_event": 1,
        "cloudtrail_validation": 1,
        "digest": 1,
        "service_Config": 1,
        "event_ObjectRemoved": 1,
    }
    assert (pipeline.store.fetched, pipeline.queue.letters) == ([], [])


@pytest.mark.parametrize("body", ["not json", "{}", "[]", "42", '{"Records":[]}', '{"Records":null}'])
def test_a_malformed_message_goes_to_the_dead_letters_as_it_is(pipeline: FakePipeline, body: str) -> None:
    """Redelivery will not help, and what was meant can only be seen in the body itself."""
    result = pipeline.consume(message(body, receive_count=3))

    (letter,) = pipeline.queue.letters
    assert result.failed == ()
    assert (letter.body, letter.reason) == (body, Reason.MALFORMED_MESSAGE)
    assert (letter.source_message_id, letter.attempts) == ("message-1", 3)


def test_a_malformed_message_costs_only_itself(pipeline: FakePipeline) -> None:
    """The batch's other messages are done as if it had not been there."""
    result = pipeline.consume(message("{}", 1), pipeline.announce("two", log_file(event(1)), 2))

    assert result.failed == ()
    assert pipeline.index.event_ids == {event_id(1)}
    assert pipeline.queue.reasons == {"malformed_message": 1}


def test_a_message_of_which_a_part_is_malformed_loses_only_that_part(pipeline: FakePipeline) -> None:
    """Its objects are indexed, and the body is kept for the rest."""
    body = s3_notice(pipeline.put("one", log_file(event(1))), s3_entry("two", s3=None))

    result = pipeline.consume(message(body))

    assert result.failed == ()
    assert pipeline.index.event_ids == {event_id(1)}
    assert [(letter.body, letter.reason) for letter in pipeline.queue.letters] == [(body, Reason.MALFORMED_MESSAGE)]


def test_a_failing_object_brings_back_its_message_but_its_siblings_are_indexed(pipeline: FakePipeline) -> None:
    """The whole message comes again, and the siblings will be duplicates then."""
    entries = [
        pipeline.put("one", log_file(event(1))),
        pipeline.put("two", DOWN),
        pipeline.put("three", log_file(event(3))),
    ]
    one = message(s3_notice(*entries))

    first = pipeline.consume(one)
    pipeline.put("two", log_file(event(2)))
    second = pipeline.consume(one)

    assert first.failed == ("message-1",)
    assert outcomes(first) == [FileOutcome.INDEXED, FileOutcome.HANDED_BACK, FileOutcome.INDEXED]
    assert second.failed == ()
    assert numbers(second) == [(1, 0, 1, 0, 0), (1, 1, 0, 0, 0), (1, 0, 1, 0, 0)]
    assert pipeline.queue.letters == []


def test_one_failing_key_of_cloudtrails_notice_brings_back_the_message(pipeline: FakePipeline) -> None:
    """CloudTrail's own notice names several keys; a peer acknowledged it after the first."""
    pipeline.put("one", log_file(event(1)))
    pipeline.put("two", DOWN)

    result = pipeline.consume(message(cloudtrail_notice(key("one"), key("two"))))

    assert result.failed == ("message-1",)
    assert pipeline.index.event_ids == {event_id(1)}


def test_a_message_that_goes_back_sends_no_letters_yet(pipeline: FakePipeline) -> None:
    """It would bring the same letters again each time."""
    one = message(s3_notice(pipeline.put("one", b"garbage"), pipeline.put("two", DOWN)))

    first = pipeline.consume(one)
    letters_of_first = list(pipeline.queue.letters)
    pipeline.put("two", log_file(event(2)))
    pipeline.consume(one)

    assert first.failed == ("message-1",)
    assert letters_of_first == []
    assert pipeline.queue.reasons == {"not_json": 1}


def test_an_object_that_is_announced_twice_is_read_once(pipeline: FakePipeline) -> None:
    """S3 delivers notices at least once; both messages end as the object ends."""
    entry = pipeline.put("one", log_file(event(1)))

    result = pipeline.consume(message(s3_notice(entry, entry), 1), message(s3_notice(entry), 2))

    assert result.failed == ()
    assert pipeline.store.fetched == [key("one")]
    assert numbers(result) == [(1, 1, 0, 0, 0)]


def test_a_failing_object_that_is_announced_twice_brings_back_both_messages(pipeline: FakePipeline) -> None:
    """Neither may be acknowledged on the other's account."""
    entry = pipeline.put("one", DOWN)

    result = pipeline.consume(message(s3_notice(entry), 1), message(s3_notice(entry), 2))

    assert set(result.failed) == {"message-1", "message-2"}


def test_a_broken_object_that_is_announced_twice_has_one_letter(pipeline: FakePipeline) -> None:
    """One letter is one redrive."""
    entry = pipeline.put("one", b"")

    result = pipeline.consume(message(s3_notice(entry), 1), message(s3_notice(entry), 2))

    assert result.failed == ()
    assert pipeline.queue.reasons == {"empty": 1}


def test_two_versions_of_an_object_are_two_objects(pipeline: FakePipeline) -> None:
    """A rewritten object is not the one that was announced first."""
    one, two = pipeline.put("one", log_file(event(1))), pipeline.put("one", log_file(event(1)))
    two["s3"]["object"]["versionId"] = "another"

    result = pipeline.consume(message(s3_notice(one, two)))

    assert len(result.files) == 2


def test_a_message_id_that_comes_twice_in_a_batch_is_told_once(pipeline: FakePipeline) -> None:
    """SQS may deliver a message twice within a batch; Lambda takes an id once."""
    one = pipeline.announce("one", DOWN)

    result = pipeline.consume(one, one)

    assert result.failed == ("message-1",)
    assert result.messages == 1
    assert len(pipeline.queue.handed_back) == 1


def test_a_batch_that_fails_whole_names_every_message(pipeline: FakePipeline) -> None:
    """Lambda deletes what is not named; an exception would lose the account of it."""
    batch = [pipeline.announce(f"file-{n}", DOWN, n) for n in range(25)]

    result = pipeline.consume(*batch)

    assert sorted(result.failed) == sorted(one.id for one in batch)
    assert {one.message.id for one in pipeline.queue.handed_back} == set(result.failed)
    assert pipeline.queue.letters == []


def test_an_empty_batch_is_nothing(pipeline: FakePipeline) -> None:
    """And nothing is asked of anyone."""
    result = pipeline.consume()

    assert (result.failed, result.messages, result.files) == ((), 0, ())


def test_nothing_is_carried_from_one_batch_to_the_next(pipeline: FakePipeline) -> None:
    """A warm consumer judges as a cold one: a peer carried the failures of the last batch over."""
    failing = pipeline.announce("bad", DOWN, 1)
    pipeline.consume(failing, message("{}", 2))
    good = pipeline.announce("good", log_file(event(1)), 3)

    warm = pipeline.consume(good)

    with make_pipeline() as cold:
        fresh = cold.consume(cold.announce("good", log_file(event(1)), 3))
    assert (warm.failed, warm.messages, numbers(warm)) == (fresh.failed, fresh.messages, numbers(fresh))
    assert (warm.ignored, warm.malformed, warm.dead_letters) == (fresh.ignored, fresh.malformed, fresh.dead_letters)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(UnreadableObject(Reason.NOT_FOUND, "S3 says NoSuchKey"), Reason.NOT_FOUND, id="gone"),
        pytest.param(UnreadableObject(Reason.ARCHIVED, "restore it"), Reason.ARCHIVED, id="archived"),
        pytest.param(b"", Reason.EMPTY, id="0 bytes"),
        pytest.param(packed(b""), Reason.EMPTY, id="gzip of nothing"),
        pytest.param(log_file(event(1))[:-8] + bytes(8), Reason.CORRUPT, id="CRC"),
        pytest.param(packed(bytes(3 << 20)), Reason.TOO_LARGE, id="bomb"),
        pytest.param(b"version account-id", Reason.NOT_JSON, id="words"),
        pytest.param(packed(b'{"logFiles":[]}'), Reason.NO_RECORDS, id="no records"),
    ],
)
def test_an_unreadable_object_goes_to_the_dead_letters_with_its_reason(content: Any, reason: Reason) -> None:
    """The letter announces exactly that object, so that moving it back is a redrive; nothing of it is indexed."""
    with make_pipeline(Limits(max_inflated_bytes=2 << 20)) as pipeline:
        one = pipeline.announce("one", content, receive_count=2)

        result = pipeline.consume(one)

        (letter,) = pipeline.queue.letters
        assert result.failed == ()
        assert letter.reason is reason
        assert "\n" not in letter.detail
        assert (letter.source_message_id, letter.attempts, letter.rejected) == ("message-1", 2, ())
        assert parse_notification(letter.body).objects == parse_notification(one.body).objects
        assert pipeline.index.documents == {}
        assert numbers(result) == [(0, 0, 0, 0, 0)]


def test_a_letter_that_is_moved_back_is_the_redrive(pipeline: FakePipeline) -> None:
    """Once the object is mended, its letter's body takes it down the same road."""
    pipeline.consume(pipeline.announce("one", b""))
    (letter,) = pipeline.queue.letters
    pipeline.put("one", log_file(event(1)))

    result = pipeline.consume(message(letter.body, 2))

    assert result.failed == ()
    assert pipeline.index.event_ids == {event_id(1)}


def test_an_unreadable_object_costs_only_itself(pipeline: FakePipeline) -> None:
    """Its siblings in the message and in the batch are indexed."""
    entries = [
        pipeline.put("one", log_file(event(1))),
        pipeline.put("two", b"garbage"),
        pipeline.put("three", log_file(event(3))),
    ]

    result = pipeline.consume(message(s3_notice(*entries), 1), pipeline.announce("four", log_file(event(4)), 2))

    assert result.failed == ()
    assert pipeline.index.event_ids == {event_id(1), event_id(3), event_id(4)}
    assert pipeline.queue.reasons == {"not_json": 1}


def test_a_copy_of_too_many_days_goes_to_the_dead_letters(pipeline: FakePipeline) -> None:
    """Its name says no time, so every day would be an index."""
    days = log_file(*(event(n, eventTime=f"2026-{1 + n // 28:02}-{1 + n % 28:02}T00:00:00Z") for n in range(101)))
    pipeline.store.put("copy.json.gz", days)

    pipeline.consume(message(cloudtrail_notice("copy.json.gz")))

    assert pipeline.queue.reasons == {"too_scattered": 1}
    assert pipeline.index.documents == {}


def test_old_events_in_a_file_of_today_share_one_index(pipeline: FakePipeline) -> None:
    """A few made-up files could otherwise fill a cluster with indices, so that no new day has room."""
    old = [event(n, eventTime=f"20{15 + n % 10}-{1 + n // 28:02}-{1 + n % 28:02}T00:00:00Z") for n in range(300)]

    result = pipeline.consume(pipeline.announce("one", log_file(event(999), *old)))

    assert (result.failed, pipeline.queue.letters) == ((), [])
    assert len(pipeline.index.documents) == 301
    assert len({index for index, _ in pipeline.index.documents}) == 2


@given(
    files=st.lists(
        st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["a", "b", "c"]), st.booleans()), max_size=6),
        max_size=5,
    )
)
def test_every_content_is_found_once_whatever_the_records_call_themselves(
    files: list[list[tuple[int, str, bool]]],
) -> None:
    """A record under a true `eventID` adds a document; it never keeps the true one out."""
    with make_pipeline() as pipeline:
        for number, file in enumerate(files):
            raws = [
                json.dumps(event(id_, eventName=name), indent=2 if printed else None).encode()
                for id_, name, printed in file
            ]
            result = pipeline.consume(pipeline.announce(f"file-{number}", log_file(*raws), number))
            assert result.failed == ()

        documents = pipeline.index.documents.values()

    contents = {(event_id(id_), name) for file in files for id_, name, _ in file}
    assert sorted((document["eventID"], document["eventName"]) for document in documents) == sorted(contents)


@given(
    name=st.text(max_size=12)
    | st.sampled_from(["trailsink", "@timestamp"])
    | st.text(max_size=5).map("trailsink.{}".format)
)
def test_no_root_member_says_where_a_document_came_from(name: str) -> None:
    """Only trailsink does, whatever a record holds."""
    with make_pipeline() as pipeline:
        raw = json.dumps(event(1) | {name: "s3://forged/key"}).encode()
        pipeline.consume(pipeline.announce("one", log_file(raw)))

        (document,) = pipeline.index.documents.values()

    forged = {"trailsink", "@timestamp"} & {name} or name.startswith("trailsink.")
    assert document["trailsink"]["object"] == f"s3://{BUCKET}/{key('one')}"
    assert ("degraded" in document["trailsink"]) == bool(forged)
    assert document["@timestamp"] == "2026-11-23T10:00:00Z"
    assert not any(member.startswith("trailsink.") for member in document)


@pytest.mark.parametrize("lost", [1, 8, 9, 60])
def test_of_a_truncated_file_the_complete_records_are_indexed(pipeline: FakePipeline, lost: int) -> None:
    """And a letter remains, so that somebody uploads the rest."""
    content = packed(file_text(*(event(n, userAgent=event_id(n) * 5) for n in range(50))))[:-lost]

    result = pipeline.consume(pipeline.announce("one", content))

    (file,) = result.files
    assert result.failed == ()
    assert pipeline.queue.reasons == {"truncated": 1}
    assert file.read == file.indexed == len(split_records(inflate(content, 1 << 20)).records)
    assert file.read > 0
    assert all(document["trailsink"]["unchecked"] for document in pipeline.index.documents.values())


def test_an_altered_record_of_a_truncated_file_does_not_keep_the_true_one_out(pipeline: FakePipeline) -> None:
    """Without its end nothing checks a file; the whole file comes later."""
    altered = log_file(event(1, eventName="DescribeRegions"), event(2))[:-8]
    true = log_file(event(1, eventName="CreateAccessKey"), event(2))

    pipeline.consume(pipeline.announce("one", altered))
    result = pipeline.consume(pipeline.announce("one", true))

    (file,) = result.files
    assert (file.indexed, file.duplicate) == (1, 1)
    names = {document["eventName"] for document in pipeline.index.documents.values()}
    assert {"DescribeRegions", "CreateAccessKey"} <= names


def test_a_folder_marker_whose_notice_says_no_size_is_ignored_by_name(pipeline: FakePipeline) -> None:
    """CloudTrail's own notices name no size; an empty object of such a name is a folder, and no error."""
    pipeline.store.put("AWSLogs/", b"")

    result = pipeline.consume(message(cloudtrail_notice("AWSLogs/")))

    assert (result.failed, pipeline.queue.letters) == ((), [])
    assert result.ignored == {"folder_marker": 1}


@pytest.mark.parametrize("name", ["a/", "AWSLogs_$folder$", "a/.emptyDir", "a/_SUCCESS"])
def test_an_empty_marker_is_ignored_where_its_notice_says_no_size(pipeline: FakePipeline, name: str) -> None:
    """The same object is the same marker, whoever announces it."""
    pipeline.store.put(name, b"")

    result = pipeline.consume(message(cloudtrail_notice(name)))

    assert (result.failed, pipeline.queue.letters, result.ignored) == ((), [], {"folder_marker": 1})
    assert outcomes(result) == [FileOutcome.IGNORED]


def test_a_digest_of_any_name_is_ignored(pipeline: FakePipeline) -> None:
    """It was read, and held no record: counted as ignored, not as an indexed file, and no dead letter."""
    digest = packed(as_json({"digestS3Object": "k", "logFiles": []}))

    result = pipeline.consume(pipeline.announce("one", digest), pipeline.announce("two", log_file(event(1)), 2))

    assert (result.failed, pipeline.queue.letters, result.ignored) == ((), [], {"digest": 1})
    assert outcomes(result) == [FileOutcome.IGNORED, FileOutcome.INDEXED]
    assert numbers(result)[0] == (0, 0, 0, 0, 0)


LAKE = "AWSLogs/123456789012/CloudTrail-Lake/Query/2026/11/23/id/"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("result_1.csv.gz", packed(b"eventID,eventName"), ({"query_result": 1}, {}, 0)),
        ("result_sign.json", b'{"files":[]}', ({"query_result": 1}, {}, 0)),
        ("copy.json.gz", log_file(event(1)), ({}, {}, 1)),
        ("copy.json.gz", log_file(event(1))[:-8] + bytes(8), ({}, {"corrupt": 1}, 0)),
    ],
)
def test_query_results_of_cloudtrail_lake_are_ignored_by_their_content(
    pipeline: FakePipeline, name: str, content: bytes, expected: tuple[object, ...]
) -> None:
    """They lie in a folder of CloudTrail's: only what is no log file may be passed over."""
    pipeline.store.put(LAKE + name, content)

    result = pipeline.consume(message(cloudtrail_notice(LAKE + name)))

    assert result.failed == ()
    assert (result.ignored, pipeline.queue.reasons, len(pipeline.index.event_ids)) == expected


@pytest.mark.parametrize("delivered", ["99991231T2359Z", "00010101T0000Z", "09991231T2359Z"])
def test_a_name_from_the_end_of_the_calendar_dates_no_record_wrongly(pipeline: FakePipeline, delivered: str) -> None:
    """Names come from outside: a record without a time is dated by its file, and must stay indexable."""
    name = key(delivered=delivered)
    pipeline.store.put(name, log_file(event(1), event(2, eventTime=...)))

    result = pipeline.consume(message(s3_notice(name)))

    assert (result.failed, result.crashes, pipeline.queue.letters) == ((), (), [])
    assert pipeline.index.event_ids == {event_id(1), event_id(2)}


def test_a_rejected_record_costs_only_itself(pipeline: FakePipeline) -> None:
    """Its neighbours are indexed; the letter names it by position and reason."""
    result = pipeline.consume(pipeline.announce("one", log_file(event(0), b"42", event(2), b'{"eventID":}', event(4))))

    (letter,) = pipeline.queue.letters
    assert result.failed == ()
    assert numbers(result) == [(5, 3, 0, 0, 2)]
    assert letter.reason is Reason.RECORDS_REJECTED
    assert letter.rejected == ((1, "not_a_json_object"), (3, "not_a_json_object"))


def test_a_record_that_the_index_refuses_twice_is_rejected_by_its_position(pipeline: FakePipeline) -> None:
    """Position and error type go into the letter, and the text of the refusal, which quotes the record, does not."""
    pipeline.index.refuse = lambda document: MAPPING if document.get("errorCode") == "BAD" else ""

    result = pipeline.consume(pipeline.announce("one", log_file(event(0), event(1, errorCode="BAD"), event(2))))

    (letter,) = pipeline.queue.letters
    assert result.failed == ()
    assert numbers(result) == [(3, 2, 0, 0, 1)]
    assert (letter.reason, letter.rejected) == (Reason.RECORDS_REJECTED, ((1, MAPPING),))


def test_a_record_that_the_mapping_cannot_hold_is_indexed_in_degraded_form(pipeline: FakePipeline) -> None:
    """The file is done: nothing is lost, so there is nothing to redrive."""
    pipeline.index.refuse = lambda document: MAPPING if isinstance(document.get("additionalEventData"), str) else ""

    result = pipeline.consume(pipeline.announce("one", log_file(event(0), event(1, additionalEventData="a sentence"))))

    whole = pipeline.index.find("cloudtrail-2026-11-23", event_id(1))
    assert numbers(result) == [(2, 1, 0, 1, 0)]
    assert (result.failed, pipeline.queue.letters) == ((), [])
    assert whole["trailsink"]["degraded"] == MAPPING
    assert '"additionalEventData":"a sentence"' in whole["trailsink"]["raw"]


@pytest.mark.parametrize(
    "odd",
    [
        b'{"eventID":"odd","eventTime":"2026-11-23T10:00:00Z","a":NaN}',
        b'{"eventID":"odd","eventTime":"2026-11-23T10:00:00Z","a":"\\ud800"}',
        b'{"eventID":"odd","eventTime":"2026-11-23T10:00:00Z","eventName":"\xff"}',
        b'{"eventID":"odd","eventTime":"2026-11-23T10:00:00Z","eventName":"a\x00b"}',
        b'{"eventID":"odd","eventTime":"2026-11-23T10:00:00Z","a":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"eventID":"odd","eventTime":"2025-W47-1T10:00:00Z"}',
        b'{"eventID":"odd","eventTime":"2026-11-23T100000.1Z"}',
        b'{"eventID":"odd","eventTime":"2026-11-23 10:00:00"}',
        b'{"eventID":"odd","eventTime":"2014-03-06T21: 22: 54Z"}',
        b'{"eventID":"odd"}',
        as_json(event(9, eventID="odd") | {"trailsink": "theirs"}),
        as_json(event(9, eventID="odd") | {"@timestamp": "theirs"}),
        b'{"eventID":"odd","eventTime":"2026-11-23T10:00:00Z","a":1,"a":2}',
    ],
)
def test_an_odd_record_is_indexed_and_its_neighbours_as_they_are(pipeline: FakePipeline, odd: bytes) -> None:
    """One odd record must cost neither its file nor its request, nor itself."""
    result = pipeline.consume(pipeline.announce("one", log_file(event(1), odd, event(2))))

    assert (result.failed, result.crashes, pipeline.queue.letters) == ((), (), [])
    assert numbers(result) == [(3, 2, 0, 1, 0)]
    assert pipeline.index.event_ids == {event_id(1), event_id(2), "odd"}
    days = ("2026-11-23", "2014-03-06", "2025-11-17", "undated-2026-11-23")
    assert {index for index, _ in pipeline.index.documents} <= {f"cloudtrail-{day}" for day in days}


def test_a_store_that_is_down_dead_letters_nothing(pipeline: FakePipeline) -> None:
    """It will be back; the messages wait in the queue."""
    result = pipeline.consume(pipeline.announce("one", DOWN))

    assert result.failed == ("message-1",)
    assert [file.reason for file in result.files] == ["s3:SlowDown"]
    assert pipeline.queue.letters == []


@pytest.mark.parametrize(
    "answer",
    [
        BulkResponse(0, "no_connection"),
        BulkResponse(429, "rejected_execution_exception"),
        BulkResponse(503),
        BulkResponse(401),
        BulkResponse(403, "security_exception"),
        BulkResponse(403, "cluster_block_exception"),
        BulkResponse(404),
        BulkResponse(400),
    ],
)
def test_an_index_that_is_down_or_closed_dead_letters_nothing(pipeline: FakePipeline, answer: BulkResponse) -> None:
    """However long it lasts: the messages go back, and everything is there afterwards."""
    one = pipeline.announce("one", log_file(event(1), event(2)))
    pipeline.index.script.extend([answer] * 8)

    for _ in range(2):
        assert pipeline.consume(one).failed == ("message-1",)
    pipeline.index.script.clear()
    result = pipeline.consume(one)

    assert result.failed == ()
    assert pipeline.index.event_ids == {event_id(1), event_id(2)}
    assert pipeline.queue.letters == []


def test_throttled_records_are_counted_once(pipeline: FakePipeline) -> None:
    """A peer counted each attempt: the sums never met again."""
    pipeline.index.throttle = 2

    result = pipeline.consume(pipeline.announce("one", log_file(event(1), event(2))))

    assert numbers(result) == [(2, 2, 0, 0, 0)]
    assert result.stats.bulk_requests == 3
    assert result.stats.bulk_retries == 2


def test_a_file_that_went_back_half_indexed_is_whole_the_second_time() -> None:
    """The half that was in is duplicate then, and no record is counted as indexed twice."""
    with make_pipeline(Limits(bulk_actions=2, bulk_in_flight=1), index=MemoryIndex(rounds=1)) as pipeline:
        fails = iter([[], [BulkResponse(503)]])
        pipeline.index.on_deliver = lambda: pipeline.index.script.extend(next(fails, []))
        one = pipeline.announce("one", log_file(*(event(n) for n in range(4))))

        first, second = pipeline.consume(one), pipeline.consume(one)

        assert first.failed == ("message-1",)
        assert (first.files[0].indexed, second.failed) == (2, ())
        assert numbers(second) == [(4, 2, 2, 0, 0)]


def test_once_the_index_has_refused_for_the_whole_budget_nothing_more_is_sent() -> None:
    """The rest of the batch goes straight back: asking on would only prolong the trouble."""
    with make_pipeline(Limits(bulk_actions=1, bulk_in_flight=1, fetch_ahead=1)) as pipeline:
        pipeline.index.script.extend([BulkResponse(503)] * 1_000)
        batch = [pipeline.announce(f"file-{n}", log_file(event(n)), n) for n in range(50)]

        result = pipeline.consume(*batch)

        assert len(result.failed) == 50
        assert pipeline.index.deliveries <= 3
        assert len(pipeline.store.fetched) <= 6
        assert pipeline.queue.letters == []


def test_a_dead_letter_that_cannot_be_sent_brings_back_its_message(pipeline: FakePipeline) -> None:
    """Acknowledged without its letter, the object would be gone."""
    pipeline.queue.broken = True
    batch = [
        pipeline.announce("one", b"garbage", 1),
        message("{}", 2),
        pipeline.announce("three", log_file(event(3)), 3),
    ]

    first = pipeline.consume(*batch)
    pipeline.queue.broken = False
    second = pipeline.consume(*[one for one in batch if one.id in first.failed])

    assert set(first.failed) == {"message-1", "message-2"}
    assert first.dead_letters == 0
    assert second.failed == ()
    assert pipeline.queue.reasons == {"not_json": 1, "malformed_message": 1}


def test_with_three_seconds_left_nothing_is_started_and_everything_goes_back() -> None:
    """An object begun now would be lost half-way; a message handed back comes to somebody with time."""
    with make_pipeline(left=lambda: 3.0) as pipeline:
        batch = [pipeline.announce(f"file-{n}", log_file(event(n)), n) for n in range(5)]

        result = pipeline.consume(*batch)

        assert len(result.failed) == 5
        assert {file.reason for file in result.files} == {"deadline"}
        assert pipeline.index.documents == {}
        assert pipeline.index.deliveries == 0


@pytest.mark.parametrize(("receives", "seconds"), [(1, 5), (3, 5), (4, 240), (9, 3600)])
def test_messages_that_were_not_started_come_back_soon_but_not_for_ever(receives: int, seconds: int) -> None:
    """Want of time is no fault of theirs; on a cluster that is too slow all day they must not use up their receives."""
    with make_pipeline(left=lambda: 3.0) as pipeline:
        pipeline.consume(pipeline.announce("one", log_file(event(1)), receive_count=receives))

        assert [one.seconds for one in pipeline.queue.handed_back] == [seconds]


def test_with_no_time_left_notices_and_poison_are_still_settled() -> None:
    """They cost nothing, and a message without objects has nothing to be handed back for."""
    with make_pipeline(left=lambda: 3.0) as pipeline:
        result = pipeline.consume(message(configuration_test_event(), 1), message("{}", 2))

        assert result.failed == ()
        assert pipeline.queue.reasons == {"malformed_message": 1}


def test_at_the_deadline_what_is_whole_is_done_and_the_rest_goes_back() -> None:
    """None is half-acknowledged: a message is done only when all its files are."""
    with make_pipeline(Limits(bulk_actions=2, bulk_in_flight=1, fetch_ahead=1)) as pipeline:
        pipeline.left = lambda: 100.0 - pipeline.clock.seconds
        pipeline.index.on_deliver = lambda: pipeline.clock.move(25.0)
        batch = [pipeline.announce(f"file-{n}", log_file(event(2 * n), event(2 * n + 1)), n) for n in range(10)]

        result = pipeline.consume(*batch)

        done = [one for one in batch if one.id not in result.failed]
        assert 0 < len(done) < 10
        assert_nothing_lost(result, batch, buried(pipeline))
        for one in done:
            (file,) = [file for file in result.files if file.ref in parse_notification(one.body).objects]
            assert file.indexed == 2
        assert pipeline.clock.seconds <= 125.0


def test_what_is_whole_is_done_however_little_time_is_left() -> None:
    """A message whose records are all in has nothing to wait for: to hand it back would be to do it again."""
    with make_pipeline() as pipeline:
        answered = threading.Event()
        pipeline.left = lambda: 1.0 if answered.is_set() else 900.0
        pipeline.index.on_answer = answered.set
        one = pipeline.announce("one", log_file(event(1)))

        result = pipeline.consume(one)

        assert outcomes(result) == [FileOutcome.INDEXED]
        assert result.failed == ()


def test_a_stop_in_the_middle_loses_nothing() -> None:
    """A container that is told to end hands back what it has not finished; the next one finishes it."""
    with make_pipeline(Limits(bulk_actions=3, bulk_in_flight=2)) as pipeline:
        stopped = threading.Event()
        pipeline.left = lambda: 0.0 if stopped.is_set() else 900.0
        pipeline.index.on_deliver = stopped.set
        batch = [pipeline.announce(f"file-{n}", log_file(*(event(10 * n + i) for i in range(5))), n) for n in range(6)]

        first = pipeline.consume(*batch)
        pipeline.left = lambda: 900.0
        second = pipeline.consume(*[one for one in batch if one.id in first.failed])

        assert first.failed
        assert_nothing_lost(first, batch, buried(pipeline))
        assert second.failed == ()
        assert len(pipeline.index.documents) == 30


def test_a_crash_in_one_file_costs_only_that_file(pipeline: FakePipeline) -> None:
    """A fault of ours is reported and handed back: the batch goes on."""
    pipeline.store.put(key("two"), ZeroDivisionError("SECRET"))
    batch = [
        pipeline.announce("one", log_file(event(1)), 1),
        message(s3_notice(s3_entry(key("two"))), 2),
        pipeline.announce("three", log_file(event(3)), 3),
    ]

    result = pipeline.consume(*batch)

    assert result.failed == ("message-2",)
    assert pipeline.index.event_ids == {event_id(1), event_id(3)}
    assert pipeline.queue.letters == []
    (crash,) = result.crashes
    assert crash.startswith("ZeroDivisionError at tests.support.fakes:")
    assert "SECRET" not in crash


def test_a_crash_while_sending_costs_only_the_files_of_that_request() -> None:
    """Whether they are in is not known: they come again, and ids make that harmless."""
    with make_pipeline(Limits(bulk_actions=1, bulk_in_flight=1)) as pipeline:
        crashes = iter([False, True, False])

        def crash() -> None:
            if next(crashes):
                raise ZeroDivisionError

        pipeline.index.on_deliver = crash
        batch = [pipeline.announce(f"file-{n}", log_file(event(n)), n) for n in range(3)]

        result = pipeline.consume(*batch)

        assert result.failed == ("message-1",)
        assert pipeline.index.event_ids == {event_id(0), event_id(2)}
        assert len(result.crashes) == 1


class ShortIndex(MemoryIndex):
    """An index that loses the last outcome."""

    def deliver(self, request: Sequence[Action], left: Callable[[], float]) -> DeliveryResult:
        receipt = super().deliver(request, left)
        return receipt._replace(outcomes=receipt.outcomes[:-1])


def test_outcomes_that_do_not_fit_their_actions_acknowledge_nothing() -> None:
    """Paired by position, they would slide onto their neighbours."""
    with make_pipeline(index=ShortIndex()) as pipeline:
        result = pipeline.consume(pipeline.announce("one", log_file(event(1), event(2))))

        assert result.failed == ("message-1",)
        assert len(result.crashes) == 1


KINDS: Mapping[str, Any] = {
    "good": event,
    "twin": lambda n: event(1_000 + n % 3),
    "degraded by the index": lambda n: event(n, additionalEventData="a sentence"),
    "odd": lambda n: as_json(event(n))[:-1] + b',"a":NaN}',
    "undated": lambda n: event(n, eventTime=...),
    "refused for ever": lambda n: event(n, errorCode="BAD"),
    "no object": lambda n: b"%d" % n,
}


files = st.lists(st.sampled_from(sorted(KINDS)), max_size=8)


batches = st.lists(st.lists(files, min_size=1, max_size=3), min_size=1, max_size=4)


broken_objects = st.sampled_from([b"", b"garbage", packed(b"{}"), log_file(event(1))[:-8] + bytes(8), DOWN])


def refuse(document: dict[str, Any]) -> str:
    return MAPPING if "additionalEventData" in document or document.get("errorCode") == "BAD" else ""


@settings(max_examples=40)
@given(
    plan=batches,
    spoiled=st.dictionaries(st.integers(0, 11), broken_objects, max_size=3),
    script=st.lists(
        st.sampled_from(
            [BulkResponse(429, "r"), BulkResponse(503), BulkResponse(0), BulkResponse(400, "i"), BulkResponse(413)]
        ),
        max_size=4,
    ),
    rounds=st.integers(1, 4),
    bulk_actions=st.integers(1, 9),
    broken_queue=st.booleans(),
    modes=st.lists(st.sampled_from(FetchMode), min_size=1, max_size=5),
)
def test_nothing_is_lost_and_nothing_doubled_whatever_happens(  # noqa: PLR0913 - one argument per neighbour
    *,
    plan: list[list[list[str]]],
    spoiled: dict[int, bytes | Exception],
    script: list[BulkResponse],
    rounds: int,
    bulk_actions: int,
    broken_queue: bool,
    modes: list[FetchMode],
) -> None:
    """Read = indexed + duplicate + degraded + rejected, for each file; a message is done only when settled.

    Then, with the neighbours well again, the second delivery finds all of it there.
    """
    with make_pipeline(Limits(bulk_actions=bulk_actions)) as pipeline:
        pipeline.store.fetch_mode = lambda _: modes[len(pipeline.store.started + pipeline.store.fetched) % len(modes)]
        batch, place = [], 0
        for number, several in enumerate(plan):
            entries = []
            for kinds in several:
                content = log_file(*(KINDS[kind](place * 20 + at) for at, kind in enumerate(kinds)))
                entries.append(pipeline.put(f"file-{place}", spoiled.get(place, content)))
                place += 1
            batch.append(message(s3_notice(*entries), number))
        pipeline.index.refuse, pipeline.index.rounds, pipeline.queue.broken = refuse, rounds, broken_queue
        pipeline.index.script.extend(script)

        first = pipeline.consume(*batch)

        assert first.crashes == ()
        assert {one.message.id for one in pipeline.queue.handed_back} == set(first.failed)
        assert_nothing_lost(first, batch, buried(pipeline))

        pipeline.index.script.clear()
        pipeline.index.rounds, pipeline.queue.broken = 4, False
        for name, content_ in list(pipeline.store.objects.items()):
            if isinstance(content_, Exception):
                pipeline.store.objects[name] = log_file(event(77))
        second = pipeline.consume(*batch)
        documents = dict(pipeline.index.documents)
        third = pipeline.consume(*batch)

        # An index that takes none of a request's records is not believed about any of them.
        assert set(second.failed) | set(third.failed) <= {
            one.id for one, several in zip(batch, plan, strict=True) if "refused for ever" in chain(*several)
        }
        assert pipeline.index.documents == documents
        for before, after in zip(second.files, third.files, strict=True):
            if FileOutcome.HANDED_BACK in (before.outcome, after.outcome):
                continue
            assert (after.read, after.rejected, after.indexed, after.degraded) == (before.read, before.rejected, 0, 0)
            assert after.duplicate == after.read - after.rejected


@given(body=st.text(max_size=200) | st.sampled_from(["{}", '{"Records":[1]}', '{"Records":[{"s3":{}}]}']))
def test_no_message_can_crash_a_batch(body: str) -> None:
    """Whatever stands in it: the message beside it is done."""
    with make_pipeline() as pipeline:
        result = pipeline.consume(message(body, 1), pipeline.announce("two", log_file(event(1)), 2))

        assert "message-2" not in result.failed
        assert result.crashes == ()


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-10:00"])
def test_a_notice_from_the_end_of_the_calendar_costs_only_itself(pipeline: FakePipeline, moment: str) -> None:
    """A time that is no date in UTC must not end the invocation, with every message in it."""
    entry = pipeline.put("one", log_file(event(1)), eventTime=moment)

    result = pipeline.consume(message(s3_notice(entry), 1), pipeline.announce("two", log_file(event(2)), 2))

    assert event_id(2) in pipeline.index.event_ids
    assert "message-2" not in result.failed


@pytest.mark.parametrize("size", [10**20, 10**400, 2**64])
def test_a_notice_of_an_absurd_size_costs_only_itself(pipeline: FakePipeline, size: int) -> None:
    """Sizes come from outside, and are written into the letter again."""
    entry = pipeline.put("one", b"")
    entry["s3"]["object"]["size"] = size

    result = pipeline.consume(message(s3_notice(entry), 1), pipeline.announce("two", log_file(event(2)), 2))

    assert pipeline.index.event_ids == {event_id(2)}
    assert result.failed == ()
    assert sum(pipeline.queue.reasons.values()) == 1
