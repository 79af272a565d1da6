"""Promises about SQS's side of the dead letters: what each response means, and what fits into one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from moto import mock_aws

from worker.aws.session import config
from worker.dlq.letters import Attribute
from worker.dlq.move_task import MoveTask
from worker.dlq.sqs import DeadLetterQueue
from worker.errors import QueueUnavailable, SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_sqs import SQSClient

SOURCE_URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/trail"
DEAD_LETTER_URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/trail-dead"


def make_client() -> SQSClient:
    return boto3.client("sqs", config=config(connections=2))


@pytest.fixture
def stubbed() -> Iterator[tuple[Stubber, DeadLetterQueue]]:
    client = make_client()
    with Stubber(client) as stub:
        yield stub, DeadLetterQueue(client, DEAD_LETTER_URL, SOURCE_URL)


@pytest.fixture
def queues() -> Iterator[tuple[SQSClient, DeadLetterQueue]]:
    with mock_aws():
        client = make_client()
        source_url = client.create_queue(QueueName="trail")["QueueUrl"]
        letters = client.create_queue(QueueName="letters", Attributes={"MaximumMessageSize": str(1 << 20)})
        yield client, DeadLetterQueue(client, letters["QueueUrl"], source_url)


def add_arns(stub: Stubber, *urls: str) -> None:
    for url in urls:
        attributes = {"Attributes": {"QueueArn": f"arn:aws:sqs:r:1:{url.rpartition('/')[2]}"}}
        stub.add_response("get_queue_attributes", attributes, {"QueueUrl": url, "AttributeNames": ["QueueArn"]})


def test_a_letter_is_received_with_everything_it_carries(queues: tuple[SQSClient, DeadLetterQueue]) -> None:
    """Attributes of every type, the receive count, and when it was sent."""
    _, queue = queues
    carried = {"reason": Attribute("String", "empty"), "n": Attribute("Number", "7"), "b": Attribute("Binary", "AP8=")}

    accepted = queue.send_to_dead_letters([("body", carried)])
    (letter,) = queue.receive(60)

    assert accepted == [True]
    assert (letter.body, letter.attributes, letter.receives, letter.source) == ("body", carried, 1, "")
    assert letter.sent_at > 1_700_000_000
    assert queue.depth() == (0, 1)
    assert queue.receive(60) == []


def test_letters_are_handed_back_and_deleted_by_the_hundred(queues: tuple[SQSClient, DeadLetterQueue]) -> None:
    """A batch call takes ten."""
    _, queue = queues
    queue.send_to_dead_letters([(f"body {number}", {}) for number in range(35)])
    held = [letter for _ in range(4) for letter in queue.receive(60)]

    queue.release([letter.receipt_handle for letter in held])
    depth_after_release = queue.depth()
    received_again = [letter for _ in range(4) for letter in queue.receive(60)]
    failed = queue.delete([letter.receipt_handle for letter in received_again])

    assert depth_after_release == (35, 0)
    assert failed == 0
    assert queue.depth() == (0, 0)


def test_delayed_letters_count_as_letters_that_cannot_be_received(stubbed: tuple[Stubber, DeadLetterQueue]) -> None:
    """They are in the queue, and a command will not see them."""
    stub, queue = stubbed
    names = [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    ]
    stub.add_response(
        "get_queue_attributes",
        {"Attributes": dict(zip(names, ("7", "2", "1"), strict=True))},
        {"QueueUrl": DEAD_LETTER_URL, "AttributeNames": names},
    )

    assert queue.depth() == (7, 3)


def test_the_end_of_the_queue_is_confirmed_by_all_servers(stubbed: tuple[Stubber, DeadLetterQueue]) -> None:
    """A short poll asks a few of them, and its empty response means nothing."""
    stub, queue = stubbed
    request = {
        "QueueUrl": DEAD_LETTER_URL,
        "MaxNumberOfMessages": 10,
        "WaitTimeSeconds": 1,
        "VisibilityTimeout": 60,
        "MessageSystemAttributeNames": ["All"],
        "MessageAttributeNames": ["All"],
    }
    stub.add_response("receive_message", {}, request)

    assert queue.receive(60) == []


def test_a_batch_is_cut_by_bytes_and_a_letter_of_any_size_is_sent(queues: tuple[SQSClient, DeadLetterQueue]) -> None:
    """The entries of one call share the limit of one message."""
    client, queue = queues
    bodies = [name * size for name, size in (("a", 150_000), ("b", 150_000), ("c", 10), ("d", 900_000), ("e", 10))]

    assert queue.send_to_source(bodies) == [True] * 5

    url = client.get_queue_url(QueueName="trail")["QueueUrl"]
    received = []
    while messages := client.receive_message(QueueUrl=url).get("Messages"):
        received += [message["Body"] for message in messages]
    assert sorted(received) == bodies


ANY_ENTRIES: dict[str, Any] = {"QueueUrl": SOURCE_URL, "Entries": ANY}


def test_each_message_is_reported_as_taken_or_not(stubbed: tuple[Stubber, DeadLetterQueue]) -> None:
    """Only what SQS took may be deleted; when a later call fails, the earlier ones still count."""
    stub, queue = stubbed
    successful = {"Id": "0", "MessageId": "m", "MD5OfMessageBody": "x"}
    failed = {"Id": "1", "SenderFault": False, "Code": "InternalError"}
    stub.add_response("send_message_batch", {"Successful": [successful], "Failed": [failed]}, ANY_ENTRIES)
    stub.add_client_error("send_message_batch", "ServiceUnavailable", http_status_code=400)

    assert queue.send_to_source(["x" * 100_000, "y" * 100_000, "z" * 100_000]) == [True, False, False]


def test_a_queue_that_takes_nothing_is_named(stubbed: tuple[Stubber, DeadLetterQueue]) -> None:
    """Nothing was sent, so nothing may be deleted."""
    stub, queue = stubbed
    stub.add_client_error("send_message_batch", "AWS.SimpleQueueService.NonExistentQueue", http_status_code=400)

    with pytest.raises(QueueUnavailable, match=f"There is no queue {SOURCE_URL} in eu-central-1"):
        queue.send_to_source(["x"])


def test_what_cannot_be_deleted_or_handed_back_is_no_failure(stubbed: tuple[Stubber, DeadLetterQueue]) -> None:
    """A failed delete is counted; a letter that is not handed back becomes visible by itself."""
    stub, queue = stubbed
    stub.add_client_error("delete_message_batch", "ServiceUnavailable", http_status_code=400)
    stub.add_client_error("change_message_visibility_batch", "ServiceUnavailable", http_status_code=400)

    assert queue.delete(["a", "b"]) == 2
    queue.release(["a"])


@pytest.mark.parametrize("rate", [None, 5])
def test_a_move_always_names_its_destination(stubbed: tuple[Stubber, DeadLetterQueue], rate: int | None) -> None:
    """SQS does not know the source of letters that were sent, and a move without a destination fails."""
    stub, queue = stubbed
    add_arns(stub, DEAD_LETTER_URL, SOURCE_URL)
    request: dict[str, Any] = {
        "SourceArn": "arn:aws:sqs:r:1:trail-dead",
        "DestinationArn": "arn:aws:sqs:r:1:trail",
    } | ({"MaxNumberOfMessagesPerSecond": rate} if rate else {})
    stub.add_response("start_message_move_task", {"TaskHandle": "handle"}, request)

    assert queue.start_move_task(rate) == "handle"


@pytest.mark.parametrize(
    ("code", "text", "sentence"),
    [
        ("InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.", "trailsink doctor"),
        ("UnsupportedOperation", "There is already a task running.", "--attach"),
        ("AWS.SimpleQueueService.UnsupportedOperation", "", "--attach"),
        ("InvalidParameterValue", "Value 501 for MaxNumberOfMessagesPerSecond is invalid", "Value 501"),
        ("AccessDenied", "no sqs:StartMessageMoveTask", "AccessDenied: no sqs:StartMessageMoveTask; --one-by-one"),
    ],
)
def test_a_move_that_sqs_refuses_is_one_sentence_that_says_what_to_do(
    stubbed: tuple[Stubber, DeadLetterQueue], code: str, text: str, sentence: str
) -> None:
    """No redrive policy names the queue, or a task is running: the operator has to know which."""
    stub, queue = stubbed
    add_arns(stub, DEAD_LETTER_URL, SOURCE_URL)
    stub.add_client_error("start_message_move_task", code, text, http_status_code=400)

    with pytest.raises(SetupError, match=sentence):
        queue.start_move_task(None)


def test_move_tasks_are_returned_as_sqs_lists_them(stubbed: tuple[Stubber, DeadLetterQueue]) -> None:
    """SQS gives a handle only while a task runs, and a reason only when it failed."""
    stub, queue = stubbed
    add_arns(stub, DEAD_LETTER_URL)
    running = {
        "Status": "RUNNING",
        "ApproximateNumberOfMessagesMoved": 3,
        "ApproximateNumberOfMessagesToMove": 9,
        "TaskHandle": "h",
        "DestinationArn": "arn:aws:sqs:r:1:trail",
        "StartedTimestamp": 1000,
    }
    failed = {"Status": "FAILED", "FailureReason": "CouldNotDetermineMessageSource"}
    request = {"SourceArn": "arn:aws:sqs:r:1:trail-dead", "MaxResults": 10}
    stub.add_response("list_message_move_tasks", {"Results": [running, failed]}, request)

    assert queue.list_move_tasks() == [
        MoveTask("RUNNING", 3, 9, "trail", "", "h", 1000),
        MoveTask("FAILED", 0, 0, "", "CouldNotDetermineMessageSource"),
    ]


def test_cancelling_a_task_that_has_ended_is_no_failure(stubbed: tuple[Stubber, DeadLetterQueue]) -> None:
    """Between the interrupt and the call the task may have ended."""
    stub, queue = stubbed
    stub.add_response("cancel_message_move_task", {"ApproximateNumberOfMessagesMoved": 4}, {"TaskHandle": "h"})
    stub.add_client_error("cancel_message_move_task", "ResourceNotFoundException", "gone", http_status_code=404)
    stub.add_client_error("cancel_message_move_task", "AccessDenied", "not you", http_status_code=403)

    assert queue.cancel_move_task("h") == 4
    assert queue.cancel_move_task("h") is None
    with pytest.raises(SetupError, match="AccessDenied: not you"):
        queue.cancel_move_task("h")
