"""Statuses and findings, as programs read them."""

from __future__ import annotations

import msgspec
import pytest

from worker.health.findings import CheckStatus, Finding, Judgement, worst


def test_a_finding_is_one_line_of_json_with_a_verdict() -> None:
    """Scripts read these members."""
    finding = Finding(CheckStatus.NOT_CHECKED, "clock", "SQS did not report its time")

    assert msgspec.json.encode(finding) == (
        b'{"verdict":"not checked","check":"clock","evidence":"SQS did not report its time","fix":""}'
    )


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], "ok"),
        (["ok", "unknown"], "unknown"),
        (["unknown", "warning", "ok"], "warning"),
        (["not checked", "warning"], "warning"),
        (["warning", "fault", "unknown"], "fault"),
    ],
)
def test_the_worst_status_counts(statuses: list[str], expected: str) -> None:
    """What is not known is worse than what is well, and never hides a fault."""
    assert worst(map(CheckStatus, statuses)) == expected


def test_a_judgement_has_a_fix_only_where_there_is_something_to_fix() -> None:
    """Except that a permission may make a check possible."""
    assert Judgement.ok("all") == (CheckStatus.OK, "all", "")
    assert Judgement.warning("soon", "do") == (CheckStatus.WARNING, "soon", "do")
    assert Judgement.fault("now", "do") == (CheckStatus.FAULT, "now", "do")
    assert Judgement.not_checked("dark") == (CheckStatus.NOT_CHECKED, "dark", "")
