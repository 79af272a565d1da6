"""Attacks by somebody who can write to the bucket or the queue: real consumer, real node, nothing lost or forged."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import trailsink
from tests.support.event_files import event, log_file

if TYPE_CHECKING:
    from tests.conftest import Bench

FOLDER = "AWSLogs/123456789012/CloudTrail/eu-west-1/2026/03/01/123456789012_CloudTrail_eu-west-1_20260301T1005Z_"
TRUE_FILE = f"{FOLDER}True.json.gz"
HIDDEN_FILE = f"{FOLDER}NeverAnnounced.json.gz"
EVENT_ID = "11111111-2222-3333-4444-555555555555"


def consume() -> dict[str, Any]:
    """Drain the queue with the command; returns its totals."""
    done = trailsink("run", "--until-idle", "--timeout", "450")
    assert done.returncode == 0, done.stderr
    totals: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return totals


def explained(bench: Bench, event_id: str) -> list[dict[str, Any]]:
    bench.count()  # makes all documents searchable
    done = trailsink("explain", event_id, "--json", "--record")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def names(bench: Bench) -> list[str]:
    return sorted(hit["_source"]["eventName"] for hit in bench.hits())


def test_a_forged_origin_hides_no_missing_file(bench: Bench) -> None:
    """A record that says it came from a file would make that file look loaded."""
    bench.put(HIDDEN_FILE, log_file(event(eventName="CreateAccessKey"), event(eventName="DeleteTrail")))
    bench.sqs.purge_queue(QueueUrl=bench.settings.queue_url)
    uri = f"s3://{bench.settings.bucket}/{HIDDEN_FILE}"
    decoys = [event(**{"trailsink.object": uri, "trailsink.position": at, "eventID": f"decoy-{at}"}) for at in (0, 1)]
    bench.put("AWSLogs/decoy.json.gz", log_file(*decoys))

    totals = consume()
    bench.count()  # makes the decoys searchable
    loaded = trailsink("backfill", "--missing", "--incomplete", "--direct", "--yes")
    (decoy,) = explained(bench, "decoy-0")

    assert totals["RecordsDegraded"] == 2
    assert loaded.returncode == 0, loaded.stderr
    assert {"CreateAccessKey", "DeleteTrail"} <= set(names(bench))
    assert (decoy["object"], decoy["degraded"]) == (
        f"s3://{bench.settings.bucket}/AWSLogs/decoy.json.gz",
        "reserved_field",
    )


def test_a_record_under_a_true_id_does_not_keep_the_true_one_out(bench: Bench) -> None:
    """Whoever knows an event's id before the file arrives could otherwise make the event disappear."""
    bench.put("AWSLogs/x.json.gz", log_file(event(eventID=EVENT_ID, eventName="DescribeInstances")))
    consume()
    bench.put(TRUE_FILE, log_file(event(eventID=EVENT_ID, eventName="CreateAccessKey")))

    totals = consume()
    records = explained(bench, EVENT_ID)

    assert (totals["RecordsIndexed"], totals["RecordsDuplicate"]) == (1, 0)
    assert names(bench) == ["CreateAccessKey", "DescribeInstances"]
    assert {record["record"]["eventName"] for record in records} == {"CreateAccessKey", "DescribeInstances"}
    assert all(record["conflicting"] for record in records)


def test_an_altered_record_of_a_file_without_its_checksum_does_not_keep_the_true_one_out(bench: Bench) -> None:
    """A gzip stream that is cut before its end is never checked."""
    true = log_file(event(eventID=EVENT_ID, eventName="CreateAccessKey"), event(eventName="ListBuckets"))
    altered = gzip.decompress(true).replace(b"CreateAccessKey", b"DescribeRegions")
    bench.put(TRUE_FILE, gzip.compress(altered)[:-8])
    consume()
    bench.put(TRUE_FILE, true)

    totals = consume()

    assert (totals["RecordsIndexed"], totals["RecordsDuplicate"]) == (1, 1)
    assert names(bench) == ["CreateAccessKey", "DescribeRegions", "ListBuckets"]
    unchecked = {hit["_source"]["eventName"] for hit in bench.hits() if hit["_source"]["trailsink"].get("unchecked")}
    assert "DescribeRegions" in unchecked


@pytest.mark.parametrize("count", [20_001, 450_000])
def test_a_record_of_many_members_does_not_reach_the_cluster_as_fields(bench: Bench, count: int) -> None:
    """450,000 members ended a node with 512 MiB of heap."""
    many = json.dumps(event(requestParameters={f"k{number}": 1 for number in range(count)})).encode()
    bench.put(TRUE_FILE, log_file(many, many[:-1] + b',"other":1}', event(eventName="ListBuckets")))

    totals = consume()

    assert (totals["RecordsIndexed"], totals["RecordsDegraded"]) == (1, 2)
    assert bench.opensearch.cluster.health()["number_of_nodes"] == 1
    texts = [hit["_source"]["trailsink"]["raw"] for hit in bench.hits() if "raw" in hit["_source"]["trailsink"]]
    assert many.decode() in texts


def test_made_up_days_in_files_of_today_do_not_fill_the_cluster_with_indices(bench: Bench) -> None:
    """Four such files took the last shard, and no new day had room."""
    for file in range(4):
        days = [event(eventTime=f"20{14 + file}-{1 + day // 28:02}-{1 + day % 28:02}T00:00:00Z") for day in range(100)]
        bench.put(f"{FOLDER}{file}.json.gz", log_file(*days))

    totals = consume()

    assert totals["RecordsIndexed"] == 400
    assert len({hit["_index"] for hit in bench.hits()}) == 1


def test_records_that_are_slow_to_read_cost_only_themselves(bench: Bench) -> None:
    """Nested brackets take a second for each mebibyte, and a batch must not run past its end."""
    deep = [
        b'{"eventID":"d%d","eventTime":"2026-03-01T10:00:00Z","a":%b%b}' % (n, b"[" * 500_000, b"]" * 500_000)
        for n in range(2)
    ]
    bench.put("AWSLogs/deep.json.gz", log_file(*deep))
    bench.put(TRUE_FILE, log_file(event(eventName="ListBuckets")))

    totals = consume()

    assert (totals["RecordsIndexed"], totals["RecordsDegraded"]) == (1, 2)
    assert bench.letters() == []
