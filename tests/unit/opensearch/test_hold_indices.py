"""Promises about holds: which indices a hold covers, and that the retention policy lets go of them, and comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest

from tests.support.opensearch_server import NO_HANDLER, connected, missing
from worker.errors import SetupError
from worker.opensearch.hold_indices import BLOCK, HoldState, IndexHolder, Period, days_of
from worker.opensearch.holds import Hold, HoldList, held_indices, read_holds, refuse_deletion

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
LIST = "trailsink-holds-trail"
POLICY_ID = "index.plugins.index_state_management.policy_id"
INDICES = ("trail-2026-01-31", "trail-2026-02-01", "trail-2026-03-09", "trail-undated-2026-02-01", "trail-other")
LEDGER = ("trailsink-files-trail-2026-02", "trailsink-files-trail-2026-03")


@dataclass
class FakeCluster:
    """Indices with their blocks and policies, accounts by index, and the list of holds. Without `ism`, no plugin."""

    ism: bool = True
    blocked: set[str] = field(default_factory=set)
    managed: set[str] = field(default_factory=lambda: {*INDICES, *LEDGER})
    accounts: dict[str, str] = field(default_factory=lambda: {"trail-2026-02-01": "111111111111"})
    indices: set[str] = field(default_factory=lambda: {*INDICES, *LEDGER})
    holds: dict[str, Any] = field(default_factory=dict)
    fails: bool = False  # to take a policy

    def answer(self, method: str, path: str, _query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        first, _, rest = path.removeprefix("/").partition("/")
        if first == LIST:
            return self._list(method, rest, body)
        if first == "_plugins":
            return self._policy(path.removeprefix("/_plugins/_ism/")) if self.ism else (400, NO_HANDLER)
        if rest == "_search":
            wanted = body["query"]["terms"]["recipientAccountId"]
            found = [{"key": name, "doc_count": 1} for name, account in self.accounts.items() if account in wanted]
            return 200, {"_shards": {"failed": 0}, "hits": {}, "aggregations": {"indices": {"buckets": found}}}
        if method == "PUT":
            (self.blocked.add if body[BLOCK] else self.blocked.discard)(first)
            return 200, {"acknowledged": True}
        return 200, {
            name: {"settings": {BLOCK: "true"} if name in self.blocked else {}} for name in sorted(self.indices)
        }

    def _list(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "_search":
            return 200, {"hits": {"hits": [{"_source": self.holds[name]} for name in sorted(self.holds)]}}
        name = path.removeprefix("_doc/")
        if method == "DELETE":
            return (200, {}) if self.holds.pop(name, None) else missing()
        if path:
            self.holds[name] = body
        return 200, {"acknowledged": True}

    def _policy(self, path: str) -> tuple[int, Any]:
        action, _, target = path.partition("/")
        match action:
            case "explain":
                stems = tuple(pattern.removesuffix("*") for pattern in target.split(","))
                return 200, {
                    name: {POLICY_ID: "p" if name in self.managed else None}
                    for name in self.indices
                    if name.startswith(stems)
                }
            case "remove" if self.fails:
                return 200, {"failed_indices": [{"index_name": target, "reason": "it is being deleted"}]}
            case "remove":
                self.managed.discard(target)
            case "add":
                self.managed.add(target)
        return 200, {"failures": False}


def place(cluster: FakeCluster, **members: Any) -> HoldState:
    with connected(cluster.answer) as client:
        holds = HoldList(client, "trail")
        hold = msgspec.convert({"name": "case", "placed_at": NOW} | members, Hold)
        holds.add(hold)
        return IndexHolder(client, "trail", holds, NOW).apply(hold)


@pytest.mark.parametrize(
    ("index", "period"),
    [
        ("trail-2026-02-28", Period(date(2026, 2, 28), date(2026, 3, 1))),
        ("trail-2025-12", Period(date(2025, 12, 1), date(2026, 1, 1))),
        ("trail-undated", Period(None, None)),
        ("trail-undated-2026-02", Period(None, None)),
        ("trail-", None),
        ("trail-2026-13", None),
        ("trail-2026-02-30", None),
        ("trail-2026-02-28-copy", None),
        ("trail-eu-2026-02-28", None),
    ],
)
def test_the_days_of_an_index_are_in_its_name(index: str, period: Period | None) -> None:
    """Another tool's index is nobody's to hold."""
    assert days_of(index, "trail") == period


def test_a_span_holds_its_days_the_undated_events_and_the_ledger() -> None:
    """What is over is blocked. What may still get events loses only its policy."""
    cluster = FakeCluster()

    state = place(cluster, since=date(2026, 2, 1), until=date(2026, 3, 1))

    assert state.blocked == ("trail-2026-02-01",)
    assert state.open == ("trail-undated-2026-02-01", "trailsink-files-trail-2026-02")
    assert (state.pending, state.gone) == ((), ())
    assert cluster.managed == {"trail-2026-01-31", "trail-2026-03-09", "trail-other", "trailsink-files-trail-2026-03"}


def test_an_account_holds_the_days_with_its_events() -> None:
    """An index cannot be held in part, and the ledger has the files of all accounts."""
    state = place(FakeCluster(), accounts=("111111111111",))

    assert state.indices == ("trail-2026-02-01", *LEDGER)


def test_what_comes_later_is_held_by_the_next_run() -> None:
    """A hold without an end is on days that have no index yet."""
    cluster = FakeCluster()
    place(cluster, since=date(2026, 3, 1))
    cluster.indices.add("trail-2026-03-10")
    cluster.managed.add("trail-2026-03-10")

    with connected(cluster.answer) as client:
        holds = HoldList(client, "trail")
        holder = IndexHolder(client, "trail", holds, NOW)
        (before,) = holder.states(holds.read())
        after = holder.apply(before.hold)

    assert before.pending == ("trail-2026-03-10",)
    assert after.pending == ()
    assert "trail-2026-03-10" not in cluster.managed
    with connected(cluster.answer) as client:
        assert "trail-2026-03-10" in held_indices(client, "trail")


def test_an_index_that_lost_its_block_is_not_held() -> None:
    """Whoever may change settings can lift it, and must not go unnoticed."""
    cluster = FakeCluster()
    place(cluster, until=date(2026, 2, 2))
    cluster.blocked.clear()
    cluster.indices.remove("trail-2026-01-31")

    with connected(cluster.answer) as client:
        holds = HoldList(client, "trail")
        (state,) = IndexHolder(client, "trail", holds, NOW).states(holds.read())

    assert state.pending == ("trail-2026-02-01",)
    assert state.gone == ("trail-2026-01-31",)


def test_release_gives_back_what_no_other_hold_covers() -> None:
    """Two cases may be about the same day."""
    cluster = FakeCluster()
    place(cluster, since=date(2026, 1, 31), until=date(2026, 2, 2))
    place(cluster, name="other", since=date(2026, 2, 1), until=date(2026, 2, 2))

    with connected(cluster.answer) as client:
        holds = HoldList(client, "trail")
        first = holds.read()[0]
        released = IndexHolder(client, "trail", holds, NOW).release(first)

    assert released == ["trail-2026-01-31"]
    assert "trail-2026-01-31" in cluster.managed
    assert cluster.blocked == {"trail-2026-02-01"}
    assert set(cluster.holds) == {"other"}


def test_without_the_plugin_the_block_is_all_there_is() -> None:
    """No policy deletes, and nobody else may."""
    cluster = FakeCluster(ism=False)

    state = place(cluster, until=date(2026, 2, 1))

    assert state.blocked == ("trail-2026-01-31",)
    assert state.pending == ()


def test_a_policy_that_does_not_let_go_is_an_error() -> None:
    """The plugin answers 200 all the same."""
    with pytest.raises(SetupError, match="could not be taken from trail-2026-01-31: it is being deleted"):
        place(FakeCluster(fails=True), until=date(2026, 2, 1))


def test_a_name_is_taken_once() -> None:
    """The second would forget what the first holds."""
    cluster = FakeCluster()
    place(cluster)

    with pytest.raises(SetupError, match="There is a hold case already"):
        place(cluster)


def test_nothing_is_deleted_while_there_is_a_hold() -> None:
    """A stack's data goes by one command, and the hold is what speaks against it."""
    cluster = FakeCluster()
    place(cluster)

    with connected(cluster.answer) as client, pytest.raises(SetupError, match=r"trail-\* is held \(case\)"):
        refuse_deletion("trail", read_holds(client, "trail"))
