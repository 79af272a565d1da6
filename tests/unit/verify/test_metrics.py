"""Promises about the metrics of a verification: every state that is wrong is in one, under the queue's name."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from worker.verify.metrics import VERIFY_METRICS, verify_metrics_line
from worker.verify.states import NOTES, ProofState, VerifyFinding, VerifyTotals

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


def test_the_line_counts_what_was_found() -> None:
    """CloudWatch reads it out of the log."""
    totals = VerifyTotals()
    for state, number in ((ProofState.MISSING, 2), (ProofState.LOST, 1), (ProofState.DIGEST_MISSING, 5)):
        totals.add(VerifyFinding(state, "s3://bucket/key", number=number))

    line = json.loads(verify_metrics_line(totals, "trail", MOMENT))

    values = {metric.name: line[metric.name] for metric in VERIFY_METRICS}
    assert values == {
        "FilesMissing": 3,
        "FilesAltered": 0,
        "FilesPlanted": 0,
        "DigestsMissing": 5,
        "HoursUnsigned": 5,
        "NotJudged": 0,
    }
    assert line["Queue"] == "trail"
    assert line["_aws"]["Timestamp"] == MOMENT.timestamp() * 1000
    assert {one["Name"] for one in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]} == set(values)


def test_no_state_that_is_wrong_is_without_a_metric() -> None:
    """An alarm sees only metrics. A file in no digest is counted by the hours that have none."""
    counted = {state for metric in VERIFY_METRICS for state in metric.states}

    assert set(ProofState) - NOTES - counted == {ProofState.UNSIGNED}
