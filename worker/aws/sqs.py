"""SQS: one client for one queue, and the source queue with its dead-letter queue as the consumer sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.dead_letters import attribute_sets
from worker.aws.errors import error_cause, error_code, queue_error_text
from worker.cutoff import Cutoff
from worker.errors import QueueUnavailable
from worker.pipeline.ports import MESSAGE_BYTES, DeadLetter, HandBack, Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.literals import MessageSystemAttributeNameType, QueueAttributeNameType
    from types_boto3_sqs.type_defs import (
        ChangeMessageVisibilityBatchRequestEntryTypeDef,
        DeleteMessageBatchRequestEntryTypeDef,
        MessageAttributeValueTypeDef,
        MessageTypeDef,
        SendMessageBatchRequestEntryTypeDef,
    )

_BATCH = 10  # entries of one batch call

# How long a call may take beyond the wait that it asks for, with botocore's attempts.
_CALL_SECONDS = 30.0

T = TypeVar("T")


class Outgoing(NamedTuple):
    """A message to send: its body, and its attributes as SQS types them."""

    body: str
    attributes: Mapping[str, MessageAttributeValueTypeDef] = {}

    @property
    def size(self) -> int:
        """Bytes that count against SQS's limits."""
        attributes = sum(
            len(name) + len(value["DataType"]) + len(value.get("StringValue", "").encode()) + _binary_size(value)
            for name, value in self.attributes.items()
        )
        return len(self.body.encode()) + attributes


def _binary_size(value: MessageAttributeValueTypeDef) -> int:
    binary = value.get("BinaryValue", b"")
    return len(binary) if isinstance(binary, bytes) else 0


class QueueClient:
    """The calls to one queue. Batch calls take any number of entries."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._sqs, self.url = client, url

    @property
    def region(self) -> str:
        """The region of the client."""
        return self._sqs.meta.region_name

    def receive(
        self,
        *,
        maximum: int,
        wait_seconds: int,
        visibility_seconds: int,
        system_attributes: Sequence[MessageSystemAttributeNameType],
        attributes: Sequence[str] = (),
    ) -> list[MessageTypeDef]:
        """Receive up to `maximum` (at most 10) messages, hidden from others for `visibility_seconds`.

        Raises QueueUnavailable.
        """
        try:
            response = self._sqs.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=min(maximum, _BATCH),
                WaitTimeSeconds=wait_seconds,
                VisibilityTimeout=visibility_seconds,
                MessageSystemAttributeNames=system_attributes,
                MessageAttributeNames=attributes,
            )
        except (ClientError, BotoCoreError) as error:
            raise QueueUnavailable(queue_error_text(error, self.url, self.region)) from error
        return response.get("Messages", [])

    def send(self, body: str, attributes: Mapping[str, MessageAttributeValueTypeDef]) -> None:
        """Send one message; lets the SDK's errors pass."""
        self._sqs.send_message(QueueUrl=self.url, MessageBody=body, MessageAttributes=attributes)

    def send_batch(self, messages: Sequence[Outgoing]) -> list[str]:
        """Send any number of messages; returns for each "" or why it was not taken. The order is kept.

        Raises QueueUnavailable when a request fails and nothing was taken before.
        """
        causes: list[str] = []
        for batch in _cut_by_bytes(messages):
            try:
                causes += self.send_request(batch)
            except (ClientError, BotoCoreError) as error:
                if "" not in causes:
                    raise QueueUnavailable(queue_error_text(error, self.url, self.region)) from error
                return causes + [error_cause("sqs", error)] * (len(messages) - len(causes))
        return causes

    def send_request(self, messages: Sequence[Outgoing]) -> list[str]:
        """Send up to ten messages in one request; returns the same, and lets the SDK's errors pass."""
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {"Id": str(number), "MessageBody": message.body, "MessageAttributes": message.attributes}
            for number, message in enumerate(messages)
        ]
        response = self._sqs.send_message_batch(QueueUrl=self.url, Entries=entries)
        causes = {entry["Id"]: "" for entry in response.get("Successful", [])}
        causes |= {entry["Id"]: f"sqs:{entry['Code']}" for entry in response.get("Failed", [])}
        # A redrive deletes what was sent, so an entry without a result must not count as sent.
        return [causes.get(entry["Id"], "sqs:NoResult") for entry in entries]

    def delete_batch(self, receipt_handles: Sequence[str]) -> int:
        """Delete messages; returns how many could not be deleted, and will be received again."""
        failed = 0
        for batch in chunked(receipt_handles):
            entries: list[DeleteMessageBatchRequestEntryTypeDef] = [
                {"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(batch)
            ]
            try:
                response = self._sqs.delete_message_batch(QueueUrl=self.url, Entries=entries)
                failed += len(batch) - len(response.get("Successful", []))
            except (ClientError, BotoCoreError):
                failed += len(batch)
        return failed

    def change_visibility_batch(self, entries: Sequence[tuple[str, int]]) -> None:
        """Set in how many seconds messages, by receipt handle, become visible.

        What fails keeps the visibility timeout of its receive.
        """
        for batch in chunked(entries):
            request: list[ChangeMessageVisibilityBatchRequestEntryTypeDef] = [
                {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
                for number, (handle, seconds) in enumerate(batch)
            ]
            try:
                self._sqs.change_message_visibility_batch(QueueUrl=self.url, Entries=request)
            except (ClientError, BotoCoreError):
                continue

    def attributes(self, names: Sequence[QueueAttributeNameType]) -> dict[str, str]:
        """Return attributes of the queue by name; raises QueueUnavailable."""
        try:
            response = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        except (ClientError, BotoCoreError) as error:
            raise QueueUnavailable(queue_error_text(error, self.url, self.region)) from error
        return {str(name): value for name, value in response.get("Attributes", {}).items()}

    @property
    def arn(self) -> str:
        """The queue's ARN; raises QueueUnavailable."""
        return self.attributes(["QueueArn"])["QueueArn"]

    def depth(self) -> tuple[int, int]:
        """Count messages, approximately: visible ones, and in-flight or delayed ones; raises QueueUnavailable."""
        names: list[QueueAttributeNameType] = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ]
        counts = self.attributes(names)
        visible, in_flight, delayed = (int(counts.get(name, 0)) for name in names)
        return visible, in_flight + delayed


class SqsQueue:
    """The source queue and its dead-letter queue, as the consumer and a backfill use them."""

    def __init__(self, client: SQSClient, url: str, dead_letter_url: str) -> None:
        self._source, self._dead_letters = QueueClient(client, url), QueueClient(client, dead_letter_url)

    # What the pipeline asks for

    def send_dead_letter(self, letter: DeadLetter) -> None:
        """Send one dead letter, its attributes cut to what fits; raises QueueUnavailable."""
        cause: ClientError | BotoCoreError | None = None
        for attributes in attribute_sets(letter):
            try:
                self._dead_letters.send(letter.body, attributes)
            except (ClientError, BotoCoreError) as error:
                cause = error
                # Queues created before August 2025 may still allow 256 KiB only: try with less beside the body.
                if error_code(error) not in ("InvalidParameterValue", "InvalidMessageContents"):
                    break
            else:
                return
        raise QueueUnavailable(error_cause("sqs", cause) if cause else "sqs") from cause

    def announce_again(self, bodies: Sequence[str]) -> None:
        """Send any number of messages to the source queue; raises QueueUnavailable unless all of them are sent."""
        for cause in filter(None, self._source.send_batch([Outgoing(body) for body in bodies])):
            raise QueueUnavailable(cause)

    def hand_back(self, messages: Sequence[HandBack]) -> None:
        """Set when each message may be received again; what fails keeps the visibility timeout of its receive."""
        self._source.change_visibility_batch([(entry.message.receipt_handle, entry.seconds) for entry in messages])

    # What `trailsink run` does in place of Lambda

    def receive(self, *, maximum: int, wait_seconds: int, visibility_seconds: int) -> list[Message]:
        """Receive up to `maximum` (at most 10) messages, hidden from others for `visibility_seconds`.

        Raises QueueUnavailable.
        """
        with Cutoff(wait_seconds + _CALL_SECONDS):
            received = self._source.receive(
                maximum=maximum,
                wait_seconds=wait_seconds,
                visibility_seconds=visibility_seconds,
                system_attributes=["ApproximateReceiveCount"],
            )
        return [
            Message(
                message["MessageId"],
                message["ReceiptHandle"],
                message["Body"],
                int(message["Attributes"].get("ApproximateReceiveCount", 1)),
            )
            for message in received
        ]

    def delete(self, messages: Sequence[Message]) -> int:
        """Delete messages that are done; those that fail (their number is returned) come again, harmlessly."""
        with Cutoff(_CALL_SECONDS):
            return self._source.delete_batch([message.receipt_handle for message in messages])

    def check(self) -> None:
        """Raise QueueUnavailable unless both queues exist."""
        for queue in (self._source, self._dead_letters):
            queue.attributes(["QueueArn"])

    def depth(self) -> tuple[int, int]:
        """Count the source queue's messages, approximately: visible ones, and in-flight or delayed ones."""
        return self._source.depth()

    # What a backfill asks for

    def announce(self, bodies: Sequence[str]) -> list[str]:
        """Send up to ten messages to the source queue; returns for each "" or why it was not taken."""
        try:
            return self._source.send_request([Outgoing(body) for body in bodies])
        except (ClientError, BotoCoreError) as error:
            return [error_cause("sqs", error)] * len(bodies)


def chunked(entries: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut into batches that SQS takes."""
    return (entries[start : start + _BATCH] for start in range(0, len(entries), _BATCH))


def _cut_by_bytes(messages: Iterable[Outgoing]) -> Iterator[list[Outgoing]]:
    """Cut into batches that SQS takes; a message that is larger than a batch goes alone."""
    batch: list[Outgoing] = []
    room = MESSAGE_BYTES  # which the entries of a batch share
    for message in messages:
        size = message.size
        if batch and (len(batch) == _BATCH or size > room):
            yield batch
            batch, room = [], MESSAGE_BYTES
        batch.append(message)
        room -= size
    if batch:
        yield batch
