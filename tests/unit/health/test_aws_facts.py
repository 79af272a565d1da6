"""Facts of AWS: parsed once, with what is absent as its own value."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest
from botocore.config import Config

from tests.unit.health.fake_pipeline import (
    BUCKET,
    DEAD_LETTER_URL,
    FUNCTION_ARN,
    NOW,
    QUEUE_ARN,
    QUEUE_URL,
    ROLE,
    Denied,
    FakeCloudTrail,
    FakeLambda,
    FakeS3,
    FakeSession,
    make_ages,
    make_mapping,
    make_sqs,
    make_trail,
)
from worker.health.aws_clients import AwsClients
from worker.health.aws_facts import AwsFacts
from worker.health.queue_attributes import QueueAttributes
from worker.health.snapshot import (
    EventSourceMapping,
    FunctionConfiguration,
    Missing,
    Observed,
    T,
    Trail,
    TrailState,
    Unobserved,
)
from worker.settings import Settings

WAITING = {"ApproximateNumberOfMessages": "1"}


def facts(queue_url: str = QUEUE_URL, **services: Any) -> AwsFacts:
    session = FakeSession({"sqs": make_sqs()} | {name.rstrip("_"): service for name, service in services.items()})
    settings = Settings(queue_url=queue_url, dead_letter_queue_url=DEAD_LETTER_URL, bucket=BUCKET)
    return AwsFacts(settings, AwsClients(lambda: cast("Any", session), Config()), NOW)


def observed(value: Observed[T]) -> T:
    assert not isinstance(value, Unobserved), value
    return value


def test_a_queue_has_its_attributes_and_a_clock() -> None:
    """Both come with the same response."""
    sqs = make_sqs({"ApproximateNumberOfMessagesNotVisible": "2", "ApproximateNumberOfMessagesDelayed": "3"} | WAITING)
    sqs.clock_off = timedelta(seconds=90)

    queue = observed(facts(sqs=sqs).source_queue)

    assert (queue.arn, queue.url, queue.visibility_seconds) == (QUEUE_ARN, QUEUE_URL, 1800)
    assert (queue.waiting, queue.in_flight, queue.delayed, queue.messages) == (1, 2, 3, 3)
    assert queue.retention_seconds == 1_209_600
    assert queue.policy("RedrivePolicy")["maxReceiveCount"] == 60
    assert queue.policy("RedriveAllowPolicy") == {}
    assert 88 < (queue.clock_seconds or 0) < 92


def test_a_queue_that_does_not_exist_differs_from_one_that_may_not_be_read() -> None:
    """The first is a fault of the settings."""
    sqs = make_sqs()
    del sqs.queues[QUEUE_URL]

    missing, denied, unset = facts(sqs=sqs), facts(sqs=Denied()), facts("")

    assert missing.source_queue == Missing(f"there is no queue {QUEUE_URL} in eu-west-1")
    assert denied.source_queue == Unobserved("AccessDenied: may not get_queue_attributes")
    assert unset.source_queue == Unobserved("TRAILSINK_QUEUE_URL is not set")
    assert missing.mappings == denied.mappings == Unobserved("the source queue cannot be checked")
    assert isinstance(missing.dead_letter_queue, QueueAttributes)


def test_mappings_and_function_are_parsed() -> None:
    """Lambda leaves out what is not set."""
    vpc = {"VpcId": "vpc-1", "SubnetIds": ["s"], "SecurityGroupIds": ["g"]}
    mappings = [make_mapping(), {"UUID": "u-2", "FunctionArn": f"{FUNCTION_ARN}:live"}]
    known = facts(lambda_=FakeLambda(mappings, 7, vpc, {"A": "b"}))

    assert observed(known.mappings) == [
        EventSourceMapping("u-1", "Enabled", FUNCTION_ARN, 10, True),
        EventSourceMapping("u-2", "", f"{FUNCTION_ARN}:live", None, False),
    ]
    assert [mapping.function for mapping in observed(known.mappings)] == ["loader", "loader"]
    assert observed(known.function) == FunctionConfiguration(ROLE, 300, {"A": "b"}, "vpc-1", ["s"], ["g"])
    assert observed(known.reserved_concurrency) == 7


def test_without_a_mapping_there_is_no_function() -> None:
    """`trailsink run` consumes; Lambda is asked no more."""
    function = FakeLambda([])

    known = facts(lambda_=function)

    assert (known.function, known.reserved_concurrency) == (None, None)
    assert function.requests == ["mappings"]


@pytest.mark.parametrize(
    ("attributes", "letters", "expected"),
    [
        (WAITING, WAITING, (600, 7200)),
        ({}, {}, (None, None)),
        ({"ApproximateNumberOfMessagesDelayed": "1"}, {"ApproximateNumberOfMessagesNotVisible": "1"}, (600, 7200)),
    ],
)
def test_an_empty_queue_has_no_oldest_message(
    attributes: dict[str, str], letters: dict[str, str], expected: tuple[float | None, float | None]
) -> None:
    """CloudWatch still has a figure for minutes after the last message was consumed."""
    known = facts(sqs=make_sqs(attributes, letters), cloudwatch=make_ages(600, 7200))

    assert (known.oldest_message, known.oldest_letter) == expected


def test_the_trails_of_the_bucket_are_parsed() -> None:
    """Others of the account are none of trailsink's business."""
    trail, status = make_trail("main", LatestDeliveryError="AccessDenied")
    other, _ = make_trail("other")
    trails = [(trail | {"S3KeyPrefix": "acme", "SnsTopicARN": "arn:t"}, status), (other | {"S3BucketName": "x"}, {})]

    known = facts(cloudtrail=FakeCloudTrail(trails))

    assert observed(known.trails) == [Trail("main", "arn:trail/main", "acme", "arn:t")]
    assert observed(known.trail_states) == [
        TrailState("main", BUCKET, True, NOW - timedelta(minutes=3), "AccessDenied")
    ]


def test_uploads_are_those_that_follow_a_name() -> None:
    """S3 lists what comes after a name, without it."""
    times = {f"f/{name}": NOW for name in ("a", "aa", "b", "c")} | {"g/d": NOW}

    uploads = facts(s3=FakeS3(objects=times)).uploads_after(BUCKET, "f/", "f/aa")

    assert [key for key, _ in uploads] == ["f/b", "f/c"]
