"""Promises about records that a filter leaves out: counted by name, in balance, and back whenever they are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.factories import event, event_id, file_text, log_file, packed, record_filter, ref
from tests.support.fakes import make_pipeline
from worker.errors import Reason, UnreadableObject
from worker.pipeline.accounting import FileOutcome, FileTally
from worker.pipeline.ledger import LedgerEntry
from worker.telemetry import counts, log_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.fakes import FakePipeline
    from worker.cloudtrail.filters.matching import RecordFilter
    from worker.pipeline.accounting import BatchResult

NOISE = record_filter(eventName=["Decrypt"], errorCode=["AccessDenied"])
OTHER = record_filter(eventName=["GetObject"])


@pytest.fixture
def pipeline() -> Iterator[FakePipeline]:
    with make_pipeline() as made:
        yield made


def decrypt(number: int) -> dict[str, object]:
    return event(number, eventName="Decrypt")


def indexed_ids(pipeline: FakePipeline) -> set[str]:
    return {document["eventID"] for document in pipeline.index.documents.values()}


def entries(pipeline: FakePipeline) -> list[LedgerEntry]:
    return [msgspec.convert(source, LedgerEntry) for source in pipeline.index.ledger.values()]


def test_what_matches_is_not_indexed_and_counted_under_the_selectors_name(pipeline: FakePipeline) -> None:
    """Nothing disappears in silence: tally, metric, batch line and ledger name it."""
    pipeline.record_filter = NOISE
    content = log_file(decrypt(1), event(2), event(3, errorCode="AccessDenied"), decrypt(4))

    result = pipeline.consume(pipeline.announce("one", content))

    (file,), (entry,) = result.files, entries(pipeline)
    assert (file.read, file.indexed, file.filtered, file.outcome) == (4, 1, 3, FileOutcome.INDEXED)
    assert indexed_ids(pipeline) == {event_id(2)}
    assert (entry.read, entry.indexed, entry.filtered, entry.selectors) == (4, 1, 3, NOISE.digest)
    assert entry.filtered_by == {"eventName": 2, "errorCode": 1}
    assert counts(result)["RecordsFiltered"] == 3
    (line,) = map(msgspec.json.decode, log_lines(result))
    assert line["filtered"] == {"eventName": 2, "errorCode": 1}
    assert result.failed == ()


def test_without_a_filter_nothing_of_one_is_written(pipeline: FakePipeline) -> None:
    """A ledger whose index is older has no such fields, and is strict."""
    result = pipeline.consume(pipeline.announce("one", log_file(decrypt(1))))

    (entry,) = pipeline.index.ledger.values()
    assert not {"filtered", "selectors", "filtered_by"} & set(entry)
    assert all("filtered" not in msgspec.json.decode(line) for line in log_lines(result))


def test_a_file_of_which_nothing_is_left_is_done_and_recorded(pipeline: FakePipeline) -> None:
    """No document of the index names it, so only the ledger can say that it is not missing."""
    pipeline.record_filter = NOISE

    result = pipeline.consume(pipeline.announce("one", log_file(decrypt(1), decrypt(2))))

    (entry,) = entries(pipeline)
    assert (result.files[0].outcome, result.failed, pipeline.index.documents) == (FileOutcome.INDEXED, (), {})
    assert (entry.read, entry.filtered, entry.created) == (2, 2, 0)


def test_a_filter_that_changes_between_two_deliveries_loses_and_doubles_nothing(pipeline: FakePipeline) -> None:
    """Each delivery indexes what its own selectors keep. The ledger has a document for each, and their sum is true."""
    content = log_file(decrypt(1), event(2), event(3, eventName="PutObject"))
    pipeline.record_filter = NOISE
    pipeline.consume(pipeline.announce("one", content))
    pipeline.record_filter = OTHER

    result = pipeline.consume(pipeline.announce("one", content))

    (file,) = result.files
    assert indexed_ids(pipeline) == {event_id(1), event_id(2), event_id(3)}
    assert (file.indexed, file.duplicate, file.filtered) == (1, 1, 1)
    assert sorted(entry.selectors for entry in entries(pipeline)) == sorted([NOISE.digest, OTHER.digest])
    assert sum(entry.created for entry in entries(pipeline)) == len(pipeline.index.documents) == 3


def test_what_was_left_out_comes_back_without_the_filter(pipeline: FakePipeline) -> None:
    """`backfill --no-filters` is a delivery without a filter."""
    content = log_file(decrypt(1), event(2))
    pipeline.record_filter = NOISE
    pipeline.consume(pipeline.announce("one", content))
    pipeline.record_filter = None

    pipeline.consume(pipeline.announce("one", content))
    pipeline.record_filter = NOISE
    again = pipeline.consume(pipeline.announce("one", content))

    assert indexed_ids(pipeline) == {event_id(1), event_id(2)}
    assert [(entry.filtered, entry.created) for entry in entries(pipeline)] == [(1, 1), (0, 1)]
    assert (again.files[0].filtered, again.files[0].duplicate) == (1, 1), "what is indexed stays"


def test_a_dead_letter_names_the_positions_of_the_file_and_its_redrive_balances(pipeline: FakePipeline) -> None:
    """Rejected records are counted by their place in the file, whatever was left out before them."""
    pipeline.record_filter = NOISE
    pipeline.index.refuse = lambda document: "mapper_parsing_exception" if document["eventID"] == event_id(3) else ""
    content = log_file(decrypt(1), event(2), event(3), b"7", decrypt(5))

    first = pipeline.consume(pipeline.announce("one", content))
    second = pipeline.consume(pipeline.announce("one", content))

    (letter, _) = pipeline.queue.letters
    assert letter.reason is Reason.RECORDS_REJECTED
    assert [position for position, _ in letter.rejected] == [3, 2]
    for file, new, known in ((first.files[0], 1, 0), (second.files[0], 0, 1)):
        assert (file.read, file.filtered, file.rejected, file.indexed, file.duplicate) == (5, 2, 2, new, known)
        assert file.is_balanced


def test_a_truncated_file_leaves_out_what_is_whole_and_is_read_again(pipeline: FakePipeline) -> None:
    """Two looks at one file must not count its records twice."""
    pipeline.record_filter = NOISE
    whole = packed(file_text(*(decrypt(number) if number % 2 else event(number) for number in range(200))))

    result = pipeline.consume(pipeline.announce("one", whole[: len(whole) * 2 // 3]))

    (file,) = result.files
    assert file.is_balanced
    assert (file.reason, file.filtered > 0, file.indexed > 0) == ("truncated", True, True)
    assert file.read == file.filtered + file.indexed


def test_a_file_that_is_refused_or_read_again_counts_nothing_as_left_out() -> None:
    """Its dead letter, or its second look, brings all of it again."""
    refused, read_again = (FileTally(ref(), None, read=3) for _ in range(2))
    for tally in (refused, read_again):
        tally.filtered_by["eventName"] += 3

    refused.refuse(UnreadableObject(Reason.TOO_SCATTERED, "150 days"))
    read_again.clear()

    assert (refused.filtered, refused.read, refused.outcome) == (0, 0, FileOutcome.DEAD_LETTER)
    assert (read_again.filtered, read_again.read) == (0, 0)


def test_a_file_that_goes_back_is_not_counted(pipeline: FakePipeline) -> None:
    """It comes again, and would be counted twice."""
    pipeline.record_filter = NOISE
    pipeline.index.throttle = 50

    result = pipeline.consume(pipeline.announce("one", log_file(decrypt(1), event(2))))

    assert (result.failed, result.crashes) == (("message-1",), ())
    assert counts(result)["RecordsFiltered"] == 0
    assert all("filtered" not in msgspec.json.decode(line) for line in log_lines(result))


names = st.sampled_from(["Decrypt", "GetObject", "PutObject"])
files = st.lists(st.lists(st.tuples(st.integers(0, 6), names), max_size=6), min_size=1, max_size=3)
filters = st.sampled_from([None, NOISE, OTHER])


@settings(max_examples=60, deadline=None)
@given(files, st.lists(filters, min_size=1, max_size=4))
def test_whatever_the_filters_were_the_index_holds_what_some_delivery_kept(
    batch: list[list[tuple[int, str]]], rounds: list[RecordFilter | None]
) -> None:
    """Deliveries of the same files, each by its own filter: every record is in the index once, or no round kept it."""
    with make_pipeline() as pipeline:
        for current in rounds:
            pipeline.record_filter = current
            result = deliver(pipeline, batch)
            assert all(file.is_balanced for file in result.files)
            assert result.failed == ()
        indexed = {(document["eventID"], document["eventName"]) for document in pipeline.index.documents.values()}
        total = len(pipeline.index.documents)
        created = sum(entry.created for entry in entries(pipeline))

    records = {(event_id(number), name) for file in batch for number, name in file}
    dropped = {None: set(), NOISE: {"Decrypt"}, OTHER: {"GetObject"}}
    assert indexed == {record for record in records if any(record[1] not in dropped[current] for current in rounds)}
    assert total == len(indexed) == created


def deliver(pipeline: FakePipeline, batch: list[list[tuple[int, str]]]) -> BatchResult:
    return pipeline.consume(
        *(
            pipeline.announce(str(number), log_file(*(event(of, eventName=name) for of, name in file)), number)
            for number, file in enumerate(batch)
        )
    )
