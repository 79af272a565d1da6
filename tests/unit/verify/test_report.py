"""Promises about the report: its lines follow from each other, and a resumed run continues where it was saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker.errors import SetupError
from worker.verify.report import ChainedReport, check_report

if TYPE_CHECKING:
    from pathlib import Path


def test_each_line_holds_the_hash_of_the_one_before(tmp_path: Path) -> None:
    """Whoever changes, removes or adds a line breaks those that follow."""
    path = tmp_path / "report.jsonl"
    report = ChainedReport(path)
    report.append([{"a": 1}, {"b": 2}])
    report.append([{"c": 3}, {"d": 4}])
    assert check_report(path) == 4
    lines = path.read_bytes().splitlines(keepends=True)

    for changed in (
        [lines[0], lines[2], lines[3]],
        [lines[0].replace(b"1", b"2"), *lines[1:]],
        [lines[1], lines[0], *lines[2:]],
        [lines[0], lines[0], *lines[1:]],
        [*lines, b"text\n"],
    ):
        path.write_bytes(b"".join(changed))
        with pytest.raises(SetupError, match="line"):
            check_report(path)


def test_what_a_killed_run_wrote_last_is_cut_off(tmp_path: Path) -> None:
    """The state was saved before it."""
    path = tmp_path / "report.jsonl"
    report = ChainedReport(path)
    report.append([{"a": 1}])
    size, last_hash = report.size, report.last_hash
    report.append([{"b": 2}])

    ChainedReport(path, size, last_hash).append([{"c": 3}])

    assert check_report(path) == 2
    assert b'"c"' in path.read_bytes()
    assert b'"b"' not in path.read_bytes()


def test_a_report_of_another_run_is_not_overwritten(tmp_path: Path) -> None:
    """It may be evidence."""
    path = tmp_path / "report.jsonl"
    ChainedReport(path).append([{"a": 1}])

    with pytest.raises(SetupError, match="already exists"):
        ChainedReport(path)


def test_without_a_path_the_hashes_are_the_same(tmp_path: Path) -> None:
    """The summary can be compared although nobody asked for a report."""
    with_path, without = ChainedReport(tmp_path / "report.jsonl"), ChainedReport(None)

    with_path.append([{"a": 1}])
    without.append([{"a": 1}])

    assert with_path.last_hash == without.last_hash
