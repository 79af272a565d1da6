"""Promises about the report of failed files: what is written is what --retry-failed loads."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.support.fake_backfill import selected_file
from worker.backfill.progress import Finished, LoadOutcome
from worker.backfill.report import FailureReport, read_report
from worker.errors import SetupError

if TYPE_CHECKING:
    from pathlib import Path

FAILED = Finished(LoadOutcome.FAILED, (3, 2, 0, 0, 1), "records_rejected", "1 of 3", ((1, "not_a_json_object"),))


def test_a_report_reads_as_it_was_written(tmp_path: Path) -> None:
    """--retry-failed loads exactly those files."""
    report = FailureReport(tmp_path / "failed.jsonl")

    report.append("b", [(selected_file(1), FAILED), (selected_file(2), FAILED)])

    files = [failed.to_selected() for failed in read_report(report.path, "b")]
    assert files == [selected_file(1), selected_file(2)]
    first = msgspec.json.decode(report.path.read_bytes().splitlines()[0])
    assert first["rejected"] == [[1, "not_a_json_object"]]
    assert first["object"] == f"s3://b/{selected_file(1).key}"


def test_a_line_of_a_report_is_written_as_it_always_was(tmp_path: Path) -> None:
    """Byte for byte: scripts read it, and so does a later release."""
    report = FailureReport(tmp_path / "failed.jsonl")

    report.append("b", [(selected_file(1), FAILED)])

    assert report.path.read_bytes() == (
        b'{"object":"s3://b/AWSLogs/000001","key":"AWSLogs/000001","size":100,"account":"123456789012",'
        b'"day":"2025-01-31","reason":"records_rejected","detail":"1 of 3","rejected":[[1,"not_a_json_object"]]}\n'
    )
    assert report.size == report.path.stat().st_size


def test_a_report_without_failures_is_not_created(tmp_path: Path) -> None:
    """An empty file would look like a run that failed."""
    report = FailureReport(tmp_path / "failed.jsonl")

    report.append("b", [])

    assert not report.path.exists()


@pytest.mark.parametrize("content", [b"no report\n", b'{"object":"s3://other/k","key":"k"}\n', b'{"a":1}\n'])
def test_a_file_that_is_not_a_report_is_refused_by_its_line(tmp_path: Path, content: bytes) -> None:
    """A list of names is not a report."""
    path = tmp_path / "failed.jsonl"
    path.write_bytes(content)

    with pytest.raises(SetupError, match="line 1"):
        list(read_report(path, "b"))


def test_a_report_of_another_bucket_is_refused(tmp_path: Path) -> None:
    """Its keys may exist in this bucket too, and would be other files."""
    report = FailureReport(tmp_path / "failed.jsonl")
    report.append("b", [(selected_file(1), FAILED)])

    with pytest.raises(SetupError, match=r"line 1: s3://b/AWSLogs/000001 is not in the bucket bb\."):
        list(read_report(report.path, "bb"))


def test_a_report_is_its_owners_and_no_link_is_followed(tmp_path: Path) -> None:
    """It names accounts; and a link in its place would have another file cut off and appended to."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"theirs")
    (tmp_path / "link.jsonl").symlink_to(victim)
    report = FailureReport(tmp_path / "failed.jsonl")

    report.append("b", [(selected_file(1), FAILED)])
    with pytest.raises(SetupError, match=r"link\.jsonl cannot be used"):
        FailureReport(tmp_path / "link.jsonl")

    assert stat.S_IMODE(report.path.stat().st_mode) == 0o600
    assert victim.read_bytes() == b"theirs"


def test_a_link_that_is_planted_before_the_first_failure_is_not_followed(tmp_path: Path) -> None:
    """A run may last for hours before a file fails."""
    report, victim = FailureReport(tmp_path / "failed.jsonl"), tmp_path / "victim"
    report.path.symlink_to(victim)

    with pytest.raises(SetupError, match="cannot be used"):
        report.append("b", [(selected_file(1), FAILED)])

    assert not victim.exists()


def test_a_resumed_report_goes_on_where_its_run_had_come(tmp_path: Path) -> None:
    """What a killed run wrote beyond that is cut off."""
    first = FailureReport(tmp_path / "failed.jsonl")
    first.append("b", [(selected_file(1), FAILED)])
    counted = first.size
    first.append("b", [(selected_file(2), FAILED)])

    resumed = FailureReport(first.path, counted)
    resumed.append("b", [(selected_file(3), FAILED)])

    assert [failed.to_selected() for failed in read_report(first.path, "b")] == [selected_file(1), selected_file(3)]
