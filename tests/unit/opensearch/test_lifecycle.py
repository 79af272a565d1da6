"""Promises about what becomes of an index with age: a policy that ISM takes, and no event shut out."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import pytest
from jsonschema import ValidationError, validate

from tests.support.ism_schema import ISM_POLICY
from worker.opensearch.lifecycle import Lifecycle
from worker.opensearch.schema import index_policy, retention_policy
from worker.pipeline.limits import Partition

LIFECYCLES = [
    Lifecycle(),
    Lifecycle(merge_days=3),
    Lifecycle(merge_days=3, merged_replicas=0),
    Lifecycle(warm_days=30),
    Lifecycle(3, 1, 30),
]


def policy(lifecycle: Lifecycle, *, read_only: int = 0, partition: Partition = Partition.DAY) -> Any:
    body = index_policy("trail", 90, read_only, partition, lifecycle)
    assert body
    return body["policy"]


def steps(body: Any) -> dict[str, str]:
    """The states that lead to others, in order, and the age at which an index leaves for each."""
    transitions = [step for state in body["states"] for step in state["transitions"]]
    return {step["state_name"]: step["conditions"]["min_index_age"] for step in transitions}


def operations(body: Any, name: str) -> list[dict[str, Any]]:
    (state,) = (state for state in body["states"] if state["name"] == name)
    return [{key: value for key, value in action.items() if key != "retry"} for action in state["actions"]]


@pytest.mark.parametrize("lifecycle", LIFECYCLES)
def test_every_policy_is_one_that_ism_documents(lifecycle: Lifecycle) -> None:
    """ISM is not on the local node, so its documentation is the judge; each state leads to one that is there."""
    for retention, read_only, partition in product((0, 90), (0, 7), Partition):
        body = index_policy("trail", retention, read_only, partition, lifecycle)
        if body is None:
            assert (retention, read_only, lifecycle.text) == (0, 0, "")
            continue

        validate(body, ISM_POLICY)

        states = body["policy"]["states"]
        names = [state["name"] for state in states]
        assert len(set(names)) == len(names)
        assert names[0] == body["policy"]["default_state"]
        for state, following in pairwise(states):
            assert [step["state_name"] for step in state["transitions"]] == [following["name"]]
        assert states[-1]["transitions"] == []
        ages = [int(age.removesuffix("d")) for age in steps(body["policy"]).values()]
        assert ages == sorted(ages)


def test_the_schema_refuses_what_ism_refuses() -> None:
    """A schema that takes everything would prove nothing."""
    body = retention_policy("trail", 90)
    for broken in (
        {"min_index_age": "0d"},
        {"min_index_age": "90"},
        {"min_age": "90d"},
        {"min_index_age": "9d", "min_doc_count": 1},
    ):
        body["policy"]["states"][0]["transitions"][0]["conditions"] = broken
        with pytest.raises(ValidationError):
            validate(body, ISM_POLICY)
    body = retention_policy("trail", 90)
    body["policy"]["states"][1]["actions"][0]["force_merge"] = {"max_num_segments": 1}
    with pytest.raises(ValidationError):
        validate(body, ISM_POLICY)


def test_an_index_is_merged_then_warm_then_deleted() -> None:
    """Days count from the last events, which come a day after an index was created, and in a month up to 31."""
    by_day, by_month = (policy(Lifecycle(3, 0, 30), partition=partition) for partition in Partition)

    assert steps(by_day) == {"merged": "4d", "warm": "31d", "deleted": "91d"}
    assert steps(by_month) == {"merged": "34d", "warm": "61d", "deleted": "121d"}
    assert by_day["description"] == (
        "Delete indices of trailsink after 90 days, merged with 0 replicas after 3 days, warm after 30 days"
    )


def test_a_merged_index_still_takes_late_events() -> None:
    """ISM blocks writes for a merge. A message with a late event would come back until it is a dead letter."""
    assert operations(policy(Lifecycle(3, 0)), "merged") == [
        {"replica_count": {"number_of_replicas": 0}},
        {"force_merge": {"max_num_segments": 1}},
        {"read_write": {}},
    ]
    assert operations(policy(Lifecycle(3)), "merged") == [{"force_merge": {"max_num_segments": 1}}, {"read_write": {}}]


def test_a_merge_lifts_no_block_that_was_asked_for() -> None:
    """An index that is read-only before it is merged stays so; one that becomes so later is blocked then."""
    before, after = policy(Lifecycle(10), read_only=7), policy(Lifecycle(3), read_only=7)

    assert list(steps(before)) == ["read_only", "merged", "deleted"]
    assert operations(before, "merged") == [{"force_merge": {"max_num_segments": 1}}]
    assert list(steps(after)) == ["merged", "read_only", "deleted"]
    assert {"read_write": {}} in operations(after, "merged")


def test_the_index_of_a_month_is_not_blocked_before_its_end() -> None:
    """Seven days after its creation, three weeks of events are still to come."""
    assert steps(policy(Lifecycle(), read_only=7, partition=Partition.MONTH))["read_only"] == "38d"
    assert steps(policy(Lifecycle(), read_only=7))["read_only"] == "7d"


@pytest.mark.parametrize(
    ("lifecycle", "retention", "words"),
    [
        (Lifecycle(merged_replicas=0), 0, "set the days for that"),
        (Lifecycle(merge_days=30, warm_days=30), 0, "merged before it is warm"),
        (Lifecycle(merge_days=90), 90, "below those of the retention"),
        (Lifecycle(warm_days=91), 90, "below those of the retention"),
        (Lifecycle(3, 0, 30), 90, ""),
        (Lifecycle(3, 0, 30), 0, ""),
    ],
)
def test_days_in_a_wrong_order_are_refused(lifecycle: Lifecycle, retention: int, words: str) -> None:
    """In one sentence, before anything is changed."""
    fault = lifecycle.fault(retention)

    assert words in fault
    assert bool(words) == bool(fault)


def test_what_a_day_costs_is_said() -> None:
    """By the formula of docs/sizing.md: 0.58 GB for a million events, times copies, times AWS's overhead."""
    first, note = Lifecycle(3, 0, 30).lines(1, 365)

    assert first == (
        "Lifecycle: hot from day 0, 1.68 GB, $0.21; merged from day 3, 0.84 GB, $0.10; warm from day 30, 0.58 GB,"
        " $0.01; deleted after day 365."
    )
    assert "without nodes" in note


def test_the_doctor_names_the_options_again() -> None:
    """Its fix is a command to paste."""
    assert Lifecycle(3, 0, 30).options == ["--merge-after 3", "--merged-replicas 0", "--warm-after 30"]
    assert Lifecycle().options == []
