"""Stacks created, updated, failed and deleted on a CloudFormation that really creates queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest

from worker.deploy.account import Account
from worker.deploy.code_bucket import CodeBucket
from worker.deploy.stack import Stack
from worker.errors import SetupError

if TYPE_CHECKING:
    from tests.conftest import Bench

GOOD = """
Parameters:
  Seconds:
    Type: Number
    Default: 30
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: queue-of-a-stack
      VisibilityTimeout: !Ref Seconds
Outputs:
  Url:
    Value: !Ref Queue
"""
BROKEN = """
Resources:
  First:
    Type: AWS::SQS::Queue
    Properties: {QueueName: created-first}
  Second:
    Type: Custom::Missing
    DependsOn: First
    Properties: {ServiceToken: "arn:aws:lambda:us-east-1:000000000000:function:not-there"}
"""


def url(template: str) -> str:
    """Upload a template, as the command does."""
    session = boto3.Session()
    return CodeBucket(session, Account(session).id).upload(template.encode(), "yaml").url


@pytest.fixture
def new_stack(bench: Bench) -> Stack:
    assert bench.prefix
    return Stack(boto3.client("cloudformation"), "a-stack", sleep=lambda _: None)


def create(new_stack: Stack, template: str = GOOD, **parameters: str) -> list[str]:
    """Create and execute a change set; returns its events, by resource and status."""
    assert new_stack.create_change_set(url(template), parameters, {"Seconds"})
    return [f"{event.logical_id} {event.status}" for event in new_stack.execute_change_set()]


def test_a_stack_is_described_created_and_updated(new_stack: Stack, bench: Bench) -> None:
    """An operator agrees to what the changes say, so they must say what happens."""
    created = [str(change) for change in new_stack.create_change_set(url(GOOD), {"Seconds": "45"}, {"Seconds"})]
    events = [f"{event.logical_id} {event.status}" for event in new_stack.execute_change_set()]

    queue = new_stack.outputs()["Url"]
    unchanged = new_stack.create_change_set(url(GOOD), {}, {"Seconds"})
    updated = [str(change) for change in new_stack.create_change_set(url(GOOD), {"Seconds": "60"}, {"Seconds"})]
    list(new_stack.execute_change_set())

    assert created == ["create Queue (AWS::SQS::Queue)"]
    assert events[-1] == "a-stack CREATE_COMPLETE"
    assert unchanged == []  # a parameter that is not passed keeps its value
    assert updated == ["modify Queue (AWS::SQS::Queue)"]
    attributes = bench.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["VisibilityTimeout"])["Attributes"]
    assert attributes == {"VisibilityTimeout": "60"}


def test_a_change_set_that_is_declined_leaves_nothing(new_stack: Stack) -> None:
    """A stack in review would block the next deployment."""
    new_stack.create_change_set(url(GOOD), {}, {"Seconds"})

    new_stack.delete_change_set()

    assert new_stack.status() in ("", "DELETE_COMPLETE")


def test_a_stack_that_fails_names_the_first_cause(new_stack: Stack) -> None:
    """The last message of a failed stack never says why."""
    new_stack.create_change_set(url(BROKEN), {}, set())

    with pytest.raises(SetupError, match=r"The first failure was Second \(Custom::Missing\)"):
        list(new_stack.execute_change_set())

    assert new_stack.status() in ("ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED")


def test_a_deletion_is_followed_to_its_end(new_stack: Stack, bench: Bench) -> None:
    """What costs money must really be deleted."""
    create(new_stack)

    events = [f"{event.logical_id} {event.status}" for event in new_stack.delete()]

    assert events[-1] == "a-stack DELETE_COMPLETE"
    assert new_stack.status() == ""
    assert "queue-of-a-stack" not in str(bench.sqs.list_queues().get("QueueUrls"))


def test_an_unknown_parameter_is_refused(new_stack: Stack) -> None:
    """A misspelt parameter must not silently keep its default."""
    with pytest.raises(SetupError, match=r"^The template has no parameter Secondz\.$"):
        new_stack.create_change_set(url(GOOD), {"Secondz": "1"}, {"Seconds"})


def test_a_missing_bucket_is_reported_before_anything_is_created(bench: Bench) -> None:
    """The most common mistake costs a second, not ten minutes."""
    account = Account(boto3.Session())

    account.check_bucket(bench.settings.bucket)
    with pytest.raises(SetupError, match=r"^There is no bucket no-such-bucket\.$"):
        account.check_bucket("no-such-bucket")


def test_a_bucket_of_another_region_is_reported_with_the_fix(bench: Bench) -> None:
    """S3 notifies queues of its own region only."""
    ireland = boto3.client("s3", region_name="eu-west-1")
    ireland.create_bucket(Bucket="in-ireland", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    with pytest.raises(SetupError, match=r"in-ireland is in eu-west-1, not in us-east-1: set AWS_REGION=eu-west-1\."):
        Account(boto3.Session()).check_bucket("in-ireland")

    assert bench.settings.bucket
