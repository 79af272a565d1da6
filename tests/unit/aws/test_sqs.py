"""Promises about the AWS edges: what each of S3's and SQS's answers means, and what fits into a dead letter."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import ANY, Stubber
from moto import mock_aws

from tests.support.factories import message, ref, s3_notice
from tests.support.http_server import server
from worker import __version__
from worker.aws.session import config
from worker.aws.sqs import SqsQueue
from worker.errors import QueueUnavailable, Reason
from worker.pipeline.notifications import s3_notification
from worker.pipeline.ports import DeadLetter, HandBack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_sqs import SQSClient

MIB = 1 << 20
SOURCE_URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/trail"
LETTERS_URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/trail-dead"


def sqs_client() -> SQSClient:
    return boto3.client("sqs", config=config(connections=2))


@pytest.fixture
def queues() -> Iterator[tuple[SQSClient, SqsQueue]]:
    with mock_aws():
        client = sqs_client()
        letters = client.create_queue(QueueName="letters", Attributes={"MaximumMessageSize": str(MIB)})["QueueUrl"]
        source = client.create_queue(QueueName="source")["QueueUrl"]
        yield client, SqsQueue(client, source, letters)


def letter(**changes: Any) -> DeadLetter:
    whole: dict[str, Any] = {
        "body": s3_notification(ref()),
        "reason": Reason.RECORDS_REJECTED,
        "detail": "2 of 9 records were rejected",
        "source_message_id": "message-1",
        "attempts": 3,
        "rejected": ((1, "mapper_parsing_exception"), (7, "not_a_json_object")),
    }
    return DeadLetter(**whole | changes)


def attributes_of_the_letter(client: SQSClient) -> dict[str, str]:
    """The attributes of the one letter, read as anybody may: the queue's own way waits for more."""
    url = client.get_queue_url(QueueName="letters")["QueueUrl"]
    (one,) = client.receive_message(QueueUrl=url, MessageAttributeNames=["All"])["Messages"]
    assert one["Body"] == s3_notification(ref())
    return {name: value["StringValue"] for name, value in one["MessageAttributes"].items()}


def test_a_letter_says_what_why_and_where(queues: tuple[SQSClient, SqsQueue]) -> None:
    """The operator sees it without reading the object; the body is the announcement itself."""
    client, queue = queues

    queue.send_dead_letter(letter())

    said = attributes_of_the_letter(client)
    assert json.loads(said.pop("rejected")) == [[1, "mapper_parsing_exception"], [7, "not_a_json_object"]]
    assert said == {
        "reason": "records_rejected",
        "detail": "2 of 9 records were rejected",
        "attempts": "3",
        "source_message_id": "message-1",
        "trailsink_version": __version__,
    }


def weight(sent: Any) -> int:
    """What SQS counts: body, and name, type and value of each attribute."""
    attributes = sent["MessageAttributes"]
    return len(sent["MessageBody"].encode()) + sum(
        len(name.encode()) + len(value["DataType"]) + len(value["StringValue"].encode())
        for name, value in attributes.items()
    )


def offers(one: DeadLetter) -> list[dict[str, Any]]:
    """Be an SQS that finds every message too long; returns what it was offered, in order."""
    client = sqs_client()
    offered: list[dict[str, Any]] = []
    client.meta.events.register("provide-client-params.sqs.SendMessage", lambda params, **_: offered.append(params))
    with Stubber(client) as stub:
        for _ in range(10):
            stub.add_client_error("send_message", "InvalidParameterValue", "too long", http_status_code=400)
        with pytest.raises(QueueUnavailable):
            SqsQueue(client, SOURCE_URL, LETTERS_URL).send_dead_letter(one)
    return offered


@pytest.mark.parametrize("spare", [0, 1, 30, 120, 300, 2_000, 20_000])
def test_a_body_of_nearly_a_mebibyte_is_sent_with_what_fits_beside_it(spare: int) -> None:
    """Attributes count into SQS's limit: a body that just fits must not be refused for its reason."""
    body = "x" * (MIB - spare)
    one = letter(body=body, rejected=tuple((n, "mapper_parsing_exception") for n in range(5_000)), detail="d" * 5_000)

    offered = offers(one)

    fitting = [params for params in offered if weight(params) <= MIB]
    assert fitting, "no offer was small enough"
    assert all(params["MessageBody"] == body for params in offered)
    assert [weight(params) for params in offered] == sorted((weight(params) for params in offered), reverse=True)
    assert ("reason" in fitting[0]["MessageAttributes"]) == (spare >= 30)


def test_a_long_list_of_rejections_is_cut_to_whole_entries() -> None:
    """Half an entry could not be read; the file itself has them all."""
    one = letter(rejected=tuple((n, "mapper_parsing_exception") for n in range(100_000)))

    first = offers(one)[0]

    pairs = json.loads(first["MessageAttributes"]["rejected"]["StringValue"])
    assert pairs == [[n, "mapper_parsing_exception"] for n in range(len(pairs))]
    assert 100 < len(pairs) < 1_000
    assert weight(first) < 20_000


def test_a_queue_that_takes_less_gets_the_letter_with_fewer_attributes() -> None:
    """Queues made before August 2025 may still allow 256 KiB only."""
    client = sqs_client()
    with Stubber(client) as stub:
        stub.add_client_error("send_message", "InvalidParameterValue", http_status_code=400)
        stub.add_response(
            "send_message",
            {},
            {"QueueUrl": LETTERS_URL, "MessageBody": s3_notification(ref()), "MessageAttributes": ANY},
        )

        SqsQueue(client, SOURCE_URL, LETTERS_URL).send_dead_letter(letter())

        stub.assert_no_pending_responses()


@pytest.mark.parametrize("detail", ["", "line\x00\x0b\ufffe end", "\ud800", "ä€🐝", "x" * 5_000])
def test_any_detail_can_be_sent(queues: tuple[SQSClient, SqsQueue], detail: str) -> None:
    """SQS takes only XML's characters and no empty value; a letter must not fail for its wording."""
    client, queue = queues

    queue.send_dead_letter(letter(detail=detail))

    assert 1 <= len(attributes_of_the_letter(client)["detail"]) <= 1_000


@pytest.mark.parametrize("code", ["ServiceUnavailable", "AccessDenied", "AWS.SimpleQueueService.NonExistentQueue", "X"])
def test_a_letter_that_cannot_be_sent_is_an_error(code: str) -> None:
    """The pipeline then keeps the message in the source queue."""
    client = sqs_client()
    with Stubber(client) as stub:
        stub.add_client_error("send_message", code, http_status_code=400)

        with pytest.raises(QueueUnavailable, match=code):
            SqsQueue(client, SOURCE_URL, LETTERS_URL).send_dead_letter(letter())


def test_a_queue_that_does_not_answer_is_unavailable() -> None:
    """Botocore's errors never cross the edge."""
    with server(b"") as (url, _):
        pass
    client = boto3.client("sqs", endpoint_url=url, config=Config(retries={"total_max_attempts": 1}))
    queue = SqsQueue(client, SOURCE_URL, LETTERS_URL)

    with pytest.raises(QueueUnavailable):
        queue.send_dead_letter(letter())
    with pytest.raises(QueueUnavailable):
        queue.receive(maximum=1, wait_seconds=0, visibility_seconds=1)
    with pytest.raises(QueueUnavailable):
        queue.depth()


def test_messages_are_received_handed_back_and_deleted(queues: tuple[SQSClient, SqsQueue]) -> None:
    """The container's loop: what is handed back at once comes again with a higher count, what is done is gone."""
    client, queue = queues
    for number in range(2):
        client.send_message(QueueUrl=queue_url(client), MessageBody=s3_notice(f"key-{number}"))

    first = queue.receive(maximum=10, wait_seconds=0, visibility_seconds=60)
    queue.hand_back([HandBack(first[0], 0)])
    failed = queue.delete(first[1:])
    second = queue.receive(maximum=10, wait_seconds=0, visibility_seconds=60)

    assert len(first) == 2
    assert failed == 0
    assert [(one.id, one.receive_count) for one in second] == [(first[0].id, 2)]
    assert queue.depth() == (0, 1)


def queue_url(client: SQSClient) -> str:
    return client.get_queue_url(QueueName="source")["QueueUrl"]


def test_more_than_ten_messages_are_handed_back_and_deleted_in_batches() -> None:
    """SQS takes ten entries a call; a batch of Lambda's may have ten thousand."""
    client = sqs_client()
    several = [message("{}", number) for number in range(25)]
    with Stubber(client) as stub:
        for size in (10, 10, 5):
            entries = [{"Id": str(at), "ReceiptHandle": ANY, "VisibilityTimeout": 30} for at in range(size)]
            expected = {"QueueUrl": SOURCE_URL, "Entries": entries}
            stub.add_response("change_message_visibility_batch", {"Successful": [], "Failed": []}, expected)
        for size in (10, 10, 5):
            gone = [{"Id": str(at), "ReceiptHandle": ANY} for at in range(size)]
            stub.add_response(
                "delete_message_batch",
                {
                    "Successful": [{"Id": str(at)} for at in range(1, size)],
                    "Failed": [{"Id": "0", "SenderFault": True, "Code": "X"}],
                },
                {"QueueUrl": SOURCE_URL, "Entries": gone},
            )
        queue = SqsQueue(client, SOURCE_URL, LETTERS_URL)

        queue.hand_back([HandBack(one, 30) for one in several])
        failed = queue.delete(several)

        stub.assert_no_pending_responses()
    assert failed == 3


@pytest.mark.parametrize("code", ["MessageNotInflight", "ReceiptHandleIsInvalid", "RequestThrottled", "AccessDenied"])
def test_a_wait_that_cannot_be_set_fails_nothing(code: str) -> None:
    """The message keeps the visibility timeout of its receive: only the time of its return is another."""
    client = sqs_client()
    several = [HandBack(message("{}", number), 30) for number in range(15)]
    with Stubber(client) as stub:
        stub.add_client_error("change_message_visibility_batch", code, http_status_code=400)
        stub.add_response("change_message_visibility_batch", {"Successful": [], "Failed": []})

        SqsQueue(client, SOURCE_URL, LETTERS_URL).hand_back(several)

        stub.assert_no_pending_responses()


def test_a_message_that_cannot_be_deleted_comes_again_harmlessly() -> None:
    """It is told, and nothing else happens: a second delivery changes nothing."""
    client = sqs_client()
    with Stubber(client) as stub:
        stub.add_client_error("delete_message_batch", "ServiceUnavailable", http_status_code=503)

        assert SqsQueue(client, SOURCE_URL, LETTERS_URL).delete([message("{}", n) for n in range(3)]) == 3
