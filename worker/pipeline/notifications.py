"""From the body of an SQS message to the S3 objects it announces, and back.

Shapes (each may come inside an SNS envelope; `s3_notification` writes the first):
  S3 event notification   docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
  EventBridge S3 event    docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
  CloudTrail's own notice
    docs.aws.amazon.com/awscloudtrail/latest/userguide/configure-sns-notifications-for-cloudtrail.html
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import quote_plus, unquote_plus

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import from_json

from worker.errors import MalformedMessage
from worker.pipeline.objects import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# SNS in SNS exists (a topic that forwards); deeper is a loop that somebody built.
_MAX_ENVELOPES = 3

_VALIDATION_TEXT = "CloudTrail validation message."

# Event families that S3 documents beside ObjectCreated: nothing new to read. A family not listed here is poison,
# because "not recognised" must never mean "nothing to do".
# docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-event-types-and-destinations.html
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
    }
)
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


class Notification(msgspec.Struct, frozen=True):
    """What one message announced: objects to look at, events ignored by name, and parts that could not be parsed."""

    objects: tuple[ObjectRef, ...] = ()
    ignored: tuple[str, ...] = ()
    malformed: tuple[str, ...] = ()


def _decode_key(key: str) -> str:
    # S3 form-encodes keys in its notifications: "a+b%3D1" is the object "a b=1". Bytes that are not UTF-8 would
    # silently become another key, so they are an error.
    return unquote_plus(key, errors="strict")


def _to_utc(value: object, parse: ValidatorFunctionWrapHandler) -> datetime | None:
    # Only a metric needs the time of a notification; one that cannot be parsed must not cost the object.
    try:
        moment: datetime | None = parse(value)
        return moment and (moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def _require_major_2(version: str) -> str:
    # "The major version is incremented when ... not backward compatible": the documentation asks for equality.
    if version.partition(".")[0] != "2":
        raise ValueError("unknown major version of the S3 event structure")
    return version


_Name = Annotated[str, Field(min_length=1)]
_Moment = Annotated[datetime | None, WrapValidator(_to_utc)]
_Size = Annotated[int, Field(ge=0)]


class _Lenient(BaseModel):
    # Built when first needed: a pipeline gets notifications of one shape, and a cold start need not pay for the others.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class _Bucket(_Lenient):
    name: _Name


class _S3Object(_Lenient):
    key: Annotated[_Name, AfterValidator(_decode_key)]
    size: _Size | None = None
    eTag: str | None = None  # noqa: N815 - S3's own name
    versionId: str | None = None  # noqa: N815


class _S3Entity(_Lenient):
    bucket: _Bucket
    object: _S3Object


class _S3Record(_Lenient):
    eventSource: Literal["aws:s3"]  # noqa: N815
    eventName: _Name  # noqa: N815
    eventVersion: Annotated[str, AfterValidator(_require_major_2)] = "2.1"  # noqa: N815
    eventTime: _Moment = None  # noqa: N815


class _S3Created(_S3Record):
    s3: _S3Entity


class _BridgeObject(_Lenient):
    key: _Name  # not encoded here
    size: _Size | None = None
    etag: str | None = None
    version_id: str | None = Field(default=None, alias="version-id")


class _BridgeDetail(_Lenient):
    bucket: _Bucket
    object: _BridgeObject


class _BridgeEvent(_Lenient):
    detail: _BridgeDetail
    time: _Moment = None


class _CloudTrailNotice(_Lenient):
    s3Bucket: _Name  # noqa: N815
    s3ObjectKey: Annotated[tuple[_Name, ...], Field(min_length=1)]  # noqa: N815 - not encoded here


class _SnsEnvelope(_Lenient):
    Message: str


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
    raise MalformedMessage("the body is JSON but not a notification that announces an S3 object")


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
    family = _S3Record.model_validate(entry).eventName.removeprefix("s3:").partition(":")[0]
    if family in _OTHER_S3_EVENTS:
        return f"event_{family}"
    if family != "ObjectCreated":
        raise MalformedMessage("eventName is not a known S3 event")
    record = _S3Created.model_validate(entry)
    created = record.s3.object
    return ObjectRef(
        record.s3.bucket.name, created.key, created.versionId, created.size, created.eTag, record.eventTime
    )


def _parse_event_bridge(kind: str, document: Mapping[str, object]) -> Notification:
    if kind in _OTHER_BRIDGE_EVENTS:
        return Notification(ignored=("event_" + kind.replace(" ", ""),))
    if kind != "Object Created":
        raise MalformedMessage("detail-type is not a known S3 event")
    try:
        event = _BridgeEvent.model_validate(document)
    except ValidationError as cause:
        raise MalformedMessage(f"EventBridge event: {_describe(cause)}") from cause
    bucket, created = event.detail.bucket, event.detail.object
    return Notification(
        (ObjectRef(bucket.name, created.key, created.version_id, created.size, created.etag, event.time),)
    )


def _parse_cloudtrail(document: Mapping[str, object]) -> Notification:
    try:
        notice = _CloudTrailNotice.model_validate(document)
    except ValidationError as cause:
        raise MalformedMessage(f"CloudTrail notice: {_describe(cause)}") from cause
    return Notification(tuple(ObjectRef(notice.s3Bucket, key) for key in notice.s3ObjectKey))


def _parse_sns(document: Mapping[str, object], envelopes: int) -> Notification:
    if envelopes == 0:
        raise MalformedMessage("SNS envelopes nested too deep")
    try:
        inner = _SnsEnvelope.model_validate(document).Message
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
    optional = {"size": ref.size, "eTag": ref.etag, "versionId": ref.version_id}
    created: dict[str, object] = {"key": quote_plus(ref.key, safe="/")}
    created |= {name: value for name, value in optional.items() if value is not None}
    record: dict[str, object] = {"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}
    if ref.notified_at is not None:
        record["eventTime"] = ref.notified_at.isoformat().replace("+00:00", "Z")
    record["s3"] = {"s3SchemaVersion": "1.0", "bucket": {"name": ref.bucket}, "object": created}
    return msgspec.json.encode({"Records": [record]}).decode()
