"""S3: reads objects, and describes their newest versions."""

from __future__ import annotations

import re
import select
from functools import partial
from hashlib import md5
from http import HTTPStatus
from typing import TYPE_CHECKING, NotRequired, TypedDict

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
from worker.aws.interruptible import make_interruptible
from worker.cutoff import Cutoff
from worker.errors import Reason, StoreUnavailable, UnreadableObject
from worker.pipeline.buckets import NOT_ALLOWED, AllowedBuckets
from worker.pipeline.objects import FetchedObject, ObjectHead
from worker.pipeline.ports import MISMATCH, SLOW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import HeadObjectOutputTypeDef

    from worker.aws.fast_get import FastGetObject, SentGet
    from worker.pipeline.objects import ObjectRef
    from worker.pipeline.ports import PendingGet

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

# For an object that no batch waits for.
_FETCH_SECONDS = 120.0

# An eTag of this form is the MD5 of the content, unless it was encrypted with a key of KMS or of the customer.
# docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
_MD5 = re.compile(r"[0-9a-f]{32}")


class S3Store:
    """Objects in S3, read by `client`, or where possible by the `fast_get` that has learned from it.

    S3 is never asked about a bucket that `buckets` does not allow. The connections of `client` are put under the cutoff
    of each fetch.
    """

    def __init__(
        self,
        client: S3Client,
        fast_get: FastGetObject | None = None,
        *,
        buckets: AllowedBuckets = AllowedBuckets(),  # noqa: B008 - frozen
    ) -> None:
        self._s3, self._fast_get, self._buckets = client, fast_get, buckets
        make_interruptible(client)

    def fetch(self, ref: ObjectRef, limit: int, cutoff: Cutoff | None = None) -> FetchedObject:
        """Read one object of at most `limit` bytes, the version that was announced.

        Raises UnreadableObject `not_found`, `archived`, `too_large`, `foreign_bucket` or `malformed_message`. Raises
        StoreUnavailable for everything that time or an operator can fix: refused access, a disabled key, throttling, a
        connection that breaks off, `s3:slow`.
        """
        self._buckets.check(ref.bucket)
        cutoff = cutoff or Cutoff(_FETCH_SECONDS)
        if self._fast_get:
            return self._fast_get.read(ref, limit, partial(self._fetch, ref, limit), cutoff)
        return self._fetch(ref, limit, cutoff)

    def fetch_verified(self, ref: ObjectRef, limit: int, cutoff: Cutoff | None = None) -> FetchedObject:
        """Read it by boto3, and compare it with the length and the eTag that S3 answers to a HEAD.

        Raises also StoreUnavailable `s3:mismatch`.
        """
        self._buckets.check(ref.bucket)
        cutoff = cutoff or Cutoff(_FETCH_SECONDS)
        fetched = self._fetch(ref, limit, cutoff)
        with cutoff:
            try:
                answer = self._s3.head_object(**_named(ref))
            except (ClientError, BotoCoreError) as error:
                raise StoreUnavailable(SLOW if cutoff.is_over else error_cause("s3", error)) from error
        if not _describes(answer, fetched.content):
            raise StoreUnavailable(MISMATCH)
        return fetched

    def start_get(self, ref: ObjectRef, limit: int) -> SentGet | None:
        """Send the GET for an object without waiting for it; None where it has to be fetched."""
        if self._fast_get is None or self._buckets.refusal(ref.bucket):
            return None
        return self._fast_get.start(ref, limit, partial(self._fetch, ref, limit))

    def wait_any(self, pending: Sequence[PendingGet], seconds: float) -> Sequence[int]:
        """Wait at most `seconds` until a response begins to arrive; returns the descriptors of those that do."""
        poll = select.poll()
        for get in pending:
            poll.register(get.fileno(), select.POLLIN)
        return [descriptor for descriptor, _ in poll.poll(seconds * 1_000)]

    def _fetch(self, ref: ObjectRef, limit: int, cutoff: Cutoff) -> FetchedObject:
        cause: Exception | None = None
        with cutoff:
            for _ in range(_BODY_ATTEMPTS):
                if cutoff.is_over:
                    break
                try:
                    return self._read(ref, limit)
                except ClientError as error:
                    raise _store_error(error, ref) from error
                except (HTTPClientError, HTTPError, _OddResponse) as error:
                    cause = error
                except _REFUSED_NAMES as error:
                    detail = f"no such request: {type(error).__name__}"
                    raise UnreadableObject(Reason.MALFORMED_MESSAGE, detail) from error
                except BotoCoreError as error:
                    if not cutoff.is_over:
                        raise StoreUnavailable(error_cause("s3", error)) from error
                    cause = error
            if cutoff.is_over:
                raise StoreUnavailable(SLOW) from cause
        raise StoreUnavailable(f"s3:{cause if isinstance(cause, _OddResponse) else type(cause).__name__}") from cause

    def _read(self, ref: ObjectRef, limit: int) -> FetchedObject:
        response = self._s3.get_object(**_named(ref))
        with response["Body"] as body:
            # What no S3 leaves out, a proxy may: neither is an answer about the object.
            status, size = response["ResponseMetadata"]["HTTPStatusCode"], response.get("ContentLength")
            modified_at = response.get("LastModified")
            if status != HTTPStatus.OK:
                raise _OddResponse(f"status_{status}")
            if size is None or modified_at is None:
                raise _OddResponse("missing_headers")
            if size > limit:
                raise UnreadableObject(Reason.TOO_LARGE, f"{size} bytes, more than the limit of {limit}")
            return FetchedObject(body.read(), modified_at)

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
        if not {"ETag", "ContentLength", "LastModified"} <= response.keys():
            raise StoreUnavailable("s3:missing_headers")
        # docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html: `Restore` says when an archived one can be read
        archived = response.get("StorageClass") in ("GLACIER", "DEEP_ARCHIVE") or "ArchiveStatus" in response
        return ObjectHead(
            etag=response["ETag"].strip('"'),  # notifications give it without the quotes
            size=response["ContentLength"],
            version_id=response.get("VersionId"),
            modified_at=response["LastModified"],
            readable=not archived or 'ongoing-request="false"' in response.get("Restore", ""),
        )


class _OddResponse(Exception):  # noqa: N818 - named for what it is
    """A response that is no whole object with its headers, and no error either."""


class _Name(TypedDict):
    Bucket: str
    Key: str
    VersionId: NotRequired[str]


def _named(ref: ObjectRef) -> _Name:
    name: _Name = {"Bucket": ref.bucket, "Key": ref.key}
    return {**name, "VersionId": ref.version_id} if ref.version_id else name


def _describes(answer: HeadObjectOutputTypeDef, content: bytes | bytearray) -> bool:
    """Return whether S3's description of an object fits what was read."""
    etag = answer.get("ETag", "").strip('"')
    by_key = answer.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in answer
    if _MD5.fullmatch(etag) and not by_key and etag != md5(content, usedforsecurity=False).hexdigest():
        return False
    return answer.get("ContentLength") == len(content)


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
