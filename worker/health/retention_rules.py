"""How the retention policy is judged, and what each index follows: what is in the cluster, not what was asked for.

Pure: values in, judgements out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.health.findings import Judgement
from worker.health.rules import NAMES_SHOWN, SETUP, first_names, request_for
from worker.opensearch.managed_indices import ISM
from worker.opensearch.policy_steps import describe_steps
from worker.opensearch.schema import POLICIES

if TYPE_CHECKING:
    from worker.health.retention_snapshot import IndexPolicies, RetentionState


def judge_retention(retention: RetentionState | None) -> Judgement:
    """Judge whether the cluster's policy deletes indices as the settings ask."""
    if retention is None:
        return Judgement.not_checked("Serverless has no ISM; see the lifecycle policy of the collection")
    request, policy = retention.request, retention.policy
    if not request:
        return _judge_unasked_policy(retention)
    # An index keeps the policy that it has, or has none, until it is told.
    fix = f"{SETUP} {retention.options} --existing"
    if not retention.has_ism:
        evidence = f"{request} asked for, and this server has no ISM plugin"
        return Judgement.warning(evidence, "delete old indices yourself, or set TRAILSINK_RETENTION_DAYS to 0")
    if not policy:
        return Judgement.fault(f"{request} asked for, and no policy exists", fix)
    if policy != retention.expected:
        return Judgement.fault(f"{request} asked for, the policy says: {policy}", fix)
    return _judge_steps(retention, fix)


def _judge_steps(retention: RetentionState, fix: str) -> Judgement:
    """Judge a policy with the right description by what it does."""
    if retention.steps == retention.expected_steps:
        return Judgement.ok(retention.expected)
    steps = describe_steps(retention.steps)
    return Judgement.fault(f"{retention.request} asked for, the policy says so, and its states do not: {steps}", fix)


def _judge_unasked_policy(retention: RetentionState) -> Judgement:
    """Judge a policy that the settings do not ask for: what the cluster does counts, not what was asked for."""
    policy, fix = retention.policy, f"{SETUP} --retention-days 0"
    if not policy:
        return Judgement.ok("none asked for; indices are kept")
    if not retention.is_set:
        evidence = f"{policy}, and TRAILSINK_RETENTION_DAYS is not set here"
        return Judgement.warning(evidence, f"set it as the pipeline has it, or keep indices: {fix}")
    return Judgement.fault(f"none asked for, the policy says: {policy}", fix)


def judge_index_policies(retention: RetentionState, policies: IndexPolicies) -> Judgement | None:
    """Judge what the indices follow, None where there is nothing to say: an index keeps the policy that it once got."""
    if not retention.request:
        return _judge_unasked_deletion(retention, policies)
    return _judge_attached(retention, policies) if retention.policy else None


def _judge_attached(retention: RetentionState, policies: IndexPolicies) -> Judgement:
    """Judge whether all indices follow the cluster's policy as it is now."""
    fix = f"{SETUP} {retention.options} --existing"
    if evidence := _other_policies(retention, policies):
        return Judgement.fault(evidence, fix)
    if failed := [index for index, policy in policies.by_index.items() if policy.has_failed]:
        evidence = f"the policy failed for {first_names(failed)}"
        return Judgement.fault(evidence, f"POST {ISM}/retry/{','.join(failed[:NAMES_SHOWN])}")
    total = len(policies.by_index)
    return Judgement.ok(f"{total} of {total} have a policy")


def _other_policies(retention: RetentionState, policies: IndexPolicies) -> str:
    """Return which indices follow something else than the cluster's policy as it is now, "" for none."""
    followed, own = policies.by_index, policies.own
    total = len(followed)
    if unmanaged := [index for index, policy in followed.items() if not policy.name]:
        return f"{len(unmanaged)} of {total} have no policy: {first_names(unmanaged)}"
    if others := [index for index, policy in followed.items() if policy.name != own]:
        names = ", ".join(sorted({followed[index].name for index in others}))
        return f"{len(others)} of {total} follow another policy, {names}: {first_names(others)}"
    shown = {index: policy for index, policy in followed.items() if policy.deletes is not None}
    current = retention.policy, retention.steps
    if outdated := [index for index, policy in shown.items() if (policy.description, policy.steps) != current]:
        one = shown[outdated[0]]
        text = describe_steps(one.steps) if one.description == retention.policy else one.description
        return f"{len(outdated)} of {total} follow an earlier version, {text}: {first_names(outdated)}"
    return ""


def _judge_unasked_deletion(retention: RetentionState, policies: IndexPolicies) -> Judgement | None:
    """Judge policies of others, or of an earlier time, that delete indices which nobody asked to delete."""
    deleted = {
        index: policy
        for index, policy in policies.by_index.items()
        # Whether trailsink's own policy was asked for is judged already.
        if policy.name and policy.deletes is not False and not (policy.name == policies.own and retention.policy)
    }
    if not deleted:
        return None
    names = sorted({policy.name for policy in deleted.values()})
    indices = list(deleted)
    evidence = (
        f"{len(deleted)} of {len(policies.by_index)} follow the policy {', '.join(names)}: {first_names(indices)}"
    )
    if all(policy.deletes is None for policy in deleted.values()):
        evidence += "; what it does is not shown"
        return Judgement.warning(evidence, f"see what it does: GET {POLICIES}/{names[0]}")
    fix = request_for(f"POST {ISM}/remove/", indices)
    if retention.is_set:
        return Judgement.fault(f"no deletion asked for, and {evidence}, which deletes", fix)
    return Judgement.warning(f"{evidence}, which deletes", fix)
