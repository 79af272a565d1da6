"""Promises about the steps of a policy: what it does, without the defaults that a server adds."""

from __future__ import annotations

from worker.opensearch.policy_steps import PolicyStep, describe_steps, steps_of
from worker.opensearch.schema import retention_policy


def test_a_server_adds_defaults_and_the_steps_stay_the_same() -> None:
    """As it shows the policy that was sent."""
    sent = retention_policy("trail", 90)["policy"]
    kept, deleted = sent["states"]
    retry = {"count": 3, "backoff": "exponential", "delay": "1m"}
    shown = sent | {"states": [kept, deleted | {"actions": [{"timeout": "1d", "retry": retry, "delete": {}}]}]}

    steps = (PolicyStep("kept", (), "deleted", "91d"), PolicyStep("deleted", ("delete",)))
    assert steps_of(sent) == steps_of(shown) == steps
    assert describe_steps(steps) == "deleted at 91d"


def test_a_policy_without_states_does_nothing() -> None:
    """A transition without an age is taken at once."""
    assert steps_of({}) == ()
    assert describe_steps(()) == "they lead nowhere"
    assert describe_steps(steps_of({"states": [{"name": "a", "transitions": [{"state_name": "b"}]}]})) == "b at once"
