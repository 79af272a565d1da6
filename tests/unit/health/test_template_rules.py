"""Promises about the judgement of the template: each advice is the command that corrects just that."""

from __future__ import annotations

import pytest

from worker.health.snapshot import TemplateState
from worker.health.template_rules import judge_template


@pytest.mark.parametrize(
    ("template", "status", "fix"),
    [
        (TemplateState("t", 1, 1), "ok", ""),
        (TemplateState("t", None, 1, exists=False), "fault", "trailsink setup"),
        (TemplateState("t", None, 1), "fault", "trailsink setup --force"),
        (TemplateState("t", 1, 1, shadow="corp"), "fault", "trailsink setup --force"),
        (TemplateState("t", 1, 1, ["eventName"]), "warning", "trailsink setup"),
        (
            TemplateState("t", 1, 1, partition="month", expected_partition="day"), "fault",
            "export TRAILSINK_INDEX_PARTITION=month",
        ),
        (TemplateState("t", 1, 1, partition="day", expected_partition="day"), "ok", ""),
    ],
)  # fmt: skip
def test_a_template_is_judged_by_what_is_in_the_cluster(template: TemplateState, status: str, fix: str) -> None:
    """`trailsink setup` alone would refuse a foreign template, and the advice would end in an error."""
    judgement = judge_template(template)

    assert (judgement.status, judgement.fix) == (status, fix)
