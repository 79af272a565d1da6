"""Promises about the ledger's template: what is in the cluster is judged, and the advice is a command that helps."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.health.fake_pipeline import FakeCluster, FakePipeline, make_ledger_template

PATH = "/_index_template/trailsink-files-cloudtrail"


def edited() -> dict[str, Any]:
    response = make_ledger_template()
    body = response["index_templates"][0]["index_template"]
    body["template"]["mappings"]["properties"]["object"] = {"type": "text"}
    return response


@pytest.mark.parametrize(
    ("answer", "status", "words", "fix"),
    [
        ((200, make_ledger_template()), "ok", "version 2", ""),
        ((404, {}), "fault", "missing", "trailsink setup"),
        ((200, make_ledger_template(_meta={})), "fault", "not made by trailsink", "trailsink setup --force"),
        ((200, edited()), "warning", "changed: object", "trailsink setup"),
    ],
)
def test_the_template_is_judged_by_its_content(answer: tuple[int, Any], status: str, words: str, fix: str) -> None:
    """As the events' own is: a digest that is still ours says nothing."""
    finding = FakePipeline(cluster=FakeCluster({PATH: answer})).findings()["ledger template"]

    assert finding.status == status
    assert words in finding.evidence
    assert finding.fix == fix
