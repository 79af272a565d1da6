"""Promises about the Lambda door: what goes in, what comes out, and a wrong environment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from hypothesis import given
from moto import mock_aws

from tests.support.factories import BUCKET, configuration_test_event, event, key, log_file, s3_notice
from tests.support.json_strategies import values
from worker import handler as door
from worker.errors import SetupError
from worker.pipeline.notifications import parse_notification

if TYPE_CHECKING:
    from collections.abc import Iterator


class Context:
    """Lambda's context object, as far as it is used."""

    def __init__(self, seconds: float = 300.0) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


def sqs_event(*bodies: str) -> dict[str, Any]:
    """An event as Lambda's event source mapping makes it."""
    return {
        "Records": [
            {
                "messageId": f"message-{number}",
                "receiptHandle": f"receipt-{number}",
                "body": body,
                "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1764000000000", "SenderId": "S3"},
                "messageAttributes": {},
                "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:trail",
                "awsRegion": "eu-central-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


@pytest.fixture(autouse=True)
def _cold() -> Iterator[None]:
    """Each test begins as a new execution environment does."""
    door._consumer.cache_clear()  # noqa: SLF001 - there is no other way to be cold
    yield
    if door._consumer.cache_info().currsize:  # noqa: SLF001
        door._consumer()[0].close()  # noqa: SLF001
    door._consumer.cache_clear()  # noqa: SLF001


@pytest.fixture
def _aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment as the deployed function has it; the cluster's address answers nobody."""
    with mock_aws():
        region: Any = {"LocationConstraint": "eu-central-1"}
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=region)
        s3.put_object(Bucket=BUCKET, Key=key("empty"), Body=log_file())
        s3.put_object(Bucket=BUCKET, Key=key("one"), Body=log_file(event(1)))
        for name in ("QUEUE_URL", "DEAD_LETTER_QUEUE_URL"):
            monkeypatch.setenv(f"TRAILSINK_{name}", f"https://sqs.eu-central-1.amazonaws.com/123456789012/{name}")
        monkeypatch.setenv("TRAILSINK_OPENSEARCH_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("TRAILSINK_RETRY_SECONDS", "0.001")
        monkeypatch.setenv("TRAILSINK_LEDGER", "false")  # with it no file is done while the cluster is away
        yield


def test_an_event_of_no_messages_is_answered_in_the_usual_shape() -> None:
    """An empty batch announces nothing: no error, and no neighbour is asked."""
    assert door.handler({"Records": []}, Context()) == {"batchItemFailures": []}


OBJECT = {"bucket": {"name": BUCKET}, "object": {"key": "k"}}


@pytest.mark.parametrize(
    ("event", "source"),
    [
        pytest.param(
            {"version": "0", "detail-type": "Object Created", "source": "aws.s3", "detail": OBJECT},
            "EventBridge",
            id="EventBridge",
        ),
        pytest.param({"awslogs": {"data": "H4sIAAAA"}}, "CloudWatch Logs", id="CloudWatch Logs"),
        pytest.param({"Records": [{"eventSource": "aws:s3", "s3": OBJECT}]}, "S3", id="S3"),
        pytest.param({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": "{}"}}]}, "SNS", id="SNS"),
        pytest.param([{"messageId": "m", "receiptHandle": "r", "body": "{}"}], "something else", id="a pipe"),
        pytest.param({"key1": "value1", "key2": "value2"}, "something else", id="the console's test event"),
        pytest.param({}, "something else", id="an empty test event"),
        pytest.param({"Records": None}, "something else", id="null"),
        pytest.param({"Records": "text"}, "something else", id="text"),
        pytest.param({"Records": [None]}, "something else", id="a null record"),
        pytest.param({"Records": [sqs_event("{}")["Records"][0], {"messageId": "m"}]}, "something else", id="mixed"),
        pytest.param(None, "something else", id="nothing"),
    ],
)
def test_a_function_that_its_queue_did_not_invoke_says_so(event: object, source: str) -> None:
    """As a success it would lose the file without a line; raised, Lambda counts an error."""
    with pytest.raises(SetupError, match=f"invoked by {source}, not by its queue.*ReportBatchItemFailures"):
        door.handler(event, Context())


@given(event=values.map(json.loads))
def test_no_event_of_another_shape_is_a_success(event: object) -> None:
    """Whatever invokes the function: only a batch of SQS messages can be done."""
    with pytest.raises(SetupError, match="not by its queue"):
        door.handler({"Records": [event]}, Context())


@pytest.mark.usefixtures("_aws")
@pytest.mark.parametrize("name", ["TRAILSINK_QUEUE_URL", "TRAILSINK_DEAD_LETTER_QUEUE_URL"])
def test_a_fifo_queue_is_refused_at_the_first_invocation(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """S3 cannot send to it, a dead letter needs a group there, and one message holds up its group."""
    monkeypatch.setenv(name, "https://sqs.eu-central-1.amazonaws.com/123456789012/trail.fifo")

    with pytest.raises(SetupError, match=f"{name} is a FIFO queue.*use a standard queue"):
        door.handler(sqs_event(configuration_test_event()), Context())


@pytest.mark.usefixtures("_aws")
def test_messages_of_a_fifo_queue_are_refused() -> None:
    """The function may be tied to another queue than its settings name."""
    event_ = sqs_event(configuration_test_event())
    event_["Records"][0]["eventSourceARN"] += ".fifo"

    with pytest.raises(SetupError, match="event source is a FIFO queue"):
        door.handler(event_, Context())


@pytest.mark.usefixtures("_aws")
def test_a_batch_that_is_done_names_no_message(capsys: pytest.CaptureFixture[str]) -> None:
    """Lambda deletes every message that is not named, and standard output is the log."""
    event_ = sqs_event(configuration_test_event(), s3_notice(unversioned("empty")))

    answer = door.handler(event_, Context())

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert answer == {"batchItemFailures": []}
    assert [line.get("message", "metrics") for line in lines] == ["batch", "metrics"]
    assert lines[-1]["Messages"] == 2
    assert lines[-1]["FilesIndexed"] == 1


def unversioned(name: str) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(s3_notice(key(name)))["Records"][0]
    del whole["s3"]["object"]["versionId"]
    return whole


@pytest.mark.usefixtures("_aws")
def test_the_messages_that_stay_are_named_as_lambda_wants_it() -> None:
    """An answer of another shape, or an unknown id, counts as a failure of the whole batch."""
    event_ = sqs_event(configuration_test_event(), s3_notice(unversioned("one")))

    answer = door.handler(event_, Context())

    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}
    assert json.loads(json.dumps(answer)) == answer


@pytest.mark.usefixtures("_aws")
@pytest.mark.parametrize("bucket", ["other-bucket", "arn:aws:s3:eu-central-1:666666666666:accesspoint/evil"])
def test_a_file_of_another_bucket_is_not_read(monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    """Its siblings are; and the letter announces it, so that it can be moved back when the bucket is allowed."""
    monkeypatch.setenv("TRAILSINK_BUCKET", BUCKET)
    sqs = boto3.client("sqs")
    letters = sqs.create_queue(QueueName="DEAD_LETTER_QUEUE_URL")["QueueUrl"]
    foreign = unversioned("empty")
    foreign["s3"]["bucket"]["name"] = bucket

    answer = door.handler(sqs_event(s3_notice(foreign, unversioned("empty"))), Context())

    (letter,) = sqs.receive_message(QueueUrl=letters, MessageAttributeNames=["All"])["Messages"]
    assert answer == {"batchItemFailures": []}
    assert letter["MessageAttributes"]["reason"]["StringValue"] == "foreign_bucket"
    assert [(one.bucket, one.key) for one in parse_notification(letter["Body"]).objects] == [(bucket, key("empty"))]


@pytest.mark.usefixtures("_aws")
def test_a_delivery_of_config_into_its_own_bucket_is_ignored(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It shares the trail's topic: its key says whose it is, so its bucket does not matter."""
    monkeypatch.setenv("TRAILSINK_BUCKET", BUCKET)
    name = "AWSLogs/123456789012/Config/eu-west-1/2026/11/23/ConfigHistory/x.json.gz"
    notice = {"s3Bucket": "config-bucket", "s3ObjectKey": name, "messageType": "ConfigurationHistoryDeliveryCompleted"}

    answer = door.handler(sqs_event(json.dumps(notice)), Context())

    summary, _ = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert answer == {"batchItemFailures": []}
    assert (summary["ignored"], summary["DeadLetters"]) == ({"service_Config": 1}, 0)


@pytest.mark.usefixtures("_aws")
def test_a_warm_invocation_forgets_the_failures_of_the_one_before() -> None:
    """A peer answered with the last batch's failures, and Lambda retried what was done."""
    first = door.handler(sqs_event(s3_notice(unversioned("one"))), Context())

    second = door.handler(sqs_event(s3_notice(unversioned("empty"))), Context())

    assert first == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}
    assert second == {"batchItemFailures": []}


@pytest.mark.usefixtures("_aws")
def test_an_invocation_with_three_seconds_left_hands_everything_back() -> None:
    """Lambda ends it in the middle of whatever it begins."""
    event_ = sqs_event(s3_notice(unversioned("one")), s3_notice(unversioned("empty")))

    answer = door.handler(event_, Context(3.0))

    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-0"}, {"itemIdentifier": "message-1"}]}


@pytest.mark.usefixtures("_aws")
def test_metrics_can_be_switched_off(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside AWS nobody reads them."""
    monkeypatch.setenv("TRAILSINK_EMF", "false")

    door.handler(sqs_event(configuration_test_event()), Context())

    assert "_aws" not in capsys.readouterr().out


@pytest.mark.usefixtures("_aws")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRAILSINK_OPENSEARCH_URL", None),
        ("TRAILSINK_QUEUE_URL", None),
        ("TRAILSINK_DEAD_LETTER_QUEUE_URL", ""),
        ("TRAILSINK_BULK_BYTES", "many"),
        ("TRAILSINK_INDEX_PREFIX", "Trail*"),
    ],
)
def test_a_wrong_environment_fails_the_whole_batch(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    """Then Lambda keeps every message, and the error names the variable."""
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)

    with pytest.raises(SetupError, match=name):
        door.handler(sqs_event(configuration_test_event()), Context())


@pytest.mark.usefixtures("_aws")
def test_what_is_mended_in_the_environment_works_at_the_next_invocation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure to start must not be remembered."""
    monkeypatch.setenv("TRAILSINK_EMF", "perhaps")
    with pytest.raises(SetupError):
        door.handler(sqs_event(configuration_test_event()), Context())

    monkeypatch.setenv("TRAILSINK_EMF", "true")

    assert door.handler(sqs_event(configuration_test_event()), Context()) == {"batchItemFailures": []}


@pytest.mark.usefixtures("_aws")
@pytest.mark.parametrize("missing", ["attributes", "ApproximateReceiveCount"])
def test_a_message_without_a_receive_count_counts_as_received_once(missing: str) -> None:
    """Emulators leave it out."""
    event_ = sqs_event(s3_notice(unversioned("one")))
    event_["Records"][0].pop(missing, None)
    event_["Records"][0].get("attributes", {}).pop(missing, None)

    assert door.handler(event_, Context()) == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}
