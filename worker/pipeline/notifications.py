"""From the body of an SQS message to the S3 objects it announces, and back.

Shapes (each may come inside an SNS envelope; `announce` writes the first):
  S3 event notification   docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
  EventBridge S3 event    docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
  CloudTrail's own notice
    docs.aws.amazon.com/awscloudtrail/latest/userguide/configure-sns-notifications-for-cloudtrail.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
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

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# SNS in SNS exists (a topic that forwards); deeper is a loop somebody built, not a notice.
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


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One S3 object as a notice names it: `key` decoded, `size` in bytes, `notified_at` in UTC; None where not said."""

    bucket: str
    key: str
    version_id: str | None = None
    size: int | None = field(default=None, compare=False)
    etag: str | None = field(default=None, compare=False)
    notified_at: datetime | None = field(default=None, compare=False)

    def __str__(self) -> str:
        version = f" (version {self.version_id})" if self.version_id else ""
        return f"s3://{self.bucket}/{self.key}{version}"


class Announcement(msgspec.Struct, frozen=True):
    """What one message said: objects to look at, notices ignored by name, and parts that could not be read."""

    objects: tuple[ObjectRef, ...] = ()
    ignored: tuple[str, ...] = ()
    malformed: tuple[str, ...] = ()


def _decoded(key: str) -> str:
    # S3 form-encodes keys in its notifications: "a+b%3D1" is the object "a b=1". Bytes that are no UTF-8 would
    # silently become another key, so they are an error.
    return unquote_plus(key, errors="strict")


def _in_utc(given: object, read: ValidatorFunctionWrapHandler) -> datetime | None:
    # Only a metric needs the time of a notice; one that cannot be read must not cost the object.
    try:
        moment: datetime | None = read(given)
        return moment and (moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def _major_2(version: str) -> str:
    # "The major version is incremented when ... not backward compatible": the documentation asks for equality.
    if version.partition(".")[0] != "2":
        raise ValueError("unknown major version of the S3 event structure")
    return version


_Name = Annotated[str, Field(min_length=1)]
_Moment = Annotated[datetime | None, WrapValidator(_in_utc)]
_Size = Annotated[int, Field(ge=0)]


class _Lenient(BaseModel):
    # Built when first needed: a pipeline gets notices of one shape, and a cold start need not pay for the others.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class _Bucket(_Lenient):
    name: _Name


class _S3Object(_Lenient):
    key: Annotated[_Name, AfterValidator(_decoded)]
    size: _Size | None = None
    eTag: str | None = None  # noqa: N815 - S3's own name
    versionId: str | None = None  # noqa: N815


class _S3Entity(_Lenient):
    bucket: _Bucket
    object: _S3Object


class _S3Record(_Lenient):
    eventSource: Literal["aws:s3"]  # noqa: N815
    eventName: _Name  # noqa: N815
    eventVersion: Annotated[str, AfterValidator(_major_2)] = "2.1"  # noqa: N815
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


def read_message(body: str) -> Announcement:
    """Read one SQS message body.

    Raises MalformedMessage when nothing in it could be recognised. A message of several parts of which some are
    unreadable is returned with those named in `malformed`, so that the readable ones are not held up.
    """
    return _read(body, _MAX_ENVELOPES)


def _read(body: str, envelopes: int) -> Announcement:  # noqa: PLR0911 - one return per shape
    if body.strip() == _VALIDATION_TEXT:
        return Announcement(ignored=("cloudtrail_validation",))
    try:
        # pydantic's parser stops at 200 levels, so a hostile body cannot exhaust the stack.
        notice = from_json(body)
    except ValueError as cause:
        raise MalformedMessage("the body is not JSON") from cause
    match notice:
        case {"Records": [_, *_] as entries}:
            return _of_s3(entries)
        case {"Event": "s3:TestEvent"}:
            return Announcement(ignored=("test_event",))
        case {"Type": "Notification", "TopicArn": _}:
            return _of_sns(notice, envelopes)
        case {"Type": "SubscriptionConfirmation" | "UnsubscribeConfirmation", "TopicArn": _}:
            return Announcement(ignored=("sns_subscription",))
        case {"detail-type": str(kind), "source": "aws.s3"}:
            return _of_event_bridge(kind, notice)
        case {"s3Bucket": _, "s3ObjectKey": _}:
            return _of_cloudtrail(notice)
    raise MalformedMessage("the body is JSON but no notification that announces an S3 object")


def _of_s3(entries: Iterable[object]) -> Announcement:
    objects: list[ObjectRef] = []
    ignored: list[str] = []
    malformed: list[str] = []
    for number, entry in enumerate(entries):
        try:
            found = _s3_entry(entry)
        except ValidationError as cause:
            malformed.append(f"Records[{number}]: {_first(cause)}")
        except MalformedMessage as cause:
            malformed.append(f"Records[{number}]: {cause}")
        else:
            if isinstance(found, ObjectRef):
                objects.append(found)
            else:
                ignored.append(found)
    if not objects and not ignored:
        raise MalformedMessage(malformed[0])
    return Announcement(tuple(objects), tuple(ignored), tuple(malformed))


def _s3_entry(entry: object) -> ObjectRef | str:
    """Read one entry of an S3 notification: the object it announces, or the name under which it is ignored."""
    family = _S3Record.model_validate(entry).eventName.removeprefix("s3:").partition(":")[0]
    if family in _OTHER_S3_EVENTS:
        return f"event_{family}"
    if family != "ObjectCreated":
        raise MalformedMessage("eventName is no S3 event that is known")
    record = _S3Created.model_validate(entry)
    it = record.s3.object
    return ObjectRef(record.s3.bucket.name, it.key, it.versionId, it.size, it.eTag, record.eventTime)


def _of_event_bridge(kind: str, notice: Mapping[str, object]) -> Announcement:
    if kind in _OTHER_BRIDGE_EVENTS:
        return Announcement(ignored=("event_" + kind.replace(" ", ""),))
    if kind != "Object Created":
        raise MalformedMessage("detail-type is no S3 event that is known")
    try:
        event = _BridgeEvent.model_validate(notice)
    except ValidationError as cause:
        raise MalformedMessage(f"EventBridge event: {_first(cause)}") from cause
    it = event.detail.object
    return Announcement((ObjectRef(event.detail.bucket.name, it.key, it.version_id, it.size, it.etag, event.time),))


def _of_cloudtrail(notice: Mapping[str, object]) -> Announcement:
    try:
        found = _CloudTrailNotice.model_validate(notice)
    except ValidationError as cause:
        raise MalformedMessage(f"CloudTrail notice: {_first(cause)}") from cause
    return Announcement(tuple(ObjectRef(found.s3Bucket, key) for key in found.s3ObjectKey))


def _of_sns(notice: Mapping[str, object], envelopes: int) -> Announcement:
    if envelopes == 0:
        raise MalformedMessage("SNS envelopes nested too deep")
    try:
        inner = _SnsEnvelope.model_validate(notice).Message
    except ValidationError as cause:
        raise MalformedMessage(f"SNS envelope: {_first(cause)}") from cause
    return _read(inner, envelopes - 1)


def _first(cause: ValidationError) -> str:
    """Say where and what, without the value: it goes into logs."""
    error = cause.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, error['loc']))}: {error['type']}"


def announce(ref: ObjectRef) -> str:
    """Write the S3 event notification that announces `ref`: the inverse of `read_message`.

    A dead letter, a backfill and a redrive all use it, so that every road is the same road.
    """
    known = {"size": ref.size, "eTag": ref.etag, "versionId": ref.version_id}
    it = {"key": quote_plus(ref.key, safe="/")} | {name: value for name, value in known.items() if value is not None}
    record: dict[str, object] = {"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}
    if ref.notified_at is not None:
        record["eventTime"] = ref.notified_at.isoformat().replace("+00:00", "Z")
    record["s3"] = {"s3SchemaVersion": "1.0", "bucket": {"name": ref.bucket}, "object": it}
    return msgspec.json.encode({"Records": [record]}).decode()
