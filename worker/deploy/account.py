"""The AWS account and region of the environment's credentials: its buckets, trails and domains."""

from __future__ import annotations

from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_code, error_status, error_text
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from boto3 import Session
    from types_boto3_s3 import S3Client
    from types_boto3_sts.type_defs import GetCallerIdentityResponseTypeDef


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
        return self._identity["Account"]

    @cached_property
    def _identity(self) -> GetCallerIdentityResponseTypeDef:
        try:
            return self._session.client("sts").get_caller_identity()
        except (ClientError, BotoCoreError) as error:
            raise SetupError(f"The AWS credentials cannot be used: {error_text(error)}.") from error

    @cached_property
    def caller(self) -> str:
        """The ARN of whoever these credentials belong to; raises SetupError when they cannot be used."""
        return self._identity["Arn"]

    def check_bucket(self, bucket: str, owner: str = "") -> bool:
        """Raise SetupError unless a bucket exists in this region: S3 notifies queues of its own region only.

        It must belong to `owner`, by default this account: anybody can take the name of a bucket that was deleted.
        Returns false where another account does not let us look: the stack's roles may be allowed more than we are.
        """
        is_foreign = owner not in ("", self.id)
        owner = owner or self.id
        try:
            response = self._s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=owner)
            region = response.get("BucketRegion", self.region)
        except ClientError as error:
            headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            region = headers.get("x-amz-bucket-region", "")
            if error_status(error) == HTTPStatus.NOT_FOUND:
                raise SetupError(f"There is no bucket {bucket}.") from error
            if is_foreign and error_status(error) == HTTPStatus.FORBIDDEN and region in ("", self.region):
                return False
            if not region or region == self.region:
                raise SetupError(
                    f"The bucket {bucket} cannot be accessed as one of account {owner}: {error_text(error)}. If another"
                    " account owns it, set TrailBucketAccount."
                ) from error
        except BotoCoreError as error:
            raise SetupError(f"S3 does not answer: {error_text(error)}.") from error
        if region != self.region:
            raise SetupError(f"The bucket {bucket} is in {region}, not in {self.region}: set AWS_REGION={region}.")
        return True

    def trails(self, bucket: str) -> list[str] | None:
        """Return the names of the trails that write to a bucket, None when the credentials may not list trails."""
        try:
            trails = self._session.client("cloudtrail").describe_trails()["trailList"]
        except (ClientError, BotoCoreError):
            return None
        return [trail.get("Name", "") for trail in trails if trail.get("S3BucketName") == bucket]

    def notifications(self, bucket: str) -> dict[str, Any] | None:
        """Return the notification configuration of a bucket, None when the credentials may not read it."""
        try:
            return dict(self._s3.get_bucket_notification_configuration(Bucket=bucket))
        except (ClientError, BotoCoreError):
            return None

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

    def delete_domain_logs(self, stack: str) -> Iterator[str]:
        """Delete the logs of a stack's domain, and its permission to write them; yields what was done."""
        client, group = self._session.client("logs"), f"/aws/opensearch/{stack}"
        deletions: tuple[tuple[Callable[[], object], str], ...] = (
            (lambda: client.delete_log_group(logGroupName=group), f"Its log group {group} is deleted."),
            (
                lambda: client.delete_resource_policy(policyName=f"{stack}-domain-logs"),
                "Its permission to write there is deleted.",
            ),
        )
        for delete, sentence in deletions:
            try:
                delete()
            except (ClientError, BotoCoreError) as error:
                if error_code(error) != "ResourceNotFoundException":
                    yield f"The logs of the domain in {group} stay: {error_text(error)}."
            else:
                yield sentence
