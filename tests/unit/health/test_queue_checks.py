"""The doctor on the queues: redrive, retention, age and clock."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tests.unit.health.fake_pipeline import (
    DEAD_LETTER_ARN,
    DEAD_LETTER_URL,
    QUEUE_ARN,
    QUEUE_URL,
    Denied,
    FakeCloudWatch,
    FakePipeline,
    FakeSqs,
    make_ages,
    make_sqs,
)
from worker.health.findings import CheckStatus, Finding

WAITING = {"ApproximateNumberOfMessages": "1"}


def check(name: str, sqs: FakeSqs, cloudwatch: object = None) -> Finding:
    """The finding of one check with these queues."""
    return FakePipeline({"sqs": sqs} | ({"cloudwatch": cloudwatch} if cloudwatch else {})).findings()[name]


def test_a_missing_queue_is_a_fault_that_names_the_setting() -> None:
    """A typing error in one variable, or the wrong region."""
    sqs = make_sqs()
    del sqs.queues[QUEUE_URL]

    found = FakePipeline({"sqs": sqs}).findings()

    assert found["source queue"] == Finding(
        CheckStatus.FAULT,
        "source queue",
        f"there is no queue {QUEUE_URL} in eu-west-1",
        "set TRAILSINK_QUEUE_URL, and AWS_REGION to its region",
    )
    assert found["redrive policy"].evidence == "the source queue cannot be checked"
    assert found["dead-letter queue"].status is found["dead letters"].status is CheckStatus.OK


@pytest.mark.parametrize(
    ("url", "name", "setting"),
    [
        (QUEUE_URL, "source queue", "TRAILSINK_QUEUE_URL"),
        (DEAD_LETTER_URL, "dead-letter queue", "TRAILSINK_DEAD_LETTER_QUEUE_URL"),
    ],
)
def test_a_fifo_queue_is_a_fault(url: str, name: str, setting: str) -> None:
    """S3 cannot send to one, so nothing would ever arrive."""
    sqs = make_sqs()
    sqs.queues[url]["FifoQueue"] = "true"

    found = check(name, sqs)

    assert (found.status, found.fix) == (CheckStatus.FAULT, f"create a standard queue, and set {setting} to it")
    assert "is a FIFO queue" in found.evidence


@pytest.mark.parametrize(
    ("target", "receives", "status", "evidence"),
    [
        (DEAD_LETTER_ARN, 60, "ok", "to the dead-letter queue after 60 receives"),
        (DEAD_LETTER_ARN, 59, "warning", "to the dead-letter queue after 59 receives; 60 outlast 36 hours"),
        (DEAD_LETTER_ARN, 5, "warning", "to the dead-letter queue after 5 receives; 60 outlast 36 hours"),
        (DEAD_LETTER_ARN, 4, "fault", "maxReceiveCount is 4: throttling alone makes letters"),
        ("arn:another", 60, "fault", "it points to arn:another"),
        (None, 0, "fault", "it points to nothing"),
    ],
)
def test_the_redrive_policy_must_point_to_the_dead_letter_queue_but_not_too_soon(
    target: str | None, receives: int, status: str, evidence: str
) -> None:
    """Without it a message that crashes the consumer goes round for ever; with few receives, healthy ones end there."""
    policy = json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": receives}) if target else ""

    finding = check("redrive policy", make_sqs({"RedrivePolicy": policy}))

    assert (finding.status, finding.evidence) == (status, evidence)
    assert ("maxReceiveCount" in finding.fix) == (status != "ok")


@pytest.mark.parametrize(
    ("policy", "status", "evidence"),
    [
        ({}, "ok", "allowAll"),
        ({"redrivePermission": "byQueue", "sourceQueueArns": [QUEUE_ARN]}, "ok", "byQueue"),
        ({"redrivePermission": "byQueue", "sourceQueueArns": ["arn:x"]}, "fault", "byQueue, without the source queue"),
        ({"redrivePermission": "denyAll"}, "fault", "denyAll, without the source queue"),
    ],
)
def test_the_dead_letter_queue_must_accept_letters_of_the_source(
    policy: dict[str, object], status: str, evidence: str
) -> None:
    """Otherwise SQS cannot move anything there."""
    finding = check("redrive allow policy", make_sqs(None, {"RedriveAllowPolicy": json.dumps(policy)}))

    assert (finding.status, finding.evidence) == (status, evidence)
    assert (QUEUE_ARN in finding.fix) == (status != "ok")


@pytest.mark.parametrize(
    ("source", "dead_letters", "status", "evidence", "url"),
    [
        ("1209600", "1209600", "ok", "messages 14d, letters 14d", ""),
        ("345600", "345601", "ok", "messages 4d, letters 4d", ""),
        (
            "345600",
            "345600",
            "warning",
            "a letter that SQS moves may be deleted before anybody sees it",
            DEAD_LETTER_URL,
        ),
        ("86399", "1209600", "fault", "a cluster that is down for a day loses messages", QUEUE_URL),
    ],
)
def test_messages_and_letters_must_be_kept_long_enough(
    source: str, dead_letters: str, status: str, evidence: str, url: str
) -> None:
    """A letter that SQS moves keeps the age that it had as a message."""
    sqs = make_sqs({"MessageRetentionPeriod": source}, {"MessageRetentionPeriod": dead_letters})

    finding = check("retention of the queues", sqs)

    assert finding.status == status
    assert evidence in finding.evidence
    assert url in finding.fix


@pytest.mark.parametrize(
    ("cloudwatch", "status", "evidence"),
    [
        (make_ages(), "not checked", "CloudWatch has no figure of the last quarter of an hour"),
        (Denied(), "not checked", "AccessDenied: may not get_metric_data"),
        (make_ages(40), "not checked", "40s in the queue, unknown in the dead-letter queue"),
        (make_ages(None, 40), "not checked", "unknown in the queue, 40s in the dead-letter queue"),
        (make_ages(40, 40), "ok", "40s in the queue, 40s in the dead-letter queue"),
        (make_ages(7200), "fault", "2h in the queue, unknown in the dead-letter queue"),
        (
            make_ages(0, 12 * 86_400),
            "warning",
            "0s in the queue, 12d in the dead-letter queue: letters are deleted after 14d",
        ),
        (
            make_ages(7200, 12 * 86_400),
            "fault",
            "2h in the queue, 12d in the dead-letter queue: letters are deleted after 14d",
        ),
    ],
)
def test_old_messages_and_letters_that_will_be_deleted_are_reported(
    cloudwatch: object, status: str, evidence: str
) -> None:
    """A letter that nobody read in fourteen days is an event that is lost after all. No figure is no age of 0."""
    finding = check("age of the oldest message", make_sqs(WAITING, WAITING), cloudwatch)

    assert (finding.status, finding.evidence) == (status, evidence)
    assert bool(finding.fix) == (status in ("warning", "fault"))


def test_the_newest_figure_counts() -> None:
    """A queue that was drained has nothing old in it any more, whatever CloudWatch knew ten minutes ago."""
    cloudwatch = FakeCloudWatch({("ApproximateAgeOfOldestMessage", "trailsink"): [(1, 30), (10, 7200)]})

    finding = check("age of the oldest message", make_sqs(WAITING), cloudwatch)

    assert (finding.status, finding.evidence) == ("ok", "30s in the queue, 0s in the dead-letter queue")


@pytest.mark.parametrize(("seconds", "status"), [(0, "ok"), (-120, "fault"), (120, "fault")])
def test_a_clock_that_is_off_is_a_fault(seconds: int, status: str) -> None:
    """AWS refuses signatures that are five minutes old, or early."""
    sqs = make_sqs()
    sqs.clock_off = timedelta(seconds=seconds)

    finding = check("clock", sqs)

    assert finding.status == status
    assert finding.fix.startswith("set this machine's clock" if seconds else "")
