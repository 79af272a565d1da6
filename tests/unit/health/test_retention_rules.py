"""Promises about the judgement of retention: what the cluster deletes is said, never what was asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from worker.health.findings import Judgement
from worker.health.retention_rules import judge_index_policies, judge_retention
from worker.health.retention_snapshot import IndexPolicies, RetentionState
from worker.opensearch.managed_indices import AttachedPolicy
from worker.opensearch.policy_steps import PolicyStep

OWN = "trailsink-trail"
ASKED = RetentionState(90, "90 days", "90 days")
KEPT = RetentionState(0, "")
FOLLOWS = AttachedPolicy(OWN, "90 days", deletes=True)
WEEKLY = AttachedPolicy("corp", "7 days", deletes=True)
WEEK = (PolicyStep("kept", (), "deleted", "7d"), PolicyStep("deleted", ("delete",)))
EXISTING = "trailsink setup --retention-days 90 --existing"
REMOVE = "POST /_plugins/_ism/remove/trail-2"


def judge(retention: RetentionState, second: AttachedPolicy) -> Judgement | None:
    """Of two indices, the first one follows what it should."""
    first = FOLLOWS if retention.request else AttachedPolicy()
    return judge_index_policies(retention, IndexPolicies(OWN, {"trail-1": first, "trail-2": second}))


def test_a_policy_that_deletes_although_none_was_asked_for_is_a_fault() -> None:
    """An audit log must not be deleted while the tool says that it is kept."""
    judgement = judge_retention(RetentionState(0, "Delete indices of trailsink after 365 days"))

    assert judgement.status == "fault"
    assert judgement.fix == "trailsink setup --retention-days 0"


def test_a_policy_is_judged_by_what_it_does() -> None:
    """Somebody changed an age, and not the description."""
    judgement = judge_retention(replace(ASKED, steps=WEEK))

    assert judgement == Judgement.fault(
        "90 days asked for, the policy says so, and its states do not: deleted at 7d", EXISTING
    )


def test_a_shell_that_does_not_know_the_retention_says_so() -> None:
    """The variable may be set for the pipeline and not here: then nothing is wrong with the policy."""
    judgement = judge_retention(RetentionState(0, "Delete after 30 days", is_set=False))

    assert judgement.status == "warning"
    assert "TRAILSINK_RETENTION_DAYS is not set here" in judgement.evidence


@pytest.mark.parametrize(
    ("second", "status", "evidence", "fix"),
    [
        (FOLLOWS, "ok", "2 of 2 have a policy", ""),
        (AttachedPolicy(OWN), "ok", "2 of 2 have a policy", ""),  # a server that does not show the index's copy
        (AttachedPolicy(), "fault", "1 of 2 have no policy: trail-2", EXISTING),
        (WEEKLY, "fault", "1 of 2 follow another policy, corp: trail-2", EXISTING),
        (
            AttachedPolicy(OWN, "7 days", deletes=True), "fault",
            "1 of 2 follow an earlier version, 7 days: trail-2", EXISTING,
        ),
        (
            AttachedPolicy(OWN, "90 days", deletes=True, steps=WEEK), "fault",
            "1 of 2 follow an earlier version, deleted at 7d: trail-2", EXISTING,
        ),
        (
            AttachedPolicy(OWN, "90 days", deletes=True, has_failed=True), "fault",
            "the policy failed for trail-2", "POST /_plugins/_ism/retry/trail-2",
        ),
    ],
)  # fmt: skip
def test_each_index_is_judged_by_its_own_copy(second: AttachedPolicy, status: str, evidence: str, fix: str) -> None:
    """It keeps what it once got, and another tool may have come first."""
    assert judge(ASKED, second) == Judgement(status, evidence, fix)  # type: ignore[arg-type] # a StrEnum


@pytest.mark.parametrize(
    ("second", "is_set", "status", "fix"),
    [
        (AttachedPolicy(), True, None, ""),
        (AttachedPolicy("corp", "snapshots", deletes=False), True, None, ""),
        (WEEKLY, True, "fault", REMOVE),
        (WEEKLY, False, "warning", REMOVE),
        (AttachedPolicy("corp"), True, "warning", "see what it does: GET /_plugins/_ism/policies/corp"),
        (AttachedPolicy(OWN, "90 days", deletes=True), True, "fault", REMOVE),  # the policy is gone, and its copy works
    ],
)
def test_indices_that_shall_be_kept_are_deleted_by_nobody(
    second: AttachedPolicy, *, is_set: bool, status: str | None, fix: str
) -> None:
    """Another tool's policy, or a copy of ours."""
    judgement = judge(RetentionState(0, "", is_set=is_set), second)

    assert (judgement.status, judgement.fix) if judgement else (status, fix) == (None, "")


def test_a_policy_of_ours_that_nobody_asked_for_is_judged_once() -> None:
    """By `retention` itself."""
    assert judge(RetentionState(0, "90 days"), FOLLOWS) is None


def test_without_a_policy_its_absence_comes_first() -> None:
    """What the indices follow is asked for after it exists."""
    assert judge(RetentionState(90, "", "90 days"), AttachedPolicy()) is None
