"""Promises about reading the ledger: by address, by account and time, by id, and no guess when it fails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from tests.support.factories import ACCOUNT, NOW
from tests.support.fake_ledger import FakeLedger, entry
from tests.support.opensearch_server import connected
from worker.errors import IndexUnavailable, SetupError
from worker.opensearch.ledger import AccountActivity, LedgerReader


def test_the_documents_of_files_are_read_by_address() -> None:
    """A file has one for each content and each dead letter's reason; another file's is not among them."""
    dead = entry("a", reason="records_rejected", rejected=1)
    ledger = FakeLedger([entry("a"), dead, entry("b"), entry("other")])

    with connected(ledger.answer) as client:
        entries = LedgerReader(client, "trail").lookup(["s3://b/a", "s3://b/b", "s3://b/none"])

    assert entries == {"s3://b/a": [entry("a"), dead], "s3://b/b": [entry("b")]}
    assert ledger.paths == ["/trailsink-files-trail-*/_search"]


def test_an_account_s_files_are_read_in_pages_by_time() -> None:
    """An account may have thousands a day, and none may be read twice or left out."""
    entries = [entry(f"{number:05d}", delivered_at="2026-11-23T10:05:00Z") for number in range(2_500)]
    late, foreign = entry("late", delivered_at="2026-11-24T00:00:00Z"), entry("foreign", account="999999999999")
    ledger = FakeLedger([*entries, late, foreign])
    day = datetime(2026, 11, 23, tzinfo=UTC)

    with connected(ledger.answer) as client:
        read = list(LedgerReader(client, "trail").recorded(ACCOUNT, "eu-central-1", day, day + timedelta(days=1)))

    assert read == entries
    assert len(ledger.paths) == 3


def test_a_file_is_recorded_only_with_its_content() -> None:
    """Read by id: what was written a moment ago is found, and a file with other content is not the same."""
    ledger = FakeLedger([entry("a", sha256="1" * 64), entry("dead", sha256="2" * 64, reason="truncated")])

    with connected(ledger.answer) as client:
        reader = LedgerReader(client, "trail")
        assert reader.find("s3://b/a", "1" * 64, NOW) == entry("a", sha256="1" * 64)
        assert reader.find("s3://b/a", "2" * 64, NOW) is None
        assert reader.find("s3://b/dead", "2" * 64, NOW) is None


def test_accounts_and_the_newest_file_are_counted_by_the_cluster() -> None:
    """An account whose files stopped is seen beside those that go on; a name that claims the future is not newest."""
    ledger = FakeLedger(
        [
            entry("a", delivered_at="2026-11-23T10:00:00Z"),
            entry("b", delivered_at="2026-11-23T11:00:00Z"),
            entry("c", account="222222222222", delivered_at="2026-11-20T11:00:00Z"),
            entry("old", account="333333333333", delivered_at="2026-01-01T00:00:00Z"),
            entry("future", delivered_at="2026-11-24T11:00:00Z"),
        ]
    )

    with connected(ledger.answer) as client:
        reader = LedgerReader(client, "trail")
        newest, accounts = reader.activity(NOW - timedelta(days=30), NOW)

    assert [activity.account for activity in accounts] == [ACCOUNT, "222222222222"]
    assert accounts[1] == AccountActivity("222222222222", datetime(2026, 11, 20, 11, tzinfo=UTC))
    assert newest == datetime(2026, 11, 23, 11, tzinfo=UTC)


def test_an_empty_cluster_has_no_ledger() -> None:
    """Without any index, the response has neither hits nor aggregations."""
    with connected(FakeLedger([]).answer) as client:
        reader = LedgerReader(client, "trail")
        assert reader.lookup(["s3://b/a"]) == {}
        assert reader.activity(NOW, NOW) == (None, [])
        assert reader.find("s3://b/a", "1" * 64, NOW) is None


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (200, {"_shards": {"failed": 1}, "hits": {"hits": []}}, IndexUnavailable),
        (403, {"error": {"type": "security_exception", "reason": "no permissions for [x] and User"}}, SetupError),
    ],
)
def test_part_of_the_ledger_is_no_answer(status: int, answer: Any, error: type[Exception]) -> None:
    """A file of a missing shard would look missing."""
    with connected(lambda *_: (status, answer)) as client, pytest.raises(error):
        LedgerReader(client, "trail").lookup(["s3://b/a"])


def test_an_entry_is_read_as_it_was_written() -> None:
    """Members without a value are left out."""
    written = msgspec.json.encode(entry("a"))

    assert b"reason" not in written
    assert msgspec.json.decode(written, type=type(entry("a"))) == entry("a")


def test_a_file_is_found_by_its_id_whether_or_not_selectors_left_records_out() -> None:
    """`verify --load` asks for what its own consumer has just written."""
    with connected(FakeLedger([entry("a", filtered=1, selectors="abc"), entry("b", selectors="abc")]).answer) as client:
        reader = LedgerReader(client, "trail")

        assert reader.find("s3://b/a", "0" * 64, NOW) is None
        assert reader.find("s3://b/a", "0" * 64, NOW, "abc") == entry("a", filtered=1, selectors="abc")
        assert reader.find("s3://b/b", "0" * 64, NOW, "abc") == entry("b", selectors="abc")
