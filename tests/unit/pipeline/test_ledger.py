"""Promises about the ledger: a file that is acknowledged has a document, and a document is never ahead of its file."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.support.factories import ACCOUNT, BUCKET, NOW, event, file_text, key, log_file, message, packed, s3_notice
from tests.support.fakes import DOWN, make_pipeline
from worker.pipeline.accounting import FileTally
from worker.pipeline.ledger import entry_id, ledger_index, ledger_pattern, make_entry, mixes_with_ledger
from worker.pipeline.limits import Limits
from worker.pipeline.objects import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.fakes import FakePipeline


@pytest.fixture
def pipeline() -> Iterator[FakePipeline]:
    with make_pipeline() as made:
        yield made


def test_a_file_has_one_document_that_balances(pipeline: FakePipeline) -> None:
    """It names the object, the hash that a CloudTrail digest names, and what became of each record."""
    pipeline.consume(pipeline.announce("one", log_file(event(1), event(2), event(2))))

    ((index, id_),) = pipeline.index.ledger
    (entry,) = pipeline.index.entries
    digest = hashlib.sha256(file_text(event(1), event(2), event(2))).hexdigest()
    assert index == "trailsink-files-cloudtrail-2026-11"
    assert id_ == entry_id(f"s3://{BUCKET}/{key()}", digest)
    assert entry["sha256"] == digest
    assert (entry["account"], entry["region"], entry["kind"]) == (ACCOUNT, "eu-central-1", "CloudTrail")
    assert entry["delivered_at"] == "2026-11-23T10:05:00Z"
    assert (entry["read"], entry["indexed"], entry["duplicate"], entry["rejected"]) == (3, 2, 1, 0)
    assert (entry["first_event"], entry["last_event"]) == ("2026-11-23T10:00:00Z", "2026-11-23T10:00:00Z")
    assert "reason" not in entry


def test_a_redelivery_adds_no_document(pipeline: FakePipeline) -> None:
    """The id is of the object and its content, so the first document stays, with what was indexed then."""
    announcement = pipeline.announce("one", log_file(event(1)))

    pipeline.consume(announcement)
    result = pipeline.consume(announcement)

    (entry,) = pipeline.index.entries
    assert (entry["indexed"], entry["duplicate"]) == (1, 0)
    assert result.failed == ()


def test_a_file_without_records_and_one_of_duplicates_are_recorded(pipeline: FakePipeline) -> None:
    """No document of the index names them, so only the ledger can say that they were loaded."""
    pipeline.consume(pipeline.announce("one", log_file(event(1)), 1))
    pipeline.consume(
        pipeline.announce("again", log_file(event(1)), 2), pipeline.announce("empty", packed(file_text()), 3)
    )

    counts = {entry["object"].rpartition("_")[2]: entry["read"] for entry in pipeline.index.entries}
    assert counts == {"one.json.gz": 1, "again.json.gz": 1, "empty.json.gz": 0}


def test_a_message_goes_back_while_the_ledger_cannot_be_written(pipeline: FakePipeline) -> None:
    """Acknowledged without a document, a file would look missing for ever."""
    announcement = pipeline.announce("one", log_file(event(1)))
    pipeline.index.ledger_refusal = 403, "cluster_block_exception"

    blocked = pipeline.consume(announcement)
    pipeline.index.ledger_refusal = None
    result = pipeline.consume(announcement)

    assert blocked.failed == (announcement.id,)
    assert blocked.files[0].reason == "ledger:cluster_block_exception"
    assert pipeline.queue.letters == []
    assert result.failed == ()
    assert len(pipeline.index.entries) == 1


def test_a_ledger_document_that_is_refused_for_its_content_sends_no_record_to_the_dead_letters(
    pipeline: FakePipeline,
) -> None:
    """A ledger with another mapping is a faulty set-up: the message waits until it is fixed."""
    announcement = pipeline.announce("one", log_file(event(1)))
    pipeline.index.ledger_refusal = 400, "strict_dynamic_mapping_exception"

    result = pipeline.consume(announcement)

    assert result.failed == (announcement.id,)
    assert pipeline.queue.letters == []


def test_no_document_for_a_file_that_is_not_wholly_in(pipeline: FakePipeline) -> None:
    """The index is asked first, whatever it answers: a document is the proof that all was accepted."""
    announcement = pipeline.announce("one", log_file(event(1), event(2)))
    pipeline.index.throttle = 100

    result = pipeline.consume(announcement)

    assert result.failed == (announcement.id,)
    assert pipeline.index.entries == []


def test_a_dead_letter_has_a_document_with_its_reason_and_a_redrive_one_more(pipeline: FakePipeline) -> None:
    """What was rejected at first and is indexed now has the same content, and another document."""
    announcement = pipeline.announce("one", log_file(event(1), event(2)))
    pipeline.index.refuse = lambda document: "mapper_parsing_exception" if document["eventID"][-1] == "2" else ""

    pipeline.consume(announcement)
    pipeline.index.refuse = lambda _: ""
    pipeline.consume(announcement)

    first, second = pipeline.index.entries
    assert (first["reason"], first["indexed"], first["rejected"]) == ("records_rejected", 1, 1)
    assert "reason" not in second
    assert (second["indexed"], second["duplicate"]) == (1, 1)
    assert first["sha256"] == second["sha256"]


def test_an_object_that_is_gone_has_a_document_without_a_hash(pipeline: FakePipeline) -> None:
    """Its message is done when its dead letter is sent, so it must be accounted for, too."""
    pipeline.consume(message(s3_notice(key("gone"))))

    (entry,) = pipeline.index.entries
    assert (entry["reason"], entry["read"]) == ("not_found", 0)
    assert "sha256" not in entry


def test_a_file_that_goes_back_or_holds_no_events_has_none(pipeline: FakePipeline) -> None:
    """It is not done, or there is nothing to prove about it."""
    pipeline.consume(
        pipeline.announce("slow", DOWN, 1),
        pipeline.announce("digest", packed(b'{"digestS3Object":"x","previousDigestHashValue":"y","logFiles":[]}'), 2),
    )

    assert pipeline.index.entries == []


def test_a_batch_needs_one_more_request(pipeline: FakePipeline) -> None:
    """However many files it has, and none where there is nothing to record."""
    messages = [pipeline.announce(f"file-{number}", log_file(event(number)), number) for number in range(10)]

    result = pipeline.consume(*messages)

    assert result.stats.bulk_requests == 1
    assert (pipeline.index.ledger_requests, len(pipeline.index.entries)) == (1, 10)


def test_a_ledger_that_is_switched_off_is_not_written() -> None:
    """TRAILSINK_LEDGER=false is for a cluster whose role cannot be extended."""
    with make_pipeline(Limits(ledger=False)) as pipeline:
        result = pipeline.consume(pipeline.announce("one", log_file(event(1))))

        assert result.failed == ()
        assert pipeline.index.entries == []


def test_a_batch_that_was_stopped_still_records_what_is_done() -> None:
    """A graceful stop would otherwise read every finished file again."""
    with make_pipeline() as pipeline:
        seconds = [900.0]
        pipeline.left = lambda: seconds[0]
        pipeline.index.on_answer = lambda: seconds.__setitem__(0, 0.0)

        result = pipeline.consume(pipeline.announce("one", log_file(event(1))))

        assert result.failed == ()
        assert len(pipeline.index.entries) == 1


@pytest.mark.parametrize("year", [1970, 2999])
def test_a_name_cannot_choose_an_index_of_the_ledger(year: int) -> None:
    """Anybody who may send a message could create an index for every month."""
    tally = FileTally(ObjectRef(BUCKET, key()), datetime(year, 1, 1, tzinfo=UTC))

    entry = make_entry(tally, NOW)

    assert entry.delivered_at == "2026-11-23T12:00:00Z"


def test_names_that_json_cannot_hold_are_recorded_escaped() -> None:
    """A notification may hold half of a surrogate pair; the file must not come back for ever."""
    entry = make_entry(FileTally(ObjectRef(BUCKET, "x\ud800"), None), NOW)

    assert entry.object == f"s3://{BUCKET}/x\\ud800"


@pytest.mark.parametrize(
    ("prefix", "mixes"),
    [("cloudtrail", False), ("trail", False), ("trailsink", True), ("trailsink-files", True), ("trailsink-eu", False)],
)
def test_the_events_pattern_never_matches_the_ledger(prefix: str, mixes: bool) -> None:  # noqa: FBT001
    """A search of the events would count files, and retention would delete the ledger."""
    assert mixes_with_ledger(prefix) is mixes
    assert ledger_index(prefix, "2026-11-23").startswith(ledger_pattern(prefix)[:-1])
    assert mixes or not ledger_index("cloudtrail", "2026-11-23").startswith(f"{prefix}-")
