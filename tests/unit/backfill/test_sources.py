"""Promises about the sources of a backfill: what S3's responses mean, and how the files of a folder tree are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from tests.support.factories import BUCKET, ref
from worker.aws.session import config
from worker.backfill.listing import ListedKey
from worker.backfill.sources import BucketLister, LocalTree
from worker.errors import Reason, SetupError, UnreadableObject

if TYPE_CHECKING:
    from pathlib import Path

    from types_boto3_s3 import S3Client


def s3_client() -> S3Client:
    return boto3.client("s3", config=config(connections=2))


def test_a_bucket_is_listed_by_page_and_by_folder() -> None:
    """Names as they are, whatever they contain, and the second page where the first one ended."""
    keys = [f"a b+c%2B/ä🐝/{number:05d}" for number in range(5)]
    with mock_aws():
        client = s3_client()
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        for name in keys:
            client.put_object(Bucket=BUCKET, Key=name, Body=b"12345")
        bucket = BucketLister(client, BUCKET, page_size=3)

        first = bucket.page("a b", "")
        second = bucket.page("a b", first.keys[-1].key)

        assert bucket.folders("") == ["a b+c%2B/"]
        assert bucket.folders("a b+c%2B/") == ["a b+c%2B/ä🐝/"]
    assert [*first.keys, *second.keys] == [ListedKey(name, 5) for name in keys]
    assert (first.truncated, second.truncated) == (True, False)


@pytest.mark.parametrize(
    ("code", "status", "sentence"),
    [
        ("NoSuchBucket", 404, "There is no bucket trail."),
        ("AccessDenied", 403, "may not list the bucket trail: they need s3:ListBucket on it."),
        (
            "AuthorizationHeaderMalformed",
            400,
            "The bucket trail is not in eu-central-1: set AWS_REGION to the bucket's region.",
        ),
        ("InternalError", 500, "The bucket trail cannot be listed: InternalError"),
    ],
)
def test_a_listing_that_is_refused_says_what_to_fix(code: str, status: int, sentence: str) -> None:
    """One sentence for the operator, for folders and for pages."""
    client = s3_client()
    with Stubber(client) as stub:
        for _ in range(2):
            stub.add_client_error("list_objects_v2", code, http_status_code=status)

        with pytest.raises(SetupError) as pages:
            BucketLister(client, "trail").page("", "")
        with pytest.raises(SetupError) as folders:
            BucketLister(client, "trail").folders("")

    assert sentence in str(pages.value)
    assert str(folders.value) == str(pages.value)


def test_a_tree_reads_its_files_and_refuses_missing_and_too_large_ones(tmp_path: Path) -> None:
    """With the pipeline's reasons, so that a file on a disk ends like one in a bucket."""
    (tmp_path / "AWSLogs").mkdir()
    (tmp_path / "AWSLogs" / "a").write_bytes(b"12345")
    tree = LocalTree(tmp_path)

    with pytest.raises(UnreadableObject) as missing:
        tree.fetch(ref(key="AWSLogs/b"), 10)
    with pytest.raises(UnreadableObject) as large:
        tree.fetch(ref(key="AWSLogs/a"), 4)

    assert tree.fetch(ref(key="AWSLogs/a"), 5).content == b"12345"
    assert tree.fetch(ref(key="AWSLogs/a"), 5).modified_at.tzinfo is not None
    assert (missing.value.reason, large.value.reason) == (Reason.NOT_FOUND, Reason.TOO_LARGE)


def test_a_name_that_no_bucket_can_hold_is_named(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 cannot be a key, and a file must not be skipped silently."""
    (tmp_path / "caf\udce9").touch()

    with pytest.raises(SetupError, match="is not a name that a bucket can hold"):
        LocalTree(tmp_path).page("", "")


def test_a_folder_tree_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """A typing error in --local."""
    with pytest.raises(SetupError, match="There is no folder"):
        LocalTree(tmp_path / "none")
