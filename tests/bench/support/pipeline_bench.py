"""The whole road between stand-ins: what every benchmark of it needs."""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from tests.bench.support.stub_servers import BUCKET
from worker.aws.fast_get import FastGetObject
from worker.aws.s3 import S3Store
from worker.aws.session import config
from worker.cloudtrail.inflate import inflate
from worker.cloudtrail.records import Record, read_records
from worker.cloudtrail.split import split_records
from worker.opensearch.client import Client
from worker.opensearch.sender import BULK_HEADERS, BULK_PARAMS, BulkSender
from worker.pipeline.bulk import compress_body, cut_requests
from worker.pipeline.consumer import Consumer
from worker.pipeline.documents import FIRST_EVENT, Action, IndexNaming, Provenance, to_actions
from worker.pipeline.limits import Limits, Partition
from worker.pipeline.notifications import s3_notification
from worker.pipeline.objects import ObjectRef
from worker.pipeline.ports import DeadLetter, HandBack, Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from opensearchpy import OpenSearch
    from types_boto3_s3 import S3Client

    from worker.cloudtrail.filters.matching import RecordFilter
    from worker.pipeline.accounting import BatchResult

LIMITS = Limits()

ORIGIN = Provenance("s3://bench/AWSLogs/file.json.gz", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z")
ROUTING = IndexNaming("cloudtrail", Partition.DAY, FIRST_EVENT, "2030-01-01", LIMITS.max_days_per_file)


def our_actions(
    file: bytes,
    origin: Provenance = ORIGIN,
    routing: IndexNaming = ROUTING,
    record_filter: RecordFilter | None = None,
) -> Iterator[Action]:
    """Take a file down the core of the road: inflate, cut, validate, splice."""
    raws = split_records(inflate(file, LIMITS.max_inflated_bytes)).records
    found = read_records(
        raws, 0, max_depth=LIMITS.max_depth, max_bytes=LIMITS.bulk_max_bytes, record_filter=record_filter
    )
    records = [one for one in found if isinstance(one, Record)]
    routing.check(records)
    return to_actions(records, 0, origin, routing)


def bodies(made: Iterable[Action]) -> Iterator[tuple[bytes, int]]:
    """Cut actions into bulk requests: each body, gzipped, and the number of its documents."""
    for request in cut_requests(made, LIMITS.bulk_bytes, LIMITS.bulk_actions):
        yield compress_body(b"".join(action.lines for action in request)), len(request)


def post(client: OpenSearch, body: bytes, path: str = "/_bulk") -> Any:
    """Send one such body as the road does; returns the answer."""
    return client.transport.perform_request("POST", path, params=BULK_PARAMS, headers=BULK_HEADERS, body=body)


@dataclass
class NoQueue:
    """A queue that must not be needed."""

    letters: list[DeadLetter] = field(default_factory=list)

    def send_dead_letter(self, letter: DeadLetter) -> None:
        """Keep it, for the complaint."""
        self.letters.append(letter)

    def announce_again(self, bodies: Sequence[str]) -> None:
        """Nothing is announced again."""

    def hand_back(self, messages: Sequence[HandBack]) -> None:
        """Nothing waits here."""


def s3_client(url: str) -> S3Client:
    """A client of the stand-in, configured as the loader's is."""
    own = config(connections=LIMITS.fetch_ahead).merge(Config(s3={"addressing_style": "path"}))
    keys: dict[str, Any] = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench"}
    return boto3.client("s3", endpoint_url=url, region_name="eu-central-1", config=own, **keys)


def store(url: str, *, short: bool = True) -> S3Store:
    """The S3 edge, with boto3's own GetObject only where `short` is false."""
    client = s3_client(url)
    if not short:
        return S3Store(client)
    credentials = boto3.Session("bench", "bench").get_credentials()
    assert credentials is not None
    return S3Store(client, FastGetObject(client, credentials, connections=LIMITS.fetch_ahead))


def cluster(url: str) -> BulkSender:
    """The edge to OpenSearch."""
    client = Client(url, sign_in=lambda: None, ca_file=None, seconds=60)
    return BulkSender(
        client,
        request_seconds=60,
        retry_seconds=60,
        max_bytes=LIMITS.bulk_max_bytes,
        in_flight=LIMITS.bulk_in_flight,
    )


@contextmanager
def consumer(s3: S3Store, index: BulkSender) -> Iterator[Consumer]:
    """A consumer with the default limits."""
    made = Consumer(
        s3, index, NoQueue(), LIMITS, now=lambda: datetime.now(UTC), monotonic=time.monotonic, jitter=random.random
    )
    try:
        yield made
    finally:
        made.close()


def announced(sizes: Mapping[str, int]) -> list[Message]:
    """Announce files (names and stored bytes), each in a message of its own, as S3 does it."""
    return [Message(str(at), "", s3_notification(ref(*one))) for at, one in enumerate(sizes.items())]


def consume(made: Consumer, messages: Sequence[Message], records: int) -> BatchResult:
    """Take what is announced down the road in one batch, and see that each record arrived."""
    result = made.consume(messages, lambda: 3_600.0)
    done = sum(tally.indexed for tally in result.files)
    if done != records or result.failed or result.dead_letters:
        raise SystemExit(f"{done} records of {records} arrived; the figures would be wrong.")
    return result


def ref(name: str, size: int) -> ObjectRef:
    """Announce one object of the stand-in's bucket."""
    return ObjectRef(BUCKET, name, size=size)


def put(folder: Path, files: Mapping[str, bytes]) -> dict[str, int]:
    """Write files where a stand-in bucket will find them; returns their sizes."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return {name: len(content) for name, content in files.items()}


def name_of(number: int) -> str:
    """Name a file as CloudTrail does."""
    day = "AWSLogs/123456789012/CloudTrail/eu-central-1/2026/01/01"
    return f"{day}/123456789012_CloudTrail_eu-central-1_20260101T0000Z_bench{number:011d}.json.gz"
