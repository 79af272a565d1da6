"""The AWS account and region that the credentials reach: its buckets, trails and uploads."""

from __future__ import annotations

from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_text
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from boto3 import Session
    from types_boto3_s3 import S3Client


class Account:
    """The account and region that the environment's credentials reach."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.region: str = session.region_name

    @cached_property
    def _s3(self) -> S3Client:
        return self._session.client("s3")

    @cached_property
    def id(self) -> str:
        """Whose the credentials are; raises SetupError when they are not usable."""
        try:
            return self._session.client("sts").get_caller_identity()["Account"]
        except (ClientError, BotoCoreError) as error:
            raise SetupError(f"The AWS credentials cannot be used: {error_text(error)}.") from error

    def check_bucket(self, bucket: str) -> None:
        """Raise SetupError unless the trail's bucket is there, in this region: S3 notifies queues of its own only."""
        try:
            answer = self._s3.head_bucket(Bucket=bucket)
            region = answer.get("BucketRegion", self.region)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            region = headers.get("x-amz-bucket-region", "")
            if status == 404:  # noqa: PLR2004
                raise SetupError(f"There is no bucket {bucket}.") from error
            if not region or region == self.region:
                raise SetupError(f"The bucket {bucket} may not be looked at: {error_text(error)}.") from error
        except BotoCoreError as error:
            raise SetupError(f"S3 does not answer: {error_text(error)}.") from error
        if region != self.region:
            raise SetupError(f"The bucket {bucket} is in {region}, not in {self.region}: set AWS_REGION={region}.")

    def trails(self, bucket: str) -> list[str] | None:
        """Name the trails that write to a bucket; None when these credentials may not ask."""
        try:
            found = self._session.client("cloudtrail").describe_trails()["trailList"]
        except (ClientError, BotoCoreError):
            return None
        return [trail.get("Name", "") for trail in found if trail.get("S3BucketName") == bucket]

    def upload(self, body: bytes, kind: str, bucket: str) -> tuple[str, str, str]:
        """Put the bundle or the template into `bucket`, or into one that is made for them when "".

        Returns bucket, key and URL. The key is the content's hash, so an unchanged bundle is no change of the stack.
        """
        key = f"trailsink/{sha256(body).hexdigest()}.{kind}"
        try:
            bucket = bucket or self._code_bucket()
            self._s3.put_object(Bucket=bucket, Key=key, Body=body)
        except (ClientError, BotoCoreError) as error:
            raise SetupError(f"The {kind} cannot be uploaded: {error_text(error)}.") from error
        return bucket, key, f"{self._s3.meta.endpoint_url}/{bucket}/{key}"

    def code_bucket_name(self) -> str:
        """Name the bucket that bundles go to when none is given: one for each account and region."""
        return f"trailsink-code-{self.id}-{self.region}"

    def remove_code(self, stack: str) -> str:
        """Remove the bucket that was made for bundles, unless a stack other than `stack` has its own there.

        Returns a sentence that says what was done; a bucket that cannot be removed is no reason to fail.
        """
        bucket = self.code_bucket_name()
        try:
            others = sorted(set(self._stacks_with_code_in(bucket)) - {stack})
            if others:
                return f"The bucket {bucket} stays: the stack {others[0]} has its bundle there."
            self._empty(bucket)
            self._s3.delete_bucket(Bucket=bucket)
        except (ClientError, BotoCoreError) as error:
            return f"The bucket {bucket} with the bundle stays: {error_text(error)}."
        return f"The bucket {bucket} with the bundle is gone."

    def _stacks_with_code_in(self, bucket: str) -> Iterator[str]:
        for page in self._session.client("cloudformation").get_paginator("describe_stacks").paginate():
            for one in page["Stacks"]:
                given = {each.get("ParameterKey"): each.get("ParameterValue") for each in one.get("Parameters", [])}
                if given.get("CodeBucket") == bucket:
                    yield one["StackName"]

    def _empty(self, bucket: str) -> None:
        """Delete what `upload` has put there, and nothing else."""
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="trailsink/"):
            for one in page.get("Contents", []):
                self._s3.delete_object(Bucket=bucket, Key=one["Key"])

    def delete_domain(self, name: str, secret: str) -> Iterator[str]:
        """Delete a domain with all that is in it, and its master user's secret ("" where it has none)."""
        try:
            self._session.client("opensearch").delete_domain(DomainName=name)
            yield f"The domain {name} is being deleted, with all events in it; that takes some minutes."
            if secret:
                self._session.client("secretsmanager").delete_secret(SecretId=secret)
                yield "Its password is deleted; Secrets Manager keeps it for 30 days, in case it is wanted back."
        except (ClientError, BotoCoreError) as error:
            raise SetupError(f"The domain {name} could not be deleted: {error_text(error)}.") from error

    def _code_bucket(self) -> str:
        s3, name = self._s3, self.code_bucket_name()
        try:
            s3.head_bucket(Bucket=name)
        except ClientError:
            if self.region == "us-east-1":  # the one region that must not be named
                s3.create_bucket(Bucket=name)
            else:
                where = {"LocationConstraint": self.region}
                s3.create_bucket(Bucket=name, CreateBucketConfiguration=where)  # type: ignore[arg-type]
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
