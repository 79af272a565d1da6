"""`trailsink status`, on pipelines that are well, that are half down, and that do not exist."""

from __future__ import annotations

import io
import json
import signal
import socket
import subprocess
import threading
import zipfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from click.testing import CliRunner
from opensearchpy.exceptions import ConnectionTimeout

from infra.generate.json_documents import Status, read
from tests.support.cli import TRAILSINK
from tests.support.event_files import event, log_file
from tests.support.index_documents import index
from worker.cli.main import main
from worker.opensearch.errors import describe_error

if TYPE_CHECKING:
    from tests.conftest import Bench

KEY = "AWSLogs/123456789012/CloudTrail/eu-west-1/2026/03/01/123456789012_CloudTrail_eu-west-1_20260301T{}Z_abc.json.gz"


@pytest.fixture(autouse=True)
def quiet_queue(bench: Bench) -> None:
    """The bucket's test event waits in the queue, and a message that nothing consumes is a fault."""
    bench.sqs.purge_queue(QueueUrl=bench.settings.queue_url)


def status(*words: str) -> tuple[int, dict[str, Any], str]:
    """Run the command in this process: exit code, the document, which has its shape, and standard error."""
    result = CliRunner().invoke(main, ["status", "--json", *words])
    assert len(read(result.stdout, Status)) == 1
    return result.exit_code, json.loads(result.stdout), result.stderr


def verdicts(parts: dict[str, Any]) -> dict[str, str]:
    """The verdicts by part, without the disk, which is this machine's own."""
    return {name: part["verdict"] for name, part in parts.items() if isinstance(part, dict) and name != "disk"}


def load(bench: Bench, *names: str) -> None:
    """Put files into the bucket and their events into the index; the queue is left empty."""
    for name in names:
        key, events = KEY.format(name), [event(), event()]
        bench.put(key, log_file(*events))
        index(bench, events, uri=f"s3://{bench.settings.bucket}/{key}")
    bench.sqs.purge_queue(QueueUrl=bench.settings.queue_url)


def test_a_pipeline_at_work_is_reported_with_its_figures(bench: Bench) -> None:
    """Queue, letters by reason, rates, lag, files that are not in the index, and indices, at one glance."""
    load(bench, "1000", "1005")
    bench.put(KEY.format("1010"), log_file(event()))
    for reason in ("truncated", "truncated", "corrupt"):
        bench.sqs.send_message(
            QueueUrl=bench.settings.dead_letter_queue_url,
            MessageBody="{}",
            MessageAttributes={"reason": {"DataType": "String", "StringValue": reason}},
        )

    code, parts, _ = status("--letters")
    strict, again, error = status("--letters", "--strict")

    # A message waits, and what indexed a moment ago was no consumer that is known.
    expected = {"dead_letters": "warning", "consumer": "warning", "trail": "unknown", "proof": "unknown"}
    flow = ("queue", "dead_letters", "consumer", "throughput", "trail", "lag", "writes", "ledger")
    names = (*flow, "cluster", "shards", "template", "retention", "proof", "indices")
    assert verdicts(parts) == {name: expected.get(name, "ok") for name in names}
    assert (code, strict) == (0, 1)
    assert error.startswith("Error: Not well: dead letters")
    assert parts["queue"]["waiting"] == 1
    assert parts["dead_letters"]["by_reason"] == again["dead_letters"]["by_reason"] == {"truncated": 2, "corrupt": 1}
    assert parts["throughput"] | {"verdict": "ok", "text": ""} == {
        "verdict": "ok", "text": "", "files_per_minute": 0.1, "records_per_minute": 0.3, "source": "the index",
    }  # fmt: skip
    assert parts["lag"]["newest_event"] == "2026-03-01T10:00:00+00:00"
    assert parts["lag"]["files_since"] == 1
    assert [(one["name"], one["events"]) for one in parts["indices"]["each"]] == [(f"{bench.prefix}-2026-03-01", 4)]


def test_the_figures_of_cloudwatch_and_lambda_are_reported(bench: Bench) -> None:
    """Ages, rates and the function's errors are CloudWatch's; the mapping's state is Lambda's."""
    now = datetime.now(UTC)
    bench.sqs.purge_queue(QueueUrl=bench.settings.queue_url)  # of the bucket's test event
    bench.sqs.send_message(QueueUrl=bench.settings.queue_url, MessageBody="{}")
    cloudwatch: Any = boto3.client("cloudwatch")  # whose types are not among our dependencies
    queue = bench.settings.queue_url.rpartition("/")[2]
    figures = [
        ("AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName": queue}, 1200.0, 2),
        ("Trailsink", "FilesIndexed", {"Queue": queue}, 30.0, 3),
        ("Trailsink", "FilesIndexed", {"Queue": queue}, 60.0, 5),
        ("Trailsink", "FilesIndexed", {"Queue": queue}, 9000.0, 40),  # before the quarter of an hour that counts
        ("Trailsink", "RecordsRead", {"Queue": queue}, 4500.0, 5),
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
    before = status()[1]
    boto3.client("lambda").update_event_source_mapping(UUID=mapping, Enabled=False)
    code, after, error = status()

    assert before["queue"]["waiting"] + before["queue"]["in_flight"] == 1  # the function fails whenever it is called
    assert (before["queue"]["verdict"], before["queue"]["oldest_seconds"]) == ("warning", 1200.0)
    assert (before["throughput"]["files_per_minute"], before["throughput"]["records_per_minute"]) == (6.0, 300.0)
    assert before["throughput"]["source"] == "CloudWatch"
    assert (before["consumer"]["function"], before["consumer"]["errors"]) == ("loader", 2)
    assert after["consumer"]["verdict"] == "fault"
    assert after["consumer"]["text"].startswith("Disab")
    assert (code, "consumer" in error) == (1, True)


def mapped_function(bench: Bench) -> str:
    """Create a function that always fails, and map the queue to it; returns the mapping's id."""
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


def test_an_empty_pipeline_has_no_events(bench: Bench) -> None:
    """After `trailsink setup`, before the first file."""
    assert bench.prefix

    code, parts, _ = status()

    assert code == 0
    assert (parts["lag"]["verdict"], parts["lag"]["text"]) == ("warning", "no event is in the index")
    assert parts["indices"]["text"] == "0 with 0 events in 0 B"


UNREACHABLE = [
    ("TRAILSINK_QUEUE_URL", "{endpoint}/000000000000/nowhere", "queue", "there is no queue"),
    ("TRAILSINK_QUEUE_URL", "", "queue", "TRAILSINK_QUEUE_URL is not set"),
    ("TRAILSINK_DEAD_LETTER_QUEUE_URL", "{endpoint}/000000000000/nowhere", "dead_letters", "there is no queue"),
    ("TRAILSINK_OPENSEARCH_URL", "http://127.0.0.1:9", "cluster", "no connection"),
    ("TRAILSINK_OPENSEARCH_URL", "", "cluster", "TRAILSINK_OPENSEARCH_URL is not set"),
]


def test_what_cannot_be_reached_is_a_fault_and_harms_no_other_part(bench: Bench) -> None:
    """Somebody looks when half of the pipeline is down."""
    endpoint = bench.sqs.meta.endpoint_url

    for variable, value, name, words in UNREACHABLE:
        with pytest.MonkeyPatch.context() as changed:
            changed.setenv(variable, value.format(endpoint=endpoint))
            code, parts, error = status()

        assert (code, error) == (1, f"Error: At fault: {name.replace('_', ' ')}.\n")
        assert words in parts[name]["text"]
        assert [part for part, verdict in verdicts(parts).items() if verdict == "fault"] == [name]
        assert parts["queue" if name == "cluster" else "cluster"]["verdict"] == "ok"


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "no AWS credentials were found"),
        (("AWS_REGION", "AWS_DEFAULT_REGION"), "No AWS region is set"),
    ],
)
def test_without_credentials_or_region_the_cluster_is_still_observed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, str], words: str
) -> None:
    """Each part of AWS says why, in a sentence."""
    assert bench.prefix
    for name in missing:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")

    code, parts, error = status()

    assert (code, error) == (1, "Error: At fault: queue, dead letters.\n")
    assert parts["queue"]["text"].startswith(words)
    assert parts["consumer"]["verdict"] == "unknown"
    assert parts["cluster"]["verdict"] == parts["template"]["verdict"] == "ok"


def test_a_cluster_without_our_template_is_at_fault(bench: Bench) -> None:
    """Indices made now would guess their fields and refuse a third of all records."""
    bench.opensearch.indices.put_index_template(
        name=f"trailsink-{bench.prefix}", body={"index_patterns": [f"{bench.prefix}-*"]}
    )

    code, parts, error = status()

    assert (code, error) == (1, "Error: At fault: template.\n")
    assert "trailsink setup" in parts["template"]["text"]


def test_a_newer_template_is_no_reason_for_setup(bench: Bench) -> None:
    """`trailsink setup` refuses to replace it; the advice has to be one that works."""
    name = f"trailsink-{bench.prefix}"
    template = bench.opensearch.indices.get_index_template(name=name)["index_templates"][0]["index_template"]
    template["_meta"] |= {"version": template["_meta"]["version"] + 1, "digest": "another"}
    bench.opensearch.indices.put_index_template(name=name, body=template)

    code, parts, _ = status()
    setup = CliRunner().invoke(main, ["setup"])

    assert (code, parts["template"]["verdict"]) == (0, "warning")
    assert parts["template"]["text"].endswith("; use the trailsink that made it")
    assert (setup.exit_code, "a newer trailsink" in setup.stderr) == (1, True)


def test_a_cluster_that_never_answers_is_waited_for_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight questions without an answer must not make a glance last for minutes."""
    assert bench.prefix
    asked: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        threading.Thread(target=_hold_connections, args=(silent, asked), daemon=True).start()
        monkeypatch.setenv("TRAILSINK_OPENSEARCH_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("TRAILSINK_REQUEST_SECONDS", "1")
        code, parts, _ = status()

    assert code == 1
    assert parts["cluster"]["text"] == describe_error(ConnectionTimeout("TIMEOUT", "", None))
    assert parts["indices"]["text"] == "the cluster cannot be checked"
    assert len(asked) == 1
    asked[0].close()


def _hold_connections(server: socket.socket, connections: list[socket.socket]) -> None:
    """Accept whoever asks, and never answer."""
    with suppress(OSError):  # the server is closed
        while True:
            connections.append(server.accept()[0])


def test_watching_prints_report_after_report_until_it_is_interrupted(bench: Bench) -> None:
    """One JSON line each for programs, and the last verdict as the exit code."""
    assert bench.prefix
    command = [str(TRAILSINK), "status", "--watch", "1", "--json"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout
        reports = [json.loads(running.stdout.readline()) for _ in range(2)]
        running.send_signal(signal.SIGINT)
        _, error = running.communicate(timeout=120)

    assert reports[0]["at"] < reports[1]["at"]
    assert (running.returncode, error) == (0, "")


def test_a_screen_of_eighty_columns_has_a_line_for_each_part(bench: Bench) -> None:
    """Piped it is plain text."""
    load(bench, "1000")

    done = CliRunner().invoke(main, ["status"])

    lines = done.stdout.splitlines()
    assert lines[0].startswith("trailsink at 2")
    assert [line[:12].strip() for line in lines[1:16]] == [
        "queue", "dead letters", "consumer", "throughput", "trail", "lag", "cluster", "disk", "shards", "writes",
        "template", "retention", "ledger", "proof", "indices",
    ]  # fmt: skip
    assert lines[16].startswith(f"  {bench.prefix}-2026-03-01")
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in done.stdout
