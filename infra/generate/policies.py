"""Policies for an organization, as JSON to paste: what other accounts must allow, from the roles of the template.

The bucket is in a log-archive account, and the stack in a security account. Both are examples.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from infra.generate.example import (
    BUCKET,
    LOG_ARCHIVE,
    MANAGEMENT,
    PEOPLE,
    REGION,
    ROLES,
    RULE,
    SECURITY,
    STACK,
    TOPIC,
    TRAIL,
    VALUES,
    resolve,
    role_statements,
)
from infra.generate.markdown import page
from infra.generate.terraform import read_template


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy: where it is pasted, what it is for, and its document."""

    name: str
    place: str
    purpose: str
    document: dict[str, Any]


def _document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _for_role(role: str, sid: str, *, resource: str = "") -> dict[str, Any]:
    """Return a statement of a role as one that another account's policy needs.

    A policy that names a role that does not exist is refused. The account with a condition on the name is not:
    docs.aws.amazon.com/AmazonS3/latest/userguide/s3-bucket-user-policy-specifying-principal-intro.html
    """
    own = role_statements(role)[sid]
    others = {key: test for key, test in own.get("Condition", {}).items() if "aws:ResourceAccount" not in test}
    return {
        "Sid": f"{role}{sid}",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{SECURITY}:root"},
        "Action": own["Action"],
        "Resource": resource or own["Resource"],
        "Condition": {"ArnEquals": {"aws:PrincipalArn": ROLES[role]}} | others,
    }


def _of_people(sid: str, actions: list[str], resource: str) -> dict[str, Any]:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{SECURITY}:root"},
        "Action": actions,
        "Resource": resource,
        "Condition": {"ArnEquals": {"aws:PrincipalArn": PEOPLE}},
    }


def _of_service(sid: str, service: str, actions: list[str] | str, resource: str, **condition: Any) -> dict[str, Any]:  # noqa: ANN401
    statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": actions,
        "Resource": resource,
    }
    return statement | ({"Condition": condition} if condition else {})


def _bucket() -> dict[str, Any]:
    return _document(
        _for_role("LoaderRole", "ReadFiles"),
        _for_role("LoaderRole", "DistinguishMissingFromForbidden"),
        _for_role("VerifyRole", "ReadFiles"),
        _for_role("VerifyRole", "ListFiles"),
        _for_role("BucketNotificationRole", "NotificationsOfTheBucket"),
        _of_people("PeopleLook", ["s3:ListBucket", "s3:GetBucketNotification"], f"arn:aws:s3:::{BUCKET}"),
        _of_people("PeopleRead", ["s3:GetObject", "s3:GetObjectVersion"], f"arn:aws:s3:::{BUCKET}/AWSLogs/*"),
    )


def _topic() -> dict[str, Any]:
    return _document(
        _of_service(
            "CloudTrailPublishes",
            "cloudtrail.amazonaws.com",
            "sns:Publish",
            TOPIC,
            StringEquals={"aws:SourceArn": TRAIL},
        ),
        {
            "Sid": "SecurityAccountSubscribesItsQueue",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{SECURITY}:root"},
            "Action": "sns:Subscribe",
            "Resource": TOPIC,
            "Condition": {
                "StringEquals": {"sns:Protocol": "sqs", "sns:Endpoint": VALUES["SourceQueue.Arn"]},
            },
        },
    )


def _published_by(sid: str, service: str, source: str) -> dict[str, Any]:
    condition = {"ArnEquals": {"aws:SourceArn": source}, "StringEquals": {"aws:SourceAccount": LOG_ARCHIVE}}
    if service.startswith("events"):
        del condition["StringEquals"]  # the ARN of a rule contains the account
    return _document(_of_service(sid, service, "sns:Publish", TOPIC, **condition), _topic()["Statement"][1])


def _rule() -> dict[str, Any]:
    pattern: dict[str, Any] = resolve(read_template()["Resources"]["FileRule"]["Properties"]["EventPattern"])
    return pattern


def _stack_key() -> dict[str, Any]:
    use = ["kms:Decrypt", "kms:GenerateDataKey*"]
    group = f"arn:aws:logs:{REGION}:{SECURITY}:log-group:/aws/"
    return _document(
        _of_service(
            "Logs",
            f"logs.{REGION}.amazonaws.com",
            [*use, "kms:DescribeKey", "kms:Encrypt", "kms:ReEncrypt*"],
            "*",
            ArnLike={"kms:EncryptionContext:aws:logs:arn": [f"{group}lambda/{STACK}-*", f"{group}opensearch/{STACK}"]},
        ),
        _of_service("Alarms", "cloudwatch.amazonaws.com", use, "*", StringEquals={"aws:SourceAccount": SECURITY}),
        _of_service(
            "BucketNotifies",
            "s3.amazonaws.com",
            use,
            "*",
            ArnEquals={"aws:SourceArn": f"arn:aws:s3:::{BUCKET}"},
            StringEquals={"aws:SourceAccount": LOG_ARCHIVE},
        ),
        _of_service("TopicNotifies", "sns.amazonaws.com", use, "*", ArnEquals={"aws:SourceArn": TOPIC}),
        _for_role("LoaderRole", "UseQueueKey", resource="*"),
        _of_people("PeopleUseQueues", ["kms:Decrypt", "kms:GenerateDataKey"], "*"),
    )


def _s3_endpoint() -> dict[str, Any]:
    files, rules = role_statements("LoaderRole"), role_statements("DetectRole")
    response = "arn:aws:s3:::cloudformation-custom-resource-response-*/*"  # with and without dashes, by region
    return _document(
        *(
            {"Sid": sid, "Effect": "Allow", "Principal": "*", "Action": part["Action"], "Resource": part["Resource"]}
            for sid, part in (
                *((sid, files[sid]) for sid in ("ReadFiles", "DistinguishMissingFromForbidden", "ReadFilters")),
                *((sid, rules[sid]) for sid in ("ReadRules", "ListRules")),
            )
        ),
        # The response of a custom resource is signed by CloudFormation, not by the function:
        # docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-vpce-bucketnames.html
        {
            "Sid": "AnswerCloudFormation",
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": response,
        },
    )


def _endpoint(*statements: tuple[str, str]) -> dict[str, Any]:
    """Return a policy of an interface endpoint: what the roles may, and they alone."""
    parts = [(role, sid, role_statements(role)[sid]) for role, sid in statements]
    return _document(
        *(
            {
                "Sid": f"{role}{sid}",
                "Effect": "Allow",
                "Principal": "*",
                "Action": part["Action"],
                "Resource": part["Resource"],
                "Condition": {"ArnEquals": {"aws:PrincipalArn": ROLES[role]}},
            }
            for role, sid, part in parts
        )
    )


def _boundary() -> dict[str, Any]:
    """Return a permissions boundary: what the roles need together, and what a function in a VPC needs."""
    by_resource: dict[str, set[str]] = {}
    for role in ROLES:
        for statement in role_statements(role).values():
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            by_resource.setdefault(statement["Resource"], set()).update(actions)
    statements = [
        {"Effect": "Allow", "Action": sorted(actions), "Resource": resource}
        for resource, actions in sorted(by_resource.items())
    ]
    # AWSLambdaENIManagementAccess
    interfaces = [
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
    ]
    return _document(*statements, {"Effect": "Allow", "Action": interfaces, "Resource": "*"})


def policies() -> list[Policy]:
    """Return every policy, in the order of docs/organisation.md."""
    root = f"`arn:aws:iam::{SECURITY}:root` with `aws:PrincipalArn`"
    return [
        Policy(
            "bucket-policy",
            "the trail's bucket, in the log-archive account",
            f"Add these statements to CloudTrail's own. {root} can be written before the role exists."
            " `LoaderRole…` lets the function read files. `BucketNotificationRole…` lets the stack add its"
            " notification: leave it out unless `NotificationSource` is `S3`. `VerifyRole…` is for `VerifySchedule`."
            " `People…` is for `deploy`, `doctor`,"
            " `status`, `backfill`, `verify` and `dlq`.",
            _bucket(),
        ),
        Policy(
            "trail-key-policy",
            "the trail's KMS key, in the log-archive account",
            "Add this statement to the key's own. Only for files with SSE-KMS (`TrailKmsKeyArn`). People who run"
            " `verify` or `backfill --direct` need one like it.",
            _document(
                _for_role("LoaderRole", "DecryptFiles", resource="*"),
                _for_role("VerifyRole", "DecryptFiles", resource="*"),
            ),
        ),
        Policy(
            "topic-policy",
            "the trail's SNS topic, in the log-archive account",
            "For `NotificationSource=SNS` with the topic of the trail itself.",
            _topic(),
        ),
        Policy(
            "topic-policy-s3",
            "a topic that the bucket announces its files to",
            "For `NotificationSource=SNS` where S3 publishes to the topic.",
            _published_by("S3Publishes", "s3.amazonaws.com", f"arn:aws:s3:::{BUCKET}"),
        ),
        Policy(
            "topic-policy-eventbridge",
            "a topic that a rule of EventBridge sends to",
            "For `NotificationSource=SNS` where EventBridge publishes to the topic. AWS's documentation says that the"
            " policy of a topic cannot have conditions for EventBridge, which has not been tried. If the rule counts"
            " `FailedInvocations`, let S3 publish to the topic instead.",
            _published_by("EventBridgePublishes", "events.amazonaws.com", RULE),
        ),
        Policy(
            "event-pattern",
            "that rule of EventBridge, in the log-archive account",
            "The event pattern. The target of the rule is the topic.",
            _rule(),
        ),
        Policy(
            "topic-key-policy",
            "the KMS key of an encrypted topic, in the log-archive account",
            "Add this statement to the key's own. It is for CloudTrail. If S3 publishes, put `s3.amazonaws.com` and the"
            " bucket's ARN. For EventBridge, put `events.amazonaws.com`, and leave `Condition` out, which AWS does not"
            " support there.",
            _document(
                _of_service(
                    "Publisher",
                    "cloudtrail.amazonaws.com",
                    ["kms:Decrypt", "kms:GenerateDataKey*"],
                    "*",
                    StringEquals={"aws:SourceArn": TRAIL},
                )
            ),
        ),
        Policy(
            "stack-key-policy",
            "the key of `KmsKeyArn`, in the security account",
            "Add these statements to the key's own. `BucketNotifies` is for `NotificationSource=S3`, the default, and"
            " `TopicNotifies` for `SNS`. `PeopleUseQueues` is for `dlq`, `backfill` and `run`.",
            _stack_key(),
        ),
        Policy(
            "s3-endpoint-policy",
            "the gateway endpoint of S3, in the VPC of the function",
            "`AnswerCloudFormation` is for the function that sets up the cluster. Without it, the stack waits, and"
            " fails.",
            _s3_endpoint(),
        ),
        Policy(
            "sqs-endpoint-policy",
            "the interface endpoint of SQS",
            "Lambda itself polls the queue, from outside. The function sends dead letters and changes visibility.",
            _endpoint(
                ("LoaderRole", "ReceiveNotifications"),
                ("LoaderRole", "SendDeadLetters"),
                ("LoaderRole", "SplitNotifications"),
            ),
        ),
        Policy(
            "secrets-endpoint-policy",
            "the interface endpoint of Secrets Manager",
            "Only for a cluster with a password.",
            _endpoint(
                ("LoaderRole", "ReadPassword"),
                ("ClusterSetupRole", "ReadPassword"),
                ("ClusterSetupRole", "ReadMasterPassword"),
                ("VerifyRole", "ReadPassword"),
                ("DetectRole", "ReadPassword"),
            ),
        ),
        Policy(
            "domain-policy",
            "a domain of another account (`EndpointArn`)",
            "Under fine-grained access control, its administrator also maps the role:"
            " `trailsink setup --loader-role` with this ARN.",
            _document(
                _for_role("LoaderRole", "WriteToDomain"),
                _for_role("ClusterSetupRole", "SetUpDomain"),
                _for_role("ClusterSetupRole", "TryTemplate"),
                _for_role("VerifyRole", "SearchDomain"),
                _for_role("DetectRole", "SearchDomain"),
            ),
        ),
        Policy(
            "permissions-boundary",
            "a managed policy in the security account (`PermissionsBoundaryArn`)",
            "What the roles need together. A boundary grants nothing by itself.",
            _boundary(),
        ),
    ]


def policies_page() -> str:
    """Return docs/reference/policies.md."""
    introduction = (
        "Policies for a bucket in one account and the stack in another, from the roles of the template."
        " [Organizations](../organisation.md) says when you need which. Replace the examples:"
        f" `{LOG_ARCHIVE}` is the log-archive account, `{SECURITY}` the security account, `{MANAGEMENT}` the management"
        f" account, `{REGION}` the region, `{BUCKET}` the bucket, `AWSLogs/` the stack's `TrailPrefix`,"
        f" `{STACK}` the stack, and `{PEOPLE.rpartition('/')[2]}` the role of the people who operate it."
        " The stack must have `RoleNames=fixed`. With a `RolePath`, the path is a part of each role's ARN."
        " None of these has been tried on AWS: tests evaluate them against the roles of the template."
    )
    return page("Policies for an organization", introduction, *map(_section, policies()))


def _section(policy: Policy) -> str:
    text = json.dumps(policy.document, indent=2)
    return f"## {policy.name}\n\nFor {policy.place}. {policy.purpose}\n\n```json\n{text}\n```"
