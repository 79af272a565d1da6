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

from infra.generate.json_documents import Group, read
from tests.support.cli import TRAILSINK
from tests.support.event_files import event, log_file
from tests.support.index_documents import index
from worker.cli.main import main
from worker.opensearch.search import PAGE, Search, SearchSession

if TYPE_CHECKING:
    from click.testing import Result

    from tests.conftest import Bench


def run_command(*words: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, words)


def open_pits(bench: Bench) -> list[Any]:
    """The points in time that are open on the node."""
    pits: list[Any] = bench.opensearch.get_all_pits()["pits"]
    return pits


def test_more_events_than_one_response_can_hold_are_each_found_once(bench: Bench) -> None:
    """OpenSearch returns at most 10,000 hits at once. Events of one second are the hardest to page through."""
    small = {"userIdentity": None, "requestParameters": None}
    events = [event(**small) for _ in range(10_300)]
    index(bench, events)

    result = run_command("search", "--all", "--fields", "eventID", "--format", "csv")

    assert result.stderr == "10,300 events.\n"
    assert sorted(result.stdout.split()[1:]) == sorted(event["eventID"] for event in events)
    assert open_pits(bench) == []


@pytest.mark.parametrize("pit", ["open", "expires", "none"])
def test_paging_goes_on_while_events_arrive_and_points_in_time_expire(bench: Bench, pit: str) -> None:
    """A reader that pauses for an hour, or a server without points in time, neither loses nor repeats an event."""
    events = [event(eventTime=f"2026-03-01T10:00:0{number % 2}Z") for number in range(2 * PAGE + 50)]
    index(bench, events)
    session = SearchSession(bench.opensearch, Search(bench.prefix, oldest_first=True), use_pit=pit != "none")

    ids: list[str] = []
    for page in session.pages():
        ids += [hit.id for hit in page]
        index(bench, [event(eventTime="2026-03-01T09:00:00Z")], day="2026-03-02")
        if pit == "expires":
            bench.opensearch.delete_all_pits()

    times = {event["eventID"]: event["eventTime"] for event in events}
    assert sorted(ids) == sorted(times)
    assert [times[id_] for id_ in ids] == sorted(times.values())
    assert session.total == len(events)
    assert open_pits(bench) == []


def test_an_interrupted_search_leaves_nothing_behind(bench: Bench) -> None:
    """A point in time keeps files of the cluster alive: Ctrl-C deletes it."""
    index(bench, [event() for _ in range(2 * PAGE + 1)])
    command = [str(TRAILSINK), "search", "--all", "--format", "json"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline()  # the first page has arrived; the pipe is full before the last one
        assert len(open_pits(bench)) == 1
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=120)

    assert (process.returncode, stderr.strip()) == (1, "Aborted!")
    assert open_pits(bench) == []


def test_a_reader_that_stops_early_ends_the_search_silently(bench: Bench) -> None:
    """`trailsink search --all | head` is the first thing that people type."""
    index(bench, [event() for _ in range(2 * PAGE + 1)])
    command = f"'{TRAILSINK}' search --all --format json | head -n 1"

    result = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=240, check=False)  # noqa: S602

    assert (result.returncode, len(result.stdout.splitlines()), result.stderr) == (0, 1, "")
    assert open_pits(bench) == []


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("requestParameters.policy:*tail*", 2),
        ("requestParameters:tail", 2),
        ("tail", 3),
        ("NOT userAgent:*tail*", 2),
        ("eventName:GetObject", 1),
        ("requestParameters.other:x", 1),
        ("*", 0),
    ],
)
def test_a_search_that_could_miss_events_says_so(bench: Bench, query: str, count: int) -> None:
    """No event found would be a wrong answer about a value that no index took."""
    marks = (["requestParameters.policy"], ["userAgent"], ["*"], None)
    origins = [{"object": "s3://b/k", "position": at, "unsearchable": mark} for at, mark in enumerate(marks)]
    index(bench, [event(trailsink=origin) for origin in origins])

    stderr = run_command("search", query).stderr.splitlines()[1:]

    warned = [f"{count} events of this time have values", "1 event of this time has a value"][count == 1]
    assert stderr[0].startswith(f"{warned} that cannot be searched") if count else stderr == []


def test_a_search_by_time_and_words_applies_every_option(bench: Bench) -> None:
    """Query, times, fields, order and number, in each form."""
    events = [
        event(eventTime=f"2026-03-01T{hour:02}:00:00Z", errorCode="AccessDenied" if hour > 10 else None)
        for hour in range(9, 14)
    ]
    index(bench, events)
    window = ("--since", "2026-03-01T10:00:00Z", "--until", "2026-03-01T13:00:00Z")

    table = run_command("search", "errorCode:*", *window, "--fields", "eventTime,userIdentity.arn,errorCode")
    lines = run_command("search", *window, "--oldest-first", "--limit", "2", "--format", "json")
    sheet = run_command(
        "search", "eventName:GetObject", "--format", "csv", "--fields", "eventTime,requestParameters,errorCode"
    )

    arn = "arn:aws:iam::123456789012:user/ada"
    assert [line.split() for line in table.stdout.splitlines()] == [
        ["eventTime", "userIdentity.arn", "errorCode"],
        ["2026-03-01T12:00:00Z", arn, "AccessDenied"],
        ["2026-03-01T11:00:00Z", arn, "AccessDenied"],
    ]
    assert [json.loads(line)["eventTime"][11:13] for line in lines.stdout.splitlines()] == ["10", "11"]
    assert lines.stderr == "2 of 3 events; --limit or --all shows more.\n"
    rows = list(csv.DictReader(io.StringIO(sheet.stdout)))
    assert [row["errorCode"] for row in rows] == ["AccessDenied"] * 3 + [""] * 2
    assert json.loads(rows[0]["requestParameters"]) == {"bucketName": "b", "key": "k"}


def test_an_event_cannot_control_the_terminal(bench: Bench) -> None:
    """Callers of AWS choose their user agent. Readers must see it, and their terminal must not obey it."""
    index(bench, [event(userAgent="\x1b]0;owned\x07\u202eexe\r", errorMessage="\x9b2J")])

    for form in ("table", "json", "csv"):
        shown = run_command("search", "--fields", "userAgent,errorMessage", "--format", form).stdout

        assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(shown)
        assert r"\u202eexe" in shown


def test_a_query_that_cannot_be_parsed_is_one_sentence(bench: Bench) -> None:
    """Lucene's own answer is forty lines."""
    index(bench, [event()])

    for query in ("eventName:(", "userIdentity.arn:arn:aws:iam"):
        result = run_command("search", query)

        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("Error: The query cannot be parsed: ")
        assert result.stderr.endswith('Values that contain : / ( or spaces need quotes, as in arn:"a:b/c".\n')
        assert result.stderr.count("\n") == 1


def test_a_field_that_no_index_has_is_named(bench: Bench) -> None:
    """A misspelt name finds nothing, which looks like "this never happened"."""
    index(bench, [event()])

    result = run_command("search", 'eventNam:x AND requestParameters.bucketName:"none:here" AND _exists_:awsRegion')

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: No index has a field eventNam; names are case-sensitive.\n"


def test_an_empty_cluster_has_no_events(bench: Bench) -> None:
    """Before the first file there is no index at all."""
    assert bench.prefix

    for words in (("search",), ("search", "--all"), ("search", "eventName:x", "--format", "json")):
        result = run_command(*words)

        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr.startswith(f"No events found: there is no index {bench.prefix}-* ")


def test_indices_without_our_template_are_named_as_the_cause(bench: Bench) -> None:
    """Fields that the server guessed cannot be sorted by."""
    bench.opensearch.indices.delete_index_template(name=f"trailsink-{bench.prefix}")
    index(bench, [event()])
    bench.opensearch.indices.put_index_template(
        name=f"trailsink-{bench.prefix}", body={"index_patterns": [f"{bench.prefix}-*"]}
    )

    result = run_command("search")

    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "Error: The indices were created without trailsink's index template, so their events cannot be sorted."
    ]


KEY = (
    "AWSLogs/123456789012/CloudTrail/eu-west-1/2026/03/01/123456789012_CloudTrail_eu-west-1_20260301T1005Z_abc.json.gz"
)


def test_an_event_is_explained_with_file_position_times_and_form(bench: Bench) -> None:
    """The way from a document back to the evidence in the bucket."""
    whole, refused = event(), event(requestParameters="a sentence")
    bench.put(KEY, log_file(event(), whole, refused))
    assert run_command("run", "--until-idle", "--timeout", "300").exit_code == 0
    assert bench.count() == 3  # which refreshes

    document = json.loads(run_command("explain", whole["eventID"], "--json").stdout)
    degraded = run_command("explain", refused["eventID"]).stdout
    record = run_command("explain", whole["eventID"], "--record").stdout

    assert document.pop("indexed_at") > "2026-03-01"
    assert document.pop("lag_seconds") > 0
    assert document == {
        "event_id": whole["eventID"],
        "index": f"{bench.prefix}-2026-03-01",
        "object": f"s3://{bench.settings.bucket}/{KEY}",
        "position": 1,
        "event_time": "2026-03-01T10:00:00Z",
        "delivered_at": "2026-03-01T10:05:00Z",
        "degraded": "",
        "document_id": bench.documents()[whole["eventID"]]["_id"],
        "unchecked": False,
        "unsearchable": [],
        "sha256": None,
        "recorded_at": None,
        "conflicting": False,
        "event": "s3.amazonaws.com GetObject",
    }
    assert "delivered  2026-03-01 10:05 UTC" in degraded
    assert "degraded   mapper_parsing_exception: the cluster refused the original record" in degraded
    assert f"aws s3 cp s3://{bench.settings.bucket}/{KEY} - | gunzip | jq '.Records[2]'" in degraded
    assert json.loads(record[record.index("{") :])["requestParameters"] == {"bucketName": "b", "key": "k"}


def test_an_event_that_is_in_two_indices_is_shown_with_both(bench: Bench) -> None:
    """Another tool, or a changed partition, may have written it before."""
    duplicate = event()
    index(bench, [duplicate], day="2026-03-01")
    index(bench, [duplicate], day="2026-03")

    lines = run_command("explain", duplicate["eventID"], "--json").stdout.splitlines()

    locations = [json.loads(line) for line in lines]
    assert {location["index"] for location in locations} == {f"{bench.prefix}-2026-03-01", f"{bench.prefix}-2026-03"}
    assert {location["delivered_at"] for location in locations} == {None}


def test_a_missing_event_ends_with_what_to_try(bench: Bench) -> None:
    """The most common question is why an event is missing; an id of another kind is recognised."""
    request_id = str(uuid.uuid4())
    existing = event(requestID=request_id)
    index(bench, [existing])

    missing = run_command("explain", "\x1b[2J")
    other = run_command("explain", request_id)

    assert (missing.exit_code, missing.stdout) == (1, "")
    assert missing.stderr.startswith(rf"Error: No event \x1b[2J is in {bench.prefix}-*.")
    for command in ("dlq list", "backfill --missing", "doctor"):
        assert f"trailsink {command}" in missing.stderr
    assert other.exit_code == 0
    assert other.stderr == f"{request_id} is not an event's id but the requestID of {existing['eventID']}:\n"
    assert str(existing["eventID"]) in other.stdout


def test_a_field_that_is_spelt_wrong_is_named(bench: Bench) -> None:
    """Its column is empty, as that of any field that an event does not have."""
    index(bench, [event() for _ in range(3)])

    wrong = run_command("search", "--fields", "eventName,eventNaem", "--limit", "0")
    right = run_command("search", "--fields", "eventName")

    assert wrong.stderr == "3 events.\nNo event that is shown has a value of eventNaem: is it spelt so?\n"
    assert right.stderr == "3 events.\n"


def test_a_piece_of_a_free_form_value_is_found_and_counted(bench: Bench) -> None:
    """The commonest question of a hunt; OpenSearch's own query strings and aggregations answer it wrongly."""
    index(bench, [event(requestParameters={"bucketName": f"acme-{name}-logs"}) for name in ("prod", "prod", "test")])

    found = run_command("search", "requestParameters.bucketName:*prod*")
    counted = run_command("search", "--count-by", "requestParameters.bucketName,eventName", "--format", "json")
    listed = run_command(
        "search", "requestParameters:*ACME*", "--ignore-case", "--count-by", "eventName", "--format", "csv"
    )

    assert found.stderr == "2 events.\n"
    assert len(read(counted.stdout, Group)) > 1
    assert [json.loads(line) for line in counted.stdout.splitlines()] == [
        {
            "count": count,
            "values": {"requestParameters.bucketName": f"acme-{name}-logs", "eventName": "GetObject"},
            "first": "2026-03-01T10:00:00Z",
            "last": "2026-03-01T10:00:00Z",
        }
        for name, count in (("prod", 2), ("test", 1))
    ]
    assert counted.stderr == "2 groups of 3 events.\n"
    assert listed.stdout == "count,eventName,first,last\n3,GetObject,2026-03-01T10:00:00Z,2026-03-01T10:00:00Z\n"
