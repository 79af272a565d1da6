"""Promises about policies of ISM: they are attached to our indices and removed from them, and from no others."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.opensearch_server import NO_HANDLER, connected
from worker.errors import SetupError
from worker.opensearch.managed_indices import (
    ISM,
    AttachedPolicy,
    attach_policy,
    detach_policy,
    index_ages,
    managed_pattern,
    read_attached_policies,
)
from worker.opensearch.policy_steps import PolicyStep

NOW = datetime(2026, 3, 1, tzinfo=UTC)
POLICY_ID = "index.plugins.index_state_management.policy_id"


@dataclass
class FakeIsm:
    """Indices by name, with the policy that each follows; records what is written."""

    policies: dict[str, str | None]
    answers: dict[str, Any] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, _query: dict[str, list[str]], _body: Any) -> tuple[int, Any]:
        if path.startswith(f"{ISM}/explain"):
            return 200, {name: {POLICY_ID: policy} for name, policy in self.policies.items()}
        if method == "GET":
            return 200, {name: {} for name in self.policies}
        self.written.append(path.removeprefix(f"{ISM}/"))
        return 200, self.answers

    def attach(self, *held: str) -> list[str]:
        with connected(self.answer) as client:
            return list(attach_policy(client, "trail", frozenset(held)))


def test_a_policy_is_attached_to_the_indices_that_exist() -> None:
    """Those that follow another one change, those without get it, and another tool's index is left alone."""
    ism = FakeIsm({"trail-2026-02-01": "corp", "trail-2026-02-02": None, "trail-insights-2026": "corp"})

    lines = ism.attach()

    assert ism.written == ["change_policy/trail-2026-02-01", "add/trail-2026-02-02"]
    assert lines == [
        "Retention: policy trailsink-trail attached to all indices trail-*. ISM applies it at its next run."
    ]


def test_a_reindexed_day_gets_the_policy_by_its_own_name() -> None:
    """ISM knows no aliases."""
    ism = FakeIsm({"trailsink-reindexed1-trail-2026-02-01": None})

    ism.attach()

    assert ism.written == ["add/trailsink-reindexed1-trail-2026-02-01"]


def test_a_server_without_policies_is_left_alone() -> None:
    """`trailsink setup` has said that it has no such plugin, and goes on."""

    def answer(_method: str, path: str, _query: dict[str, list[str]], _body: Any) -> tuple[int, Any]:
        return (400, NO_HANDLER) if path.startswith(ISM) else (200, {"trail-2026-02-01": {}})

    with connected(answer) as client:
        assert list(attach_policy(client, "trail")) == []


def test_a_held_index_gets_no_policy() -> None:
    """A policy that is attached again would delete what a hold keeps."""
    ism = FakeIsm({f"trail-2026-02-0{day}": None for day in (1, 2)})

    lines = ism.attach("trail-2026-02-01", "trailsink-files-trail-2026-02")

    assert ism.written == ["add/trail-2026-02-02"]
    assert lines[0].startswith("Retention: policy trailsink-trail attached to all indices trail-*, but 1 that are held")


def test_many_indices_are_named_in_several_requests() -> None:
    """An address may have 4 KiB, and a year of days has 7."""
    ism = FakeIsm({f"trail-2025-{month:02}-{day:02}": None for month in range(1, 13) for day in range(1, 29)})

    ism.attach()

    assert len(ism.written) == 9
    assert all(len(path) < 4_000 for path in ism.written)
    assert sorted(",".join(path.removeprefix("add/") for path in ism.written).split(",")) == sorted(ism.policies)


def test_what_the_server_could_not_do_is_said() -> None:
    """It answers 200 all the same."""
    failed = {"index_name": "trail-2026-02-01", "reason": "This index is closed"}
    ism = FakeIsm({"trail-2026-02-01": None}, {"failures": True, "failed_indices": [failed]})

    lines = ism.attach()

    assert lines[1] == "Retention: the policy could not be attached to trail-2026-02-01: This index is closed."


def test_only_what_follows_a_policy_is_detached_from_it() -> None:
    """Another tool deletes its own index by a policy of its own."""
    ism = FakeIsm({"trail-2026-02-01": "trailsink-trail", "trail-insights-2026": "corp", "trail-2026-02-02": None})

    with connected(ism.answer) as client:
        detach_policy(client, "trailsink-trail", managed_pattern("trail"))

    assert ism.written == ["remove/trail-2026-02-01"]


def test_a_policy_that_stays_on_an_index_is_an_error() -> None:
    """The server answers 200 all the same, and "indices are kept" would be wrong."""
    failed = {"index_name": "trail-2026-02-01", "reason": "it is being deleted"}
    ism = FakeIsm({"trail-2026-02-01": "trailsink-trail"}, {"failures": True, "failed_indices": [failed]})

    with connected(ism.answer) as client, pytest.raises(SetupError, match="trail-2026-02-01: it is being deleted"):
        detach_policy(client, "trailsink-trail", managed_pattern("trail"))


def test_what_an_index_follows_is_read_from_its_own_copy() -> None:
    """An index keeps its copy when the policy changes."""
    states = [{"name": "kept", "actions": []}, {"name": "gone", "actions": [{"retry": {}, "delete": {}}]}]
    response = {
        "trail-1": {POLICY_ID: "p", "policy": {"description": "Delete", "states": states}, "action": {"failed": True}},
        "trail-2": {POLICY_ID: "p", "policy": {"states": [{"name": "kept", "actions": [{"read_only": {}}]}]}},
        "trail-3": {POLICY_ID: "p"},
        "trail-4": {POLICY_ID: None},
        "total_managed_indices": 3,
    }

    gone = PolicyStep("kept", ()), PolicyStep("gone", ("delete",))
    with connected(lambda *_: (200, response)) as client:
        assert read_attached_policies(client, "trail-*") == {
            "trail-1": AttachedPolicy("p", "Delete", deletes=True, steps=gone, has_failed=True),
            "trail-2": AttachedPolicy("p", deletes=False, steps=(PolicyStep("kept", ("read_only",)),)),
            "trail-3": AttachedPolicy("p"),
            "trail-4": AttachedPolicy(),
        }


def test_ages_are_counted_from_the_creation() -> None:
    """As ISM does: a backfilled day is as old as its load. Another tool's index is none of ours."""
    created = str(int((NOW - timedelta(days=40)).timestamp() * 1000))
    rows = [{"index": name, "creation.date": created} for name in ("trail-2020-01-01", "trail-insights-2026")]

    with connected(lambda *_: (200, rows)) as client:
        assert index_ages(client, "trail", NOW) == [("trail-2020-01-01", timedelta(days=40))]
