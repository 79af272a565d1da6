"""The models of the notifications that announce S3 objects: what each shape must hold, and how keys are encoded in it.

A member that does not say which object it is costs nothing when it cannot be parsed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import unquote_plus

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)


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


def _to_size(value: object, parse: ValidatorFunctionWrapHandler) -> int | None:
    # Only the prefetch needs the size, to limit memory: without one, it expects the maximum.
    try:
        size: int | None = parse(value)
    except ValueError:
        return None
    return size


def _to_keys(value: object) -> object:
    # CloudTrail documents a list; some forwarders write one key as text.
    return [value] if isinstance(value, str) else value


def _require_major_2(version: str) -> str:
    # "The major version is incremented when ... not backward compatible": the documentation asks for equality.
    if version.partition(".")[0] != "2":
        raise ValueError("unknown major version of the S3 event structure")
    return version


_Name = Annotated[str, Field(min_length=1)]
_Moment = Annotated[datetime | None, WrapValidator(_to_utc)]
_Size = Annotated[Annotated[int, Field(ge=0)] | None, WrapValidator(_to_size)]
# S3 writes no version for a bucket without versioning, other stores write an empty one.
_Version = Annotated[str | None, AfterValidator(lambda version: version or None)]
# `aws:s3`, or a store that has S3's interface: `minio:s3`, `ceph:s3`, ...
_Source = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,20}:s3$")]


class _Lenient(BaseModel):
    # Built when first needed: a pipeline gets notifications of one shape, and a cold start need not pay for the others.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class _Bucket(_Lenient):
    name: _Name


class _CephObject(_Lenient):
    key: _Name
    size: _Size = None
    eTag: str | None = None  # noqa: N815 - S3's own name
    versionId: _Version = None  # noqa: N815


class _CephEntity(_Lenient):
    bucket: _Bucket
    object: _CephObject


class _S3Object(_CephObject):
    key: Annotated[_Name, AfterValidator(_decode_key)]


class _S3Entity(_CephEntity):
    object: _S3Object


class S3Record(_Lenient):
    """The part of an entry of an S3 notification that every event has."""

    eventSource: _Source  # noqa: N815
    eventName: _Name  # noqa: N815
    eventVersion: Annotated[str, AfterValidator(_require_major_2)] = "2.1"  # noqa: N815
    eventTime: _Moment = None  # noqa: N815


class CephCreated(S3Record):
    """An entry that announces an object of Ceph, which writes keys as they are."""

    s3: _CephEntity


class S3Created(CephCreated):
    """An entry that announces an object."""

    s3: _S3Entity


class _BridgeObject(_Lenient):
    key: _Name  # not encoded here
    size: _Size = None
    etag: str | None = None
    version_id: _Version = Field(default=None, alias="version-id")


class _BridgeDetail(_Lenient):
    bucket: _Bucket
    object: _BridgeObject


class BridgeEvent(_Lenient):
    """S3's own event in EventBridge."""

    detail: _BridgeDetail
    time: _Moment = None


class _ApiParameters(_Lenient):
    # Calls on a whole bucket have no key.
    bucketName: str = ""  # noqa: N815
    key: str = ""  # not encoded here


class _ApiDetail(_Lenient):
    eventName: _Name  # noqa: N815
    errorCode: str | None = None  # noqa: N815
    requestParameters: _ApiParameters | None = None  # noqa: N815


class ApiCall(_Lenient):
    """A call of S3's API that CloudTrail recorded, as an event in EventBridge."""

    detail: _ApiDetail
    time: _Moment = None


class CloudTrailNotice(_Lenient):
    """CloudTrail's own notice."""

    s3Bucket: _Name  # noqa: N815
    # Not encoded here.
    s3ObjectKey: Annotated[tuple[_Name, ...], Field(min_length=1), BeforeValidator(_to_keys)]  # noqa: N815


class SnsEnvelope(_Lenient):
    """What SNS wraps around a message."""

    Message: str
