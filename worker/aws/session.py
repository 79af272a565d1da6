"""The session and the client configuration of every AWS client."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from worker.errors import SetupError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

OWNER_HEADER = "x-amz-expected-bucket-owner"


def config(*, connections: int, read_seconds: float = 30.0) -> Config:
    """Return a client configuration: timeouts, botocore's own retries, and no checksums that nobody asked for."""
    return Config(
        connect_timeout=5,
        read_timeout=read_seconds,
        retries={"mode": "standard", "total_max_attempts": 4},
        max_pool_connections=connections,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


def open_session() -> boto3.Session:
    """Open a session with the environment's credentials; raises SetupError when there is no region."""
    try:
        # boto3 itself reads only AWS_DEFAULT_REGION, and the region of a profile.
        session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
    except BotoCoreError as error:
        raise SetupError(f"The AWS configuration cannot be read: {error}") from error
    if session.region_name is None:
        raise SetupError("No AWS region is set: set AWS_REGION.")
    return session


def expect_bucket_owner(client: S3Client, account: str) -> None:
    """Have each request of an S3 client name the account that must own the bucket, "" for any.

    S3 refuses the request for another account's bucket: anybody can take the name of one that was deleted.
    docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html
    """

    def add_owner(params: dict[str, Any], model: Any, **_: Any) -> None:  # noqa: ANN401 - botocore has no types
        if "ExpectedBucketOwner" in model.input_shape.members:
            params.setdefault("ExpectedBucketOwner", account)

    if account:
        client.meta.events.register("provide-client-params.s3.*", add_owner)
