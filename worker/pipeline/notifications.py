"""From the body of an SQS message to the S3 objects it announces, and back.

Shapes (each may come inside an SNS envelope; `s3_notification` writes the first):
  S3 event notification   docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
                          MinIO and Ceph send the same under a source of their own
  EventBridge S3 event    docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
  EventBridge API call    docs.aws.amazon.com/AmazonS3/latest/userguide/cloudtrail-logging-s3-info.html
  CloudTrail's own notice
    docs.aws.amazon.com/awscloudtrail/latest/userguide/configure-sns-notifications-for-cloudtrail.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import msgspec
from pydantic import ValidationError
from pydantic_core import from_json

from worker.errors import MalformedMessage
from worker.pipeline.notification_models import (
    ApiCall,
    BridgeEvent,
    CephCreated,
    CloudTrailNotice,
    S3Created,
    S3Record,
    SnsEnvelope,
)
from worker.pipeline.objects import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# SNS in SNS exists (a topic that forwards); deeper is a loop that somebody built.
_MAX_ENVELOPES = 3

_VALIDATION_TEXT = "CloudTrail validation message."

# Event families that S3 documents beside ObjectCreated: nothing new to read. A family not listed here is poison,
# because "not recognised" must never mean "nothing to do".
# docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-event-types-and-destinations.html
# The last four are those of docs.ceph.com/en/latest/radosgw/s3-notification-compatibility and of MinIO.
_OTHER_S3_EVENTS = frozenset(
    {
        "IntelligentTiering",
        "LifecycleExpiration",
        "LifecycleTransition",
        "ObjectAcl",
        "ObjectRemoved",
        "ObjectRestore",
        "ObjectTagging",
        "ReducedRedundancyLostObject",
        "Replication",
        "ObjectAccessed",
        "ObjectLifecycle",
        "ObjectSynced",
        "ObjectTransition",
    }
)
# Ceph's names for an object that another zone has written.
_REPLICATED = frozenset({"ObjectSynced:Create", "Replication:Create"})

# Ceph alone writes keys as they are.
_CEPH = "ceph:s3"
_OTHER_BRIDGE_EVENTS = frozenset(
    {
        "Object ACL Updated",
        "Object Access Tier Changed",
        "Object Deleted",
        "Object Restore Completed",
        "Object Restore Expired",
        "Object Restore Initiated",
        "Object Storage Class Changed",
        "Object Tags Added",
        "Object Tags Deleted",
    }
)

# CloudTrail's data events of S3, which a rule can match in place of S3's own. What is not among the calls that write an
# object must begin with a verb that never does.
# docs.aws.amazon.com/AmazonS3/latest/userguide/cloudtrail-logging-s3-info.html
_API_CALL = "AWS API Call via CloudTrail"
_WRITING_CALLS = frozenset({"CompleteMultipartUpload", "CopyObject", "PostObject", "PutObject"})
_OTHER_CALL = re.compile(r"(?:Abort|Create|Delete|Get|Head|List|Put|Restore|Select|Upload)[A-Z][A-Za-z]{0,40}")

# Whoever sends a message chooses these names, and they go into the log.
_SOURCE = re.compile(r"aws\.[a-z0-9.-]{1,40}")


class Notification(msgspec.Struct, frozen=True):
    """What one message announced: objects to look at, events ignored by name, and parts that could not be parsed."""

    objects: tuple[ObjectRef, ...] = ()
    ignored: tuple[str, ...] = ()
    malformed: tuple[str, ...] = ()


def parse_notification(body: str) -> Notification:
    """Parse one SQS message body.

    Raises MalformedMessage when nothing in it could be recognised. A message of several parts of which some cannot be
    parsed is returned with those named in `malformed`, so that the others are not held up.
    """
    return _parse(body, _MAX_ENVELOPES)


def _parse(body: str, envelopes: int) -> Notification:  # noqa: PLR0911 - one return per shape
    if body.strip() == _VALIDATION_TEXT:
        return Notification(ignored=("cloudtrail_validation",))
    try:
        # pydantic's parser stops at 200 levels, so a hostile body cannot exhaust the stack.
        document = from_json(body)
    except ValueError as cause:
        raise MalformedMessage("the body is not JSON") from cause
    match document:
        case {"Records": [_, *_] as entries}:
            return _parse_s3(entries)
        case {"Event": "s3:TestEvent"}:
            return Notification(ignored=("test_event",))
        case {"Type": "Notification", "TopicArn": _}:
            return _parse_sns(document, envelopes)
        case {"Type": "SubscriptionConfirmation" | "UnsubscribeConfirmation", "TopicArn": _}:
            return Notification(ignored=("sns_subscription",))
        case {"detail-type": str(kind), "source": "aws.s3"}:
            return _parse_event_bridge(kind, document)
        case {"s3Bucket": _, "s3ObjectKey": _}:
            return _parse_cloudtrail(document)
    if name := _other_service(document):
        return Notification(ignored=(name,))
    raise MalformedMessage("the body is JSON but not a notification that announces an S3 object")


def _other_service(document: object) -> str:
    """Return the name of what another service sends to a shared topic or queue, "" for anything else.

    Each shape is a documented one. It can announce no object, so nothing is lost.
    """
    match document:
        # docs.aws.amazon.com/config/latest/developerguide/notifications-for-AWS-Config.html
        case {"messageType": str(), "notificationCreationTime": _}:
            return "notice_Config"
        # docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html
        case {"AlarmName": str(), "NewStateValue": str()}:
            return "notice_CloudWatch"
        # The sources of AWS's services begin with "aws.": nobody else can send such an event.
        # docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html
        case {"detail-type": str(), "source": str(source), "detail": _} if _SOURCE.fullmatch(source):
            return f"event_{source}"
    return ""


def _parse_s3(entries: Iterable[object]) -> Notification:
    objects: list[ObjectRef] = []
    ignored: list[str] = []
    malformed: list[str] = []
    for number, entry in enumerate(entries):
        try:
            parsed = _parse_s3_entry(entry)
        except ValidationError as cause:
            malformed.append(f"Records[{number}]: {_describe(cause)}")
        except MalformedMessage as cause:
            malformed.append(f"Records[{number}]: {cause}")
        else:
            if isinstance(parsed, ObjectRef):
                objects.append(parsed)
            else:
                ignored.append(parsed)
    if not objects and not ignored:
        raise MalformedMessage(malformed[0])
    return Notification(tuple(objects), tuple(ignored), tuple(malformed))


def _parse_s3_entry(entry: object) -> ObjectRef | str:
    """Parse one entry of an S3 notification: the object it announces, or the name under which it is ignored."""
    head = S3Record.model_validate(entry)
    name = head.eventName.removeprefix("s3:")
    family = name.partition(":")[0]
    if family in _OTHER_S3_EVENTS and name not in _REPLICATED:
        return f"event_{family}"
    if family != "ObjectCreated" and name not in _REPLICATED:
        raise MalformedMessage("eventName is not a known S3 event")
    record = (CephCreated if head.eventSource == _CEPH else S3Created).model_validate(entry)
    created = record.s3.object
    return ObjectRef(
        record.s3.bucket.name, created.key, created.versionId, created.size, created.eTag, record.eventTime
    )


def _parse_event_bridge(kind: str, document: Mapping[str, object]) -> Notification:
    if kind in _OTHER_BRIDGE_EVENTS:
        return Notification(ignored=("event_" + kind.replace(" ", ""),))
    if kind == _API_CALL:
        return _parse_api_call(document)
    if kind != "Object Created":
        raise MalformedMessage("detail-type is not a known S3 event")
    try:
        event = BridgeEvent.model_validate(document)
    except ValidationError as cause:
        raise MalformedMessage(f"EventBridge event: {_describe(cause)}") from cause
    bucket, created = event.detail.bucket, event.detail.object
    return Notification(
        (ObjectRef(bucket.name, created.key, created.version_id, created.size, created.etag, event.time),)
    )


def _parse_api_call(document: Mapping[str, object]) -> Notification:
    try:
        event = ApiCall.model_validate(document)
    except ValidationError as cause:
        raise MalformedMessage(f"API call event: {_describe(cause)}") from cause
    call, parameters = event.detail.eventName, event.detail.requestParameters
    if call not in _WRITING_CALLS:
        if _OTHER_CALL.fullmatch(call):
            return Notification(ignored=(f"event_{call}",))
        raise MalformedMessage("eventName is not a known API call of S3")
    if event.detail.errorCode:  # the call failed, and wrote nothing
        return Notification(ignored=("event_FailedCall",))
    if not (parameters and parameters.bucketName and parameters.key):
        raise MalformedMessage("API call event: detail.requestParameters: no bucketName or no key")
    return Notification((ObjectRef(parameters.bucketName, parameters.key, notified_at=event.time),))


def _parse_cloudtrail(document: Mapping[str, object]) -> Notification:
    try:
        notice = CloudTrailNotice.model_validate(document)
    except ValidationError as cause:
        raise MalformedMessage(f"CloudTrail notice: {_describe(cause)}") from cause
    return Notification(tuple(ObjectRef(notice.s3Bucket, key) for key in notice.s3ObjectKey))


def _parse_sns(document: Mapping[str, object], envelopes: int) -> Notification:
    if envelopes == 0:
        raise MalformedMessage("SNS envelopes nested too deep")
    try:
        inner = SnsEnvelope.model_validate(document).Message
    except ValidationError as cause:
        raise MalformedMessage(f"SNS envelope: {_describe(cause)}") from cause
    return _parse(inner, envelopes - 1)


def _describe(cause: ValidationError) -> str:
    """Return place and type of the first error, without the value: the text goes into logs."""
    error = cause.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, error['loc']))}: {error['type']}"


def s3_notification(ref: ObjectRef) -> str:
    """Return the S3 event notification that announces `ref`: the inverse of `parse_notification`.

    A dead letter, a backfill and a redrive all use it, so that every object takes the same way.
    """
    return wrap_records([s3_record(ref)])


def wrap_records(records: Iterable[str]) -> str:
    """Return the S3 event notification of these records."""
    return f'{{"Records":[{",".join(records)}]}}'


def s3_record(ref: ObjectRef) -> str:
    """Return the record of an S3 event notification that announces `ref`."""
    optional = {"size": ref.size, "eTag": ref.etag, "versionId": ref.version_id}
    created: dict[str, object] = {"key": quote_plus(ref.key, safe="/")}
    created |= {name: value for name, value in optional.items() if value is not None}
    record: dict[str, object] = {"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}
    if ref.notified_at is not None:
        record["eventTime"] = ref.notified_at.isoformat().replace("+00:00", "Z")
    record["s3"] = {"s3SchemaVersion": "1.0", "bucket": {"name": ref.bucket}, "object": created}
    return msgspec.json.encode(record).decode()
