"""Promises about AWS sessions: the region is heard, and its absence is a sentence."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.support.owned_buckets import ACCOUNT, STRANGER, owned_buckets
from worker.aws.session import config, expect_bucket_owner, open_session
from worker.errors import SetupError


def test_the_region_is_the_one_of_either_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 itself reads only AWS_DEFAULT_REGION."""
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert open_session().region_name == "eu-west-3"

    monkeypatch.delenv("AWS_REGION")
    assert open_session().region_name == "eu-central-1"


def test_without_a_region_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3's own error comes much later, from the first client."""
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    with pytest.raises(SetupError, match="set AWS_REGION"):
        open_session()


def test_a_profile_that_does_not_exist_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error in AWS_PROFILE must not be a traceback."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    with pytest.raises(SetupError, match="nobody"):
        open_session()


def test_calls_are_bounded_and_retried_by_botocore_alone() -> None:
    """One retry layer per neighbour: attempts add up, they do not multiply."""
    made: Any = config(connections=3, read_seconds=7.0)

    assert (made.connect_timeout, made.read_timeout, made.max_pool_connections) == (5, 7.0, 3)
    assert made.retries == {"mode": "standard", "total_max_attempts": 4}


@pytest.mark.parametrize(
    ("owner", "expected", "refused"), [(ACCOUNT, ACCOUNT, False), (STRANGER, ACCOUNT, True), (STRANGER, "", False)]
)
def test_every_read_names_the_account_that_must_own_the_bucket(*, owner: str, expected: str, refused: bool) -> None:
    """Anybody can take the name of a bucket that was deleted, and let everybody read in it."""
    with owned_buckets() as s3:
        s3.owners["trail"] = owner
        client = boto3.Session("key", "secret", region_name="eu-central-1").client("s3", endpoint_url=s3.url)
        expect_bucket_owner(client, expected)
        calls = (
            lambda: client.get_object(Bucket="trail", Key="AWSLogs/1.json.gz"),
            lambda: client.list_objects_v2(Bucket="trail"),
            lambda: client.get_bucket_notification_configuration(Bucket="trail"),
        )
        errors = []
        for call in calls:
            try:
                call()
            except ClientError as error:
                errors.append(error.response["Error"]["Code"])

    assert errors == (["AccessDenied"] * 3 if refused else [])
    assert {named for _, _, named in s3.requests} == {expected}
