"""Lists the public keys with which CloudTrail signs digests, and reads the signature of one digest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_cause, error_code
from worker.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from types_boto3_cloudtrail import CloudTrailClient
    from types_boto3_s3 import S3Client

# docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html
_SIGNATURE = "signature"


class ListedPublicKey(NamedTuple):
    """A key as AWS lists it: DER, its fingerprint, and when it is valid."""

    value: bytes
    fingerprint: str
    valid_from: datetime
    valid_until: datetime


def list_public_keys(client: CloudTrailClient, since: datetime, until: datetime) -> Iterator[ListedPublicKey]:
    """Yield the keys of the client's region that were valid in a time; lets errors of botocore pass."""
    token: dict[str, Any] = {}
    while True:
        response = client.list_public_keys(StartTime=since, EndTime=until, **token)
        for key in response.get("PublicKeyList", []):
            yield ListedPublicKey(key["Value"], key["Fingerprint"], key["ValidityStartTime"], key["ValidityEndTime"])
        if not response.get("NextToken"):
            return
        token = {"NextToken": response["NextToken"]}


def read_signature(client: S3Client, bucket: str, key: str) -> str:
    """Return the signature in a digest's metadata, "" where it has none; raises StoreUnavailable."""
    try:
        response = client.head_object(Bucket=bucket, Key=key)
    except (ClientError, BotoCoreError) as error:
        if error_code(error) in ("404", "NoSuchKey"):
            return ""
        raise StoreUnavailable(error_cause("s3", error)) from error
    return response.get("Metadata", {}).get(_SIGNATURE, "")
