"""Promises about the account: a bucket that cannot work is refused at once, and only our own uploads are deleted."""

from __future__ import annotations

from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from worker.deploy.account import Account
from worker.errors import SetupError

CODE = "trailsink-code-111122223333-eu-central-1"


def refusal(status: int, region: str = "") -> ClientError:
    headers = {"x-amz-bucket-region": region} if region else {}
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": headers}
    return ClientError(cast("Any", {"Error": {"Code": str(status)}, "ResponseMetadata": metadata}), "HeadBucket")


class FakeAws:
    """A session and all its clients: one account in eu-central-1."""

    region_name = "eu-central-1"

    def __init__(self) -> None:
        self.head: dict[str, Any] | ClientError = {"BucketRegion": "eu-central-1"}
        self.stacks: dict[str, str] = {}  # the code bucket of each stack, by name
        self.objects: list[str] = []
        self.requests: list[tuple[str, Any]] = []
        self.trails: list[dict[str, str]] | None = []
        self.meta = type("Meta", (), {"endpoint_url": "https://s3.example.com"})

    def client(self, _service: str) -> FakeAws:
        return self

    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": "111122223333"}

    def head_bucket(self, **_: str) -> dict[str, Any]:
        if isinstance(self.head, ClientError):
            raise self.head
        return self.head

    def describe_trails(self) -> dict[str, Any]:
        if self.trails is None:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "DescribeTrails")
        return {"trailList": self.trails}

    def get_paginator(self, operation: str) -> FakeAws:
        self.operation = operation
        return self

    def paginate(self, *, Bucket: str = "", Prefix: str = "") -> list[dict[str, Any]]:  # noqa: N803 - as in boto3
        if self.operation == "list_objects_v2":
            assert Bucket == CODE
            return [{"Contents": [{"Key": key} for key in self.objects if key.startswith(Prefix)]}, {}]
        parameters = {
            name: [{"ParameterKey": "CodeBucket", "ParameterValue": code}] for name, code in self.stacks.items()
        }
        return [{"Stacks": [{"StackName": name, "Parameters": values} for name, values in parameters.items()]}]

    def __getattr__(self, name: str) -> Any:
        if name not in ("put_object", "create_bucket", "put_public_access_block", "delete_object", "delete_bucket"):
            raise AttributeError(name)
        return lambda **request: self.requests.append((name, request))


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws()


@pytest.fixture
def account(aws: FakeAws) -> Account:
    return Account(cast("Any", aws))


def test_a_bucket_of_this_region_is_accepted(account: Account) -> None:
    """S3 notifies queues of its own region, so this one can work."""
    account.check_bucket("trail")


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        (refusal(404), "There is no bucket trail."),
        (refusal(403), "The bucket trail cannot be accessed: 403."),
        (refusal(403, "eu-central-1"), "The bucket trail cannot be accessed: 403."),
        (
            refusal(301, "eu-west-1"),
            "The bucket trail is in eu-west-1, not in eu-central-1: set AWS_REGION=eu-west-1.",
        ),
        (
            {"BucketRegion": "eu-west-1"},
            "The bucket trail is in eu-west-1, not in eu-central-1: set AWS_REGION=eu-west-1.",
        ),
    ],
)
def test_a_bucket_that_cannot_work_is_refused_in_one_sentence(
    aws: FakeAws, account: Account, head: dict[str, Any] | ClientError, sentence: str
) -> None:
    """Otherwise CloudFormation finds out, after ten minutes and with a rollback."""
    aws.head = head

    with pytest.raises(SetupError) as failure:
        account.check_bucket("trail")

    assert str(failure.value) == sentence


def test_trails_are_those_that_write_to_the_bucket(aws: FakeAws, account: Account) -> None:
    """Not being allowed to list them is another answer than none."""
    aws.trails = [{"Name": "audit", "S3BucketName": "trail"}, {"Name": "other", "S3BucketName": "other"}]
    names = account.trails("trail")
    aws.trails = None

    assert (names, account.trails("trail")) == (["audit"], None)


@pytest.mark.parametrize("region", ["eu-central-1", "us-east-1"])
def test_a_bucket_for_uploads_is_created_once_and_closed_to_the_public(aws: FakeAws, region: str) -> None:
    """us-east-1 is the one region that S3 refuses as a location constraint."""
    aws.head, aws.region_name = refusal(404), region

    bucket, key, url = Account(cast("Any", aws)).upload(b"bundle", "zip", "")

    location = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    (create, created), (block, blocked), (put, _) = aws.requests
    assert bucket == f"trailsink-code-111122223333-{region}"
    assert (create, created) == ("create_bucket", {"Bucket": bucket} | location)
    assert (block, set(blocked["PublicAccessBlockConfiguration"].values())) == ("put_public_access_block", {True})
    assert (put, url) == ("put_object", f"https://s3.example.com/{bucket}/{key}")


def test_the_key_of_an_upload_changes_only_with_its_content(aws: FakeAws, account: Account) -> None:
    """An unchanged bundle must not be a change of the stack."""
    keys = [account.upload(body, "zip", "code")[1] for body in (b"bundle", b"bundle", b"another")]

    assert keys[0] == keys[1] != keys[2]
    assert keys[0].startswith("trailsink/")
    assert [request["Bucket"] for _, request in aws.requests] == ["code"] * 3


def test_the_bucket_for_uploads_stays_while_another_stack_has_its_bundle_in_it(aws: FakeAws, account: Account) -> None:
    """Its next change of settings would fail without the bundle."""
    aws.stacks = {"trail": CODE, "second": CODE, "third": "another"}

    sentence = account.remove_code("trail")

    assert sentence == f"The bucket {CODE} stays, because the stack second has its bundle in it."
    assert aws.requests == []


def test_the_bucket_for_uploads_is_deleted_with_the_uploads_only(aws: FakeAws, account: Account) -> None:
    """S3 refuses to delete a bucket in which anything else lies, and that is right."""
    aws.stacks, aws.objects = {"trail": CODE}, ["trailsink/1.zip", "notes.txt", "trailsink/2.yaml"]

    sentence = account.remove_code("trail")

    assert sentence == f"The bucket {CODE} with the bundle is deleted."
    assert [(name, request.get("Key")) for name, request in aws.requests] == [
        ("delete_object", "trailsink/1.zip"),
        ("delete_object", "trailsink/2.yaml"),
        ("delete_bucket", None),
    ]
