"""The doctor on the trail, and on how its files are announced to the queue."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.health.fake_pipeline import (
    BUCKET,
    QUEUE_ARN,
    Denied,
    FakeCloudTrail,
    FakePipeline,
    FakeS3,
    make_sqs,
    make_trail,
)
from worker.health.findings import CheckStatus

TOPIC, RULE = "arn:aws:sns:eu-west-1:123456789012:trail", "arn:aws:events:eu-west-1:123456789012:rule/files"


def entry(queue_arn: str = QUEUE_ARN, prefix: str = "", suffix: str = "", id_: str = "own") -> dict[str, Any]:
    rules = [{"Name": "Prefix", "Value": prefix}, {"Name": "Suffix", "Value": suffix}]
    return {
        "Id": id_,
        "QueueArn": queue_arn,
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [rule for rule in rules if rule["Value"]]}},
    }


def notifying(*entries: dict[str, Any], **members: Any) -> FakeS3:
    return FakeS3({"QueueConfigurations": list(entries)} | members)


def sns(*endpoints: str) -> Any:
    """A topic with these subscribers."""

    def paginate(*, TopicArn: str) -> list[dict[str, Any]]:  # noqa: N803
        assert TopicArn == TOPIC
        return [{"Subscriptions": [{"Endpoint": endpoint}]} for endpoint in endpoints]

    return SimpleNamespace(get_paginator=lambda _: SimpleNamespace(paginate=paginate))


def events(state: str) -> Any:
    """EventBridge with one rule for the queue."""
    return SimpleNamespace(
        list_rule_names_by_target=lambda **_: {"RuleNames": ["files"]},
        describe_rule=lambda **_: {"State": state, "Arn": RULE},
    )


@pytest.mark.parametrize(
    ("services", "status", "words"),
    [
        ({"s3": notifying(entry())}, "ok", f"s3://{BUCKET}/* to the queue"),
        ({"s3": notifying(entry(prefix="AWSLogs/", suffix=".gz"))}, "ok", f"s3://{BUCKET}/AWSLogs/*.gz to the queue"),
        ({"s3": notifying()}, "fault", "trailsink deploy --set NotificationVersion="),
        ({"s3": notifying(entry("arn:siem", id_="siem"))}, "fault", "configuration siem announces"),
        ({"s3": notifying(entry(), entry("arn:siem", "AWSLogs/", id_="siem"))}, "warning", "ours is own"),
        ({"s3": Denied()}, "not checked", "AccessDenied"),
        (
            {"s3": notifying(TopicConfigurations=[{"TopicArn": TOPIC}]), "sns": sns("x", QUEUE_ARN)},
            "ok", f"by way of {TOPIC}",
        ),
        ({"s3": notifying(TopicConfigurations=[{"TopicArn": TOPIC}]), "sns": sns("x")}, "fault", "does not notify"),
        ({"s3": notifying(EventBridgeConfiguration={}), "events": events("ENABLED")}, "ok", f"by way of {RULE}"),
        ({"s3": notifying(EventBridgeConfiguration={}), "events": events("DISABLED")}, "fault", "does not notify"),
        ({"s3": notifying(EventBridgeConfiguration={}), "events": Denied()}, "not checked", "AccessDenied"),
    ],
)  # fmt: skip
def test_new_files_must_be_announced_to_the_queue(services: dict[str, Any], status: str, words: str) -> None:
    """By the bucket itself, by a topic or by EventBridge; without any, nothing ever arrives."""
    finding = FakePipeline(services).findings()["bucket notification"]

    assert finding.status == status
    assert words in f"{finding.evidence} {finding.fix}"


def test_the_topic_of_the_trail_announces_its_files_too() -> None:
    """CloudTrail can notify a topic of each file; the queue must then allow that topic to send."""
    trail, status = make_trail()
    trails = FakeCloudTrail([(trail | {"SnsTopicARN": TOPIC}, status)])
    sqs = make_sqs({"Policy": json.dumps({"Statement": []})})

    found = FakePipeline({"s3": notifying(), "cloudtrail": trails, "sns": sns(QUEUE_ARN), "sqs": sqs}).findings()

    assert found["bucket notification"].evidence == f"by way of {TOPIC}"
    assert found["queue policy"].evidence == f"does not allow SNS to send for {TOPIC}"


UNSEEN = SimpleNamespace(get_paginator=lambda _: SimpleNamespace(paginate=Denied().list_subscriptions_by_topic))


def test_a_topic_whose_subscribers_nobody_may_list_is_no_fault() -> None:
    """One of another account, say. The queue's policy names it; that it does not name the bucket is right."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Condition": {"ArnEquals": {"aws:SourceArn": TOPIC}},
    }
    sqs = make_sqs({"Policy": json.dumps({"Statement": [statement]})})
    s3 = notifying(TopicConfigurations=[{"TopicArn": TOPIC}])

    found = FakePipeline({"s3": s3, "sns": UNSEEN, "sqs": sqs}).findings()

    assert found["bucket notification"].status == "not checked"
    assert (found["queue policy"].status, found["queue policy"].evidence) == ("ok", f"allows SNS to send for {TOPIC}")


def test_such_a_topic_hides_no_rule() -> None:
    """EventBridge feeds the queue, and the scanner's topic is beside it."""
    s3 = notifying(TopicConfigurations=[{"TopicArn": TOPIC}], EventBridgeConfiguration={})

    found = FakePipeline({"s3": s3, "sns": UNSEEN, "events": events("ENABLED")}).findings()

    assert found["bucket notification"].evidence == f"by way of {RULE}"


def test_a_topic_of_somebody_else_hides_no_other() -> None:
    """The bucket notifies a scanner's topic, too, whose subscribers are not ours to list."""
    ours = sns(QUEUE_ARN)

    def paginate(*, TopicArn: str) -> Any:  # noqa: N803
        return (ours if TopicArn == TOPIC else UNSEEN).get_paginator("").paginate(TopicArn=TopicArn)

    s3 = notifying(TopicConfigurations=[{"TopicArn": name} for name in ("arn:aws:sns:x:999999999999:scan", TOPIC)])
    found = FakePipeline(
        {"s3": s3, "sns": SimpleNamespace(get_paginator=lambda _: SimpleNamespace(paginate=paginate))}
    ).findings()

    assert found["bucket notification"].evidence == f"by way of {TOPIC}"


@pytest.mark.parametrize(
    ("prefix", "suffix", "status"),
    [
        ("", "", "ok"),
        ("acme/", ".json.gz", "ok"),
        ("acme/AWSLogs/123/", "", "warning"),
        ("AWSLogs/", "", "fault"),
        ("", ".csv", "fault"),
    ],
)
def test_the_announced_prefix_must_cover_where_the_trail_writes(prefix: str, suffix: str, status: str) -> None:
    """A trail with a key prefix of its own, and a notification as in the tutorial: nothing ever arrives."""
    trail, logging = make_trail()
    services = {
        "s3": notifying(entry(prefix=prefix, suffix=suffix)),
        "cloudtrail": FakeCloudTrail([(trail | {"S3KeyPrefix": "acme"}, logging)]),
    }

    finding = FakePipeline(services).findings()["prefix"]

    assert finding.status == status
    assert ("--set TrailPrefix=acme/AWSLogs/" in finding.fix) == (status != "ok")


@pytest.mark.parametrize(
    ("key_prefix", "written", "status", "fix"),
    [
        ("org=acme", "org%3Dacme/AWSLogs/", "ok", ""),
        ("org=acme", "org=acme/AWSLogs/", "fault", "replace it by org%3Dacme/AWSLogs/"),
        ("two words", "two+words/AWSLogs/", "ok", ""),
        (
            "two words",
            "two/",
            "fault",
            "the prefix two+words/AWSLogs/ (`trailsink deploy --set 'TrailPrefix=two words/",
        ),
        ("Büro", "B%C3%BCro/AWSLogs/", "ok", ""),
        ("Büro", "Büro/AWSLogs/", "fault", "replace it by B%C3%BCro/AWSLogs/"),
    ],
)
def test_a_filter_is_compared_as_s3_compares_it(key_prefix: str, written: str, status: str, fix: str) -> None:
    """On AWS a raw one announces no file at all, and nothing says so."""
    trail, logging = make_trail()
    services = {
        "s3": notifying(entry(prefix=written)),
        "cloudtrail": FakeCloudTrail([(trail | {"S3KeyPrefix": key_prefix}, logging)]),
    }

    finding = FakePipeline(services).findings()["prefix"]

    assert (finding.status, fix in finding.fix) == (status, True)


def test_the_prefix_of_a_stack_needs_no_trail() -> None:
    """A trail of another account is not seen from here."""
    services = {"s3": notifying(entry(prefix="org/")), "cloudtrail": FakeCloudTrail([])}

    found = FakePipeline(services, settings={"trail_prefix": "org/AWSLogs/"}).findings()

    assert found["prefix"].status is CheckStatus.OK
    assert found["trail"].status is CheckStatus.NOT_CHECKED
