"""SQS clients and dead letters for tests of the adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3

from tests.support.factories import ref
from worker.aws.session import config
from worker.errors import Reason
from worker.pipeline.notifications import s3_notification
from worker.pipeline.ports import DeadLetter

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

MIB = 1 << 20
SOURCE_URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/trail"
LETTERS_URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/trail-dead"


def sqs_client() -> SQSClient:
    return boto3.client("sqs", config=config(connections=2))


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
