"""Puts the parts together for the doors: settings in, a consumer with its neighbours out."""

from __future__ import annotations

import os
import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError
from requests_aws4auth import AWS4Auth

from worker.aws.fast_get import ShortGet
from worker.aws.sqs import S3Store, SqsQueue, config, read_secret
from worker.errors import SetupError
from worker.opensearch.sender import Client, Cluster
from worker.pipeline.consumer import Consumer

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.pipeline.consumer import Queue, Store
    from worker.settings import Settings

# Receiving waits 20 s on the server's side, so the answer may be that late.
_LONG_POLL_SECONDS = 30.0


def now() -> datetime:
    """Return the time of day, in UTC."""
    return datetime.now(UTC)


def make_store(settings: Settings) -> S3Store:
    """Build the S3 edge."""
    made = session()
    own = config(connections=settings.fetch_ahead)
    client = made.client("s3", config=own)
    credentials = made.get_credentials()
    if credentials is None:
        return S3Store(client)  # which says so
    return S3Store(client, ShortGet(client, credentials, connections=settings.fetch_ahead))


def make_queue(settings: Settings) -> SqsQueue:
    """Build the SQS edge."""
    client = session().client("sqs", config=config(connections=8, read_seconds=_LONG_POLL_SECONDS))
    return SqsQueue(client, settings.required("queue_url"), settings.required("dead_letter_queue_url"))


def make_client(settings: Settings) -> Client:
    """Build what opens connections to the cluster."""
    if settings.opensearch_ca_file and not settings.opensearch_ca_file.is_file():
        raise SetupError(f"TRAILSINK_OPENSEARCH_CA_FILE: there is no file {settings.opensearch_ca_file}.")
    return Client(
        settings.required("opensearch_url"),
        sign_in=_signer(settings),
        ca_file=settings.opensearch_ca_file,
        seconds=settings.request_seconds,
    )


def make_consumer(
    settings: Settings,
    *,
    sleep: Callable[[float], None] = time.sleep,
    store: Store | None = None,
    queue: Queue | None = None,
) -> Consumer:
    """Build a consumer; `sleep` is how its retries wait, so that a door can cut the wait short.

    A backfill brings a store or a queue of its own in place of S3 and SQS.
    """
    cluster = Cluster(
        make_client(settings),
        request_seconds=settings.request_seconds,
        retry_seconds=settings.retry_seconds,
        max_bytes=settings.bulk_max_bytes,
        in_flight=settings.bulk_in_flight,
        sleep=sleep,
    )
    return Consumer(
        store or make_store(settings),
        cluster,
        queue or make_queue(settings),
        settings.limits,
        now=now,
        tick=time.monotonic,
        jitter=random.random,
    )


def session() -> boto3.Session:
    """Open a session on the environment's credentials; raises SetupError when there is no region."""
    try:
        # boto3 itself reads only AWS_DEFAULT_REGION, and the region of a profile.
        made = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
    except BotoCoreError as error:
        raise SetupError(f"The AWS configuration cannot be read: {error}") from error
    if made.region_name is None:
        raise SetupError("No AWS region is set: set AWS_REGION.")
    return made


def _signer(settings: Settings) -> Callable[[], AWS4Auth | tuple[str, str] | None]:
    match _auth(settings):
        case "basic":
            return lambda: _password(settings)
        case "sigv4":
            made, service = session(), "aoss" if settings.is_serverless else "es"

            def sign() -> AWS4Auth:
                # Refreshable, because a role's credentials end after an hour or so.
                credentials = made.get_credentials()
                if credentials is None:
                    raise SetupError("No AWS credentials were found to sign requests to OpenSearch with.")
                return AWS4Auth(region=made.region_name, service=service, refreshable_credentials=credentials)

            return sign
        case _:
            return lambda: None


def _auth(settings: Settings) -> str:
    if settings.opensearch_auth != "auto":
        return settings.opensearch_auth
    if settings.opensearch_username or settings.opensearch_secret_arn:
        return "basic"
    return "sigv4" if settings.opensearch_host.endswith(".amazonaws.com") else "none"


def _password(settings: Settings) -> tuple[str, str]:
    """Read the password from where it is kept, each time: it may have been rotated."""
    if settings.opensearch_secret_arn:
        client = session().client("secretsmanager", config=config(connections=1))
        return read_secret(client, settings.opensearch_secret_arn)
    username = settings.required("opensearch_username")
    if settings.opensearch_password_file is None:
        raise SetupError("TRAILSINK_OPENSEARCH_PASSWORD_FILE is not set.")
    try:
        return username, settings.opensearch_password_file.read_text(encoding="utf-8").rstrip("\n")
    except OSError as error:
        raise SetupError(
            f"TRAILSINK_OPENSEARCH_PASSWORD_FILE: {settings.opensearch_password_file} cannot be read: {error.strerror}."
        ) from error
