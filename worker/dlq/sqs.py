"""SQS, the dead-letter queue's side: receive and hand back, send and delete, and SQS's own message move tasks."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_code, error_text, queue_error_text
from worker.aws.session import config, open_session
from worker.dlq.letters import Attribute, Letter
from worker.dlq.move_task import MoveTask
from worker.errors import QueueUnavailable, SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.literals import QueueAttributeNameType
    from types_boto3_sqs.type_defs import (
        ChangeMessageVisibilityBatchRequestEntryTypeDef,
        DeleteMessageBatchRequestEntryTypeDef,
        MessageAttributeValueTypeDef,
        MessageTypeDef,
        SendMessageBatchRequestEntryTypeDef,
        StartMessageMoveTaskRequestTypeDef,
    )

    from worker.settings import Settings


_BATCH = 10  # entries of one batch call


# Entries of one batch share the limit of one message. Queues made before August 2025 may still have 256 KiB.
# docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
_BATCH_BYTES = 200 << 10


_THREADS = 8  # handing back thousands of letters must not take longer than looking at them


# An empty answer of a short poll only means that the servers it asked had nothing; a long poll asks all of them.
# docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
_POLL_SECONDS = 1


T = TypeVar("T")


class DeadLetterQueue:
    """A dead-letter queue, and the source queue that its letters go back to."""

    def __init__(self, client: SQSClient, url: str, source_url: str) -> None:
        self._sqs, self._url, self._source_url = client, url, source_url

    def depth(self) -> tuple[int, int]:
        """Count the letters, approximately: those that can be received, and those in somebody's hands."""
        names: list[QueueAttributeNameType] = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._attributes(self._url, names)
        visible, hidden = (int(found.get(name, 0)) for name in names)
        return visible, hidden

    def receive(self, hidden_seconds: int) -> list[Letter]:
        """Receive up to ten letters, hidden from others for so long; [] when there are no more."""
        try:
            answer = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=_BATCH,
                WaitTimeSeconds=_POLL_SECONDS,
                VisibilityTimeout=hidden_seconds,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
        except (ClientError, BotoCoreError) as error:
            raise QueueUnavailable(queue_error_text(error, self._url, self._region)) from error
        return [_letter(one) for one in answer.get("Messages", [])]

    def release(self, receipts: Sequence[str]) -> None:
        """Make letters visible again; where that fails they become so by themselves."""
        with ThreadPoolExecutor(_THREADS) as pool:
            for _ in pool.map(self._release_batch, _batches(receipts)):
                pass

    def _release_batch(self, receipts: Sequence[str]) -> None:
        entries: list[ChangeMessageVisibilityBatchRequestEntryTypeDef] = [
            {"Id": str(at), "ReceiptHandle": one, "VisibilityTimeout": 0} for at, one in enumerate(receipts)
        ]
        try:
            self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)
        except (ClientError, BotoCoreError):
            return

    def delete(self, receipts: Sequence[str]) -> int:
        """Delete letters; returns how many could not be, and are visible again when their time is over."""
        failed = 0
        for batch in _batches(receipts):
            entries: list[DeleteMessageBatchRequestEntryTypeDef] = [
                {"Id": str(at), "ReceiptHandle": one} for at, one in enumerate(batch)
            ]
            try:
                answer = self._sqs.delete_message_batch(QueueUrl=self._url, Entries=entries)
                failed += len(answer.get("Failed", []))
            except (ClientError, BotoCoreError):
                failed += len(batch)
        return failed

    def send_back(self, bodies: Sequence[str]) -> list[bool]:
        """Send messages to the source queue; says of each whether SQS took it. Raises QueueUnavailable when none."""
        return self._send(self._source_url, [(body, {}) for body in bodies])

    def put(self, letters: Sequence[tuple[str, Mapping[str, Attribute]]]) -> list[bool]:
        """Send letters, each a body with its attributes, to the dead-letter queue; says the same as `send_back`."""
        return self._send(self._url, letters)

    def _send(self, url: str, several: Sequence[tuple[str, Mapping[str, Attribute]]]) -> list[bool]:
        taken: list[bool] = []
        for batch in _by_bytes(several):
            entries: list[SendMessageBatchRequestEntryTypeDef] = [
                {"Id": str(at), "MessageBody": body, "MessageAttributes": _typed(attributes)}
                for at, (body, attributes) in enumerate(batch)
            ]
            try:
                answer = self._sqs.send_message_batch(QueueUrl=url, Entries=entries)
            except (ClientError, BotoCoreError) as error:
                if any(taken):
                    return taken + [False] * (len(several) - len(taken))
                raise QueueUnavailable(queue_error_text(error, url, self._region)) from error
            done = {one["Id"] for one in answer.get("Successful", [])}
            taken += [str(at) in done for at in range(len(batch))]
        return taken

    # Message move tasks: docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html

    def start_move(self, per_second: int | None) -> str:
        """Start a task that moves all letters; returns its handle.

        The destination is always named: letters that were sent have no source that SQS could find, and the task would
        fail with CouldNotDetermineMessageSource. Raises SetupError where SQS refuses.
        """
        asked: StartMessageMoveTaskRequestTypeDef = {
            "SourceArn": self._arn(self._url),
            "DestinationArn": self._arn(self._source_url),
        }
        if per_second is not None:
            asked["MaxNumberOfMessagesPerSecond"] = per_second
        try:
            started = self._sqs.start_message_move_task(**asked)
        except ClientError as error:
            raise SetupError(_refusal(error)) from error
        except BotoCoreError as error:
            raise QueueUnavailable(error_text(error)) from error
        return started["TaskHandle"]

    def move_tasks(self) -> list[MoveTask]:
        """List the last tasks of this queue, the newest first."""
        try:
            answer = self._sqs.list_message_move_tasks(SourceArn=self._arn(self._url), MaxResults=10)
        except ClientError as error:
            raise SetupError(_refusal(error)) from error
        except BotoCoreError as error:
            raise QueueUnavailable(error_text(error)) from error
        return [
            MoveTask(
                one.get("Status", ""),
                one.get("ApproximateNumberOfMessagesMoved", 0),
                one.get("ApproximateNumberOfMessagesToMove", 0),
                one.get("DestinationArn", "").rpartition(":")[2],
                one.get("FailureReason", ""),
                one.get("TaskHandle", ""),
                one.get("StartedTimestamp", 0),
            )
            for one in answer.get("Results", [])
        ]

    def cancel_move(self, handle: str) -> int | None:
        """Cancel a task; returns how many it had moved, which stay moved, or None when it is over already."""
        try:
            answer = self._sqs.cancel_message_move_task(TaskHandle=handle)
        except ClientError as error:
            if error_code(error).endswith(("ResourceNotFoundException", "UnsupportedOperation")):
                return None
            raise SetupError(f"SQS refuses to cancel the move task: {error_text(error)}.") from error
        except BotoCoreError as error:
            raise QueueUnavailable(error_text(error)) from error
        return answer.get("ApproximateNumberOfMessagesMoved", 0)

    @property
    def _region(self) -> str:
        return self._sqs.meta.region_name

    def _arn(self, url: str) -> str:
        return self._attributes(url, ["QueueArn"])["QueueArn"]

    def _attributes(self, url: str, names: Sequence[QueueAttributeNameType]) -> dict[str, str]:
        try:
            answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
        except (ClientError, BotoCoreError) as error:
            raise QueueUnavailable(queue_error_text(error, url, self._region)) from error
        return {str(name): value for name, value in answer.get("Attributes", {}).items()}


def make_dead_letter_queue(settings: Settings) -> DeadLetterQueue:
    """Build the SQS client of the dead-letter commands."""
    client = open_session().client("sqs", config=config(connections=8))
    return DeadLetterQueue(client, settings.required("dead_letter_queue_url"), settings.required("queue_url"))


def _refusal(error: ClientError) -> str:
    text = error_text(error)
    if "already a task running" in text or error_code(error).endswith("UnsupportedOperation"):
        return "A move task of this queue is running already: follow it with --attach, or end it with --cancel."
    if "configured as a Dead Letter Queue" in text:
        return (
            "SQS moves letters by itself only out of a queue that another queue's redrive policy names, and this one is"
            " in none (trailsink doctor says how to mend it); --one-by-one needs no policy."
        )
    return f"SQS refuses to move the letters: {text}; --one-by-one does without its move task."


def _letter(one: MessageTypeDef) -> Letter:
    system = {str(name): value for name, value in one.get("Attributes", {}).items()}
    return Letter(
        one["MessageId"],
        one["ReceiptHandle"],
        one["Body"],
        {name: _attribute(value) for name, value in one.get("MessageAttributes", {}).items()},
        int(system.get("SentTimestamp", 0)) / 1000,
        system.get("DeadLetterQueueSourceArn", ""),
        int(system.get("ApproximateReceiveCount", 1)),
    )


def _attribute(value: Mapping[str, object]) -> Attribute:
    binary = value.get("BinaryValue")
    text = base64.b64encode(binary).decode() if isinstance(binary, bytes) else str(value.get("StringValue", ""))
    return Attribute(str(value.get("DataType", "String")), text)


def _typed(attributes: Mapping[str, Attribute]) -> dict[str, MessageAttributeValueTypeDef]:
    return {name: _value(one) for name, one in attributes.items()}


def _value(attribute: Attribute) -> MessageAttributeValueTypeDef:
    if attribute.type.startswith("Binary"):
        return {"DataType": attribute.type, "BinaryValue": base64.b64decode(attribute.value)}
    return {"DataType": attribute.type, "StringValue": attribute.value}


def _batches(several: Sequence[T]) -> Iterator[Sequence[T]]:
    return (several[at : at + _BATCH] for at in range(0, len(several), _BATCH))


def _by_bytes(
    several: Sequence[tuple[str, Mapping[str, Attribute]]],
) -> Iterator[list[tuple[str, Mapping[str, Attribute]]]]:
    """Cut into batches that SQS takes; a letter that is larger than a batch goes alone."""
    batch: list[tuple[str, Mapping[str, Attribute]]] = []
    room = _BATCH_BYTES
    for one in several:
        size = _size(*one)
        if batch and (len(batch) == _BATCH or size > room):
            yield batch
            batch, room = [], _BATCH_BYTES
        batch.append(one)
        room -= size
    if batch:
        yield batch


def _size(body: str, attributes: Mapping[str, Attribute]) -> int:
    named = sum(len(name) + len(one.type) + len(one.value.encode()) for name, one in attributes.items())
    return len(body.encode()) + named
