"""Promises about what `trailsink destroy` says of a stack's events before it deletes them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from tests.support.http_server import serving
from worker.cli.stack_data import StackData, stack_data
from worker.deploy.deployed import DeployedStack
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.http_server import Given
    from worker.deploy.account import Account

HOLD = {"name": "case-17", "since": "2026-01-01", "until": "2026-01-02", "placed_at": "2026-01-05T00:00:00Z"}
ROWS = [
    {"index": "trail-2026-01-01", "docs.count": "1000"},
    {"index": "trail-2026-01-02", "docs.count": None},  # closed
]


@dataclass
class FakeAccount:
    """An account with the stack's domain."""

    deleted: list[str] = field(default_factory=list)

    def delete_domain(self, name: str, _secret: str) -> Iterator[str]:
        self.deleted.append(name)
        yield f"{name} is deleted."

    def delete_domain_logs(self, _name: str) -> Iterator[str]:
        yield from ()


def data_of(account: FakeAccount, url: str) -> StackData:
    values = {"Destination": "create-domain", "DomainName": "ours", "OpensearchUrl": url, "IndexPrefix": "trail"}
    return stack_data(cast("Account", account), DeployedStack("trailsink", values, ""))


def answer(method: str, path: str, _headers: dict[str, str], _body: bytes) -> Given:
    """A cluster with a hold and two indices."""
    assert method in ("GET", "POST")
    found = ROWS if path.startswith("/_cat/") else {"hits": {"hits": [{"_source": HOLD}]}}
    return 200, json.dumps(found).encode(), {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def _unsigned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_AUTH", "none")


def test_a_domain_with_a_hold_stays() -> None:
    """Its indices refuse the deletion; their domain would not."""
    account = FakeAccount()
    with serving(answer) as url:
        data = data_of(account, url)

        assert data.why_holds_unread() == ""
        with pytest.raises(SetupError, match=r"trail-\* is held \(case-17\)"):
            data.delete()

    assert account.deleted == []


def test_a_domain_whose_holds_cannot_be_read_is_said_to_be_one() -> None:
    """It may be reachable from its VPC only."""
    account = FakeAccount()
    data = data_of(account, "http://127.0.0.1:9")

    assert data.why_holds_unread()
    assert list(data.delete()) == ["ours is deleted."]  # whoever asked was told, and typed the name


def test_events_that_are_not_counted_are_not_called_none() -> None:
    """A closed index has no number of documents."""
    with serving(answer) as url:
        text = data_of(FakeAccount(), url).count()

    assert text.startswith("These are 1,000 events in 2 indices, and those of 1 of them are not counted")
