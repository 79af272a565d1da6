"""The AWS account and region of the environment's credentials: its buckets, trails and domains, and our uploads."""

from __future__ import annotations

from functools import cached_property
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_text
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from boto3 import Session
    from types_boto3_s3 import S3Client
    from types_boto3_s3.literals import BucketLocationConstraintType

_UPLOADS = "trailsink/"


class Account:
    """One AWS account and region."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.region: str = session.region_name

    @cached_property
    def _s3(self) -> S3Client:
        return self._session.client("s3")

    @cached_property
    def id(self) -> str:
        """The account's id; raises SetupError when the credentials cannot be used."""
        try:
            return self._session.client("sts").get_caller_identity()["Account"]
        except (ClientError, BotoCoreError) as error:
            raise SetupError(f"The AWS credentials cannot be used: {error_text(error)}.") from error

    def check_bucket(self, bucket: str) -> None:
        """Raise SetupError unless a bucket exists in this region: S3 notifies queues of its own region only."""
        try:
            response = self._s3.head_bucket(Bucket=bucket)
            region = response.get("BucketRegion", self.region)
        except ClientError as error:
            metadata = error.response.get("ResponseMetadata", {})
            region = metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region", "")
            if metadata.get("HTTPStatusCode") == HTTPStatus.NOT_FOUND:
                raise SetupError(f"There is no bucket {bucket}.") from error
            if not region or region == self.region:
                raise SetupError(f"The bucket {bucket} cannot be accessed: {error_text(error)}.") from error
        except BotoCoreError as error:
            raise SetupError(f"S3 does not answer: {error_text(error)}.") from error
        if region != self.region:
            raise SetupError(f"The bucket {bucket} is in {region}, not in {self.region}: set AWS_REGION={region}.")

    def trails(self, bucket: str) -> list[str] | None:
        """Return the names of the trails that write to a bucket, None when the credentials may not list trails."""
        try:
            trails = self._session.client("cloudtrail").describe_trails()["trailList"]
        except (ClientError, BotoCoreError):
            return None
        return [trail.get("Name", "") for trail in trails if trail.get("S3BucketName") == bucket]

    # Uploads

    def upload(self, body: bytes, extension: str, bucket: str) -> tuple[str, str, str]:
        """Upload the bundle or the template to `bucket`; for "", to a bucket that is created for uploads.

        Returns bucket, key and URL. The key is the hash of the content: an unchanged bundle does not change the stack.
        """
        key = f"{_UPLOADS}{sha256(body).hexdigest()}.{extension}"
        try:
            bucket = bucket or self._create_code_bucket()
            self._s3.put_object(Bucket=bucket, Key=key, Body=body)
        except (ClientError, BotoCoreError) as error:
            raise SetupError(f"The {extension} file cannot be uploaded: {error_text(error)}.") from error
        return bucket, key, f"{self._s3.meta.endpoint_url}/{bucket}/{key}"

    def code_bucket_name(self) -> str:
        """Return the name of the bucket for uploads: one for each account and region."""
        return f"trailsink-code-{self.id}-{self.region}"

    def remove_code(self, stack: str) -> str:
        """Delete the bucket for uploads, unless a stack other than `stack` has its bundle in it.

        Returns a sentence that says what was done; a bucket that cannot be deleted is no failure.
        """
        bucket = self.code_bucket_name()
        try:
            others = sorted(set(self._stacks_with_code_in(bucket)) - {stack})
            if others:
                return f"The bucket {bucket} stays, because the stack {others[0]} has its bundle in it."
            self._delete_uploads(bucket)
            self._s3.delete_bucket(Bucket=bucket)
        except (ClientError, BotoCoreError) as error:
            return f"The bucket {bucket} with the bundle stays: {error_text(error)}."
        return f"The bucket {bucket} with the bundle is deleted."

    def _stacks_with_code_in(self, bucket: str) -> Iterator[str]:
        for page in self._session.client("cloudformation").get_paginator("describe_stacks").paginate():
            for stack in page["Stacks"]:
                parameters = stack.get("Parameters", [])
                values = {parameter.get("ParameterKey"): parameter.get("ParameterValue") for parameter in parameters}
                if values.get("CodeBucket") == bucket:
                    yield stack["StackName"]

    def _delete_uploads(self, bucket: str) -> None:
        """Delete the objects that `upload` has put into a bucket, and no others."""
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=_UPLOADS):
            for entry in page.get("Contents", []):
                self._s3.delete_object(Bucket=bucket, Key=entry["Key"])

    def _create_code_bucket(self) -> str:
        """Create the bucket for uploads unless it exists; returns its name."""
        s3, name = self._s3, self.code_bucket_name()
        try:
            s3.head_bucket(Bucket=name)
        except ClientError:
            if self.region == "us-east-1":  # the one region that S3 refuses as a location constraint
                s3.create_bucket(Bucket=name)
            else:
                location = cast("BucketLocationConstraintType", self.region)
                s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": location})
            s3.put_public_access_block(
                Bucket=name,
                PublicAccessBlockConfiguration={
                    "BlockPublicAcls": True,
                    "IgnorePublicAcls": True,
                    "BlockPublicPolicy": True,
                    "RestrictPublicBuckets": True,
                },
            )
        return name

    # The domain

    def delete_domain(self, name: str, secret: str) -> Iterator[str]:
        """Delete a domain with all its events, and its master user's secret ("" for none); yields what was done."""
        try:
            self._session.client("opensearch").delete_domain(DomainName=name)
            yield f"The domain {name} is being deleted, with all events in it; this takes some minutes."
            if secret:
                self._session.client("secretsmanager").delete_secret(SecretId=secret)
                yield "Its password is deleted; for 30 days, Secrets Manager can restore it."
        except (ClientError, BotoCoreError) as error:
            raise SetupError(f"The domain {name} could not be deleted: {error_text(error)}.") from error
