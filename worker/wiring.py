"""Connects the parts for the entry points: settings in, a consumer with its neighbours out."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from requests_aws4auth import AWS4Auth

from worker.aws.fast_get import FastGetObject
from worker.aws.interruptible import make_interruptible
from worker.aws.s3 import S3Store
from worker.aws.secrets import read_secret
from worker.aws.session import config, open_session
from worker.aws.sqs import SqsQueue
from worker.errors import SetupError
from worker.opensearch.client import Client
from worker.opensearch.sender import BulkSender
from worker.pipeline.consumer import Consumer

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.pipeline.ports import Queue, Store
    from worker.settings import Settings

# Receiving waits 20 s on the server's side, so the response may be that late.
_LONG_POLL_SECONDS = 30.0


def now() -> datetime:
    """Return the time of day, in UTC."""
    return datetime.now(UTC)


def make_store(settings: Settings) -> S3Store:
    """Build the S3 adapter."""
    session = open_session()
    client = session.client("s3", config=config(connections=settings.fetch_ahead))
    credentials = session.get_credentials()
    if credentials is None:
        return S3Store(client)  # its first request names the error
    return S3Store(client, FastGetObject(client, credentials, connections=settings.fetch_ahead))


def make_queue(settings: Settings) -> SqsQueue:
    """Build the SQS adapter."""
    client = open_session().client("sqs", config=config(connections=8, read_seconds=_LONG_POLL_SECONDS))
    make_interruptible(client)
    return SqsQueue(client, settings.required("queue_url"), settings.required("dead_letter_queue_url"))


def make_client(settings: Settings) -> Client:
    """Build what opens connections to the cluster."""
    if settings.opensearch_ca_file and not settings.opensearch_ca_file.is_file():
        raise SetupError(f"TRAILSINK_OPENSEARCH_CA_FILE: there is no file {settings.opensearch_ca_file}.")
    return Client(
        settings.required("opensearch_url"),
        sign_in=_sign_in(settings),
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
    """Build a consumer; `sleep` is how its retries wait, so that an entry point can cut the wait short.

    A backfill brings a store or a queue of its own in place of S3 and SQS.
    """
    sender = BulkSender(
        make_client(settings),
        request_seconds=settings.request_seconds,
        retry_seconds=settings.retry_seconds,
        max_bytes=settings.bulk_max_bytes,
        in_flight=settings.bulk_in_flight,
        sleep=sleep,
    )
    return Consumer(
        store or make_store(settings),
        sender,
        queue or make_queue(settings),
        settings.limits,
        now=now,
        monotonic=time.monotonic,
        jitter=random.random,
    )


def _sign_in(settings: Settings) -> Callable[[], AWS4Auth | tuple[str, str] | None]:
    match _auth_method(settings):
        case "basic":
            return lambda: _read_password(settings)
        case "sigv4":
            session, service = open_session(), "aoss" if settings.is_serverless else "es"

            def sign() -> AWS4Auth:
                # Refreshable, because a role's credentials end after an hour or so.
                credentials = session.get_credentials()
                if credentials is None:
                    raise SetupError("No AWS credentials were found to sign requests to OpenSearch with.")
                return AWS4Auth(region=session.region_name, service=service, refreshable_credentials=credentials)

            return sign
        case _:
            return lambda: None


def _auth_method(settings: Settings) -> str:
    if settings.opensearch_auth != "auto":
        return settings.opensearch_auth
    if settings.opensearch_username or settings.opensearch_secret_arn:
        return "basic"
    return "sigv4" if settings.opensearch_host.endswith(".amazonaws.com") else "none"


def _read_password(settings: Settings) -> tuple[str, str]:
    """Read the password from where it is kept, each time: it may have been rotated."""
    if settings.opensearch_secret_arn:
        client = open_session().client("secretsmanager", config=config(connections=1))
        make_interruptible(client)  # it is read within the time of a request
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
