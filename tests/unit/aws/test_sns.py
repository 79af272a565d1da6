"""Promises about the SNS adapter, on moto: messages arrive with what subscriptions filter by."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws

from worker.aws.sns import SnsTopic
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield


@pytest.mark.parametrize("fifo", [False, True])
def test_a_message_arrives_with_its_attributes(fifo: bool) -> None:  # noqa: FBT001
    """A subscription can then take only what is critical."""
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    suffix, attributes = (".fifo", {"FifoTopic": "true"}) if fifo else ("", {})
    arn = sns.create_topic(Name=f"alerts{suffix}", Attributes=attributes)["TopicArn"]
    queue = sqs.create_queue(QueueName=f"q{suffix}", Attributes={"FifoQueue": "true"} if fifo else {})["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn)

    SnsTopic(sns, arn).publish("[high] Login\n", '{"id": "f1"}', id_="f1", attributes={"level": "high", "rule": ""})

    (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    body = json.loads(message["Body"])
    assert body["Message"] == '{"id": "f1"}'
    assert body["Subject"] == "[high] Login"
    assert {name: value["Value"] for name, value in body["MessageAttributes"].items()} == {"level": "high"}


def test_a_topic_that_does_not_exist_is_an_error_in_words() -> None:
    """The findings stay unannounced, and the next run tries again."""
    topic = SnsTopic(boto3.client("sns"), "arn:aws:sns:us-east-1:123456789012:missing")

    with pytest.raises(SetupError, match="The topic arn:aws:sns:us-east-1:123456789012:missing takes no finding"):
        topic.publish("subject", "text", id_="f1", attributes={})
