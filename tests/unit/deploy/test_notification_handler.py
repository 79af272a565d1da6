"""Promises about the bucket's new configuration: our old entry goes, others stay, and a conflict is one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from worker.deploy.notification_handler import NotificationVariables, updated_configuration
from worker.errors import SetupError

QUEUE = "arn:aws:sqs:eu-central-1:111122223333:trail"
OTHER = {"Id": "siem", "QueueArn": "arn:other", "Events": ["s3:ObjectRemoved:*"]}


def variables(
    *, bucket: str = "trail", id_: str = "ours", queue: str = QUEUE, event_bridge: bool = False
) -> NotificationVariables:
    return NotificationVariables(bucket, id_, queue, "AWSLogs/", ".json.gz", event_bridge)


def update(
    existing: dict[str, Any], own: NotificationVariables, previous: NotificationVariables | None = None
) -> dict[str, Any]:
    return updated_configuration(existing, variables=own, previous=previous or own)


def test_our_entry_is_added_to_those_of_others() -> None:
    """S3 replaces the whole configuration."""
    wanted = variables()

    configuration = update({"QueueConfigurations": [OTHER]}, wanted)

    assert configuration == {"QueueConfigurations": [OTHER, wanted.notification.entry]}


def test_our_previous_entry_in_the_same_bucket_is_removed() -> None:
    """Both would overlap, and S3 would refuse the new one."""
    previous, renamed = variables(id_="before"), variables(id_="after")
    existing = {"QueueConfigurations": [OTHER, previous.notification.entry]}

    configuration = update(existing, renamed, previous)

    assert configuration == {"QueueConfigurations": [OTHER, renamed.notification.entry]}


def test_the_entry_of_another_bucket_is_not_looked_for_in_this_one() -> None:
    """In another bucket, an entry of the same id may be another stack's."""
    previous, moved = variables(bucket="first", id_="before"), variables(bucket="second", id_="after")
    namesake = {"Id": "before", "QueueArn": QUEUE, "Events": ["s3:ObjectRemoved:*"]}

    configuration = update({"QueueConfigurations": [namesake]}, moved, previous)

    assert configuration == {"QueueConfigurations": [namesake, moved.notification.entry]}


def test_without_a_queue_only_event_bridge_is_enabled() -> None:
    """Then EventBridge announces each file, and an entry of ours would do so a second time."""
    previous, wanted = variables(), variables(event_bridge=True)
    existing = {"QueueConfigurations": [OTHER, previous.notification.entry]}

    configuration = update(existing, wanted, previous)

    assert configuration == {"QueueConfigurations": [OTHER], "EventBridgeConfiguration": {}}


def test_a_conflict_is_refused_with_the_other_entry_and_the_ways_out() -> None:
    """S3's own message names no entry."""
    existing = {"QueueConfigurations": [OTHER | {"Events": ["s3:ObjectCreated:*"]}]}

    with pytest.raises(SetupError) as failure:
        update(existing, variables())

    assert str(failure.value) == (
        "Bucket trail cannot announce AWSLogs/*.json.gz to our queue, because configuration siem announces "
        "s3:ObjectCreated:* under any prefix and any suffix to queue arn:other. S3 allows one destination for each "
        "key: choose another prefix, or feed the queue from that topic or from EventBridge."
    )


@pytest.mark.parametrize(
    ("event_bridge", "sentence"),
    [
        (False, f"Bucket trail announces AWSLogs/*.json.gz to {QUEUE}"),
        (True, "Bucket trail announces everything to EventBridge, and nothing to our queue"),
    ],
)
def test_the_reason_says_what_the_bucket_announces(*, event_bridge: bool, sentence: str) -> None:
    """CloudFormation shows it among the stack's events."""
    assert str(variables(event_bridge=event_bridge)) == sentence


def test_the_physical_id_names_bucket_and_configuration() -> None:
    """By another one, CloudFormation would delete every deployed notification at the next update."""
    assert variables().physical_id == "trailsink-notification:trail:ours"
    assert variables(queue="arn:another").physical_id == variables().physical_id


@pytest.mark.parametrize(
    ("physical_id", "place"),
    [
        ("trailsink-notification:second:before", ("second", "before")),
        ("trailsink-notification:trail:ours", ("trail", "ours")),
        ("trailsink-Notification-1ABCDEF234567", ("trail", "ours")),
        ("trailsink-notification::", ("trail", "ours")),
        ("trailsink-notification:second", ("trail", "ours")),
        ("", ("trail", "ours")),
    ],
)
def test_the_physical_id_says_where_our_entry_was(physical_id: str, place: tuple[str, str]) -> None:
    """The queue is always the environment's: only with it is an entry ours."""
    previous = variables().previous(physical_id)

    assert (previous.bucket, previous.notification_id) == place
    assert previous.queue_arn == QUEUE
