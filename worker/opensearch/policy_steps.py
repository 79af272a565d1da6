"""What a policy of ISM does, by its states: its description may say something else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

# Members of an action beside the one that it is named by: docs.opensearch.org/latest/im-plugin/ism/policies/#actions
_OF_ANY_ACTION = frozenset(("retry", "timeout"))


class PolicyStep(NamedTuple):
    """A state, the names of its actions, and one state that it leads to, at an age as ISM writes it; "" for none."""

    state: str
    actions: tuple[str, ...]
    next_state: str = ""
    age: str = ""


def steps_of(policy: Mapping[str, Any]) -> tuple[PolicyStep, ...]:
    """Return the steps of a policy, without the defaults that the server adds of its own."""
    steps = []
    for state in policy.get("states") or ():
        name = str(state.get("name"))
        actions = tuple(name for action in state.get("actions") or () for name in action if name not in _OF_ANY_ACTION)
        transitions = [
            PolicyStep(name, actions, str(step.get("state_name")), _age(step))
            for step in state.get("transitions") or ()
        ]
        steps += transitions or [PolicyStep(name, actions)]
    return tuple(steps)


def describe_steps(steps: tuple[PolicyStep, ...]) -> str:
    """Return what steps do, as in "deleted at 91d"."""
    transitions = [f"{step.next_state} at {step.age or 'once'}" for step in steps if step.next_state]
    return ", ".join(transitions) or "they lead nowhere"


def _age(transition: Mapping[str, Any]) -> str:
    return str((transition.get("conditions") or {}).get("min_index_age") or "")
