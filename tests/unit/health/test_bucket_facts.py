"""Promises about the bucket: each account and region is looked at, whatever was indexed of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.unit.health.fake_pipeline import BUCKET, NOW, FakeCluster, FakeEvent, FakePipeline, FakeS3, make_ledger


def key(account: int, minutes: float, name: str = "x", root: str = "") -> str:
    """A file delivered so many minutes ago, as CloudTrail names it."""
    time = NOW - timedelta(minutes=minutes)
    folder = f"{root}AWSLogs/{account:012}/CloudTrail/eu-west-1/{time:%Y/%m/%d}"
    return f"{folder}/{account:012}_CloudTrail_eu-west-1_{time:%Y%m%dT%H%M}Z_{name}.json.gz"


def lag(
    uploads: dict[str, float], *indexed: str, ledger: dict[str, object] | None = None, prefix: str = ""
) -> dict[str, object]:
    """The facts of the lag: uploads with their ages in minutes, the keys in the index, and the ledger's answer.

    `prefix` is the setting of what is announced.
    """
    objects = {name: NOW - timedelta(minutes=age) for name, age in uploads.items()}
    events = [FakeEvent(key=name) for name in indexed]
    answers = {"/trailsink-files-cloudtrail-*/_search": (200, ledger)} if ledger else {}
    pipeline = FakePipeline({"s3": FakeS3(objects=objects)}, FakeCluster(answers, events), {"trail_prefix": prefix})
    part = pipeline.parts()["lag"]
    # Files that wait while nothing at all is indexed are a fault to `status`, which has one line for both.
    assert pipeline.findings()["files in the bucket"].status in (part.status, "warning")
    return {**part.facts, "status": part.status, "text": part.text}


def test_an_account_that_was_never_indexed_is_looked_at() -> None:
    """The first days of a new account were lost unseen."""
    old, new = key(1, 5), key(888, 20)

    facts = lag({old: 5, new: 20}, old)

    assert (facts["status"], facts["files_since"]) == ("warning", 1)
    assert (facts["folders"], facts["folders_read"]) == (2, 2)


def test_accounts_beyond_the_first_page_count() -> None:
    """One page of S3 has 1,000 folders, and an organization may have more accounts."""
    assert lag({key(account, 20): 20 for account in range(1, 1_502)})["folders"] == 1_501


def test_a_live_account_does_not_hide_a_dead_one() -> None:
    """One number for many streams says nothing of any."""
    live, dead = key(1, 1), key(2, 40)

    assert lag({live: 1, dead: 40}, live)["status"] == "warning"


def test_a_file_between_indexed_ones_was_passed_over() -> None:
    """Its notification was lost; the files after it are in the index."""
    first, lost, last = key(1, 50), key(1, 40), key(1, 30)

    facts = lag({first: 50, lost: 40, last: 30}, first, last)

    assert (facts["status"], facts["files_since"], facts["files_passed_over"]) == ("warning", 0, 1)
    assert "trailsink backfill --missing --since 2026-02-28" in str(facts["text"])


def test_a_file_stays_passed_over_while_others_come() -> None:
    """It was forgotten an hour later, and `status` was ok again."""
    lost, last = key(1, 200), key(1, 1)

    assert lag({lost: 200, last: 1}, last)["files_passed_over"] == 1


def test_of_a_folder_with_a_thousand_files_a_day_the_newest_are_looked_at() -> None:
    """A listing is one page, and begins with the oldest."""
    uploads = {key(1, minutes): float(minutes) for minutes in range(20, 1_200)}

    facts = lag(uploads, key(1, 50))

    assert (facts["files_since"], facts["files_passed_over"]) == (30, 10)


def ledger_of(name: str, **members: Any) -> dict[str, Any]:
    return make_ledger() | {"hits": {"hits": [{"_source": {"object": f"s3://{BUCKET}/{name}"} | members}]}}


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({"indexed": 0, "degraded": 0, "filtered": 7}, "ok"),
        ({"indexed": 0, "degraded": 0, "duplicate": 7}, "ok"),
        ({"indexed": 7, "degraded": 0}, "warning"),  # its events were there, and are gone
        ({"indexed": 0, "degraded": 0, "reason": "truncated"}, "warning"),
    ],
)
def test_a_file_that_made_no_document_is_done(members: dict[str, Any], status: str) -> None:
    """`backfill --missing` says "Nothing is missing" of it: the advice could never end the warning."""
    first, empty, last = key(1, 50), key(1, 40), key(1, 30)

    facts = lag({first: 50, empty: 40, last: 30}, first, last, ledger=ledger_of(empty, **members))

    assert (facts["status"], facts["files_discarded"]) == (status, 0)


def test_a_file_that_was_discarded_is_not_called_missing() -> None:
    """Its dead letter was looked at, and thrown away."""
    first, poison, last = key(1, 50), key(1, 40), key(1, 30)
    ledger = ledger_of(poison, reason="discarded", indexed=0, degraded=0)

    facts = lag({first: 50, poison: 40, last: 30}, first, last, ledger=ledger)

    assert (facts["status"], facts["files_passed_over"], facts["files_discarded"]) == ("ok", 0, 1)
    assert "1 discarded" in str(facts["text"])


def test_a_young_file_has_its_time() -> None:
    """A message may be on its way."""
    first, young = key(1, 50), key(1, 5)

    assert lag({first: 50, young: 5}, first)["status"] == "ok"


@pytest.mark.parametrize("root", ["", "AWSLogs/o-abcdefghij/"])
def test_an_organisation_has_its_accounts_below_its_own_folder(root: str) -> None:
    """Control Tower's trail writes there."""
    name = key(3, 20).replace("AWSLogs/", root or "AWSLogs/", 1)

    assert lag({name: 20})["files_since"] == 1


@pytest.mark.parametrize("prefix", ["org/AWSLogs/", "org/", "org/AWSLogs/000000000003/", "AWSLogs/x/org/AWSLogs/"])
def test_a_prefix_that_is_announced_is_looked_at(prefix: str) -> None:
    """A security account cannot read the trail of another one, which writes there."""
    root = "AWSLogs/x/org/" if prefix.startswith("AWSLogs/x/") else "org/"

    assert lag({key(3, 20, root=root): 20}, prefix=prefix)["files_since"] == 1


def test_a_folder_that_is_not_announced_does_not_lag() -> None:
    """A notification of one account brings no file of another; a backfill may have, one day."""
    announced, other, indexed = key(3, 20), key(4, 20), key(5, 30)
    uploads = {announced: 20.0, other: 20.0, indexed: 30.0, key(5, 20): 20.0}

    facts = lag(uploads, indexed, prefix="AWSLogs/000000000003/")

    assert (facts["files_since"], facts["folders"]) == (1, 1)


def test_what_was_not_looked_at_is_said() -> None:
    """Twenty of thirty was shown as if it were all."""
    uploads = {key(account, 20): 20.0 for account in range(130)}

    facts = lag(uploads)

    assert (facts["folders_read"], facts["folders"], facts["files_since"]) == (100, 130, 100)
    assert "100 of 130 folders read" in str(facts["text"])
