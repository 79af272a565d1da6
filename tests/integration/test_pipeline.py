"""The whole road on real parts: S3 and SQS over HTTP, a real OpenSearch node, the real command."""

from __future__ import annotations

import gzip
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

import worker.handler
from infra.local.ports import free_port
from tests.support.cli import trailsink
from tests.support.event_files import event, fresh_files, log_file, real_files
from worker.pipeline.notifications import s3_notification
from worker.pipeline.objects import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Bench


def consume(*words: str) -> dict[str, Any]:
    """Drain the queue with the command; returns its totals."""
    done = trailsink("run", "--until-idle", "--timeout", "450", *words)
    assert done.returncode == 0, done.stderr
    totals: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return totals


def announce_all(bench: Bench) -> None:
    """Announce every object of the bucket once more."""
    pages = bench.s3.get_paginator("list_objects_v2").paginate(Bucket=bench.settings.bucket)
    for one in (one for page in pages for one in page["Contents"]):
        body = s3_notification(ObjectRef(bench.settings.bucket, one["Key"]))
        bench.sqs.send_message(QueueUrl=bench.settings.queue_url, MessageBody=body)


def records_of(totals: dict[str, Any]) -> dict[str, float]:
    names = ("Read", "Indexed", "Duplicate", "Degraded", "Rejected")
    return {name: totals[f"Records{name}"] for name in names}


def test_every_event_of_the_real_files_is_found_once_and_a_second_pass_changes_nothing(bench: Bench) -> None:
    """The main promise, on files as CloudTrail delivered them."""
    ids = set()
    for key, body in real_files().items():
        ids |= {record["eventID"] for record in json.loads(gzip.decompress(body))["Records"]}
        bench.put(key, body)

    first = consume()
    before = bench.documents()
    announce_all(bench)
    second = consume()
    after = bench.documents()

    assert records_of(first) == {"Read": 2900, "Indexed": 2900, "Duplicate": 0, "Degraded": 0, "Rejected": 0}
    assert set(before) == ids
    assert records_of(second) == {"Read": 2900, "Indexed": 0, "Duplicate": 2900, "Degraded": 0, "Rejected": 0}
    assert after == before
    assert bench.letters() == []


def test_all_of_the_corpus_goes_through_with_nothing_rejected(bench: Bench, corpus: Path) -> None:
    """9,166 records of ten years and many accounts, 6,266 of them distinct: none is refused, none is doubled."""
    for path in (corpus / "files").rglob("*.json.gz"):
        bench.put(path.relative_to(corpus / "files").as_posix(), path.read_bytes())
    for path in (corpus / "events").glob("*.jsonl.gz"):
        lines = gzip.decompress(path.read_bytes()).splitlines()
        bench.put(f"events/{path.stem}.gz", gzip.compress(b'{"Records":[' + b",".join(lines) + b"]}"))

    first = consume()
    before = bench.documents()
    announce_all(bench)
    second = consume()
    after = bench.documents()

    assert records_of(first) == {"Read": 9166, "Indexed": 6266, "Duplicate": 2900, "Degraded": 0, "Rejected": 0}
    assert len(before) == bench.count() == 6266
    assert records_of(second) == {"Read": 9166, "Indexed": 0, "Duplicate": 9166, "Degraded": 0, "Rejected": 0}
    assert after == before
    assert first["ignored"]["digest"] == 1
    assert bench.letters() == []


DEEP = 1_500
ODD_RECORDS: dict[str, bytes] = {
    "a leaf of 40,000 bytes": json.dumps(event(requestParameters={"policy": "x" * 40_000})).encode(),
    "a scalar requestParameters": json.dumps(event(requestParameters="a sentence")).encode(),
    "an empty key in an object that is mapped": json.dumps(event(userIdentity={"": 1, "arn": "a"})).encode(),
    "a dotted key in an object that is mapped": json.dumps(event(userIdentity={".a..b": 1, "arn": "a"})).encode(),
    "duplicate keys": json.dumps(event()).encode()[:-1] + b',"eventName":"GetObject"}',
    "1,500 levels": json.dumps(event()).encode()[:-1]
    + b',"requestParameters":'
    + b'{"a":' * DEEP
    + b"1"
    + b"}" * (DEEP + 1),
    "a lone surrogate": json.dumps(event(userAgent="SURROGATE")).encode().replace(b"SURROGATE", rb"\ud800"),
    "a raw newline in a string": json.dumps(event(userAgent="NEWLINE")).encode().replace(b"NEWLINE", b"a\nb"),
    "a root member that is an alias": json.dumps(event(user={"name": "x"})).encode(),
    "NaN": json.dumps(event(responseElements={"ratio": float("nan")})).encode(),
    "bytes that are no UTF-8": json.dumps(event(userAgent="LATIN")).encode().replace(b"LATIN", b"caf\xe9"),
}


def test_odd_records_are_indexed_in_degraded_form_and_their_neighbours_as_they_are(bench: Bench) -> None:
    """What a cluster refuses, or what could hurt it, still becomes searchable at once, and costs only itself."""
    neighbours = [event() for _ in ODD_RECORDS]
    bench.put(
        "odd.json.gz", log_file(*(one for pair in zip(ODD_RECORDS.values(), neighbours, strict=True) for one in pair))
    )

    totals = consume()

    sources = {hit["_source"]["trailsink"]["position"]: hit["_source"] for hit in bench.documents().values()}
    half = len(ODD_RECORDS)
    assert records_of(totals) == {"Read": 2 * half, "Indexed": half, "Duplicate": 0, "Degraded": half, "Rejected": 0}
    assert totals["BulkRequests"] == 2  # all in one, and the refused ones in a second
    for number, (name, odd) in enumerate(ODD_RECORDS.items()):
        degraded, neighbour = sources[2 * number], sources[2 * number + 1]
        assert degraded["trailsink"]["degraded"], name
        assert degraded["trailsink"]["raw"] == odd.decode("utf-8", "backslashreplace"), name
        assert degraded["eventName"] == "GetObject", name
        assert degraded["userIdentity"]["arn"], name
        assert "degraded" not in neighbour["trailsink"], name
        assert neighbour["eventID"] == neighbours[number]["eventID"], name
    assert bench.letters() == []
    assert bench.opensearch.cluster.health()["status"] in ("green", "yellow")


HARMLESS_RECORDS = {
    "empty and dotted keys below requestParameters": event(
        requestParameters={"": 1, ".a": 2, "a..b": 3, "c.d": {"": 4}}
    ),
    "numbers beyond 64 bits": event(requestParameters={"n": 2**80, "f": 1e300}),
    "a resource list of unknown members": event(resources=[{"ARN": "a", "new": {"x": 1}}]),
    "an address that is none": event(sourceIPAddress="AWS Internal/3"),
    "a boolean as text": event(readOnly="true"),
    "no user": event(userIdentity=None),
    "version 2.0": event(eventVersion="2.0"),
}


def test_what_only_looks_odd_is_indexed_as_it_is(bench: Bench) -> None:
    """The mapping must take whatever CloudTrail is known to send."""
    bench.put("harmless.json.gz", log_file(*HARMLESS_RECORDS.values()))

    totals = consume()

    expected = len(HARMLESS_RECORDS)
    assert records_of(totals) == {"Read": expected, "Indexed": expected, "Duplicate": 0, "Degraded": 0, "Rejected": 0}
    for given in HARMLESS_RECORDS.values():
        source = bench.documents()[given["eventID"]]["_source"]
        assert {name: value for name, value in source.items() if name not in ("@timestamp", "trailsink")} == given


LONG = "x" * 40_000
PARTLY_READABLE: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "a long value": (
        {"requestParameters": {"bucketName": "b", "long": LONG}},
        "value_too_long",
        ["requestParameters.long"],
    ),
    "a long name": (
        {"requestParameters": {"bucketName": "b", LONG: "x"}},
        "value_too_long",
        ["requestParameters"],
    ),
    "a sentence in place of an object": (
        {"additionalEventData": "Personal details are left out"},
        "mapper_parsing_exception",
        ["additionalEventData"],
    ),
    "an impossible date": ({"eventTime": "2026-02-30T10:00:00Z"}, "event_time_unreadable", ["eventTime"]),
    "another tool's date": ({"eventTime": "2026-03-01 10:00:00"}, "event_time_unreadable", ["eventTime"]),
    "a long keyword": ({"userAgent": LONG}, "", ["userAgent"]),
}


def test_a_value_that_cannot_be_indexed_costs_no_other_value(bench: Bench) -> None:
    """Anybody can put a long one into a parameter, and must not hide the rest of the event by it."""
    records = {name: event(sourceIPAddress="192.0.2.1", **changes) for name, (changes, _, _) in PARTLY_READABLE.items()}
    bench.put(
        "AWSLogs/123456789012/CloudTrail/r/2026/03/01/x_CloudTrail_r_20260301T1010Z_abc.json.gz",
        log_file(*records.values()),
    )

    consume()

    found = bench.documents()
    for name, (_, cause, paths) in PARTLY_READABLE.items():
        source = found[records[name]["eventID"]]["_source"]
        assert source["trailsink"].get("degraded", "") == cause, name
        assert source["trailsink"]["unsearchable"] == paths, name
        raw = source["trailsink"].get("raw")
        assert raw is None or json.loads(raw) == records[name], name
        assert (raw is None) == (name in ("an impossible date", "another tool's date", "a long keyword")), name
    query = {
        "bool": {"filter": [{"term": {"requestParameters.bucketName": "b"}}, {"term": {"source.ip": "192.0.2.1"}}]}
    }
    answer: Any = bench.opensearch.search(index=f"{bench.prefix}-*", body={"query": query})
    assert answer["hits"]["total"]["value"] == len(records)


def test_a_record_without_a_time_is_found_by_the_time_of_its_file(bench: Bench) -> None:
    """A record that cannot be dated must not be lost in 1970."""
    without = {name: value for name, value in event().items() if name != "eventTime"}
    bench.put(
        "AWSLogs/123456789012/CloudTrail/r/2026/03/04/x_CloudTrail_r_20260304T1010Z_abc.json.gz", log_file(without)
    )

    consume()

    found = bench.documents()[without["eventID"]]
    assert found["_index"] == f"{bench.prefix}-undated-2026-03-04"
    assert found["_source"]["@timestamp"] == "2026-03-04T10:10:00Z"


def test_a_truncated_file_gives_its_complete_records_and_a_letter_that_brings_it_back(bench: Bench) -> None:
    """The dead letter is an announcement: mend the file, move the letter, and the rest arrives."""
    (key, whole, ids), *_ = fresh_files(1, 300)
    bench.put(key, whole[: len(whole) // 2])
    broken = consume()
    part = bench.count()
    listed = trailsink("dlq", "list", "--json")
    bench.put(key, whole)
    bench.sqs.purge_queue(QueueUrl=bench.settings.queue_url)  # only the letter may bring it

    moved = trailsink("dlq", "redrive")
    mended = consume()

    letter = json.loads(listed.stdout)
    assert (letter["reason"], letter["object"], letter["attempts"]) == (
        "truncated",
        f"s3://{bench.settings.bucket}/{key}",
        1,
    )
    assert broken["FilesDeadLettered"] == 1
    assert 0 < part < 300
    assert moved.stdout == "Moved 1 letter back to the source queue.\n"
    assert mended["RecordsDuplicate"] == part
    assert set(bench.documents()) == ids
    assert trailsink("dlq", "list").stdout == "No dead letters.\n"


DAY = "111122223333/CloudTrail/us-east-1/2024/05/06/"
NAME = "111122223333_CloudTrail_us-east-1_20240506T0710Z_AbCdEfGhIjKlMnOp.json.gz"
DIGEST = "111122223333_CloudTrail-Digest_us-east-1_trail_us-east-1_20240506T070000Z.json.gz"


def test_what_other_services_and_tools_write_into_the_bucket_is_no_dead_letter(bench: Bench) -> None:
    """Each of these was one letter for each file, and an alarm that never ended."""
    digest = gzip.compress(b'{"digestS3Object":"k","logFiles":[]}')
    names = [f"111122223333/CloudTrail-Digest/us-east-1/2024/05/06/{DIGEST}", f"replica/{DIGEST}"]
    for key in [*names, f"AWSLogs/my-suffix/111122223333/CloudTrail-Digest/{DIGEST}", "replica/another.json.gz"]:
        bench.put(key, digest)
    for key in ("AWSLogs/111122223333/CloudTrail_$folder$", "AWSLogs_$folder$", "a/.emptyDir"):
        bench.put(key, b"")
    for key in (
        "AWSLogs/111122223333/BedrockModelInvocationLogs/us-east-1/2024/05/06/07/x.json.gz",
        "AWSLogs/111122223333/CloudFront/E2.2024-05-06-07.abc.gz",
        "AWSLogs/aws-account-id=111122223333/aws-service=vpcflowlogs/aws-region=us-east-1/year=2024/x.log.gz",
        "AWSLogs/111122223333/ELBAccessLogTestFile",
    ):
        bench.put(key, b"#Version: 1.0\n")
    bench.put(f"AWSLogs/{DAY}{NAME}", log_file(event()))

    totals = consume()

    assert bench.letters() == []
    assert {name: number for name, number in totals["ignored"].items() if name != "test_event"} == {
        "digest": 4,
        "folder_marker": 3,
        "service_BedrockModelInvocationLogs": 1,
        "service_CloudFront": 1,
        "service_vpcflowlogs": 1,
        "service_ELBAccessLogTestFile": 1,
    }
    assert (totals["FilesIndexed"], totals["RecordsRead"], bench.count()) == (1, 1, 1)


@pytest.mark.parametrize("key", [f"/AWSLogs/{DAY}{NAME}", f"cloudtrail//AWSLogs/{DAY}{NAME}", NAME])
def test_a_file_is_loaded_whatever_comes_before_its_name(bench: Bench, key: str) -> None:
    """Slashes too many, or none at all: the name is S3's to give."""
    bench.put(key, log_file(event()))

    totals = consume()

    assert (totals["FilesIndexed"], bench.count(), bench.letters()) == (1, 1, [])


def test_a_file_is_loaded_whoever_announces_it(bench: Bench) -> None:
    """One key as text, MinIO's and Ceph's notifications, a recorded call, an empty version: the object is there."""
    bucket, keys = bench.settings.bucket, [f"AWSLogs/{DAY}{number}_{NAME}" for number in range(5)]
    for key in keys:
        bench.put(key, log_file(event()))
    bench.sqs.purge_queue(QueueUrl=bench.settings.queue_url)
    entry = {"eventVersion": "2.0", "eventTime": "2024-05-06T07:10:11.123Z", "eventName": "s3:ObjectCreated:Put"}
    bodies: list[dict[str, Any]] = [
        {
            "Type": "Notification",
            "TopicArn": "arn:aws:sns:us-east-1:111122223333:trail",
            "Message": json.dumps({"s3Bucket": bucket, "s3ObjectKey": keys[0]}),
        },
        *(
            {"Records": [entry | {"eventSource": source, "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}]}
            for source, key in (("minio:s3", keys[1]), ("ceph:s3", keys[2]))
        ),
        {
            "detail-type": "AWS API Call via CloudTrail",
            "source": "aws.s3",
            "detail": {"eventName": "PutObject", "requestParameters": {"bucketName": bucket, "key": keys[3]}},
        },
        {
            "Records": [
                entry
                | {
                    "eventSource": "aws:s3",
                    "s3": {"bucket": {"name": bucket}, "object": {"key": keys[4], "versionId": "", "size": "123"}},
                }
            ]
        },
    ]
    for body in bodies:
        bench.sqs.send_message(QueueUrl=bench.settings.queue_url, MessageBody=json.dumps(body))

    totals = consume()

    assert (totals["FilesIndexed"], bench.count(), bench.letters()) == (5, 5, [])


def test_a_file_of_another_bucket_is_a_letter_that_stays_until_the_bucket_is_allowed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The consumer asks S3 nothing about it; once it is allowed, its letter is moved like any other."""
    other = f"other-{bench.prefix}"
    bench.s3.create_bucket(Bucket=other, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    bench.put("a.json.gz", log_file(event()), other)
    body = s3_notification(ObjectRef(other, "a.json.gz"))
    bench.sqs.send_message(QueueUrl=bench.settings.queue_url, MessageBody=body)

    refused = consume()
    listed = json.loads(trailsink("dlq", "list", "--json").stdout)
    stays = trailsink("dlq", "redrive").stderr
    monkeypatch.setenv("TRAILSINK_BUCKETS", f"{bench.settings.bucket},{other}")
    moved = trailsink("dlq", "redrive").stdout
    loaded = consume()

    assert (refused["FilesDeadLettered"], refused["BytesStored"]) == (1, 0)
    assert (listed["reason"], listed["object"]) == ("foreign_bucket", f"s3://{other}/a.json.gz")
    assert "TRAILSINK_BUCKETS does not allow its bucket" in stays
    assert moved == "Moved 1 letter back to the source queue.\n"
    assert (loaded["FilesIndexed"], bench.count()) == (1, 1)


def test_looking_at_dead_letters_leaves_them_and_a_selected_one_can_be_moved(bench: Bench) -> None:
    """An operator who looks must not change what the next one sees."""
    bench.put("empty.json.gz", b"")
    bench.put("bad.json.gz", log_file(event(), b"42"))
    consume()

    listings = [trailsink("dlq", "list", "--json").stdout.splitlines() for _ in range(2)]
    by_reason = trailsink("dlq", "redrive", "--reason", "empty", "--force")
    rest = [json.loads(line) for line in trailsink("dlq", "list", "--json").stdout.splitlines()]
    by_id = trailsink("dlq", "redrive", rest[0]["id"], "--force")
    unknown = trailsink("dlq", "redrive", "no-such-id")

    assert {json.loads(line)["reason"] for line in listings[0]} == {"empty", "records_rejected"}
    assert len(listings[0]) == len(listings[1]) == 2
    assert by_reason.stdout == by_id.stdout == "Moved 1 letter back to the source queue.\n"
    assert rest[0]["rejected"] == [[1, "not_a_json_object"]]
    assert (unknown.returncode, unknown.stderr) == (1, "Error: No such letter: no-such-id; nothing was moved.\n")


class Context:
    """Lambda's context, with a fixed time left."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


def test_the_lambda_handler_takes_the_same_road(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Both doors open on the same consumer; the answer names only what must stay."""
    monkeypatch.setenv("TRAILSINK_BUCKETS", "*")
    good, bad = event(), s3_notification(ObjectRef(bench.settings.bucket, "not/there.json.gz"))
    bench.put("good.json.gz", log_file(good))
    bodies = [
        s3_notification(ObjectRef(bench.settings.bucket, "good.json.gz")),
        bad,
        '{"s3Bucket":"no-such-bucket-here","s3ObjectKey":["k"]}',
    ]
    records = [
        {"messageId": str(number), "receiptHandle": "r", "body": body, "attributes": {"ApproximateReceiveCount": "1"}}
        for number, body in enumerate(bodies)
    ]

    answer = fresh_handler()({"Records": records}, Context(60))

    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert answer == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    assert set(bench.documents()) == {good["eventID"]}
    assert [letter["MessageAttributes"]["reason"] for letter in bench.letters()] == ["not_found"]
    assert lines[-1]["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Trailsink"
    assert {line["reason"] for line in lines if line.get("message") == "object"} == {"not_found", "s3:NoSuchBucket"}


class Clock:
    """Lambda's context, with a time that runs out."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int((self._until - time.monotonic()) * 1000)


def sqs_event(bench: Bench, count: int) -> dict[str, Any]:
    """Messages that announce `count` files, which are there."""
    records = []
    for number in range(count):
        bench.put(f"{number}.json.gz", log_file(event()))
        body = s3_notification(ObjectRef(bench.settings.bucket, f"{number}.json.gz"))
        records.append({"messageId": str(number), "receiptHandle": "r", "body": body, "attributes": {}})
    return {"Records": records}


def test_an_invocation_whose_cluster_is_down_ends_in_time_and_hands_everything_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Lambda must not have to kill it, and nothing may be called poison."""
    invocation = sqs_event(bench, 5)
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("TRAILSINK_RESERVE_SECONDS", "5")
    began = time.monotonic()

    answer = fresh_handler()(invocation, Clock(12))

    (batch,) = (json.loads(line) for line in capfd.readouterr().out.splitlines() if '"message":"batch"' in line)
    assert time.monotonic() - began < 12
    assert batch["BulkRetries"] > 0
    assert [one["itemIdentifier"] for one in answer["batchItemFailures"]] == ["0", "1", "2", "3", "4"]
    assert bench.letters() == []


def test_an_invocation_with_three_seconds_left_starts_nothing(bench: Bench) -> None:
    """What is started so late is started in vain."""
    invocation = sqs_event(bench, 5)

    answer = fresh_handler()(invocation, Clock(3))

    assert [one["itemIdentifier"] for one in answer["batchItemFailures"]] == ["0", "1", "2", "3", "4"]
    assert bench.letters() == []
    assert not bench.opensearch.indices.exists(index=f"{bench.prefix}-*", allow_no_indices=False)


def fresh_handler() -> Callable[[dict[str, Any], Any], dict[str, list[dict[str, str]]]]:
    """The handler of a cold start: it reads this test's environment."""
    worker.handler._consumer.cache_clear()  # noqa: SLF001 - what a new sandbox does
    return worker.handler.handler


def test_setup_says_what_it_did_and_does_nothing_the_second_time(bench: Bench) -> None:
    """Running it again is what careful people do."""
    again = trailsink("setup", "--replicas", "0")

    assert again.returncode == 0
    assert f"Index template trailsink-{bench.prefix} version 2 already exists." in again.stdout


def test_setup_lets_nobody_in_where_there_are_no_roles(bench: Bench) -> None:
    """The same command serves clusters with and without fine-grained access control."""
    done = trailsink("setup", "--loader-role", "arn:aws:iam::123456789012:role/loader")

    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("Access: this server has no fine-grained access control")
    assert bench.prefix


def test_a_foreign_template_of_our_name_is_refused(bench: Bench) -> None:
    """Somebody else's template may hold what their indices need."""
    name = f"trailsink-{bench.prefix}"
    bench.opensearch.indices.put_index_template(
        name=name, body={"index_patterns": [f"{bench.prefix}-*"], "priority": 5}
    )

    refused = trailsink("setup")

    assert refused.returncode == 1
    assert f"Error: The index template {name} exists, and trailsink did not create it" in refused.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("TRAILSINK_OPENSEARCH_URL", "", "TRAILSINK_OPENSEARCH_URL is not set."),
        ("TRAILSINK_OPENSEARCH_URL", "ftp://x", "must start with http:// or https://"),
        ("TRAILSINK_BULK_BYTES", "many", "TRAILSINK_BULK_BYTES:"),
    ],
)
def test_a_wrong_environment_is_one_sentence(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    """An operator gets a sentence, never a traceback."""
    assert bench.prefix
    monkeypatch.setenv(name, value)

    done = trailsink("setup")

    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if not line.startswith("Asking ")]) == 1
