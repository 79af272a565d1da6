"""The retention of a pipeline at one moment, as values: what was asked for, the policy, and what each index follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.opensearch.lifecycle import Lifecycle
from worker.opensearch.policy_steps import steps_of
from worker.opensearch.schema import index_policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.opensearch.managed_indices import AttachedPolicy
    from worker.opensearch.policy_steps import PolicyStep
    from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class RetentionState:
    """Days that the settings ask for (0: for ever), and the policy of the cluster, by its description.

    `policy` is "" where there is none, and None where it may not be read. `expected` is the description of the policy
    that `trailsink setup` would create. `has_ism` is False without the plugin, `is_set` where nobody set days. The
    steps are what the two policies do.
    """

    days: int
    policy: str | None
    expected: str = ""
    has_ism: bool = True
    read_only_days: int = 0
    is_set: bool = True
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    steps: tuple[PolicyStep, ...] = ()
    expected_steps: tuple[PolicyStep, ...] = ()

    @property
    def request(self) -> str:
        """What the settings ask for, "" when it is nothing."""
        return " and ".join(self.lifecycle.parts(self.days, self.read_only_days))

    @property
    def options(self) -> str:
        """The options of `trailsink setup` that create the policy."""
        options = [f"--retention-days {self.days}"] if self.days else []
        options += [f"--read-only-after {self.read_only_days}"] if self.read_only_days else []
        return " ".join([*options, *self.lifecycle.options])


def asked_for(settings: Settings) -> RetentionState:
    """Return what the settings ask for, before anything is known of the cluster's policy."""
    lifecycle = Lifecycle(settings.merge_days, settings.merged_replicas, settings.warm_days)
    body = index_policy(
        settings.index_prefix, settings.retention_days, settings.read_only_days, settings.index_partition, lifecycle
    )
    policy = body["policy"] if body else {}
    return RetentionState(
        settings.retention_days,
        "",
        policy.get("description", ""),
        read_only_days=settings.read_only_days,
        is_set="retention_days" in settings.model_fields_set,
        lifecycle=lifecycle,
        expected_steps=steps_of(policy),
    )


@dataclass(frozen=True, slots=True)
class IndexPolicies:
    """The policy that each index follows, by its name, without those that a hold keeps from all policies."""

    own: str  # the name of trailsink's policy
    by_index: Mapping[str, AttachedPolicy]
