"""Promises about the policies that `trailsink permissions` prints."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.support.iam import allows, as_list
from worker.deploy.needs import NEEDS, Need
from worker.deploy.policies import Places, cluster_role, iam_policy, queue_place

PLACES = Places(
    region="eu-central-1",
    account="123456789012",
    bucket="acme-trail",
    trail_key="arn:aws:kms:::key/4f1d",
    queue_key="arn:aws:kms:::key/5e2c",
    filters="acme-config/noise.json",
)
BY_COMMAND = {need.command: need for need in NEEDS}
INLINE_LIMIT = 10_240  # docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: all policies of a role

every_need = pytest.mark.parametrize("need", NEEDS, ids=lambda need: need.command)


@every_need
def test_every_action_that_a_command_needs_is_allowed_somewhere(need: Need) -> None:
    """What is listed and not granted would be found out by its failure."""
    policy = iam_policy(need, PLACES)

    granted = {action for statement in policy["Statement"] for action in as_list(statement["Action"])}

    assert {action for actions in need.aws.values() for action in actions} <= granted
    assert {statement["Effect"] for statement in policy["Statement"]} <= {"Allow"}


@every_need
def test_a_policy_is_one_that_iam_accepts(need: Need) -> None:
    """IAM refuses a Sid twice, a Sid with other characters, and a role's policies of more than 10,240 characters."""
    policy = iam_policy(need, PLACES)

    ids = [statement["Sid"] for statement in policy["Statement"]]
    assert len(set(ids)) == len(ids)
    assert all(sid.isalnum() for sid in ids)
    assert len(json.dumps(policy, separators=(",", ":"))) <= INLINE_LIMIT
    for statement in policy["Statement"]:
        arns = as_list(statement["Resource"])
        assert all(arn == "*" or (arn.startswith("arn:aws:") and "{" not in arn) for arn in arns)


def test_whoever_deploys_may_subscribe_to_the_trail_s_topic() -> None:
    """It is in the log archive's account, and CloudFormation would roll back."""
    topic = "arn:aws:sns:eu-central-1:444444444444:trail"

    policy = iam_policy(BY_COMMAND["deploy"], replace(PLACES, trail_topic=topic))

    [statement] = [one for one in policy["Statement"] if "sns:Subscribe" in one["Action"]]
    assert statement["Resource"] == ["arn:aws:sns:eu-central-1:123456789012:trailsink-*", topic]
    assert [one["Action"] for one in policy["Statement"] if topic in one["Resource"]] == [statement["Action"]]


def test_all_resources_are_named_only_where_aws_takes_no_other() -> None:
    """A star beside an action that could be limited is what an attacker is glad of."""
    policy = iam_policy(BY_COMMAND["doctor"], PLACES)

    [everywhere] = [statement for statement in policy["Statement"] if statement["Resource"] == "*"]

    assert everywhere["Action"] == [
        "cloudtrail:DescribeTrails",
        "cloudwatch:GetMetricData",
        "lambda:ListEventSourceMappings",
    ]


@pytest.mark.parametrize(
    ("action", "resource", "allowed"),
    [
        ("sqs:ReceiveMessage", "arn:aws:sqs:eu-central-1:123456789012:trailsink", True),
        ("sqs:ReceiveMessage", "arn:aws:sqs:eu-central-1:123456789012:other", False),
        ("sqs:DeleteMessage", "arn:aws:sqs:eu-central-1:123456789012:trailsink-dead-letters", False),
        ("s3:GetObject", "arn:aws:s3:::acme-trail/AWSLogs/1.json.gz", True),
        ("s3:GetObject", "arn:aws:s3:::acme-trail/config/1.json.gz", False),
        ("s3:ListBucket", "arn:aws:s3:::acme-trail", True),
        ("s3:PutObject", "arn:aws:s3:::acme-trail/AWSLogs/1.json.gz", False),
        ("kms:Decrypt", "arn:aws:kms:::key/4f1d", True),
        ("s3:GetObject", "arn:aws:s3:::acme-config/noise.json", True),
        ("s3:GetObject", "arn:aws:s3:::acme-config/other.json", False),
        ("es:ESHttpPost", "arn:aws:es:eu-central-1:123456789012:domain/DOMAIN/_bulk", True),
    ],
)
def test_the_consumer_reaches_its_own_parts_only(action: str, resource: str, *, allowed: bool) -> None:
    """Evaluated as IAM evaluates it."""
    assert allows(iam_policy(BY_COMMAND["run"], PLACES), action, resource) is allowed


@pytest.mark.parametrize(
    ("places", "resources"),
    [
        (Places(domain="", collection="arn:aws:aoss:::collection/abc"), ["arn:aws:aoss:::collection/abc"]),
        (Places(domain="arn:aws:es:::domain/other"), ["arn:aws:es:::domain/other/*"]),
        (Places(domain="", secret="arn:aws:secretsmanager:::secret:a"), ["arn:aws:secretsmanager:::secret:a"]),
        (Places(domain=""), []),
    ],
)
def test_the_cluster_is_the_one_that_there_is(places: Places, resources: list[str]) -> None:
    """A domain, a collection, or a cluster outside AWS with a password."""
    statements = iam_policy(BY_COMMAND["explain"], places)["Statement"]

    assert [statement["Resource"] for statement in statements] == resources


def test_what_is_not_known_is_said_by_a_word_that_iam_refuses() -> None:
    """An example account of 12 digits would be granted by mistake."""
    assert Places().unknown == ["REGION", "ACCOUNT", "BUCKET", "DOMAIN"]
    assert PLACES.unknown == ["DOMAIN"]


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/audit", ("eu-west-1", "123456789012", "audit")),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/audit", ("cn-north-1", "123456789012", "audit")),
        ("http://127.0.0.1:4566/000000000000/audit", ("", "000000000000", "audit")),
        ("", ("", "", "")),
    ],
)
def test_a_queue_s_address_says_where_it_is(url: str, place: tuple[str, str, str]) -> None:
    """So a shell that points at a pipeline needs no more options."""
    assert queue_place(url) == place


def test_the_partition_follows_from_the_region() -> None:
    """An ARN of another partition allows nothing."""
    policy = iam_policy(BY_COMMAND["run"], Places(region="cn-north-1"))

    assert {arn.split(":")[1] for statement in policy["Statement"] for arn in as_list(statement["Resource"])} == {
        "aws-cn"
    }


def test_the_role_of_the_cluster_has_the_form_of_its_api() -> None:
    """It is pasted after PUT _plugins/_security/api/roles/NAME."""
    role = cluster_role(BY_COMMAND["search"], "acme")

    assert set(role) == {"cluster_permissions", "index_permissions"}
    assert role["index_permissions"][0]["index_patterns"] == ["acme-*"]
    assert cluster_role(BY_COMMAND["template"], "acme") == {}
