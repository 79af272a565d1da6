"""Promises about the account: a bucket that cannot work, or is not the account's, is refused at once."""

from __future__ import annotations

from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from worker.deploy.account import Account
from worker.errors import SetupError

ACCOUNT = "111122223333"
NOT_OURS = (
    "The bucket trail cannot be accessed as one of account 111122223333: 403. If another account owns it, set"
    " TrailBucketAccount."
)


def refusal(status: int, region: str = "") -> ClientError:
    headers = {"x-amz-bucket-region": region} if region else {}
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": headers}
    return ClientError(cast("Any", {"Error": {"Code": str(status)}, "ResponseMetadata": metadata}), "HeadBucket")


class FakeAws:
    """A session and all its clients: one account in eu-central-1."""

    region_name = "eu-central-1"

    def __init__(self) -> None:
        self.head: dict[str, Any] | ClientError = {"BucketRegion": "eu-central-1"}
        self.expected_owners: list[str] = []
        self.log_errors: dict[str, str] = {}
        self.deleted: list[str] = []
        self.trails: list[dict[str, str]] | None = []

    def client(self, _service: str) -> FakeAws:
        return self

    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": "111122223333"}

    def head_bucket(self, *, Bucket: str, ExpectedBucketOwner: str) -> dict[str, Any]:  # noqa: N803 - as in boto3
        assert Bucket == "trail"
        self.expected_owners.append(ExpectedBucketOwner)
        if isinstance(self.head, ClientError):
            raise self.head
        return self.head

    def delete_log_group(self, *, logGroupName: str) -> None:  # noqa: N803 - as in boto3
        self._delete("log group", logGroupName)

    def delete_resource_policy(self, *, policyName: str) -> None:  # noqa: N803 - as in boto3
        self._delete("policy", policyName)

    def _delete(self, kind: str, name: str) -> None:
        if code := self.log_errors.get(kind):
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, "Delete")
        self.deleted.append(name)

    def describe_trails(self) -> dict[str, Any]:
        if self.trails is None:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "DescribeTrails")
        return {"trailList": self.trails}


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws()


@pytest.fixture
def account(aws: FakeAws) -> Account:
    return Account(cast("Any", aws))


def test_a_bucket_of_this_region_is_accepted(account: Account) -> None:
    """S3 notifies queues of its own region, so this one can work."""
    assert account.check_bucket("trail")


@pytest.mark.parametrize("region", ["", "eu-central-1"])
def test_a_bucket_of_another_account_that_shows_us_nothing_stops_nothing(
    aws: FakeAws, account: Account, region: str
) -> None:
    """The stack's roles may be let in where the operator is not; what S3 refuses them, the first file shows."""
    aws.head = refusal(403, region) if region else refusal(403)

    assert not account.check_bucket("trail", "210987654321")


def test_a_bucket_of_another_account_in_another_region_is_refused(aws: FakeAws, account: Account) -> None:
    """S3 names the region even to whom it refuses."""
    aws.head = refusal(403, "eu-west-1")

    with pytest.raises(SetupError, match="is in eu-west-1"):
        account.check_bucket("trail", "210987654321")


@pytest.mark.parametrize(("owner", "expected"), [("", ACCOUNT), ("210987654321", "210987654321")])
def test_the_bucket_must_belong_to_the_account_that_is_named(
    aws: FakeAws, account: Account, owner: str, expected: str
) -> None:
    """By default our own: anybody can take the name of a bucket that was deleted, and announce files of theirs."""
    account.check_bucket("trail", owner)

    assert aws.expected_owners == [expected]


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        (refusal(404), "There is no bucket trail."),
        (refusal(403), NOT_OURS),
        (refusal(403, "eu-central-1"), NOT_OURS),
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


def test_the_logs_of_a_domain_are_deleted_with_it(aws: FakeAws, account: Account) -> None:
    """The stack retains them as long as the domain stays."""
    lines = list(account.delete_domain_logs("trail"))

    assert aws.deleted == ["/aws/opensearch/trail", "trail-domain-logs"]
    assert lines == ["Its log group /aws/opensearch/trail is deleted.", "Its permission to write there is deleted."]


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("ResourceNotFoundException", ["Its permission to write there is deleted."]),
        (
            "AccessDeniedException",
            [
                "The logs of the domain in /aws/opensearch/trail stay: AccessDeniedException: no.",
                "Its permission to write there is deleted.",
            ],
        ),
    ],
)
def test_logs_that_cannot_be_deleted_stop_nothing(aws: FakeAws, account: Account, code: str, lines: list[str]) -> None:
    """The domain is gone by then; a stack of an older version has deleted them itself."""
    aws.log_errors = {"log group": code}

    assert list(account.delete_domain_logs("trail")) == lines
