"""Promises about the judgement of template and policy: each advice is the command that mends just that."""

from __future__ import annotations

import pytest

from worker.health.snapshot import RetentionState, TemplateState
from worker.health.template_rules import judge_retention, judge_template


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


def test_a_policy_that_deletes_although_none_was_asked_for_is_a_fault() -> None:
    """An audit log must not be deleted while the tool says that it is kept."""
    judgement = judge_retention(RetentionState(0, "Delete indices of trailsink after 365 days"))

    assert judgement.status == "fault"
    assert judgement.fix == "trailsink setup --retention-days 0"


def test_a_shell_that_does_not_know_the_retention_says_so() -> None:
    """The variable may be set for the pipeline and not here: then nothing is wrong with the policy."""
    judgement = judge_retention(RetentionState(0, "Delete after 30 days", is_set=False))

    assert judgement.status == "warning"
    assert "TRAILSINK_RETENTION_DAYS is not set here" in judgement.evidence
