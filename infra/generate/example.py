"""The template's roles with the values of an example: a bucket in one account, and the stack in another."""

from __future__ import annotations

import re
from typing import Any

from infra.generate.terraform import read_template

LOG_ARCHIVE, SECURITY, MANAGEMENT = "111111111111", "222222222222", "333333333333"
REGION, STACK, BUCKET = "eu-central-1", "trailsink", "acme-trail"
TRAIL = f"arn:aws:cloudtrail:{REGION}:{MANAGEMENT}:trail/acme"  # an organization trail is the management account's
TRAIL_KEY = f"arn:aws:kms:{REGION}:{LOG_ARCHIVE}:key/11111111-1111-1111-1111-111111111111"
STACK_KEY = f"arn:aws:kms:{REGION}:{SECURITY}:key/22222222-2222-2222-2222-222222222222"
TOPIC = f"arn:aws:sns:{REGION}:{LOG_ARCHIVE}:acme-trail"
RULE = f"arn:aws:events:{REGION}:{LOG_ARCHIVE}:rule/acme-trail"
DOMAIN = f"arn:aws:es:{REGION}:{LOG_ARCHIVE}:domain/acme"
PEOPLE = f"arn:aws:iam::{SECURITY}:role/trailsink-operator"
ROLES = {
    "LoaderRole": f"arn:aws:iam::{SECURITY}:role/{STACK}-loader",
    "VerifyRole": f"arn:aws:iam::{SECURITY}:role/{STACK}-verify",
    "DetectRole": f"arn:aws:iam::{SECURITY}:role/{STACK}-detect",
    "ClusterSetupRole": f"arn:aws:iam::{SECURITY}:role/{STACK}-cluster-setup",
    "BucketNotificationRole": f"arn:aws:iam::{SECURITY}:role/{STACK}-bucket-notification",
}

_LOGS = f"arn:aws:logs:{REGION}:{SECURITY}:log-group:/aws/lambda"

# What the template's references stand for in the example.
VALUES = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": SECURITY,
    "AWS::StackName": STACK,
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{SECURITY}:stack/{STACK}/*",
    "AWS::URLSuffix": "amazonaws.com",
    "TrailBucketName": BUCKET,
    "TrailBucketAccount": LOG_ARCHIVE,
    "TrailPrefix": "AWSLogs/",
    "TrailKmsKeyArn": TRAIL_KEY,
    "FiltersBucket": "acme-filters",
    "FiltersKey": "noise.json",
    "KmsKeyArn": STACK_KEY,
    "EndpointArn": DOMAIN,
    "DomainName": "trailsink",
    "DetectRulesBucket": "acme-rules",
    "DetectRulesPrefix": "sigma/",
    "FindingsTopicArn": f"arn:aws:sns:{REGION}:{SECURITY}:findings",
    "SecretArn": f"arn:aws:secretsmanager:{REGION}:{SECURITY}:secret:opensearch-AbCdEf",
    "SecretKmsKeyArn": STACK_KEY,
    "DomainSecret": f"arn:aws:secretsmanager:{REGION}:{SECURITY}:secret:DomainSecret-*",
    "SourceQueue.Arn": f"arn:aws:sqs:{REGION}:{SECURITY}:{STACK}",
    "DeadLetterQueue.Arn": f"arn:aws:sqs:{REGION}:{SECURITY}:{STACK}-dead-letters",
    "LoaderLogs.Arn": f"{_LOGS}/{STACK}-loader:*",
    "VerifyLogs.Arn": f"{_LOGS}/{STACK}-verify:*",
    "DetectLogs.Arn": f"{_LOGS}/{STACK}-detect:*",
    "ClusterSetupLogs.Arn": f"{_LOGS}/{STACK}-cluster-setup:*",
    "BucketNotificationLogs.Arn": f"{_LOGS}/{STACK}-bucket-notification:*",
}

# The bucket is another account's, the domain too; every other part that depends on a parameter is there.
_FALSE = {"CreatesDomain"}


def resolve(value: Any) -> Any:  # noqa: ANN401 - a part of the template
    """Return a part of the template with the example's values."""
    match value:
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), "Arn"]} if name in VALUES or f"{name}.Arn" in VALUES:
            return VALUES.get(name) or VALUES[f"{name}.Arn"]
        case {"Fn::If": [str(condition), yes, no]}:
            return resolve(no if condition in _FALSE else yes)
        case {"Fn::Sub": text}:
            return _substitute(*(text if isinstance(text, list) else [text]))
        case dict():
            return {name: resolve(part) for name, part in value.items()}
        case list():
            return [resolve(part) for part in value]
    return value


def _substitute(text: str, own: dict[str, Any] | None = None) -> str:
    local = {name: str(resolve(part)) for name, part in (own or {}).items()}
    return re.sub(r"\$\{([A-Za-z:.]+)\}", lambda match: local.get(match[1]) or VALUES[match[1]], text)


def role_statements(role: str) -> dict[str, dict[str, Any]]:
    """Return the statements of a role of the template that allow something, by their Sid."""
    [policy] = read_template()["Resources"][role]["Properties"]["Policies"]
    statements = [resolve(statement) for statement in policy["PolicyDocument"]["Statement"]]
    return {statement["Sid"]: statement for statement in statements if statement["Effect"] == "Allow"}
