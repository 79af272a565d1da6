"""Makes CloudTrail files for tests: real events of tests/data with ids of their own, and events made to measure."""

from __future__ import annotations

import gzip
import itertools
import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parents[1] / "data"
ACCOUNT = "AWSLogs/218007301253/CloudTrail/us-east-1"


def real_files() -> dict[str, bytes]:
    """The delivery files of tests/data, gzipped, by key."""
    found = sorted((DATA / ACCOUNT).rglob("*.json.gz"))
    return {path.relative_to(DATA).as_posix(): path.read_bytes() for path in found}


def real_records() -> list[dict[str, Any]]:
    """The 2,900 records of those files."""
    return [record for body in real_files().values() for record in json.loads(gzip.decompress(body))["Records"]]


def event(**members: Any) -> dict[str, Any]:
    """A small API event that is valid by default."""
    return {
        "eventVersion": "1.11",
        "eventID": str(uuid.uuid4()),
        "eventTime": "2026-03-01T10:00:00Z",
        "eventSource": "s3.amazonaws.com",
        "eventName": "GetObject",
        "awsRegion": "eu-west-1",
        "eventCategory": "Data",
        "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::123456789012:user/ada", "userName": "ada"},
        "requestParameters": {"bucketName": "b", "key": "k"},
    } | members


def log_file(*records: dict[str, Any] | bytes) -> bytes:
    """A gzipped CloudTrail file of these records; bytes go in as they are."""
    texts = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in records]
    return gzip.compress(b'{"Records":[' + b",".join(texts) + b"]}")


def fresh_files(count: int, records: int) -> Iterator[tuple[str, bytes, set[str]]]:
    """Files of real events with fresh ids: key, gzipped body, the ids in it."""
    events = itertools.cycle(real_records())
    for number in range(count):
        several = [next(events) | {"eventID": str(uuid.uuid4())} for _ in range(records)]
        key = f"{ACCOUNT}/2023/07/10/218007301253_CloudTrail_us-east-1_20230710T1200Z_{number:016d}.json.gz"
        yield key, log_file(*several), {one["eventID"] for one in several}
