"""The session and the client configuration of every AWS client."""

from __future__ import annotations

import os
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, CredentialProvider, DeferredRefreshableCredentials
from botocore.exceptions import BotoCoreError

from worker.errors import SetupError

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from types_boto3_s3 import S3Client

# The name of the session in CloudTrail's records of what the role did.
_ROLE_SESSION = "trailsink"

# docs.aws.amazon.com/general/latest/gr/sqs-service.html
_QUEUE = re.compile(r"https://sqs\.([a-z0-9-]+)\.amazonaws\.")

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
    """Open a session with the environment's credentials, in the queue's region where none is set.

    Raises SetupError when there is no region.
    """
    try:
        # boto3 itself reads only AWS_DEFAULT_REGION, and the region of a profile.
        session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
        if session.region_name is None and (queue := _QUEUE.match(os.environ.get("TRAILSINK_QUEUE_URL", ""))):
            session = boto3.Session(region_name=queue[1])
    except BotoCoreError as error:
        raise SetupError(f"The AWS configuration cannot be read: {error}") from error
    if session.region_name is None:
        raise SetupError("No AWS region is set: set AWS_REGION.")
    return session


def open_role_session(role_arn: str, external_id: str) -> boto3.Session:
    """Open a session with the credentials of a role, which are fetched when needed, and again before they end.

    Raises SetupError when there is no region, and when there are no credentials to assume the role with.
    docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_common-scenarios_third-party.html
    """
    own = open_session()
    source = own.get_credentials()
    if source is None:
        raise SetupError("No AWS credentials were found to assume the role of TRAILSINK_S3_ROLE_ARN with.")
    core = botocore.session.get_session()
    core.set_config_variable("region", own.region_name)
    fetcher = AssumeRoleCredentialFetcher(
        partial(core.create_client, config=config(connections=1)),
        source,
        role_arn,
        extra_args=role_parameters(role_arn, external_id),
    )
    credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
    core.get_component("credential_provider").insert_before("env", _RoleProvider(credentials))
    return boto3.Session(botocore_session=core)


def role_parameters(role_arn: str, external_id: str) -> dict[str, str]:
    """Return the parameters of AssumeRole; an `external_id` of "" is none."""
    parameters = {"RoleArn": role_arn, "RoleSessionName": _ROLE_SESSION}
    return parameters | {"ExternalId": external_id} if external_id else parameters


class _RoleProvider(CredentialProvider):
    """Provides the credentials of one role, in place of what the environment holds."""

    METHOD = "trailsink-role"

    def __init__(self, credentials: Credentials) -> None:
        super().__init__()
        self._credentials = credentials

    def load(self) -> Credentials:
        """Return the credentials."""
        return self._credentials


def accept_charges(client: S3Client) -> None:
    """Have every request of a client say that its caller pays, as a bucket with Requester Pays wants it.

    docs.aws.amazon.com/AmazonS3/latest/userguide/ObjectsinRequesterPaysBuckets.html
    """
    for operation in ("GetObject", "HeadObject", "ListObjectsV2"):
        client.meta.events.register(f"provide-client-params.s3.{operation}", _add_request_payer)


def _add_request_payer(params: dict[str, Any], **_: object) -> None:
    params.setdefault("RequestPayer", "requester")


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
