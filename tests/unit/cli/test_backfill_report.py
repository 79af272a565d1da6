"""Promises about what a backfill prints: one table for people, documents that never change for scripts."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from infra.generate.json_documents import Backfilled, read
from tests.support.fake_backfill import MemoryLoader, backfill_options, backfill_run, selected_file
from worker.backfill.checkpoint import Checkpoint
from worker.backfill.loaders import QueueLoader
from worker.backfill.progress import BackfillPlan, Finished, LoadOutcome, LoadTally
from worker.backfill.report import FailureReport
from worker.backfill.retry import RateLimiter
from worker.cli.backfill_report import (
    FullQueueWarning,
    RunReporter,
    count_files,
    destination_lines,
    failure_advice,
    nothing_missing,
    plan_lines,
    progress_text,
    resume_advice,
)
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


FAILED = Finished(LoadOutcome.FAILED, (3, 2, 0, 0, 1), "records_rejected", "1 of 3", ((1, "not_a_json_object"),))
TALLY = {"2025-01-30": Counter(loaded=2), "2025-01-31": Counter(loaded=1_000, failed=12)}
RECORDS = Counter(read=9, indexed=5, duplicate=2, degraded=1, rejected=1)


class MemoryDepth:
    """A queue of which a test sets the depth."""

    def __init__(self, depth: int) -> None:
        self.messages = depth

    def announce(self, bodies: Sequence[str]) -> list[str]:
        return [""] * len(bodies)

    def depth(self) -> tuple[int, int]:
        return self.messages, 0


def new_plan(files: int) -> BackfillPlan:
    plan = BackfillPlan()
    for number in range(files):
        plan.add(selected_file(number, f"2025-01-{number % 2 + 30}"))
    return plan


def new_checkpoint(**changes: Any) -> Checkpoint:
    defaults: dict[str, Any] = {
        "fingerprint": {},
        "started_at": datetime(2026, 1, 1, tzinfo=UTC),
        "since": datetime(2025, 1, 1, tzinfo=UTC),
        "until": datetime(2025, 2, 1, tzinfo=UTC),
        "roots": ["", "prod/"],
        "report": "/r/failed.jsonl",
    }
    return Checkpoint(**(defaults | changes))


def test_a_plan_names_files_size_accounts_and_days() -> None:
    """The hour after the end is part of it, unless it is in the future: then it looked like a wrong clock."""
    until = datetime(2025, 2, 1, tzinfo=UTC)
    lines = list(plan_lines(new_plan(2_000), new_checkpoint(), backfill_options(until=until), "s3://trail/"))
    to_now = list(plan_lines(new_plan(2_000), new_checkpoint(), backfill_options(), "s3://trail/"))

    assert lines == [
        "from      s3://trail/AWSLogs/, s3://trail/prod/AWSLogs/",
        "delivered 2025-01-01 00:00 to 2025-02-01 01:00 UTC",
        "files     2,000",
        "size      195.3 KiB",
        "accounts  1",
        "days      2, 2025-01-30 to 2025-01-31",
    ]
    assert to_now[1] == "delivered 2025-01-01 00:00 to 2025-02-01 00:00 UTC"


def test_a_plan_of_missing_files_counts_those_that_are_present() -> None:
    """The operator sees how much the index holds, and whether --incomplete would load more."""
    plan = new_plan(1)
    plan.present, plan.incomplete = 1_000, 2

    lines = list(plan_lines(plan, new_checkpoint(), backfill_options(missing=True), "s3://trail/"))

    assert lines[-1] == "present   1,000 files with records in the index, 2 of them incomplete"
    assert nothing_missing(plan) == (
        "Nothing is missing: the index holds records of all 1,000 files, but 2 of them lack records: "
        "pass --incomplete to load those."
    )


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (1, "1 more file left alone: the dead letter was discarded."),
        (2, "2 more files left alone: the dead letters were discarded."),
    ],
)
def test_files_that_were_discarded_are_counted_and_not_missing(number: int, sentence: str) -> None:
    """The operator decided on them."""
    plan = new_plan(1)
    plan.present, plan.discarded = 5, number

    lines = list(plan_lines(plan, new_checkpoint(), backfill_options(missing=True), "s3://trail/"))

    assert lines[-1].startswith(f"discarded {number} file")
    assert nothing_missing(plan) == f"Nothing is missing: the index holds records of all 5 files. {sentence}"


def test_a_plan_of_a_report_names_the_report(tmp_path: Path) -> None:
    """It has no time range."""
    options = backfill_options(direct=True, retry_failed=tmp_path / "failed.jsonl")

    lines = list(plan_lines(new_plan(1), new_checkpoint(roots=[]), options, "s3://trail/"))

    assert lines[:2] == [f"from      {tmp_path}/failed.jsonl", "files     1"]


def test_a_plan_names_its_destination() -> None:
    """A setting that is missing is named: --dry-run needs none."""
    settings = Settings(opensearch_url="https://search.example.com", queue_url="https://sqs.example.com/q")

    assert list(destination_lines(backfill_options(), settings)) == [
        "to        https://sqs.example.com/q",
        "          up to 100 files per second,",
        "          while the queue holds fewer than 1,000 messages",
    ]
    assert list(destination_lines(backfill_options(direct=True, workers=1), settings)) == [
        "to        https://search.example.com, cloudtrail-*",
        "          with 1 worker",
    ]
    assert next(destination_lines(backfill_options(), Settings())) == "to        (TRAILSINK_QUEUE_URL is not set)"
    assert next(destination_lines(backfill_options(direct=True), Settings())) == (
        "to        (TRAILSINK_OPENSEARCH_URL is not set), cloudtrail-*"
    )


def test_the_complete_plan_is_returned() -> None:
    """The spinner shows its growth."""
    plan = new_plan(3)

    assert count_files(iter([BackfillPlan(), plan]), shown=False) is plan


def test_the_progress_shows_rate_records_depth_and_retries() -> None:
    """Whatever is zero is left out."""
    queue = QueueLoader(MemoryDepth(1_234), "trail", RateLimiter(100, 10), 1_000)
    queue.capacity()

    assert progress_text(LoadTally(), {}, MemoryLoader(), 0.0) == "0/s"
    assert progress_text(LoadTally({}, RECORDS), {"429": 2, "crash": 1}, queue, 1_000.4) == (
        "1,000/s · 9 records · depth 1,234 · 3 retries"
    )


def test_a_queue_that_stays_full_is_reported_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A backfill that waits must say for what."""
    now = [100.0]
    loader = QueueLoader(MemoryDepth(2_000), "trail", RateLimiter(100, 10), 1_000, monotonic=lambda: now[0])
    warning = FullQueueWarning(loader, 1_000)
    for seconds in (0.0, 59.0, 1.0, 60.0):
        now[0] += seconds
        loader.capacity()
        warning.check()

    assert capsys.readouterr().err == (
        "The queue holds 2,000 messages, and --max-depth is 1,000: waiting for its consumer.\n"
    )


def reporter(tmp_path: Path, failures: int = 12, *, as_json: bool = False) -> RunReporter:
    """What reports on a run that resumed with `TALLY` and whose report lists some failures."""
    report = FailureReport(tmp_path / "failed.jsonl")
    report.append("trail", [(selected_file(number), FAILED) for number in range(failures)])
    loader = MemoryLoader()
    tally = LoadTally({day: Counter(files) for day, files in TALLY.items()}, Counter(RECORDS))
    run = backfill_run(loader, 0, tally=tally)
    run.retries.update({"429": 2})
    return RunReporter(
        options=backfill_options(direct=True, as_json=as_json, progress=False),
        bucket="trail",
        run=run,
        loader=loader,
        report=report,
        started_at=time.monotonic(),
        files_before=1,
    )


def test_the_result_is_a_table_by_day_and_the_first_failures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A million failures must not fill the terminal: the report lists them all."""
    reporter(tmp_path).print_result(finished=True)

    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "day         loaded  failed",
        "2025-01-30       2       0",
        "2025-01-31   1,000      12",
        "all          1,002      12",
        "records: 9 read, 5 indexed, 2 duplicate, 1 degraded, 1 rejected",
    ]
    assert lines[5:7] == ["records_rejected  s3://trail/AWSLogs/000000", "  1 of 3"]
    assert len(lines) == 5 + 2 * 10 + 1
    assert lines[-1] == f"... and 2 more, in {tmp_path}/failed.jsonl"


def test_the_result_in_json_has_its_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Days, every failure, and the end, with the members in the order that they always had."""
    reporter(tmp_path, as_json=True).print_result(finished=False)

    out = capsys.readouterr().out
    read(out, Backfilled)
    documents = [json.loads(line) for line in out.splitlines()]
    assert documents[:2] == [
        {"kind": "day", "day": "2025-01-30", "files": {"loaded": 2}},
        {"kind": "day", "day": "2025-01-31", "files": {"loaded": 1_000, "failed": 12}},
    ]
    assert documents[2] == {
        "kind": "failed",
        "object": "s3://trail/AWSLogs/000000",
        "key": "AWSLogs/000000",
        "size": 100,
        "account": "123456789012",
        "day": "2025-01-31",
        "reason": "records_rejected",
        "detail": "1 of 3",
        "rejected": [[1, "not_a_json_object"]],
    }
    assert len(documents) == 2 + 12 + 1
    assert list(documents[-1]) == ["kind", "finished", "files", "records", "retries", "seconds", "report"]
    end = {name: documents[-1][name] for name in ("kind", "finished", "files", "records", "retries", "report")}
    assert end == {
        "kind": "end",
        "finished": False,
        "files": {"loaded": 1_002, "failed": 12},
        "records": dict(RECORDS),
        "retries": {"429": 2},
        "report": str(tmp_path / "failed.jsonl"),
    }


def test_without_failures_there_is_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its path would name a file that does not exist."""
    reporter(tmp_path, failures=0, as_json=True).print_result(finished=True)

    assert json.loads(capsys.readouterr().out.splitlines()[-1])["report"] is None


def test_the_whole_run_is_consumed_while_its_progress_is_shown(tmp_path: Path) -> None:
    """The display drives the run."""
    beats = iter([None, None, None])

    reporter(tmp_path).show_progress(beats, total=5)

    assert next(beats, "exhausted") == "exhausted"


def test_an_interrupted_run_says_how_to_resume(tmp_path: Path) -> None:
    """A report is loaded from its start again, and that is said."""
    state = tmp_path / "state.json"

    assert resume_advice(state) == f"Run the same command to resume: {state} holds its progress."
    assert resume_advice(None) == "Run the same command again: no record is indexed twice."


def test_failures_name_the_command_that_loads_them(tmp_path: Path) -> None:
    """It can be copied, and reads the same files."""
    report = tmp_path / "failed.jsonl"

    assert failure_advice(1, backfill_options(direct=True), report) == (
        f"1 file failed: fix the cause, then run `trailsink backfill --direct --retry-failed {report}` "
        "to load what the report lists."
    )
    assert f"2 files failed: fix the cause, then run `trailsink backfill --direct --local {tmp_path} " in (
        failure_advice(2, backfill_options(direct=True, local=tmp_path), report)
    )
    assert f"`trailsink backfill --direct --bucket other --retry-failed {report}` " in (
        failure_advice(1, backfill_options(direct=True, bucket="other"), report)
    )
