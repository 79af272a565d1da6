"""Promises about the edges of a backfill: what a listing's and a queue's answers mean, and a folder tree's files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from moto import mock_aws

from tests.support.factories import BUCKET, ref
from worker.aws.session import config
from worker.aws.sqs import SqsQueue
from worker.backfill.listing import ListedKey
from worker.backfill.sources import BucketLister, LocalTree
from worker.errors import Reason, SetupError, UnreadableObject

if TYPE_CHECKING:
    from pathlib import Path

    from types_boto3_s3 import S3Client

QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/trail"


def s3_client() -> S3Client:
    return boto3.client("s3", config=config(connections=2))


def test_a_bucket_is_listed_by_page_and_by_folder() -> None:
    """Names as they are, whatever is in them, and the second page where the first one ended."""
    keys = [f"a b+c%2B/ä🐝/{number:05d}" for number in range(5)]
    with mock_aws():
        client = s3_client()
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        for name in keys:
            client.put_object(Bucket=BUCKET, Key=name, Body=b"12345")
        bucket = BucketLister(client, BUCKET, most=3)

        first = bucket.page("a b", "")
        second = bucket.page("a b", first.listed[-1].key)

        assert bucket.folders("") == ["a b+c%2B/"]
        assert bucket.folders("a b+c%2B/") == ["a b+c%2B/ä🐝/"]
    assert [*first.listed, *second.listed] == [ListedKey(name, 5) for name in keys]
    assert (first.more, second.more) == (True, False)


@pytest.mark.parametrize(
    ("code", "status", "sentence"),
    [
        ("NoSuchBucket", 404, "There is no bucket trail."),
        ("AccessDenied", 403, "may not list s3://trail: they need s3:ListBucket on it."),
        ("AuthorizationHeaderMalformed", 400, "The bucket trail is not in eu-central-1: set the region to its own."),
        ("InternalError", 500, "The bucket trail cannot be listed: InternalError"),
    ],
)
def test_a_listing_that_is_refused_says_what_to_mend(code: str, status: int, sentence: str) -> None:
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


def answered(*answers: dict[str, Any] | str) -> list[list[str]]:
    """What `announce` makes of each answer to three messages; a text is an error's code."""
    client = boto3.client("sqs", config=config(connections=1))
    with Stubber(client) as stub:
        for answer in answers:
            if isinstance(answer, str):
                stub.add_client_error("send_message_batch", answer, http_status_code=400)
            else:
                stub.add_response("send_message_batch", answer, {"QueueUrl": QUEUE, "Entries": ANY})
        return [SqsQueue(client, QUEUE, "").announce(["a", "b", "c"]) for _ in answers]


def test_each_message_is_told_whether_it_was_taken() -> None:
    """One of three that was not must not be lost with the two that were, nor bring those again."""
    failed = {"Id": "1", "SenderFault": False, "Code": "InternalError"}

    assert answered({"Successful": [], "Failed": [failed]}, {"Successful": [], "Failed": []}, "RequestThrottled") == [
        ["", "sqs:InternalError", ""],
        ["", "", ""],
        ["sqs:RequestThrottled"] * 3,
    ]


def test_a_tree_reads_its_files_and_says_which_are_gone_or_too_large(tmp_path: Path) -> None:
    """In the words of the pipeline, so that a file on a disk ends like one in a bucket."""
    (tmp_path / "AWSLogs").mkdir()
    (tmp_path / "AWSLogs" / "a").write_bytes(b"12345")
    tree = LocalTree(tmp_path)

    with pytest.raises(UnreadableObject) as gone:
        tree.fetch(ref(key="AWSLogs/b"), 10)
    with pytest.raises(UnreadableObject) as large:
        tree.fetch(ref(key="AWSLogs/a"), 4)

    assert tree.fetch(ref(key="AWSLogs/a"), 5).content == b"12345"
    assert tree.fetch(ref(key="AWSLogs/a"), 5).modified_at.tzinfo is not None
    assert (gone.value.reason, large.value.reason) == (Reason.NOT_FOUND, Reason.TOO_LARGE)


def test_a_name_that_no_bucket_can_have_is_named(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 have no key, and a file must not be passed over in silence."""
    (tmp_path / "caf\udce9").touch()

    with pytest.raises(SetupError, match="is no name that a bucket can have"):
        LocalTree(tmp_path).page("", "")
