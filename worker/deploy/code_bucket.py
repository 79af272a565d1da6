"""The bucket from which CloudFormation reads template and bundle.

Its name can be guessed, so it proves nothing: another account may have taken it first. Where the region has it, the
bucket is in the account's own namespace. Every call names the account that must own it, and S3 refuses another's.
docs.aws.amazon.com/AmazonS3/latest/userguide/gpbucketnamespaces.html
docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_code, error_status, error_text
from worker.aws.partitions import partition_of
from worker.aws.session import expect_bucket_owner
from worker.deploy.deployed import parameter_values
from worker.deploy.template import UPLOADED_PARAMETERS
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from boto3 import Session
    from types_boto3_s3 import S3Client

_UPLOADS = "trailsink/"

# The regions that have only the global namespace, by the page above; it names none of the isolated partitions either.
_GLOBAL_REGIONS = ("me-south-1", "me-central-1")
_ISOLATED = "aws-iso"

# An upload that no stack uses may be one of a deployment that waits for its confirmation.
_UNUSED_AFTER = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Upload:
    """Where an upload is. The key is the hash of the content: an unchanged bundle does not change the stack."""

    bucket: str
    key: str
    url: str


class CodeBucket:
    """The bucket for uploads of one account and region: `name`, or one that is created when `name` is "".

    `owner` is the account that must own it.
    """

    def __init__(self, session: Session, owner: str, name: str = "") -> None:
        self._session, self._owner = session, owner
        self._region: str = session.region_name
        self._is_own = not name
        self.name = name or own_bucket_name(owner, self._region)

    @cached_property
    def _s3(self) -> S3Client:
        client = self._session.client("s3")
        expect_bucket_owner(client, self._owner)
        return client

    @cached_property
    def _knows_namespaces(self) -> bool:
        """Whether the SDK can ask for the account's own namespace."""
        shape = self._s3.meta.service_model.operation_model("CreateBucket").input_shape
        return shape is not None and "BucketNamespace" in shape.members

    def upload(self, body: bytes, extension: str) -> Upload:
        """Upload the bundle or the template; creates the bucket if it is our own and does not exist."""
        key = f"{_UPLOADS}{sha256(body).hexdigest()}.{extension}"
        try:
            if self._is_own and not self._exists():
                self._create()
            self._s3.put_object(Bucket=self.name, Key=key, Body=body)
        except (ClientError, BotoCoreError) as error:
            owner = ""
            if error_code(error) == "AccessDenied":
                owner = f"; the bucket must belong to account {self._owner}"
            raise SetupError(f"The {extension} file cannot be uploaded: {error_text(error)}{owner}.") from error
        return Upload(self.name, key, f"{self._s3.meta.endpoint_url}/{self.name}/{key}")

    def _exists(self) -> bool:
        try:
            self._s3.head_bucket(Bucket=self.name)
        except ClientError as error:
            # Without s3:ListBucket, a missing bucket is forbidden, too. Then its creation says whose it is.
            if error_status(error) in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):
                return False
            raise
        return True

    def _create(self) -> None:
        request: dict[str, Any] = {"Bucket": self.name}
        if self._region != "us-east-1":  # the one region that S3 refuses as a location constraint
            request["CreateBucketConfiguration"] = {"LocationConstraint": self._region}
        if self._knows_namespaces and has_account_namespace(self._region):
            request["BucketNamespace"] = "account-regional"
        try:
            self._s3.create_bucket(**request)
        except ClientError as error:
            if error_code(error) == "BucketAlreadyOwnedByYou":
                return
            if error_code(error) in ("BucketAlreadyExists", "InvalidBucketNamespace"):
                raise SetupError(
                    f"The bucket {self.name} belongs to another account, so nothing was uploaded. Pass --code-bucket"
                    " with a bucket of your own."
                ) from error
            raise
        self._close()

    def _close(self) -> None:
        """Keep the public and connections without TLS out of a new bucket."""
        self._s3.put_public_access_block(
            Bucket=self.name,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True,
                "IgnorePublicAcls": True,
                "BlockPublicPolicy": True,
                "RestrictPublicBuckets": True,
            },
        )
        arn = f"arn:{partition_of(self._region).name}:s3:::{self.name}"
        deny = {
            "Sid": "OnlyTls",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [arn, f"{arn}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
        self._s3.put_bucket_policy(Bucket=self.name, Policy=policy)

    # What is no longer used

    def delete_unused(self) -> int:
        """Delete our own bucket's uploads that no stack has used for a week; returns how many. No failure matters.

        An update that fails rolls back to the bundle before it, however old that is. So age alone decides nothing.
        """
        if not self._is_own:
            return 0
        try:
            stacks = [values for _, values in self._stacks()]
            used = {values.get(name) for values in stacks for name in UPLOADED_PARAMETERS}
            before = datetime.now(UTC) - _UNUSED_AFTER
            unused = [key for key, modified in self._uploads() if key not in used and modified < before]
            for key in unused:
                self._s3.delete_object(Bucket=self.name, Key=key)
        except (ClientError, BotoCoreError):
            return 0
        return len(unused)

    def delete(self, stack: str) -> str:
        """Delete the bucket for uploads, unless a stack other than `stack` has its bundle in it.

        Returns a sentence that says what was done; a bucket that cannot be deleted is no failure.
        """
        try:
            others = {name for name, values in self._stacks() if values.get("CodeBucket") == self.name} - {stack}
            if others:
                return f"The bucket {self.name} stays, because the stack {min(others)} has its bundle in it."
            for key, _ in self._uploads():
                self._s3.delete_object(Bucket=self.name, Key=key)
            self._s3.delete_bucket(Bucket=self.name)
        except (ClientError, BotoCoreError) as error:
            return f"The bucket {self.name} with the bundle stays: {error_text(error)}."
        return f"The bucket {self.name} with the bundle is deleted."

    def _stacks(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield the name and the parameters of each stack of this account and region."""
        for page in self._session.client("cloudformation").get_paginator("describe_stacks").paginate():
            for stack in page["Stacks"]:
                yield stack["StackName"], parameter_values(stack)

    def _uploads(self) -> Iterator[tuple[str, datetime]]:
        """Yield key and time of the objects that `upload` has put into the bucket, and of no others."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=_UPLOADS)
        for page in pages:
            for entry in page.get("Contents", []):
                yield entry["Key"], entry["LastModified"]


def has_account_namespace(region: str) -> bool:
    """Return whether a region has buckets in the account's own namespace."""
    return region not in _GLOBAL_REGIONS and not partition_of(region).name.startswith(_ISOLATED)


def own_bucket_name(account: str, region: str) -> str:
    """Return the name of the bucket for uploads: one for each account and region.

    The ending -an is reserved: S3 creates such a bucket only for the account whose id precedes it.
    """
    name = f"trailsink-code-{account}-{region}"
    return f"{name}-an" if has_account_namespace(region) else name


def own_bucket_names(account: str, region: str) -> set[str]:
    """Return the names that the bucket for uploads can have, with those of older versions."""
    return {own_bucket_name(account, region), f"trailsink-code-{account}-{region}"}
