"""Promises about the policy that deletes: what was asked for is what the cluster does afterwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.opensearch_server import NO_HANDLER, connected
from worker.opensearch.retention import ISM, attach_policy, index_ages, remove_policy

PATH = f"{ISM}/policies/trailsink-trail"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


class FakeIsm:
    """A policy, or why there is none; records what is written."""

    def __init__(self, status: int, description: str = "Delete indices of trailsink after 365 days") -> None:
        self._status, self._description = status, description
        self.written: list[tuple[str, str]] = []

    def answer(self, method: str, path: str, _query: dict[str, list[str]], _body: Any) -> tuple[int, Any]:
        if method == "GET" and path == PATH:
            policy = {"_seq_no": 1, "_primary_term": 1, "policy": {"description": self._description}}
            return self._status, policy if self._status == 200 else NO_HANDLER
        self.written.append((method, path))
        return 200, {}

    def remove(self, remover: str = "") -> str:
        with connected(self.answer) as client:
            return remove_policy(client, "trailsink-trail", "trail-*", remover=remover)


def test_no_retention_removes_the_policy_that_deletes() -> None:
    """It was left, and deleted an audit log while the tool said that indices are kept."""
    ism = FakeIsm(200)

    text = ism.remove()

    assert ism.written == [("POST", f"{ISM}/remove/trail-*"), ("DELETE", PATH)]
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


def test_a_policy_is_attached_to_the_indices_that_exist() -> None:
    """Those that follow an older version of it change, those without get it."""
    ism = FakeIsm(200)

    with connected(ism.answer) as client:
        list(attach_policy(client, "trail"))

    assert ism.written == [("POST", f"{ISM}/change_policy/trail-*"), ("POST", f"{ISM}/add/trail-*")]


def test_ages_are_counted_from_the_creation() -> None:
    """As ISM does: a backfilled day is as old as its load."""
    created = str(int((NOW - timedelta(days=40)).timestamp() * 1000))
    rows = [{"index": "trail-2020-01-01", "creation.date": created}]

    with connected(lambda *_: (200, rows)) as client:
        assert index_ages(client, "trail", NOW) == [("trail-2020-01-01", timedelta(days=40))]


def test_a_held_index_gets_no_policy() -> None:
    """A policy that is attached again would delete what a hold keeps."""
    written = []

    def answer(method: str, path: str, _query: dict[str, list[str]], _body: Any) -> tuple[int, Any]:
        if method == "GET":
            return 200, {f"trail-2026-02-0{day}": {} for day in (1, 2)}
        written.append(path)
        return 200, {}

    with connected(answer) as client:
        lines = list(attach_policy(client, "trail", {"trail-2026-02-01", "trailsink-files-trail-2026-02"}))

    assert written == [f"{ISM}/change_policy/trail-2026-02-02", f"{ISM}/add/trail-2026-02-02"]
    assert lines == ["Retention: policy trailsink-trail attached to all indices trail-*, but 1 that are held."]
