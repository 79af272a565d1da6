"""Promises about the policy that deletes: what was asked for is what the cluster does afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.opensearch_server import NO_HANDLER, connected
from worker.opensearch.managed_indices import ISM
from worker.opensearch.retention import remove_policy

POLICY_ID = "index.plugins.index_state_management.policy_id"
PATH = f"{ISM}/policies/trailsink-trail"


class FakeIsm:
    """A policy, or why there is none; records what is written."""

    def __init__(self, status: int, description: str = "Delete indices of trailsink after 365 days") -> None:
        self._status, self._description = status, description
        self.written: list[tuple[str, str]] = []

    def answer(self, method: str, path: str, _query: dict[str, list[str]], _body: Any) -> tuple[int, Any]:
        if method == "GET" and path == PATH:
            policy = {"_seq_no": 1, "_primary_term": 1, "policy": {"description": self._description}}
            return self._status, policy if self._status == 200 else NO_HANDLER
        if method == "GET":
            return 200, {"trail-2026-01-01": {POLICY_ID: "trailsink-trail"}, "trail-extra": {POLICY_ID: "corp"}}
        self.written.append((method, path))
        return 200, {}

    def remove(self, remover: str = "") -> str:
        with connected(self.answer) as client:
            return remove_policy(client, "trailsink-trail", "trail-*", remover=remover)


def test_no_retention_removes_the_policy_that_deletes() -> None:
    """It was left, and deleted an audit log while the tool said that indices are kept."""
    ism = FakeIsm(200)

    text = ism.remove()

    assert ism.written == [("POST", f"{ISM}/remove/trail-2026-01-01"), ("DELETE", PATH)]
    assert text == "policy trailsink-trail removed (Delete indices of trailsink after 365 days); indices are kept."


def test_a_policy_that_nobody_mentioned_stays_and_is_named() -> None:
    """A shell without the variable must not take a retention away that the law asks for."""
    ism = FakeIsm(200)

    text = ism.remove("--retention-days 0")

    assert ism.written == []
    assert "stays: Delete indices of trailsink after 365 days. --retention-days 0 removes it." in text


@pytest.mark.parametrize("status", [400, 403, 404])
def test_without_a_policy_nothing_is_written(status: int) -> None:
    """No plugin, no permission, or no policy."""
    ism = FakeIsm(status)

    text = ism.remove()

    assert ism.written == []
    assert text.startswith("not configured")


def test_a_policy_of_somebody_else_under_our_name_stays() -> None:
    """Only what trailsink describes is trailsink's."""
    ism = FakeIsm(200, "Company rule 7")

    text = ism.remove()

    assert ism.written == []
    assert "trailsink did not create" in text
