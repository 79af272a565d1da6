"""Promises about where selectors are: a file or an object, read again when it changes, never half of it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from tests.support.factories import BUCKET, as_json, event
from tests.support.fakes import Clock
from worker.aws.filters import FilterSource, SelectorFile, object_address
from worker.aws.session import config
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from types_boto3_s3 import S3Client


@pytest.fixture
def bucket() -> Iterator[S3Client]:
    with mock_aws():
        client: S3Client = boto3.client("s3", region_name="us-east-1", config=config(connections=1))
        client.create_bucket(Bucket=BUCKET)
        yield client


def content(name: str = "GetObject", **changes: Any) -> bytes:
    field = {"Field": "eventName", "Equals": [name]} | changes
    return json.dumps([{"Name": "noise", "FieldSelectors": [field]}]).encode()


def no_client() -> S3Client:
    raise AssertionError("a file needs no client")


def test_a_file_and_an_object_are_read_alike(bucket: S3Client, tmp_path: Path) -> None:
    """Tried on a laptop, and deployed as an object: the same digest proves that it is the same filter."""
    path = tmp_path / "noise.json"
    path.write_bytes(content())
    bucket.put_object(Bucket=BUCKET, Key="a/noise.json", Body=content())

    selectors = SelectorFile(f"s3://{BUCKET}/a/noise.json", lambda: bucket).read()

    assert selectors == SelectorFile(str(path), no_client).read()


@pytest.mark.parametrize("location", ["s3://", "s3://bucket", "s3://bucket/", "s3://a b/c"])
def test_an_address_that_names_no_object_is_refused(location: str) -> None:
    """Before anything is asked of S3."""
    with pytest.raises(SetupError, match="names no object"):
        object_address(location)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"{", "it is not JSON"),
        (content(Field="eventname"), "eventname is no field of a record"),
        (content(Field="eventSource", Equals=[], EndsWith=["amazonaws.com"]), "every event of CloudTrail files"),
        (b" " * (256 << 10) + content(), "is larger than 256 KiB"),
    ],
)
def test_what_is_refused_is_refused_in_one_sentence(tmp_path: Path, body: bytes, problem: str) -> None:
    """The consumer does not start with it."""
    path = tmp_path / "noise.json"
    path.write_bytes(body)

    with pytest.raises(SetupError) as caught:
        SelectorFile(str(path), no_client).read()

    assert problem in str(caught.value)
    assert str(path) in str(caught.value)


def test_what_cannot_be_read_is_named(bucket: S3Client, tmp_path: Path) -> None:
    """A consumer without its filter would index, and bill, what was not wanted: it does not start."""
    with pytest.raises(SetupError, match=f"s3://{BUCKET}/none cannot be read: NoSuchKey"):
        SelectorFile(f"s3://{BUCKET}/none", lambda: bucket).read()
    with pytest.raises(SetupError, match="none cannot be read: No such file"):
        SelectorFile(str(tmp_path / "none"), no_client).read()


@pytest.mark.parametrize("place", ["bucket", "folder"])
def test_a_change_is_read_within_a_minute(bucket: S3Client, tmp_path: Path, place: str) -> None:
    """A function keeps its consumer for hours; what is refused, or gone, changes nothing."""
    path, clock, warnings = tmp_path / "noise.json", Clock(), list[str]()

    def write(body: bytes) -> None:
        if place == "bucket":
            bucket.put_object(Bucket=BUCKET, Key="noise.json", Body=body)
        else:
            path.write_bytes(body)
            os.utime(path, ns=(clock_ns := int(clock.seconds * 1e9), clock_ns))

    write(content("GetObject"))
    location = f"s3://{BUCKET}/noise.json" if place == "bucket" else str(path)
    source = FilterSource(SelectorFile(location, lambda: bucket), monotonic=clock.tick, warn=warnings.append)
    first = source.current()

    clock.move(61)
    assert source.current() is first
    write(content("PutObject"))
    assert source.current() is first, "not looked at yet"
    clock.move(61)
    second = source.current()
    assert (second.match_text(as_json(event(eventName="PutObject"))), warnings) == (
        "noise",
        [f"{location} has changed: its digest is {second.digest} now."],
    )

    write(b"[]")
    clock.move(61)
    assert source.current() is second
    clock.move(61)
    assert source.current() is second
    assert len(warnings) == 2, "a refused file is named once"
    assert "The filters stay as they are" in warnings[1]


def test_an_object_that_is_gone_changes_nothing(bucket: S3Client) -> None:
    """Deleting the object is no way to say that everything is wanted again."""
    clock, warnings = Clock(), list[str]()
    bucket.put_object(Bucket=BUCKET, Key="noise.json", Body=content())
    file = SelectorFile(f"s3://{BUCKET}/noise.json", lambda: bucket)
    source = FilterSource(file, monotonic=clock.tick, warn=warnings.append)
    first = source.current()

    bucket.delete_object(Bucket=BUCKET, Key="noise.json")
    clock.move(61)

    assert source.current() is first
    assert "NoSuchKey" in warnings[0]
