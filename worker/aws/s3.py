"""S3: reads objects, and describes their newest versions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    ParamValidationError,
    UnsupportedOutpostResourceError,
    UnsupportedS3AccesspointConfigurationError,
    UnsupportedS3ArnError,
    UnsupportedS3ConfigurationError,
)
from urllib3.exceptions import HTTPError

from worker.aws.errors import error_cause, error_code
from worker.errors import Reason, StoreUnavailable, UnreadableObject
from worker.pipeline.buckets import NOT_ALLOWED, AllowedBuckets
from worker.pipeline.objects import FetchedObject, ObjectHead

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from worker.aws.fast_get import FastGetObject, SentGet
    from worker.pipeline.objects import ObjectRef

# botocore is the one retry layer for calls. A body that breaks off is read again here, because botocore returns it
# before it is complete.
_BODY_ATTEMPTS = 3

# botocore refuses these without asking S3: the names are wrong, and stay so.
_REFUSED_NAMES = (
    ParamValidationError,
    UnsupportedOutpostResourceError,
    UnsupportedS3AccesspointConfigurationError,
    UnsupportedS3ArnError,
    UnsupportedS3ConfigurationError,
)

# docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_NOT_FOUND = ("NoSuchKey", "NoSuchVersion", "KeyTooLongError")
# For a request with a version: it is a delete marker, or no version of S3's.
_NO_SUCH_VERSION = ("MethodNotAllowed", "InvalidArgument")


class S3Store:
    """Objects in S3, read by `client`, or where possible by the `fast_get` that has learned from it.

    S3 is never asked about a bucket that `buckets` does not allow.
    """

    def __init__(
        self,
        client: S3Client,
        fast_get: FastGetObject | None = None,
        *,
        buckets: AllowedBuckets = AllowedBuckets(),  # noqa: B008 - frozen
    ) -> None:
        self._s3, self._fast_get, self._buckets = client, fast_get, buckets

    def fetch(self, ref: ObjectRef, limit: int) -> FetchedObject:
        """Read one object of at most `limit` bytes, the version that was announced.

        Raises UnreadableObject `not_found`, `archived`, `too_large`, `foreign_bucket` or `malformed_message`. Raises
        StoreUnavailable for everything that time or an operator can fix: refused access, a disabled key, throttling, a
        connection that breaks off.
        """
        self._buckets.check(ref.bucket)
        if self._fast_get:
            return self._fast_get.read(ref, limit, partial(self._fetch, ref, limit))
        return self._fetch(ref, limit)

    def start_get(self, ref: ObjectRef, limit: int) -> SentGet | None:
        """Send the GET for an object without waiting for it; None where it has to be fetched."""
        if self._fast_get is None or self._buckets.refusal(ref.bucket):
            return None
        return self._fast_get.start(ref, limit, partial(self._fetch, ref, limit))

    def _fetch(self, ref: ObjectRef, limit: int) -> FetchedObject:
        cause: Exception | None = None
        for _ in range(_BODY_ATTEMPTS):
            try:
                return self._read(ref, limit)
            except ClientError as error:
                raise _store_error(error, ref) from error
            except (HTTPClientError, HTTPError) as error:
                cause = error
            except _REFUSED_NAMES as error:
                raise UnreadableObject(Reason.MALFORMED_MESSAGE, f"no such request: {type(error).__name__}") from error
            except BotoCoreError as error:
                raise StoreUnavailable(error_cause("s3", error)) from error
        raise StoreUnavailable(f"s3:{type(cause).__name__}") from cause

    def _read(self, ref: ObjectRef, limit: int) -> FetchedObject:
        if ref.version_id:
            response = self._s3.get_object(Bucket=ref.bucket, Key=ref.key, VersionId=ref.version_id)
        else:
            response = self._s3.get_object(Bucket=ref.bucket, Key=ref.key)
        with response["Body"] as body:
            size = response["ContentLength"]
            if size > limit:
                raise UnreadableObject(Reason.TOO_LARGE, f"{size} bytes, more than the limit of {limit}")
            return FetchedObject(body.read(), response["LastModified"])

    def head(self, ref: ObjectRef) -> ObjectHead | None:
        """Describe the newest version of a key, None when there is none; raises StoreUnavailable."""
        if self._buckets.refusal(ref.bucket):
            raise StoreUnavailable(NOT_ALLOWED)
        try:
            response = self._s3.head_object(Bucket=ref.bucket, Key=ref.key)
        except (ClientError, BotoCoreError) as error:
            if error_code(error) in ("404", "NoSuchKey"):  # a HEAD has no body, so the status is all there is
                return None
            raise StoreUnavailable(error_cause("s3", error)) from error
        # docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html: `Restore` says when an archived one can be read
        archived = response.get("StorageClass") in ("GLACIER", "DEEP_ARCHIVE") or "ArchiveStatus" in response
        return ObjectHead(
            etag=response["ETag"].strip('"'),  # notifications give it without the quotes
            size=response["ContentLength"],
            version_id=response.get("VersionId"),
            modified_at=response["LastModified"],
            readable=not archived or 'ongoing-request="false"' in response.get("Restore", ""),
        )


def _store_error(error: ClientError, ref: ObjectRef) -> StoreUnavailable | UnreadableObject:
    """Return what an error of S3 means for an object.

    NoSuchBucket is not `not_found`. A wrong endpoint or partition causes it for every file, and a bucket of a
    notification is known to be allowed. Messages go back, so that nothing is lost by such a mistake.
    """
    code = error_code(error)
    if code in _NOT_FOUND or (ref.version_id and code in _NO_SUCH_VERSION):
        return UnreadableObject(Reason.NOT_FOUND, f"S3 says {code}")
    if code == "InvalidObjectState":
        return UnreadableObject(Reason.ARCHIVED, "the object is archived; restore it, then redrive")
    return StoreUnavailable(error_cause("s3", error))
