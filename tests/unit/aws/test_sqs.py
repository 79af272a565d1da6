"""Promises about the AWS edges: what each of S3's and SQS's answers means, and what fits into a dead letter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from botocore.stub import ANY, Stubber

from tests.support.factories import message, s3_notice
from tests.support.http_server import server
from tests.support.queues import LETTERS_URL, SOURCE_URL, letter, sqs_client
from worker.aws.sqs import SqsQueue
from worker.errors import QueueUnavailable
from worker.pipeline.ports import HandBack

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient


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
