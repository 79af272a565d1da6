"""Promises about reading one file: its records, its tally, and a delivery time that can be believed."""

from __future__ import annotations

import gzip
from datetime import datetime, timedelta

import pytest

from tests.support.factories import NOW, event, log_file, packed, ref
from worker.errors import OutOfTime, Reason, UnreadableObject
from worker.humanize import iso_seconds
from worker.pipeline.accounting import FileTally
from worker.pipeline.deadline import Deadline
from worker.pipeline.limits import Limits
from worker.pipeline.objects import FetchedObject
from worker.pipeline.reader import FileReader


def reader(remaining: float = 900.0, limits: Limits | None = None) -> FileReader:
    return FileReader(limits or Limits(), Deadline(lambda: remaining, reserve=10.0), lambda: NOW)


def test_records_and_rejections_are_counted_by_position() -> None:
    """What could not be a record is named by its place, and costs no neighbour."""
    tally = FileTally(ref(), NOW)

    records = reader().read(tally, FetchedObject(log_file(event(1), b"42", event(2)), NOW))

    assert [record.position for record in records] == [0, 2]
    assert (tally.read, tally.rejected, tally.rejections) == (3, 1, [(1, "not_a_json_object")])


def test_sizes_and_the_oldest_event_are_noted() -> None:
    """They are the metrics of a file: bytes in S3, bytes inflated, and how late its first event is."""
    content = log_file(event(1, eventTime="2026-11-23T09:00:00Z"), event(2, eventTime="2026-11-23T10:00:00Z"))
    tally = FileTally(ref(), NOW)

    reader().read(tally, FetchedObject(content, NOW))

    assert tally.stored_bytes == len(content)
    assert tally.inflated_bytes == len(gzip.decompress(content))
    assert tally.oldest_event == "2026-11-23T09:00:00Z"


@pytest.mark.parametrize(
    ("delivered_at", "is_kept"),
    [
        (NOW - timedelta(days=300), True),
        (NOW + timedelta(hours=23), True),
        (NOW + timedelta(days=2), False),
        (datetime.fromisoformat("2013-10-31T23:59:00Z"), False),
        (None, False),
    ],
)
def test_a_delivery_time_that_cannot_be_true_is_replaced_by_s3_s_own(
    delivered_at: datetime | None, *, is_kept: bool
) -> None:
    """A name can say anything, and events are dated by comparison with it."""
    tally = FileTally(ref(), delivered_at)

    reader().read(tally, FetchedObject(log_file(event(1)), NOW))

    assert tally.delivered_at == (delivered_at if is_kept else NOW)


def test_a_file_is_not_read_when_the_batch_has_to_stop() -> None:
    """Its message goes back whole; half a file would count as a file."""
    with pytest.raises(OutOfTime, match="deadline"):
        reader(remaining=10.0).read(FileTally(ref(), NOW), FetchedObject(log_file(event(1)), NOW))


def test_a_file_over_the_limit_is_not_inflated_further() -> None:
    """A bomb costs no more memory than the limit."""
    with pytest.raises(UnreadableObject) as error:
        reader(limits=Limits(max_inflated_bytes=1 << 20)).read(
            FileTally(ref(), NOW), FetchedObject(packed(bytes(2 << 20)), NOW)
        )

    assert error.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("delivered_at", "earliest", "latest"),
    [
        (NOW, NOW - timedelta(days=30), NOW + timedelta(days=1)),
        (datetime.fromisoformat("2013-11-20T00:00:00Z"), None, datetime.fromisoformat("2013-11-21T00:00:00Z")),
        (NOW + timedelta(days=9), None, None),
        (None, None, None),
    ],
)
def test_events_are_dated_by_the_time_in_the_name_and_by_no_other(
    delivered_at: datetime | None, earliest: datetime | None, latest: datetime | None
) -> None:
    """S3's own time is another for each copy: a record must go where its copy went."""
    tally, files = FileTally(ref(), delivered_at), reader()
    files.read(tally, FetchedObject(log_file(event(1)), NOW))

    naming = files.index_naming(tally)

    assert naming.earliest == (iso_seconds(earliest) if earliest else "2013-11")
    assert naming.latest == (iso_seconds(latest) if latest else "2100")


@pytest.mark.parametrize("lost", [0, 1, 8, 20])
def test_a_file_that_ends_before_its_checksum_is_unchecked(lost: int) -> None:
    """An altered record would look like any other."""
    content = log_file(*map(event, range(50)))
    tally, files = FileTally(ref(), NOW), reader()

    files.read(tally, FetchedObject(content[: len(content) - lost], NOW))

    assert files.provenance(tally).unchecked is bool(lost)


def test_the_clock_is_checked_by_bytes_while_records_are_read() -> None:
    """A few large records that no fast parser takes would use up what is left for handing back."""
    checks: list[int] = []

    def remaining() -> float:
        checks.append(1)
        return 900.0

    events = [event(n, requestParameters={"text": "x" * 300_000}) for n in range(6)]
    reader = FileReader(Limits(), Deadline(remaining, reserve=10.0), lambda: NOW)

    records = reader.read(FileTally(ref(), NOW), FetchedObject(log_file(*events), NOW))

    assert [record.position for record in records] == list(range(6))
    assert len(checks) >= 6


def test_a_record_that_can_never_be_sent_is_rejected_without_being_read() -> None:
    """A copy of a string of 255 MiB is one more than the memory has room for."""
    events = [event(1), event(2, requestParameters={"text": "x" * 5_000}), event(3)]
    tally = FileTally(ref(), NOW)

    records = reader(limits=Limits(bulk_max_bytes=4_000)).read(tally, FetchedObject(log_file(*events), NOW))

    assert [record.position for record in records] == [0, 2]
    assert tally.rejections == [(1, "too_large")]
