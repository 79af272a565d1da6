"""Stacks made, changed, broken and deleted on a CloudFormation that really makes queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest

from worker.deploy.account import Account
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
      QueueName: made-by-a-stack
      VisibilityTimeout: !Ref Seconds
Outputs:
  Url:
    Value: !Ref Queue
"""
BROKEN = """
Resources:
  First:
    Type: AWS::SQS::Queue
    Properties: {QueueName: made-first}
  Second:
    Type: Custom::Missing
    DependsOn: First
    Properties: {ServiceToken: "arn:aws:lambda:us-east-1:000000000000:function:not-there"}
"""


def url(template: str) -> str:
    """Put a template into a bucket, as the command does."""
    return Account(boto3.Session()).upload(template.encode(), "yaml", "")[2]


@pytest.fixture
def a_stack(bench: Bench) -> Stack:
    assert bench.prefix
    return Stack(boto3.client("cloudformation"), "a-stack", sleep=lambda _: None)


def make(a_stack: Stack, template: str = GOOD, **parameters: str) -> list[str]:
    """Propose and execute; what happened, by resource and status."""
    assert a_stack.propose(url(template), parameters, {"Seconds"})
    return [f"{one.name} {one.status}" for one in a_stack.execute()]


def test_a_stack_is_proposed_in_words_made_and_changed(a_stack: Stack, bench: Bench) -> None:
    """Nobody likes to say yes to what they cannot read."""
    proposed = [str(change) for change in a_stack.propose(url(GOOD), {"Seconds": "45"}, {"Seconds"})]
    events = [f"{one.name} {one.status}" for one in a_stack.execute()]

    queue = a_stack.outputs()["Url"]
    kept = a_stack.propose(url(GOOD), {}, {"Seconds"})
    changed = [str(change) for change in a_stack.propose(url(GOOD), {"Seconds": "60"}, {"Seconds"})]
    list(a_stack.execute())

    assert proposed == ["make Queue (AWS::SQS::Queue)"]
    assert events[-1] == "a-stack CREATE_COMPLETE"
    assert kept == []  # a parameter that is not given keeps its value
    assert changed == ["change Queue (AWS::SQS::Queue)"]
    seen = bench.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["VisibilityTimeout"])["Attributes"]
    assert seen == {"VisibilityTimeout": "60"}


def test_a_proposal_that_is_declined_leaves_nothing(a_stack: Stack) -> None:
    """A stack in review would stand in the way of the next deploy."""
    a_stack.propose(url(GOOD), {}, {"Seconds"})

    a_stack.withdraw()

    assert a_stack.status() in ("", "DELETE_COMPLETE")


def test_a_stack_that_fails_says_the_first_cause(a_stack: Stack) -> None:
    """The last message of a failed stack never says why."""
    a_stack.propose(url(BROKEN), {}, set())

    with pytest.raises(SetupError, match=r"It began with Second \(Custom::Missing\)"):
        list(a_stack.execute())

    assert a_stack.status() in ("ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED")


def test_a_stack_that_is_deleted_is_watched_to_its_end(a_stack: Stack, bench: Bench) -> None:
    """What costs money must be seen to be gone."""
    make(a_stack)

    events = [f"{one.name} {one.status}" for one in a_stack.delete()]

    assert events[-1] == "a-stack DELETE_COMPLETE"
    assert a_stack.status() == ""
    assert "made-by-a-stack" not in str(bench.sqs.list_queues().get("QueueUrls"))


def test_an_unknown_parameter_is_one_sentence(a_stack: Stack) -> None:
    """A typing error must not become a default."""
    with pytest.raises(SetupError, match=r"^The template has no parameter Secondz\.$"):
        a_stack.propose(url(GOOD), {"Secondz": "1"}, {"Seconds"})


def test_a_bucket_that_is_missing_is_said_before_anything_is_made(bench: Bench) -> None:
    """The commonest mistake costs a second, not ten minutes."""
    account = Account(boto3.Session())

    account.check_bucket(bench.settings.bucket)
    with pytest.raises(SetupError, match=r"^There is no bucket no-such-bucket\.$"):
        account.check_bucket("no-such-bucket")


def test_a_bucket_of_another_region_is_named_with_the_way_out(bench: Bench) -> None:
    """S3 notifies only queues of its own region."""
    elsewhere = boto3.client("s3", region_name="eu-west-1")
    elsewhere.create_bucket(Bucket="in-ireland", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    with pytest.raises(SetupError, match=r"in-ireland is in eu-west-1, not in us-east-1: set AWS_REGION=eu-west-1\."):
        Account(boto3.Session()).check_bucket("in-ireland")

    assert bench.settings.bucket
