"""Connects the parts for the entry points: settings in, a consumer with its neighbours out."""

from __future__ import annotations

import random
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from requests_aws4auth import AWS4Auth

from worker.aws.fast_get import FastGetObject
from worker.aws.interruptible import make_interruptible
from worker.aws.partitions import is_aws_host
from worker.aws.s3 import S3Store
from worker.aws.secrets import read_secret
from worker.aws.session import accept_charges, config, expect_bucket_owner, open_role_session, open_session
from worker.aws.sqs import SqsQueue
from worker.errors import SetupError
from worker.humanize import ascii_json
from worker.opensearch.address import proxy_for, refuse_clear_text
from worker.opensearch.client import Client
from worker.opensearch.sender import BulkSender
from worker.pipeline.consumer import Consumer
from worker.settings import variable

if TYPE_CHECKING:
    from collections.abc import Callable

    from boto3 import Session
    from types_boto3_s3 import S3Client

    from worker.aws.filters import FilterSource, SelectorFile
    from worker.pipeline.ports import Index, Queue, Store
    from worker.settings import Settings

# Receiving waits 20 s on the server's side, so the response may be that late.
_LONG_POLL_SECONDS = 30.0


# docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
FIFO_SUFFIX = ".fifo"
# docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-event-types-and-destinations.html
FIFO_ADVICE = (
    "is a FIFO queue, to which S3 cannot send and where one failed message stops others: use a standard queue."
)


def now() -> datetime:
    """Return the time of day, in UTC."""
    return datetime.now(UTC)


def open_s3_session(settings: Settings) -> Session:
    """Open the session that reads S3: of the environment's credentials, or of a role."""
    if settings.s3_role_arn:
        return open_role_session(settings.s3_role_arn, settings.s3_external_id)
    return open_session()


def make_s3_client(settings: Settings, session: Session, *, connections: int) -> S3Client:
    """Build a client of S3."""
    client: S3Client = session.client("s3", config=config(connections=connections))
    expect_bucket_owner(client, settings.bucket_account)
    if settings.request_payer:
        accept_charges(client)
    return client


def make_store(settings: Settings) -> S3Store:
    """Build the S3 adapter."""
    session = open_s3_session(settings)
    client = make_s3_client(settings, session, connections=settings.fetch_ahead)
    credentials = session.get_credentials()
    if credentials is None:
        return S3Store(client, buckets=settings.allowed_buckets)  # its first request names the error
    fast_get = FastGetObject(client, credentials, connections=settings.fetch_ahead, owner=settings.bucket_account)
    return S3Store(client, fast_get, buckets=settings.allowed_buckets)


def make_queue(settings: Settings) -> SqsQueue:
    """Build the SQS adapter."""
    client = open_session().client("sqs", config=config(connections=8, read_seconds=_LONG_POLL_SECONDS))
    make_interruptible(client)
    return SqsQueue(client, _standard_queue(settings, "queue_url"), _standard_queue(settings, "dead_letter_queue_url"))


def _standard_queue(settings: Settings, name: str) -> str:
    url = settings.required(name)
    if url.endswith(FIFO_SUFFIX):
        raise SetupError(f"{variable(name)} {FIFO_ADVICE}")
    return url


def make_client(settings: Settings) -> Client:
    """Build what opens connections to the cluster; raises SetupError for an address that is not safe."""
    url = settings.required("opensearch_url")
    proxy = proxy_for(url)
    if auth_method(settings) != "none":
        refuse_clear_text(url, proxy)
    if settings.opensearch_ca_file and not settings.opensearch_ca_file.is_file():
        raise SetupError(f"TRAILSINK_OPENSEARCH_CA_FILE: there is no file {settings.opensearch_ca_file}.")
    return Client(
        url,
        sign_in=_sign_in(settings),
        ca_file=settings.opensearch_ca_file,
        seconds=settings.request_seconds,
        proxy=proxy,
    )


def make_selector_file(settings: Settings, location: str) -> SelectorFile:
    """Build what reads selectors: a file, or an object by the environment's own credentials."""
    # Imported when first needed: a cold start without filters has no use for it.
    from worker.aws.filters import SelectorFile, object_address  # noqa: PLC0415

    def open_client() -> S3Client:
        client: S3Client = open_session().client("s3", config=config(connections=1))
        address = object_address(location)
        # Whoever took the name of another account's bucket would choose which events are indexed.
        expect_bucket_owner(client, settings.bucket_account if address and address[0] == settings.bucket else "")
        return client

    return SelectorFile(location, open_client)


def make_filter_source(settings: Settings) -> FilterSource | None:
    """Read the filter, None where there is none; raises SetupError when it cannot be read or is refused."""
    if not settings.filters:
        return None
    from worker.aws.filters import FilterSource  # noqa: PLC0415 - as above

    def warn(text: str) -> None:
        members = {"timestamp": now().isoformat(timespec="milliseconds"), "level": "WARNING", "message": "filters"}
        sys.stdout.write(ascii_json(msgspec.json.encode(members | {"detail": text}).decode()) + "\n")

    file = make_selector_file(settings, settings.filters)
    return FilterSource(file, monotonic=time.monotonic, warn=warn)


def make_consumer(
    settings: Settings,
    *,
    sleep: Callable[[float], None] = time.sleep,
    store: Store | None = None,
    queue: Queue | None = None,
    wrap_index: Callable[[Index], Index] = lambda index: index,
) -> Consumer:
    """Build a consumer; `sleep` is how its retries wait, so that an entry point can cut the wait short.

    A backfill brings a store or a queue of its own in place of S3 and SQS, and `wrap_index` changes what goes to the
    cluster.
    """
    source = make_filter_source(settings)
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
        wrap_index(sender),
        queue or make_queue(settings),
        settings.limits,
        now=now,
        monotonic=time.monotonic,
        jitter=random.random,
        current_filter=source.current if source else lambda: None,
    )


def _sign_in(settings: Settings) -> Callable[[], AWS4Auth | tuple[str, str] | None]:
    match auth_method(settings):
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


def auth_method(settings: Settings) -> str:
    """Return how requests to the cluster are authenticated: "basic", "sigv4" or "none"."""
    if settings.opensearch_auth != "auto":
        return settings.opensearch_auth
    if settings.opensearch_username or settings.opensearch_secret_arn:
        return "basic"
    return "sigv4" if is_aws_host(settings.opensearch_host) else "none"


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
