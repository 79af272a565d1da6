"""Promises about `trailsink report`, on a real node: its numbers, what is new, and what it says when it cannot know."""

from __future__ import annotations

import json
import shlex
import stat
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from opensearchpy.helpers import bulk

from tests.support.cli import trailsink
from tests.support.event_files import event, real_records
from tests.support.index_documents import index
from tests.support.mmdb import write_database
from worker.boards.report_values import BoardReport
from worker.opensearch.ledger_setup import LedgerOptions, install_ledger

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Bench

RANGE = ("--since", "2023-07-10T12:00:00Z", "--until", "2023-07-10T13:00:00Z")
SINCE, BEFORE = datetime.fromisoformat(RANGE[1]), datetime.fromisoformat("2023-07-10T11:00:00Z")
HOSTILE = "<script>alert('x')</script>\x1b[2J"


def json_report(*words: str) -> BoardReport:
    done = trailsink("report", *words, "--json")
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=BoardReport)


def value(record: dict[str, Any], path: str) -> Any:
    node: Any = record
    for name in path.split("."):
        node = node.get(name) if isinstance(node, dict) else None
    return node


def caller(record: dict[str, Any]) -> Any:
    is_role = value(record, "userIdentity.type") == "AssumedRole"
    return value(record, "userIdentity.sessionContext.sessionIssuer.arn" if is_role else "userIdentity.arn")


def test_the_numbers_are_those_of_the_events(bench: Bench, tmp_path: Path) -> None:
    """Counted again from the files: coverage, counters, what is new; and a command lists what its panel counts."""
    records = real_records()
    index(bench, records)
    times = {record["eventID"]: datetime.fromisoformat(record["eventTime"]) for record in records}
    current = [record for record in records if times[record["eventID"]] >= SINCE]
    before = [record for record in records if BEFORE <= times[record["eventID"]] < SINCE]

    report = json_report(*RANGE)
    page = trailsink("report", *RANGE, "-o", str(tmp_path / "r.html"))

    assert (report.coverage.events, report.coverage.events_before) == (len(current), len(before))
    assert report.coverage.intervals == 60
    minutes = {times[record["eventID"]].minute for record in current}
    assert report.coverage.empty_intervals == 60 - len(minutes)
    counters = {counter.id: counter for counter in report.counters}
    denied = [record for record in current if "AccessDenied" in record.get("errorCode", "")]
    denied += [record for record in current if "Unauthorized" in record.get("errorCode", "")]
    assert (counters["count-denied"].number, counters["count-denied"].red) == (len(denied), len(denied) >= 100)
    for kind, read in (("callers", caller), ("calls", lambda record: record["eventName"])):
        (new,) = (values for values in report.new if values.id == kind)
        expected = {read(record) for record in current} - {read(record) for record in before} - {None}
        assert {entry.value for entry in new.values} == expected
        assert new.complete
    first = new.values[0]
    listed = trailsink(*shlex.split(first.command)[1:], "--json", "--all").stdout.splitlines()
    assert {json.loads(line)["eventName"] for line in listed} == {first.value}
    assert len(listed) == first.events
    assert page.returncode == 0, page.stderr
    assert page.stdout.startswith(f"Wrote {tmp_path / 'r.html'}: {len(current):,} events, ")
    assert stat.S_IMODE((tmp_path / "r.html").stat().st_mode) == 0o600


def test_accounts_limit_every_part(bench: Bench) -> None:
    """A report for the owner of one account shows nothing of another's."""
    ours = event(recipientAccountId="111111111111")
    theirs = event(recipientAccountId="222222222222", eventName="TheirCall", errorCode="AccessDenied")
    index(bench, [ours, theirs])

    report = json_report("--since", "2026-03-01", "--until", "2026-03-02", "--account", "111111111111")

    assert report.coverage.events == 1
    assert not any(counter.number for counter in report.counters)
    assert "TheirCall" not in msgspec.json.encode(report).decode()


def test_a_report_over_nothing_says_so(bench: Bench, tmp_path: Path) -> None:
    """Before the first event, and for a range that holds none."""
    bare = trailsink("report", "-o", str(tmp_path / "bare.html"))
    index(bench, [event()])

    empty = trailsink("report", "--since", "2025-01-01", "--until", "2025-01-02", "-o", str(tmp_path / "empty.html"))

    for done, name in ((bare, "bare"), (empty, "empty")):
        assert done.returncode == 0, done.stderr
        text = (tmp_path / f"{name}.html").read_text()
        assert "0 events of 0 files" in text
        assert "have no event." in text
    assert "Not available: there is no ledger." in (tmp_path / "bare.html").read_text()


def test_hostile_values_of_real_events_are_text(bench: Bench, tmp_path: Path) -> None:
    """From the index to the page: a caller chooses nearly every field."""
    identity = {"type": HOSTILE, "arn": HOSTILE, "accountId": HOSTILE, "accessKeyId": HOSTILE}
    names = ("eventName", "eventSource", "awsRegion", "userAgent", "sourceIPAddress", "errorCode", "errorMessage")
    hostile = dict.fromkeys((*names, "recipientAccountId", "eventCategory"), HOSTILE)
    index(bench, [event(**hostile, userIdentity=identity, readOnly=False), event()])

    done = trailsink("report", "--since", "2026-03-01", "--until", "2026-03-02", "-o", str(tmp_path / "r.html"))

    text = (tmp_path / "r.html").read_text()
    assert done.returncode == 0, done.stderr
    assert "<script" not in text
    assert "\x1b" not in text
    assert text.count("&lt;script&gt;alert(") > 10


def test_the_silent_account_of_the_ledger_is_listed_first(bench: Bench) -> None:
    """The range does not hide it: it was silent before the range began."""
    list(install_ledger(bench.opensearch, LedgerOptions(bench.prefix, replicas=0)))
    files = [("111111111111", "2026-02-28"), ("222222222222", "2025-06-01"), ("111111111111", "2026-03-01")]
    documents = (
        {
            "_index": f"trailsink-files-{bench.prefix}-{day[:7]}",
            "_source": {
                "object": f"s3://b/{account}/{day}",
                "account": account,
                "region": "eu-west-1",
                "kind": "CloudTrail",
                "delivered_at": f"{day}T10:00:00Z",
                "recorded_at": f"{day}T10:05:00Z",
                "read": 5,
            },
        }
        for account, day in files
    )
    bulk(bench.opensearch, documents, refresh=True)
    index(bench, [event()])

    silent = json_report("--since", "2026-03-01", "--until", "2026-03-02").silent

    assert silent is not None
    assert [row[0] for row in silent.rows] == ["222222222222", "111111111111"]
    assert silent.rows[0][2] == "2025-06-01T10:00:00.000Z"
    assert silent.rows[1][-1] == 2


def test_a_range_that_ends_before_it_starts_is_refused() -> None:
    """In one sentence, before anything is asked."""
    done = trailsink("report", "--since", "2999-01-01")

    assert done.returncode == 2
    assert "--since must be earlier than --until, and than now." in done.stderr


def test_a_database_of_the_operator_says_where_calls_came_from(bench: Bench, tmp_path: Path) -> None:
    """In the report and in a search; every address counts, and what the database lacks is said."""
    database = write_database(
        tmp_path / "geo.mmdb",
        {
            "192.0.2.0/24": {"country": {"iso_code": "DE"}},
            "198.51.100.0/24": {"country": {"iso_code": "FR"}, "autonomous_system_number": 64_500},
        },
    )
    addresses = ["192.0.2.1", "192.0.2.2", "198.51.100.7", "203.0.113.9", "s3.amazonaws.com", "192.0.2.1"]
    index(bench, [event(sourceIPAddress=address) for address in addresses[:-1]])
    index(bench, [event(sourceIPAddress=addresses[-1], errorCode="AccessDenied")])
    scope = ("--since", "2026-03-01", "--until", "2026-03-02", "--geoip", str(database))

    countries, networks = json_report(*scope).origins
    page = trailsink("report", *scope, "-o", str(tmp_path / "r.html"))
    counted = trailsink("search", "*", "--geoip", str(database), "--count-by", "source.country", "--format", "csv")
    shown = trailsink("search", "NOT errorCode:*", *scope, "--fields", "sourceIPAddress,source.as", "--json")

    assert [row[:4] for row in countries.rows] == [
        ["DE", 3, 1, 2],
        ["(an AWS service)", 1, 0, 1],
        ["(not in the database)", 1, 0, 1],
        ["FR", 1, 0, 1],
    ]
    assert networks.rows[-1][:2] == ["AS64500", 1]
    assert page.returncode == 0, page.stderr
    assert "Where calls came from" in (tmp_path / "r.html").read_text()
    assert sorted(line.split(",")[:2] for line in counted.stdout.splitlines()[1:]) == [["1", "FR"], ["3", "DE"]]
    assert "2 events without a value." in counted.stderr
    by_address = {row["sourceIPAddress"]: row["source.as"] for row in map(json.loads, shown.stdout.splitlines())}
    assert by_address == dict.fromkeys(addresses) | {"198.51.100.7": "AS64500"}
    refused = trailsink("search", "--fields", "source.country")
    assert (refused.returncode, "pass --geoip FILE" in refused.stderr) == (2, True)
