"""`trailsink search` and `trailsink explain` on a real node."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from tests.support.cli import TRAILSINK
from tests.support.event_files import event, log_file
from tests.support.index_documents import index
from worker.cli.main import main
from worker.opensearch.search import PAGE, Search, SearchSession

if TYPE_CHECKING:
    from click.testing import Result

    from tests.conftest import Bench


def ask(*words: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, words)


def views(bench: Bench) -> list[Any]:
    """The points in time that are open on the node."""
    found: list[Any] = bench.opensearch.get_all_pits()["pits"]
    return found


def test_more_events_than_one_answer_can_hold_are_each_found_once(bench: Bench) -> None:
    """OpenSearch answers at most 10,000 hits at once; all of the same second is the hardest order to page through."""
    small = {"userIdentity": None, "requestParameters": None}
    given = [event(**small) for _ in range(10_300)]
    index(bench, given)

    found = ask("search", "--all", "--fields", "eventID", "--format", "csv")

    assert found.stderr == "10,300 events.\n"
    assert sorted(found.stdout.split()[1:]) == sorted(one["eventID"] for one in given)
    assert views(bench) == []


@pytest.mark.parametrize("way", ["a view", "a view that runs out", "no view"])
def test_paging_goes_on_while_events_come_in_and_views_run_out(bench: Bench, way: str) -> None:
    """A reader that pauses for an hour, or a server without points in time, loses and doubles nothing."""
    given = [event(eventTime=f"2026-03-01T10:00:0{number % 2}Z") for number in range(2 * PAGE + 50)]
    index(bench, given)
    searching = SearchSession(bench.opensearch, Search(bench.prefix, oldest_first=True), views=way != "no view")

    found: list[str] = []
    for page in searching.pages():
        found += [hit.id for hit in page]
        index(bench, [event(eventTime="2026-03-01T09:00:00Z")], day="2026-03-02")
        if way == "a view that runs out":
            bench.opensearch.delete_all_pits()

    times = {one["eventID"]: one["eventTime"] for one in given}
    assert sorted(found) == sorted(times)
    assert [times[id_] for id_ in found] == sorted(times.values())
    assert searching.total == len(given)
    assert views(bench) == []


def test_an_interrupted_search_leaves_nothing_behind(bench: Bench) -> None:
    """A view keeps files of the cluster alive: Ctrl-C gives it back."""
    index(bench, [event() for _ in range(2 * PAGE + 1)])
    command = [str(TRAILSINK), "search", "--all", "--format", "json"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert running.stdout.readline()  # the first page is there; the pipe is full before the last one
        assert len(views(bench)) == 1
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)

    assert (running.returncode, said.strip()) == (1, "Aborted!")
    assert views(bench) == []


def test_a_reader_that_has_enough_ends_the_search_without_a_word(bench: Bench) -> None:
    """`trailsink search --all | head` is what people type first."""
    index(bench, [event() for _ in range(2 * PAGE + 1)])
    command = f"'{TRAILSINK}' search --all --format json | head -n 1"

    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)  # noqa: S602

    assert (done.returncode, len(done.stdout.splitlines()), done.stderr) == (0, 1, "")
    assert views(bench) == []


def test_a_search_by_time_and_words_shows_what_was_asked_for(bench: Bench) -> None:
    """Query, times, fields, order and number, in each form."""
    at = [event(eventTime=f"2026-03-01T{hour:02}:00:00Z", errorCode="AccessDenied" if hour > 10 else None)
          for hour in range(9, 14)]  # fmt: skip
    index(bench, at)
    window = ("--since", "2026-03-01T10:00:00Z", "--until", "2026-03-01T13:00:00Z")

    table = ask("search", "errorCode:*", *window, "--fields", "eventTime,userIdentity.arn,errorCode")
    lines = ask("search", *window, "--oldest-first", "--limit", "2", "--format", "json")
    sheet = ask("search", "eventName:GetObject", "--format", "csv", "--fields", "eventTime,requestParameters,errorCode")

    arn = "arn:aws:iam::123456789012:user/ada"
    assert [line.split() for line in table.stdout.splitlines()] == [
        ["eventTime", "userIdentity.arn", "errorCode"],
        ["2026-03-01T12:00:00Z", arn, "AccessDenied"],
        ["2026-03-01T11:00:00Z", arn, "AccessDenied"],
    ]
    assert [json.loads(line)["eventTime"][11:13] for line in lines.stdout.splitlines()] == ["10", "11"]
    assert lines.stderr == "2 of 3 events; --limit or --all shows more.\n"
    rows = list(csv.DictReader(io.StringIO(sheet.stdout)))
    assert [one["errorCode"] for one in rows] == ["AccessDenied"] * 3 + [""] * 2
    assert json.loads(rows[0]["requestParameters"]) == {"bucketName": "b", "key": "k"}


def test_an_event_cannot_reach_into_the_terminal(bench: Bench) -> None:
    """Whoever calls AWS chooses the user agent; whoever searches for it must see it, not run it."""
    index(bench, [event(userAgent="\x1b]0;owned\x07\u202eexe\r", errorMessage="\x9b2J")])

    for form in ("table", "json", "csv"):
        shown = ask("search", "--fields", "userAgent,errorMessage", "--format", form).stdout

        assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(shown)
        assert r"\u202eexe" in shown


def test_a_query_that_cannot_be_read_is_said_in_one_sentence(bench: Bench) -> None:
    """Lucene's own answer is forty lines."""
    index(bench, [event()])

    for query in ("eventName:(", "userIdentity.arn:arn:aws:iam"):
        done = ask("search", query)

        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr == (
            f"Error: The query cannot be read: Failed to parse query [{query}]. "
            'Values that hold : / ( or spaces need quotes, as in arn:"a:b/c".\n'
        )


def test_a_field_that_no_index_has_is_named(bench: Bench) -> None:
    """A typing error finds nothing; without a word it reads like "this never happened"."""
    index(bench, [event()])

    done = ask("search", 'eventNam:x AND requestParameters.bucketName:"none:here" AND _exists_:awsRegion')

    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "No events found. No index has a field eventNam; names are case-sensitive.\n"


def test_an_empty_cluster_has_no_events(bench: Bench) -> None:
    """Before the first file there is no index at all."""
    assert bench.prefix

    for words in (("search",), ("search", "--all"), ("search", "eventName:x", "--format", "json")):
        done = ask(*words)

        assert (done.exit_code, done.stdout) == (0, "")
        assert done.stderr.startswith(f"No events found: there is no index {bench.prefix}-* ")


def test_indices_without_our_template_are_named_as_the_cause(bench: Bench) -> None:
    """Fields that the server guessed cannot be put into order."""
    bench.opensearch.indices.delete_index_template(name=f"trailsink-{bench.prefix}")
    index(bench, [event()])
    bench.opensearch.indices.put_index_template(
        name=f"trailsink-{bench.prefix}", body={"index_patterns": [f"{bench.prefix}-*"]}
    )

    done = ask("search")

    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        "Error: The indices were made without trailsink's index template, so they cannot be read in order."
    ]


KEY = (
    "AWSLogs/123456789012/CloudTrail/eu-west-1/2026/03/01/123456789012_CloudTrail_eu-west-1_20260301T1005Z_abc.json.gz"
)


def test_an_event_is_explained_with_file_position_times_and_form(bench: Bench) -> None:
    """The way from a document back to the evidence in the bucket."""
    whole, odd = event(), event(requestParameters="a sentence")
    bench.put(KEY, log_file(event(), whole, odd))
    assert ask("run", "--until-idle", "--timeout", "60").exit_code == 0
    assert bench.count() == 3  # which refreshes

    told = json.loads(ask("explain", whole["eventID"], "--json").stdout)
    degraded = ask("explain", odd["eventID"]).stdout
    record = ask("explain", whole["eventID"], "--record").stdout

    assert told.pop("indexed_at") > "2026-03-01"
    assert told.pop("lag_seconds") > 0
    assert told == {
        "event_id": whole["eventID"],
        "index": f"{bench.prefix}-2026-03-01",
        "object": f"s3://{bench.settings.bucket}/{KEY}",
        "position": 1,
        "event_time": "2026-03-01T10:00:00Z",
        "delivered_at": "2026-03-01T10:05:00Z",
        "degraded": "",
        "event": "s3.amazonaws.com GetObject",
    }
    assert "delivered  2026-03-01 10:05 UTC" in degraded
    assert "degraded   mapper_parsing_exception: the cluster refused the record as it is;" in degraded
    assert f"aws s3 cp s3://{bench.settings.bucket}/{KEY} - | gunzip | jq '.Records[2]'" in degraded
    assert json.loads(record[record.index("{") :])["requestParameters"] == {"bucketName": "b", "key": "k"}


def test_an_event_that_is_in_two_indices_is_shown_with_both(bench: Bench) -> None:
    """Another tool, or a changed partition, may have written it before."""
    twice = event()
    index(bench, [twice], day="2026-03-01")
    index(bench, [twice], day="2026-03")

    places = [json.loads(line) for line in ask("explain", twice["eventID"], "--json").stdout.splitlines()]

    assert {one["index"] for one in places} == {f"{bench.prefix}-2026-03-01", f"{bench.prefix}-2026-03"}
    assert {one["delivered_at"] for one in places} == {None}


def test_an_event_that_is_not_there_ends_with_what_to_try(bench: Bench) -> None:
    """The commonest question is why something is missing; an id of another kind is recognised."""
    call = str(uuid.uuid4())
    here = event(requestID=call)
    index(bench, [here])

    missing = ask("explain", "\x1b[2J")
    other = ask("explain", call)

    assert (missing.exit_code, missing.stdout) == (1, "")
    assert missing.stderr.startswith(rf"Error: No event \x1b[2J is in {bench.prefix}-*.")
    for what in ("dlq list", "backfill --missing", "doctor"):
        assert f"trailsink {what}" in missing.stderr
    assert other.exit_code == 1
    assert other.stderr == f"Error: {call} is not an event's id but the requestID of {here['eventID']}.\n"
