"""A source queue and its dead-letter queue, as moto keeps them, for the tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moto import mock_aws

from tests.support.queues import MIB, sqs_client
from worker.aws.sqs import SqsQueue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_sqs import SQSClient


@pytest.fixture
def queues() -> Iterator[tuple[SQSClient, SqsQueue]]:
    with mock_aws():
        client = sqs_client()
        letters = client.create_queue(QueueName="letters", Attributes={"MaximumMessageSize": str(MIB)})["QueueUrl"]
        source = client.create_queue(QueueName="source")["QueueUrl"]
        yield client, SqsQueue(client, source, letters)
