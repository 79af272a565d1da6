"""Promises about the bucket's new configuration: our old entry goes, others stay, and a conflict is one sentence."""

from __future__ import annotations

import pytest

from worker.deploy.notification_handler import NotificationProperties, updated_configuration
from worker.errors import SetupError

QUEUE = "arn:aws:sqs:eu-central-1:111122223333:trail"
OTHER = {"Id": "siem", "QueueArn": "arn:other", "Events": ["s3:ObjectRemoved:*"]}


def properties(
    *, bucket: str = "trail", id_: str = "ours", queue: str = QUEUE, event_bridge: bool = False
) -> NotificationProperties:
    return NotificationProperties(bucket, id_, queue, "AWSLogs/", ".json.gz", event_bridge)


def test_our_entry_is_added_to_those_of_others() -> None:
    """S3 replaces the whole configuration."""
    wanted = properties()

    configuration = updated_configuration({"QueueConfigurations": [OTHER]}, properties=wanted, previous=None)

    assert configuration == {"QueueConfigurations": [OTHER, wanted.notification.entry]}


def test_our_previous_entry_in_the_same_bucket_is_removed() -> None:
    """Both would overlap, and S3 would refuse the new one."""
    previous, renamed = properties(id_="before"), properties(id_="after")
    existing = {"QueueConfigurations": [OTHER, previous.notification.entry]}

    configuration = updated_configuration(existing, properties=renamed, previous=previous)

    assert configuration == {"QueueConfigurations": [OTHER, renamed.notification.entry]}


def test_the_entry_of_another_bucket_is_not_looked_for_in_this_one() -> None:
    """In another bucket, an entry of the same id may be another stack's."""
    previous, moved = properties(bucket="first", id_="before"), properties(bucket="second", id_="after")
    namesake = {"Id": "before", "QueueArn": QUEUE, "Events": ["s3:ObjectRemoved:*"]}

    configuration = updated_configuration({"QueueConfigurations": [namesake]}, properties=moved, previous=previous)

    assert configuration == {"QueueConfigurations": [namesake, moved.notification.entry]}


def test_without_a_queue_only_event_bridge_is_enabled() -> None:
    """Then EventBridge announces each file, and an entry of ours would do so a second time."""
    previous, wanted = properties(), properties(queue="", event_bridge=True)
    existing = {"QueueConfigurations": [OTHER, previous.notification.entry]}

    configuration = updated_configuration(existing, properties=wanted, previous=previous)

    assert configuration == {"QueueConfigurations": [OTHER], "EventBridgeConfiguration": {}}


def test_a_conflict_is_refused_with_the_other_entry_and_the_ways_out() -> None:
    """S3's own message names no entry."""
    existing = {"QueueConfigurations": [OTHER | {"Events": ["s3:ObjectCreated:*"]}]}

    with pytest.raises(SetupError) as failure:
        updated_configuration(existing, properties=properties(), previous=None)

    assert str(failure.value) == (
        "Bucket trail cannot announce AWSLogs/*.json.gz to our queue, because configuration siem announces "
        "s3:ObjectCreated:* under any prefix and any suffix to queue arn:other. S3 allows one destination for each "
        "key: choose another prefix, or feed the queue from that topic or from EventBridge."
    )


@pytest.mark.parametrize(
    ("queue", "event_bridge", "sentence"),
    [
        (QUEUE, False, f"Bucket trail announces AWSLogs/*.json.gz to {QUEUE}"),
        (QUEUE, True, f"Bucket trail announces AWSLogs/*.json.gz to {QUEUE}, and everything to EventBridge"),
        ("", True, "Bucket trail announces nothing to our queue, and everything to EventBridge"),
    ],
)
def test_the_reason_says_what_the_bucket_announces(*, queue: str, event_bridge: bool, sentence: str) -> None:
    """CloudFormation shows it among the stack's events."""
    assert str(properties(queue=queue, event_bridge=event_bridge)) == sentence


def test_the_physical_id_names_bucket_and_configuration() -> None:
    """By another one, CloudFormation would delete every deployed notification at the next update."""
    assert properties().physical_id == "trailsink-notification:trail:ours"
    assert properties(queue="arn:another").physical_id == properties().physical_id
