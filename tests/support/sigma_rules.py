"""Sigma rules of our own, each with a way of asking, and records that they must match."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

# Of each rule: its selections, its condition, and a record that it must match, in whatever letter case.
_RULES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "value": ("s: {eventName: ConsoleLogin}", "s", {"eventName": "ConsoleLogin"}),
    "values": ("s: {eventName: [StopLogging, DeleteTrail]}", "s", {"eventName": "DeleteTrail"}),
    "number_as_text": ("s: {requestParameters.port: 22}", "s", {"requestParameters": {"port": "22"}}),
    "number": ("s: {requestParameters.port: '22'}", "s", {"requestParameters": {"items": [], "port": 22}}),
    "boolean": ("s: {requestParameters.enable: 'True'}", "s", {"requestParameters": {"enable": True}}),
    "boolean_as_text": ("s: {readOnly: true}", "s", {"readOnly": "true"}),
    "contains": ("s: {userAgent|contains: cli/}", "s", {"userAgent": "aws-CLI/2.0"}),
    "contains_below": (
        "s: {requestParameters.bucketName|contains: team}",
        "s",
        {"requestParameters": {"bucketName": "red-Team-x"}},
    ),
    "contains_at_the_root": (
        "s: {requestParameters|contains: suspended}",
        "s",
        {"requestParameters": {"a": {"b": ["Suspended"]}}},
    ),
    "contains_operators": (
        """s: {requestParameters.policy|contains: '"Effect":"Allow"<>#@&~'}""",
        "s",
        {"requestParameters": {"policy": '{"Effect":"Allow"<>#@&~}'}},
    ),
    "startswith": ("s: {eventName|startswith: [list, Describe]}", "s", {"eventName": "ListUsers"}),
    "endswith_below": ("s: {requestParameters.key|endswith: .ENV}", "s", {"requestParameters": {"key": "a/b.env"}}),
    "wildcards": (
        "s: {userIdentity.arn: 'arn:*:user/b?rt*'}",
        "s",
        {"userIdentity": {"arn": "arn:aws:iam::1:user/Bart"}},
    ),
    "wildcards_below": (
        "s: {responseElements.role.arn: 'arn:*r?le/*'}",
        "s",
        {"responseElements": {"role": {"arn": "ARN:x:role/y"}}},
    ),
    "escaped": (r"s: {requestParameters.name: 'a\*b\?'}", "s", {"requestParameters": {"name": "A*b?"}}),
    "all": ("s: {userAgent|contains|all: [boto, linux]}", "s", {"userAgent": "Boto3 on Linux"}),
    "all_at_the_root": (
        "s: {requestParameters|contains|all: [alpha, beta]}",
        "s",
        {"requestParameters": {"a": "Alpha", "b": "xBetax"}},
    ),
    "cased": ("s: {eventName|cased: stoplogging}", "s", {}),
    "cased_below": ("s: {requestParameters.name|cased|contains: Trail}", "s", {}),
    "names_differ_in_case": ("s: {requestParameters.Name: '*'}", "s", {"requestParameters": {"Name": "x"}}),
    "null": ("s: {eventName: AssumeRole, errorCode: null}", "s", {"eventName": "AssumeRole"}),
    "null_below": ("s: {eventName: AssumeRole, requestParameters.policy: null}", "s", {"eventName": "AssumeRole"}),
    "exists": (
        "s: {responseElements.credentials|exists: true}",
        "s",
        {"responseElements": {"credentials": {"x": "y"}}},
    ),
    "exists_not": ("s: {eventName: GetObject, errorCode|exists: false}", "s", {"eventName": "GetObject"}),
    "object_exists": (
        "s: {userIdentity.sessionContext|exists: true}",
        "s",
        {"userIdentity": {"sessionContext": {"attributes": {"mfaAuthenticated": "false"}}}},
    ),
    "object_contains": ("s: {userIdentity|contains: 'bert-jan'}", "s", {"userIdentity": {"userName": "Bert-Jan"}}),
    "empty": ("s: {requestParameters.marker: ''}", "s", {"requestParameters": {"marker": ""}}),
    "empty_at_the_root": ("s: {requestParameters: ''}", "s", {"requestParameters": {"a": {"b": ""}}}),
    "expression": (r"s: {eventName|re: '^(Get|Put)Bucket[A-Z]'}", "s", {}),
    "expression_any_case": (r"s: {eventName|re|i: '^(get|put)bucket[a-z]'}", "s", {"eventName": "GETBucketAcl"}),
    "expression_below": (r"s: {requestParameters.bucketName|re: 'red-team|blue'}", "s", {}),
    "network": ("s: {sourceIPAddress|cidr: 192.168.0.0/16}", "s", {"sourceIPAddress": "192.168.7.8"}),
    "network_below": (
        "s: {requestParameters.cidrIp|cidr: 10.0.0.0/15}",
        "s",
        {"requestParameters": {"cidrIp": "10.1.2.3"}},
    ),
    "greater": ("s: {requestParameters.maxResults|gt: 99}", "s", {"requestParameters": {"maxResults": 105}}),
    "greater_or_equal": (
        "s: {requestParameters.maxResults|gte: 100}",
        "s",
        {"requestParameters": {"maxResults": "100"}},
    ),
    "less": ("s: {requestParameters.maxResults|lt: 105}", "s", {"requestParameters": {"maxResults": 104.5}}),
    "less_or_equal": (
        "s: {additionalEventData.bytesTransferredIn|lte: 7}",
        "s",
        {"additionalEventData": {"bytesTransferredIn": 7}},
    ),
    "not_equal": ("s: {requestParameters.maxResults|neq: 100, eventName: ListKeys}", "s", {"eventName": "ListKeys"}),
    "base64": ("s: {requestParameters.userData|base64: secret}", "s", {}),
    "base64_offset": ("s: {requestParameters.userData|base64offset|contains: http://}", "s", {}),
    "dashes": (
        "s: {requestParameters.commands|windash|contains: ' -enc '}",
        "s",
        {"requestParameters": {"commands": ["x \u2013enc y"]}},
    ),
    "keywords": ("s: [trailnotfound, 'Suspended*x']", "s", {"requestParameters": {"x": "a TrailNotFoundException"}}),
    "message": ("s: {errorMessage|contains: 'not authorized'}", "s", {"errorMessage": "User is NOT authorized to do"}),
    "lists": (
        "s: {resources.ARN|startswith: 'arn:aws:s3'}",
        "s",
        {"resources": [{"ARN": "x"}, {"ARN": "arn:aws:s3:::b"}]},
    ),
    "negation": (
        "s: {eventSource: iam.amazonaws.com}\nf: {eventName|startswith: [Get, List]}",
        "s and not f",
        {"eventSource": "iam.amazonaws.com", "eventName": "CreateUser"},
    ),
    "one_of": (
        "s_a: {eventName: CreateUser}\ns_b: {eventName: DeleteUser}\nf_x: {errorCode|exists: true}",
        "1 of s_* and not 1 of f_*",
        {"eventName": "DeleteUser"},
    ),
    "all_of": (
        "s_a: {eventSource: ec2.amazonaws.com}\ns_b: {errorCode|contains: Unauthorized}",
        "all of s_*",
        {"eventSource": "ec2.amazonaws.com", "errorCode": "Client.UnauthorizedOperation"},
    ),
    "maps": (
        "s:\n  - {eventName: RunInstances}\n  - {eventSource: kms.amazonaws.com}",
        "s",
        {"eventSource": "kms.amazonaws.com"},
    ),
    "groups": (
        "a: {eventName: a}\nb: {eventName: RunInstances}\nc: {eventSource: ec2.amazonaws.com}",
        "(a or b) and c",
        {"eventName": "RunInstances", "eventSource": "ec2.amazonaws.com"},
    ),
}

# Values that a letter case cannot be changed of.
_EXACT = {
    "base64": {"requestParameters": {"userData": "c2VjcmV0"}},
    "base64_offset": {"requestParameters": {"userData": "eGh0dHA6Ly94"}},
    "cased": {"eventName": "stoplogging"},
    "cased_below": {"requestParameters": {"name": "x-Trail"}},
    "expression": {"eventName": "GetBucketAcl"},
    "expression_below": {"requestParameters": {"bucketName": "very-blue"}},
}


def sigma_rules() -> dict[str, str]:
    """The rules as YAML, by name."""
    rules = {}
    for name, (selections, condition, _) in _RULES.items():
        rule = {"title": name, "level": "medium", "logsource": {"product": "aws", "service": "cloudtrail"}}
        detection = yaml.safe_load(selections) | {"condition": condition}
        rules[name] = yaml.safe_dump(rule | {"detection": detection})
    return rules


def write_rules(folder: Path) -> Path:
    """Write the rules into a folder, a file each."""
    for name, text in sigma_rules().items():
        (folder / f"{name}.yml").write_text(text, encoding="utf-8")
    return folder


def positives(chance: Random) -> list[tuple[str, dict[str, Any]]]:
    """Records that the rules must match, by rule: as written, and in three random letter cases."""
    made = [(name, record) for name, (_, _, record) in _RULES.items() if record]
    return [
        *_EXACT.items(),
        *made,
        *((name, _in_any_case(record, chance)) for name, record in made for _ in range(3)),
    ]


def _in_any_case(node: Any, chance: Random) -> Any:
    match node:
        case dict():
            return {name: _in_any_case(value, chance) for name, value in node.items()}
        case list():
            return [_in_any_case(element, chance) for element in node]
        case str():
            return "".join(chance.choice((character.lower(), character.upper())) for character in node)
        case _:
            return node
