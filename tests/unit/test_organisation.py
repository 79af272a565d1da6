"""Promises about the policies for an organization: pasted as they are, they allow what the roles do, and no more."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from infra.generate.example import BUCKET, LOG_ARCHIVE, PEOPLE, ROLES, SECURITY, TOPIC, TRAIL, VALUES, role_statements
from infra.generate.policies import policies
from tests.support.iam import allows, as_list
from tests.unit.test_template import of_type
from worker.aws.partitions import is_response_url
from worker.deploy.needs import NEEDS
from worker.pipeline.notifications import parse_notification

ROOT = Path(__file__).parents[2]
DOCUMENTS: dict[str, dict[str, Any]] = {policy.name: policy.document for policy in policies()}
PAGE = (ROOT / "docs" / "organisation.md").read_text(encoding="utf-8")
STRANGER = f"arn:aws:iam::{SECURITY}:role/other"
OTHER_ACCOUNT = "arn:aws:iam::444444444444:role/trailsink-loader"

# What a request to another account's part is evaluated with.
CONTEXT = {
    "aws:ResourceAccount": LOG_ARCHIVE,
    "s3:prefix": "AWSLogs/1",
    "kms:ViaService": "s3.eu-central-1.amazonaws.com",
}


def requests(role: str, *sids: str) -> list[tuple[str, str]]:
    """Every action of these statements of a role, with a resource of it."""
    rows = role_statements(role)
    return [
        (action, rows[sid]["Resource"].replace("*", "x")) for sid in sids for action in as_list(rows[sid]["Action"])
    ]


# Each policy, the role that it lets in, and the statements of the role that it answers.
ANSWERS = [
    ("bucket-policy", "LoaderRole", ("ReadFiles", "DistinguishMissingFromForbidden")),
    ("bucket-policy", "BucketNotificationRole", ("NotificationsOfTheBucket",)),
    ("bucket-policy", "VerifyRole", ("ReadFiles", "ListFiles")),
    ("trail-key-policy", "LoaderRole", ("DecryptFiles",)),
    ("trail-key-policy", "VerifyRole", ("DecryptFiles",)),
    ("domain-policy", "LoaderRole", ("WriteToDomain",)),
    ("domain-policy", "ClusterSetupRole", ("SetUpDomain", "TryTemplate")),
    ("domain-policy", "VerifyRole", ("SearchDomain",)),
    ("domain-policy", "DetectRole", ("SearchDomain",)),
    ("s3-endpoint-policy", "LoaderRole", ("ReadFiles", "DistinguishMissingFromForbidden", "ReadFilters")),
    ("s3-endpoint-policy", "VerifyRole", ("ReadFiles", "ListFiles", "ReadFilters")),
    ("s3-endpoint-policy", "DetectRole", ("ReadRules", "ListRules")),
    ("sqs-endpoint-policy", "LoaderRole", ("ReceiveNotifications", "SendDeadLetters", "SplitNotifications")),
    ("secrets-endpoint-policy", "LoaderRole", ("ReadPassword",)),
    ("secrets-endpoint-policy", "ClusterSetupRole", ("ReadPassword", "ReadMasterPassword")),
    ("secrets-endpoint-policy", "VerifyRole", ("ReadPassword",)),
    ("secrets-endpoint-policy", "DetectRole", ("ReadPassword",)),
]


@pytest.mark.parametrize(("name", "role", "sids"), ANSWERS)
def test_a_policy_lets_in_the_role_that_needs_it(name: str, role: str, sids: tuple[str, ...]) -> None:
    """One action too few, and no file of the organization is read."""
    refused = [
        (action, resource)
        for action, resource in requests(role, *sids)
        if not allows(DOCUMENTS[name], action, resource, principal=ROLES[role], context=CONTEXT)
    ]

    assert refused == []


@pytest.mark.parametrize(("name", "role", "sids"), [row for row in ANSWERS if row[0] != "s3-endpoint-policy"])
@pytest.mark.parametrize("principal", [STRANGER, OTHER_ACCOUNT])
def test_a_policy_lets_in_nobody_else(name: str, role: str, sids: tuple[str, ...], principal: str) -> None:
    """`root` stands for a whole account: the condition on the role's name is what limits it."""
    let_in = [
        (action, resource)
        for action, resource in requests(role, *sids)
        if allows(DOCUMENTS[name], action, resource, principal=principal, context=CONTEXT)
    ]

    assert let_in == []


def test_the_loader_gets_nothing_in_the_bucket_that_its_role_does_not_have() -> None:
    """A bucket policy that grants more is an open door for whoever steals the role."""
    granted = {
        action
        for statement in DOCUMENTS["bucket-policy"]["Statement"]
        if statement["Condition"]["ArnEquals"]["aws:PrincipalArn"] == ROLES["LoaderRole"]
        for action in as_list(statement["Action"])
    }

    assert granted == {action for action, _ in requests("LoaderRole", "ReadFiles", "DistinguishMissingFromForbidden")}


@pytest.mark.parametrize("command", ["deploy", "backfill", "verify", "dlq"])
def test_the_people_s_role_may_what_the_commands_ask_the_bucket(command: str) -> None:
    """Their policy of IAM alone opens no bucket of another account."""
    [need] = [need for need in NEEDS if need.command == command]
    actions = {action for label, allowed in need.aws.items() if label.startswith("bucket") for action in allowed}

    refused = [
        action
        for action in actions
        if not any(
            allows(DOCUMENTS["bucket-policy"], action, f"arn:aws:s3:::{BUCKET}{key}", principal=PEOPLE)
            for key in ("", "/AWSLogs/x")
        )
    ]

    assert refused == []


def test_the_custom_resource_can_answer_through_the_endpoint() -> None:
    """A restrictive endpoint policy blocks the presigned address, and the stack waits for an hour."""
    host = "cloudformation-custom-resource-response-eucentral1.s3.eu-central-1.amazonaws.com"
    bucket = host.partition(".s3")[0]

    assert is_response_url(f"https://{host}/x?signature", "eu-central-1")
    assert allows(DOCUMENTS["s3-endpoint-policy"], "s3:PutObject", f"arn:aws:s3:::{bucket}/x")
    assert not allows(DOCUMENTS["s3-endpoint-policy"], "s3:PutObject", f"arn:aws:s3:::{BUCKET}/AWSLogs/x")


QUEUE = {"sns:Protocol": "sqs", "sns:Endpoint": VALUES["SourceQueue.Arn"]}


@pytest.mark.parametrize("name", ["topic-policy", "topic-policy-s3", "topic-policy-eventbridge"])
@pytest.mark.parametrize(
    ("context", "allowed"),
    [(QUEUE, True), (QUEUE | {"sns:Endpoint": "arn:aws:sqs:eu-central-1:444444444444:x"}, False), ({}, False)],
)
def test_only_the_stack_s_queue_is_subscribed(name: str, context: dict[str, str], *, allowed: bool) -> None:
    """A topic that anybody may subscribe to tells everybody which accounts are active."""
    deployer = f"arn:aws:iam::{SECURITY}:role/deployer"

    assert allows(DOCUMENTS[name], "sns:Subscribe", TOPIC, principal=deployer, context=context) is allowed


@pytest.mark.parametrize(
    ("name", "service", "context"),
    [
        ("topic-policy", "cloudtrail.amazonaws.com", {"aws:SourceArn": TRAIL}),
        (
            "topic-policy-s3",
            "s3.amazonaws.com",
            {"aws:SourceArn": f"arn:aws:s3:::{BUCKET}", "aws:SourceAccount": LOG_ARCHIVE},
        ),
        (
            "topic-policy-eventbridge",
            "events.amazonaws.com",
            {"aws:SourceArn": f"arn:aws:events:eu-central-1:{LOG_ARCHIVE}:rule/acme-trail"},
        ),
    ],
)
def test_only_its_own_source_publishes(name: str, service: str, context: dict[str, str]) -> None:
    """What is published is what is read."""
    foreign = context | {"aws:SourceArn": "arn:aws:s3:::other"}

    assert allows(DOCUMENTS[name], "sns:Publish", TOPIC, service=service, context=context)
    assert not allows(DOCUMENTS[name], "sns:Publish", TOPIC, service=service, context=foreign)


def test_the_boundary_holds_everything_that_the_roles_need() -> None:
    """A role is allowed what its policies and its boundary both allow."""
    missing = [
        (action, statement["Resource"])
        for role in ROLES
        for statement in role_statements(role).values()
        for action in as_list(statement["Action"])
        if not allows(DOCUMENTS["permissions-boundary"], action, statement["Resource"])
    ]

    assert missing == []
    assert not allows(DOCUMENTS["permissions-boundary"], "iam:CreateUser", "*")
    assert not allows(DOCUMENTS["permissions-boundary"], "s3:GetObject", "arn:aws:s3:::other/x")


def test_what_eventbridge_sends_through_a_topic_is_read() -> None:
    """The way for a bucket of another account; with raw delivery the event itself is the message."""
    event = """{"detail-type": "Object Created", "source": "aws.s3", "detail":
        {"bucket": {"name": "acme-trail"}, "object": {"key": "AWSLogs/x.json.gz", "size": 7}}}"""

    notification = parse_notification(event)

    assert [ref.uri for ref in notification.objects] == ["s3://acme-trail/AWSLogs/x.json.gz"]
    assert DOCUMENTS["event-pattern"]["detail-type"] == ["Object Created"]
    assert DOCUMENTS["event-pattern"]["detail"]["bucket"]["name"] == [BUCKET]


def test_the_page_names_every_policy_and_no_other() -> None:
    """A policy that nobody is sent to is never pasted."""
    assert set(re.findall(r"reference/policies\.md#([a-z0-9-]+)", PAGE)) == set(DOCUMENTS)


@pytest.mark.parametrize("alarm", sorted(of_type("AWS::CloudWatch::Alarm")))
def test_every_alarm_has_a_runbook(alarm: str) -> None:
    """Whoever is woken by it has not read the code."""
    text = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {alarm}\n")[2].partition("\n## ")[0]

    assert section.startswith("\n**Means:** ")
    assert re.search(r"^1\. ", section, re.MULTILINE)
    assert "\n**Over when:** " in section
    assert f"| `{alarm}` |" in (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")


def test_no_runbook_is_of_an_alarm_that_is_gone() -> None:
    """An old one sends people to look for what is not there."""
    text = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")

    assert set(re.findall(r"^## (\w+)$", text, re.MULTILINE)) == set(of_type("AWS::CloudWatch::Alarm"))
