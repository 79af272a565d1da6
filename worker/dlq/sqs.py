"""The dead-letter queue in SQS: receive and hand back, send and delete, and SQS's own message move tasks."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_code, error_text
from worker.aws.session import config, open_session
from worker.aws.sqs import Outgoing, QueueClient, chunked
from worker.dlq.letters import Attribute, Letter
from worker.dlq.move_task import MoveTask
from worker.errors import QueueUnavailable, SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.type_defs import (
        MessageAttributeValueTypeDef,
        MessageTypeDef,
        StartMessageMoveTaskRequestTypeDef,
    )

    from worker.settings import Settings

_LETTERS_PER_RECEIVE = 10

# An empty response to a short poll only means that the servers it asked had nothing. A long poll asks all of them.
# docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
_WAIT_SECONDS = 1

_RELEASE_THREADS = 8  # handing back thousands of letters must not take longer than receiving them

_MAX_LISTED_TASKS = 10


class DeadLetterQueue:
    """A dead-letter queue, and the source queue that its letters go back to."""

    def __init__(self, client: SQSClient, url: str, source_url: str) -> None:
        self._sqs, self._queue, self._source = client, QueueClient(client, url), QueueClient(client, source_url)

    def depth(self) -> tuple[int, int]:
        """Count the letters, approximately: visible ones, and in-flight or delayed ones."""
        return self._queue.depth()

    def receive(self, visibility_seconds: int) -> list[Letter]:
        """Receive up to ten letters, hidden from others for `visibility_seconds`; [] when there are no more."""
        messages = self._queue.receive(
            maximum=_LETTERS_PER_RECEIVE,
            wait_seconds=_WAIT_SECONDS,
            visibility_seconds=visibility_seconds,
            system_attributes=["All"],
            attributes=["All"],
        )
        return [_letter(message) for message in messages]

    def release(self, receipt_handles: Sequence[str]) -> None:
        """Make letters visible again; where that fails, they become visible when their visibility timeout ends."""
        batches = chunked([(handle, 0) for handle in receipt_handles])
        with ThreadPoolExecutor(_RELEASE_THREADS) as pool:
            list(pool.map(self._queue.change_visibility_batch, batches))

    def delete(self, receipt_handles: Sequence[str]) -> int:
        """Delete letters; returns how many could not be deleted, and become visible again."""
        return self._queue.delete_batch(receipt_handles)

    def send_to_source(self, bodies: Sequence[str]) -> list[bool]:
        """Send messages to the source queue; returns for each whether SQS took it.

        Raises QueueUnavailable when a request fails and SQS took none before.
        """
        return _accepted(self._source.send_batch([Outgoing(body) for body in bodies]))

    def send_to_dead_letters(self, letters: Sequence[tuple[str, Mapping[str, Attribute]]]) -> list[bool]:
        """Send letters, each a body with its attributes, to the dead-letter queue; returns the same."""
        return _accepted(
            self._queue.send_batch([Outgoing(body, _sqs_attributes(attributes)) for body, attributes in letters])
        )

    def start_move_task(self, per_second: int | None) -> str:
        """Start a task that moves all letters; returns its task handle.

        The destination is always named. SQS does not know the source queue of letters that were sent, and would fail
        the task with CouldNotDetermineMessageSource. Raises SetupError when SQS refuses.
        """
        request: StartMessageMoveTaskRequestTypeDef = {
            "SourceArn": self._queue.arn,
            "DestinationArn": self._source.arn,
        }
        if per_second is not None:
            request["MaxNumberOfMessagesPerSecond"] = per_second
        try:
            return self._sqs.start_message_move_task(**request)["TaskHandle"]
        except ClientError as error:
            raise SetupError(_refusal(error)) from error
        except BotoCoreError as error:
            raise QueueUnavailable(error_text(error)) from error

    def list_move_tasks(self) -> list[MoveTask]:
        """List the last tasks of this queue, the newest first; raises SetupError when SQS refuses."""
        try:
            response = self._sqs.list_message_move_tasks(SourceArn=self._queue.arn, MaxResults=_MAX_LISTED_TASKS)
        except ClientError as error:
            raise SetupError(_refusal(error)) from error
        except BotoCoreError as error:
            raise QueueUnavailable(error_text(error)) from error
        return [
            MoveTask(
                status=task.get("Status", ""),
                moved=task.get("ApproximateNumberOfMessagesMoved", 0),
                to_move=task.get("ApproximateNumberOfMessagesToMove", 0),
                destination=task.get("DestinationArn", "").rpartition(":")[2],
                failure=task.get("FailureReason", ""),
                task_handle=task.get("TaskHandle", ""),
                started=task.get("StartedTimestamp", 0),
            )
            for task in response.get("Results", [])
        ]

    def cancel_move_task(self, task_handle: str) -> int | None:
        """Cancel a task; returns how many letters it had moved, which stay moved, or None when it has already ended."""
        try:
            response = self._sqs.cancel_message_move_task(TaskHandle=task_handle)
        except ClientError as error:
            if error_code(error).endswith(("ResourceNotFoundException", "UnsupportedOperation")):
                return None
            raise SetupError(f"SQS refuses to cancel the move task: {error_text(error)}.") from error
        except BotoCoreError as error:
            raise QueueUnavailable(error_text(error)) from error
        return response.get("ApproximateNumberOfMessagesMoved", 0)


def make_dead_letter_queue(settings: Settings) -> DeadLetterQueue:
    """Build the SQS client of the dead-letter commands."""
    client = open_session().client("sqs", config=config(connections=_RELEASE_THREADS))
    return DeadLetterQueue(client, settings.required("dead_letter_queue_url"), settings.required("queue_url"))


def _refusal(error: ClientError) -> str:
    text = error_text(error)
    if "already a task running" in text or error_code(error).endswith("UnsupportedOperation"):
        return "A move task of this queue is already running: follow it with --attach, or cancel it with --cancel."
    if "configured as a Dead Letter Queue" in text:
        return (
            "SQS moves letters by itself only out of a queue that another queue's redrive policy names, and no policy"
            " names this one (trailsink doctor says how to fix it); --one-by-one needs no policy."
        )
    return f"SQS refuses to move the letters: {text}; --one-by-one works without its move task."


def _letter(message: MessageTypeDef) -> Letter:
    system = {str(name): value for name, value in message.get("Attributes", {}).items()}
    return Letter(
        id=message["MessageId"],
        receipt_handle=message["ReceiptHandle"],
        body=message["Body"],
        attributes={name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()},
        sent_at=int(system.get("SentTimestamp", 0)) / 1000,
        source=system.get("DeadLetterQueueSourceArn", ""),
        receives=int(system.get("ApproximateReceiveCount", 1)),
    )


def _attribute(value: Mapping[str, object]) -> Attribute:
    binary = value.get("BinaryValue")
    text = base64.b64encode(binary).decode() if isinstance(binary, bytes) else str(value.get("StringValue", ""))
    return Attribute(str(value.get("DataType", "String")), text)


def _sqs_attributes(attributes: Mapping[str, Attribute]) -> dict[str, MessageAttributeValueTypeDef]:
    return {name: _sqs_attribute(attribute) for name, attribute in attributes.items()}


def _sqs_attribute(attribute: Attribute) -> MessageAttributeValueTypeDef:
    if attribute.type.startswith("Binary"):
        return {"DataType": attribute.type, "BinaryValue": base64.b64decode(attribute.value)}
    return {"DataType": attribute.type, "StringValue": attribute.value}


def _accepted(causes: Sequence[str]) -> list[bool]:
    """Return for each message whether SQS took it: "" stands for no cause of failure."""
    return [not cause for cause in causes]
