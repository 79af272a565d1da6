"""AWS: objects from S3, messages and dead letters of SQS, the cluster's password from Secrets Manager."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from urllib3.exceptions import HTTPError

from worker import __version__
from worker.aws.errors import said, said_of_queue
from worker.cloudtrail.keys import ObjectState
from worker.errors import QueueUnavailable, Reason, SetupError, StoreUnavailable, UnreadableObject
from worker.pipeline.consumer import DeadLetter, HandBack, Message, Stored

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from types_boto3_s3 import S3Client
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.literals import QueueAttributeNameType
    from types_boto3_sqs.type_defs import MessageAttributeValueTypeDef, SendMessageBatchRequestEntryTypeDef

    from worker.aws.fast_get import Asked, ShortGet
    from worker.pipeline.notifications import ObjectRef

# botocore is the one retry layer for calls; a body that breaks off is read again here, because botocore hands it over
# before it is complete.
_BODY_ATTEMPTS = 3

# Everything of a queue message counts against 1 MiB, attributes too; a body of nearly that size leaves little.
# docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
_MESSAGE_BYTES = 1 << 20
_REJECTED_BYTES = 16 << 10
_DETAIL_CHARACTERS = 1_000

# What SQS does not take as text: all but the characters of XML 1.0. Compiled when first needed: it takes 6 ms.
_NOT_XML = "[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"

_BATCH = 10  # SQS: entries of one batch call

T = TypeVar("T")


def config(*, connections: int, read_seconds: float = 30.0) -> Config:
    """Client configuration: timeouts, botocore's own retries, and no checksums that nobody asked for."""
    return Config(
        connect_timeout=5,
        read_timeout=read_seconds,
        retries={"mode": "standard", "total_max_attempts": 4},
        max_pool_connections=connections,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


class S3Store:
    """Objects in S3, read by `client`, or where that will do by a `short` way that has learned from it."""

    def __init__(self, client: S3Client, short: ShortGet | None = None) -> None:
        self._s3, self._short = client, short

    def fetch(self, ref: ObjectRef, limit: int) -> Stored:
        """Read one object of at most `limit` bytes, the version that was announced.

        Raises UnreadableObject `not_found`, `archived` or `too_large`, and StoreUnavailable for everything that time or
        an operator can mend: refused access, a disabled key, throttling, a connection that breaks off.
        """
        if self._short:
            return self._short.read(ref, limit, partial(self._fetch, ref, limit))
        return self._fetch(ref, limit)

    def ask(self, ref: ObjectRef, limit: int) -> Asked | None:
        """Ask for an object without waiting for it; None where it has to be fetched."""
        return self._short.ask(ref, limit, partial(self._fetch, ref, limit)) if self._short else None

    def _fetch(self, ref: ObjectRef, limit: int) -> Stored:
        cause: Exception | None = None
        for _ in range(_BODY_ATTEMPTS):
            try:
                return self._read(ref, limit)
            except ClientError as error:
                raise _store_error(error) from error
            except (HTTPClientError, HTTPError) as error:
                cause = error
            except BotoCoreError as error:
                raise StoreUnavailable(f"s3:{type(error).__name__}") from error
        raise StoreUnavailable(f"s3:{type(cause).__name__}") from cause

    def _read(self, ref: ObjectRef, limit: int) -> Stored:
        if ref.version_id:
            answer = self._s3.get_object(Bucket=ref.bucket, Key=ref.key, VersionId=ref.version_id)
        else:
            answer = self._s3.get_object(Bucket=ref.bucket, Key=ref.key)
        with answer["Body"] as body:
            if answer["ContentLength"] > limit:
                raise UnreadableObject(
                    Reason.TOO_LARGE, f"{answer['ContentLength']} bytes, more than the limit of {limit}"
                )
            return Stored(body.read(), answer["LastModified"])

    def state(self, ref: ObjectRef) -> ObjectState | None:
        """Describe the newest version under a key, None when there is none; raises StoreUnavailable."""
        try:
            found = self._s3.head_object(Bucket=ref.bucket, Key=ref.key)
        except ClientError as error:
            if _code(error) in ("404", "NoSuchKey"):  # a HEAD has no body, so the status is all there is
                return None
            raise StoreUnavailable(f"s3:{_code(error)}") from error
        except BotoCoreError as error:
            raise StoreUnavailable(f"s3:{type(error).__name__}") from error
        # docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html: `Restore` says when an archived one can be read
        archived = found.get("StorageClass") in ("GLACIER", "DEEP_ARCHIVE") or "ArchiveStatus" in found
        return ObjectState(
            etag=found["ETag"].strip('"'),  # notices name it without the quotes
            size=found["ContentLength"],
            version_id=found.get("VersionId"),
            modified_at=found["LastModified"],
            readable=not archived or 'ongoing-request="false"' in found.get("Restore", ""),
        )


def _store_error(error: ClientError) -> StoreUnavailable | UnreadableObject:
    code = _code(error)
    if code in ("NoSuchKey", "NoSuchVersion"):
        return UnreadableObject(Reason.NOT_FOUND, f"S3 says {code}")
    if code == "InvalidObjectState":
        return UnreadableObject(Reason.ARCHIVED, "the object is archived; restore it, then redrive")
    return StoreUnavailable(f"s3:{code}")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


class SqsQueue:
    """The source queue and its dead-letter queue."""

    def __init__(self, client: SQSClient, url: str, dead_letter_url: str) -> None:
        self._sqs, self._url, self._dead_letter_url = client, url, dead_letter_url

    # What the pipeline asks for

    def dead_letter(self, letter: DeadLetter) -> None:
        """Send one dead letter, its attributes cut to what fits; raises QueueUnavailable."""
        for attributes in _attribute_sets(letter):
            try:
                self._sqs.send_message(
                    QueueUrl=self._dead_letter_url, MessageBody=letter.body, MessageAttributes=attributes
                )
            except ClientError as error:
                # Queues made before August 2025 may still allow 256 KiB only: try with less beside the body.
                if _code(error) not in ("InvalidParameterValue", "InvalidMessageContents"):
                    raise QueueUnavailable(f"sqs:{_code(error)}") from error
                cause = error
            except BotoCoreError as error:
                raise QueueUnavailable(f"sqs:{type(error).__name__}") from error
            else:
                return
        raise QueueUnavailable(f"sqs:{_code(cause)}") from cause

    def hand_back(self, messages: Sequence[HandBack]) -> None:
        """Set when each message may be received again; what fails keeps the visibility timeout of its receive."""
        for batch in _batches(messages):
            entries = [
                {"Id": str(at), "ReceiptHandle": one.message.receipt, "VisibilityTimeout": one.seconds}
                for at, one in enumerate(batch)
            ]
            try:
                self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)  # type: ignore[arg-type]
            except (ClientError, BotoCoreError):
                continue

    # What the container's loop does in place of Lambda

    def receive(self, *, most: int, wait_seconds: int, hidden_seconds: int) -> list[Message]:
        """Receive up to `most` (at most 10) messages, hidden from others for `hidden_seconds`.

        Raises QueueUnavailable.
        """
        try:
            answer = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=min(most, _BATCH),
                WaitTimeSeconds=wait_seconds,
                VisibilityTimeout=hidden_seconds,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        except (ClientError, BotoCoreError) as error:
            raise QueueUnavailable(said(error)) from error
        return [
            Message(
                one["MessageId"],
                one["ReceiptHandle"],
                one["Body"],
                int(one["Attributes"].get("ApproximateReceiveCount", 1)),
            )
            for one in answer.get("Messages", [])
        ]

    def delete(self, messages: Sequence[Message]) -> int:
        """Delete messages that are done; those that could not be (their number is returned) come again, harmlessly."""
        failed = 0
        for batch in _batches(messages):
            entries = [{"Id": str(at), "ReceiptHandle": one.receipt} for at, one in enumerate(batch)]
            try:
                answer = self._sqs.delete_message_batch(QueueUrl=self._url, Entries=entries)  # type: ignore[arg-type]
                failed += len(answer.get("Failed", []))
            except (ClientError, BotoCoreError):
                failed += len(batch)
        return failed

    def check(self) -> None:
        """Raise QueueUnavailable unless both queues are there."""
        for url in (self._url, self._dead_letter_url):
            self._attributes(url, ["QueueArn"])

    def depth(self) -> tuple[int, int]:
        """Count the source queue's messages, approximately: deliverable ones, and hidden or delayed ones."""
        names: list[QueueAttributeNameType] = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ]
        found = self._attributes(self._url, names)
        visible, hidden, delayed = (int(found.get(name, 0)) for name in names)
        return visible, hidden + delayed

    # What a backfill asks for

    def announce(self, bodies: Sequence[str]) -> list[str]:
        """Send up to ten messages to the source queue; returns for each "" or why it was not taken."""
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {"Id": str(at), "MessageBody": body} for at, body in enumerate(bodies)
        ]
        try:
            failed = self._sqs.send_message_batch(QueueUrl=self._url, Entries=entries).get("Failed", [])
        except ClientError as error:
            return [f"sqs:{_code(error)}"] * len(bodies)
        except BotoCoreError as error:
            return [f"sqs:{type(error).__name__}"] * len(bodies)
        causes = {one["Id"]: f"sqs:{one['Code']}" for one in failed}
        return [causes.get(entry["Id"], "") for entry in entries]

    def _attributes(self, url: str, names: Sequence[QueueAttributeNameType]) -> dict[str, str]:
        try:
            answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
        except (ClientError, BotoCoreError) as error:
            raise QueueUnavailable(said_of_queue(error, url, self._sqs.meta.region_name)) from error
        return {str(name): value for name, value in answer.get("Attributes", {}).items()}


def _attribute_sets(letter: DeadLetter) -> Iterator[dict[str, MessageAttributeValueTypeDef]]:
    """Yield ever fewer attributes: what is cut is the least needed, and the body is never touched."""
    short = {
        "reason": letter.reason,
        "attempts": str(letter.attempts),
        "source_message_id": letter.source_message_id,
        "trailsink_version": __version__,
    }
    full = short | {"detail": re.sub(_NOT_XML, "?", letter.detail)[:_DETAIL_CHARACTERS] or "-"}
    room = min(
        _REJECTED_BYTES,
        _MESSAGE_BYTES - len(letter.body.encode()) - sum(len(k) + len(v.encode()) + 6 for k, v in full.items()),
    )
    rejected = _fitted(letter.rejected, room - len("rejectedString"))
    if rejected:
        yield _typed(full | {"rejected": rejected})
    yield _typed(full)
    yield _typed(short)
    yield _typed({"reason": letter.reason})
    yield {}


def _fitted(rejected: Sequence[tuple[int, str]], room: int) -> str:
    """Write as many [position, reason] pairs as fit into `room` bytes, as JSON."""
    pairs: list[str] = []
    for pair in rejected:
        text = msgspec.json.encode(pair).decode()
        room -= len(text) + 1
        if room < 1:
            break
        pairs.append(text)
    return f"[{','.join(pairs)}]" if pairs else ""


def _typed(attributes: Mapping[str, str]) -> dict[str, MessageAttributeValueTypeDef]:
    return {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}


def _batches(several: Sequence[T]) -> Iterator[Sequence[T]]:
    return (several[at : at + _BATCH] for at in range(0, len(several), _BATCH))


def read_secret(client: SecretsManagerClient, arn: str) -> tuple[str, str]:
    """Read user name and password from a secret with the JSON members `username` and `password`; raises SetupError."""
    try:
        text = client.get_secret_value(SecretId=arn).get("SecretString", "")
    except (ClientError, BotoCoreError) as error:
        raise SetupError(f"The secret of the cluster's password cannot be read: {said(error)}.") from error
    try:
        secret = msgspec.json.decode(text)
    except msgspec.DecodeError:
        secret = None
    match secret:
        case {"username": str(username), "password": str(password)}:
            return username, password
    raise SetupError("The secret of the cluster's password has no JSON members `username` and `password`.")
