"""`trailsink status`, on pipelines that are well, half there, and not there."""

from __future__ import annotations

import io
import json
import signal
import socket
import subprocess
import time
import zipfile
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from click.testing import CliRunner

from infra.generate.json_documents import Status, read
from tests.support.cli import TRAILSINK
from tests.support.event_files import event, log_file
from tests.support.index_documents import index
from worker.cli.main import main

if TYPE_CHECKING:
    from tests.conftest import Bench

KEY = "AWSLogs/123456789012/CloudTrail/eu-west-1/2026/03/01/123456789012_CloudTrail_eu-west-1_20260301T{}Z_abc.json.gz"


def ask(*words: str) -> tuple[int, dict[str, Any], str]:
    """Run the command in this process: exit code, what it says, which has its shape, and standard error."""
    done = CliRunner().invoke(main, ["status", "--json", *words])
    assert len(read(done.stdout, Status)) == 1
    return done.exit_code, json.loads(done.stdout), done.stderr


def verdicts(told: dict[str, Any]) -> dict[str, str]:
    """The verdicts by part, without the disk, which is this machine's own."""
    return {name: one["verdict"] for name, one in told.items() if isinstance(one, dict) and name != "disk"}


def load(bench: Bench, *names: str) -> None:
    """Put files into the bucket and their events into the index; the queue is left empty."""
    for name in names:
        key, events = KEY.format(name), [event(), event()]
        bench.put(key, log_file(*events))
        index(bench, events, uri=f"s3://{bench.settings.bucket}/{key}")
    bench.sqs.purge_queue(QueueUrl=bench.settings.queue_url)


def test_a_pipeline_at_work_is_told_with_its_figures(bench: Bench) -> None:
    """Queue, letters by reason, rates, lag, files that are not in the index, and indices, in one look."""
    load(bench, "1000", "1005")
    bench.put(KEY.format("1010"), log_file(event()))
    for reason in ("truncated", "truncated", "corrupt"):
        bench.sqs.send_message(
            QueueUrl=bench.settings.dead_letter_queue_url,
            MessageBody="{}",
            MessageAttributes={"reason": {"DataType": "String", "StringValue": reason}},
        )

    code, told, _ = ask("--letters")
    strict, again, said = ask("--letters", "--strict")

    expected = {"dead_letters": "warning", "consumer": "unknown", "trail": "unknown"}
    parts = ("queue", "dead_letters", "consumer", "throughput", "trail", "lag", "cluster", "template", "retention")
    assert verdicts(told) == {name: expected.get(name, "ok") for name in (*parts, "indices")}
    assert (code, strict) == (0, 1)
    assert said.startswith("Error: Not well: dead letters")
    assert told["queue"]["waiting"] == 1
    assert told["dead_letters"]["by_reason"] == again["dead_letters"]["by_reason"] == {"truncated": 2, "corrupt": 1}
    assert told["throughput"] | {"verdict": "ok", "text": ""} == {
        "verdict": "ok", "text": "", "files_per_minute": 0.1, "records_per_minute": 0.3, "source": "the index",
    }  # fmt: skip
    assert told["lag"]["newest_event"] == "2026-03-01T10:00:00+00:00"
    assert told["lag"]["files_since"] == 1
    assert [(one["name"], one["events"]) for one in told["indices"]["each"]] == [(f"{bench.prefix}-2026-03-01", 4)]


def test_what_cloudwatch_and_lambda_know_is_told(bench: Bench) -> None:
    """Ages, rates and the function's errors are CloudWatch's; the mapping's state is Lambda's."""
    now = datetime.now(UTC)
    bench.sqs.purge_queue(QueueUrl=bench.settings.queue_url)  # of the bucket's test event
    bench.sqs.send_message(QueueUrl=bench.settings.queue_url, MessageBody="{}")
    cloudwatch: Any = boto3.client("cloudwatch")  # whose types are not among our dependencies
    figures = [
        ("AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName": "trailsink"}, 1200.0, 2),
        ("Trailsink", "FilesIndexed", {"Queue": "trailsink"}, 30.0, 3),
        ("Trailsink", "FilesIndexed", {"Queue": "trailsink"}, 60.0, 5),
        ("Trailsink", "FilesIndexed", {"Queue": "trailsink"}, 9000.0, 40),  # before the quarter of an hour that counts
        ("Trailsink", "RecordsRead", {"Queue": "trailsink"}, 4500.0, 5),
        ("AWS/Lambda", "Errors", {"FunctionName": "loader"}, 2.0, 40),
    ]
    for namespace, name, dimensions, value, minutes in figures:
        one = {
            "MetricName": name,
            "Dimensions": [{"Name": key, "Value": of} for key, of in dimensions.items()],
            "Timestamp": now - timedelta(minutes=minutes),
            "Value": value,
        }
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=[one])
    mapping = mapped_function(bench)
    before = ask()[1]
    boto3.client("lambda").update_event_source_mapping(UUID=mapping, Enabled=False)
    code, after, said = ask()

    assert before["queue"]["waiting"] + before["queue"]["in_flight"] == 1  # the function fails whenever it is called
    assert (before["queue"]["verdict"], before["queue"]["oldest_seconds"]) == ("warning", 1200.0)
    assert (before["throughput"]["files_per_minute"], before["throughput"]["records_per_minute"]) == (6.0, 300.0)
    assert before["throughput"]["source"] == "CloudWatch"
    assert (before["consumer"]["function"], before["consumer"]["errors"]) == ("loader", 2)
    assert after["consumer"]["verdict"] == "fault"
    assert after["consumer"]["text"].startswith("Disab")
    assert (code, "consumer" in said) == (1, True)


def mapped_function(bench: Bench) -> str:
    """Make a function that always fails, and map the queue to it; returns the mapping's id."""
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("f.py", "def handler(event, context):\n    raise SystemError\n")
    client, role = boto3.client("lambda"), "arn:aws:iam::000000000000:role/r"
    client.create_function(
        FunctionName="loader", Runtime="python3.13", Role=role, Handler="f.handler", Code={"ZipFile": bundle.getvalue()}
    )
    arn = bench.sqs.get_queue_attributes(QueueUrl=bench.settings.queue_url, AttributeNames=["QueueArn"])
    made = client.create_event_source_mapping(
        EventSourceArn=arn["Attributes"]["QueueArn"], FunctionName="loader", BatchSize=10
    )
    return made["UUID"]


def test_an_empty_pipeline_has_nothing_and_says_so(bench: Bench) -> None:
    """After `trailsink setup`, before the first file."""
    assert bench.prefix

    code, told, _ = ask()

    assert code == 0
    assert (told["lag"]["verdict"], told["lag"]["text"]) == ("warning", "no event is in the index")
    assert told["indices"]["text"] == "0 with 0 events in 0 B"


UNREACHABLE = [
    ("TRAILSINK_QUEUE_URL", "{endpoint}/000000000000/nowhere", "queue", "there is no queue"),
    ("TRAILSINK_QUEUE_URL", "", "queue", "TRAILSINK_QUEUE_URL is not set"),
    ("TRAILSINK_DEAD_LETTER_QUEUE_URL", "{endpoint}/000000000000/nowhere", "dead_letters", "there is no queue"),
    ("TRAILSINK_OPENSEARCH_URL", "http://127.0.0.1:9", "cluster", "no connection"),
    ("TRAILSINK_OPENSEARCH_URL", "", "cluster", "TRAILSINK_OPENSEARCH_URL is not set"),
]


def test_what_cannot_be_reached_is_a_fault_and_harms_no_other_part(bench: Bench) -> None:
    """Half a pipeline is when somebody looks."""
    endpoint = bench.sqs.meta.endpoint_url

    for variable, value, part, said in UNREACHABLE:
        with pytest.MonkeyPatch.context() as changed:
            changed.setenv(variable, value.format(endpoint=endpoint))
            code, told, error = ask()

        assert (code, error) == (1, f"Error: At fault: {part.replace('_', ' ')}.\n")
        assert said in told[part]["text"]
        assert {name for name, one in verdicts(told).items() if one == "fault"} == {part}
        assert told["queue" if part == "cluster" else "cluster"]["verdict"] == "ok"


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "No AWS credentials were found"),
        (("AWS_REGION", "AWS_DEFAULT_REGION"), "No AWS region is set"),
    ],
)
def test_without_credentials_or_region_the_cluster_is_still_looked_at(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, gone: tuple[str, str], said: str
) -> None:
    """Said once for each part of AWS, in a sentence."""
    assert bench.prefix
    for name in gone:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")

    code, told, error = ask()

    assert (code, error) == (1, "Error: At fault: queue, dead letters.\n")
    assert told["queue"]["text"].startswith(said)
    assert told["consumer"]["verdict"] == "unknown"
    assert told["cluster"]["verdict"] == told["template"]["verdict"] == "ok"


def test_a_cluster_without_our_template_is_at_fault(bench: Bench) -> None:
    """Indices made now would guess their fields and refuse a third of all records."""
    bench.opensearch.indices.put_index_template(
        name=f"trailsink-{bench.prefix}", body={"index_patterns": [f"{bench.prefix}-*"]}
    )

    code, told, error = ask()

    assert (code, error) == (1, "Error: At fault: template.\n")
    assert "trailsink setup" in told["template"]["text"]


def test_a_cluster_that_never_answers_is_waited_for_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight questions into the void must not make a glance last for minutes."""
    assert bench.prefix
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("TRAILSINK_OPENSEARCH_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("TRAILSINK_REQUEST_SECONDS", "1")
        began = time.monotonic()
        code, told, _ = ask()

    assert code == 1
    assert told["cluster"]["text"] == "the request timed out"
    assert told["indices"]["text"] == "the cluster cannot be asked"
    assert time.monotonic() - began < 8


def test_watching_shows_look_after_look_until_it_is_interrupted(bench: Bench) -> None:
    """One JSON line each for programs, and the last verdict as the exit code."""
    assert bench.prefix
    command = [str(TRAILSINK), "status", "--watch", "1", "--json"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout
        looks = [json.loads(running.stdout.readline()) for _ in range(2)]
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)

    assert looks[0]["at"] < looks[1]["at"]
    assert (running.returncode, said) == (0, "")


def test_a_screen_of_eighty_columns_has_a_line_for_each_part(bench: Bench) -> None:
    """Piped it is plain text."""
    load(bench, "1000")

    done = CliRunner().invoke(main, ["status"])

    lines = done.stdout.splitlines()
    assert lines[0].startswith("trailsink at 2")
    assert [line[:12].strip() for line in lines[1:12]] == [
        "queue", "dead letters", "consumer", "throughput", "trail", "lag", "cluster", "disk", "template", "retention",
        "indices",
    ]  # fmt: skip
    assert lines[12].startswith(f"  {bench.prefix}-2026-03-01")
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in done.stdout
