"""The doctor on what no local part can be: VPCs, collections, clocks that are off, and services that refuse."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from botocore.exceptions import ClientError

from worker.errors import SetupError
from worker.health.doctor import Doctor
from worker.health.findings import CheckStatus, Finding
from worker.settings import Settings

if TYPE_CHECKING:
    from boto3 import Session
    from opensearchpy import OpenSearch

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:trailsink"
LETTERS = f"{QUEUE}-dead-letters"
ROLE = "arn:aws:iam::123456789012:role/trailsink-loader"
VPC_HOST = "vpc-acme-logs-ab12.eu-west-1.es.amazonaws.com"


class Denied:
    """A service that these credentials may not use."""

    def __getattr__(self, name: str) -> Any:
        def refuse(**_: Any) -> None:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": f"may not {name}"}}, name)

        return refuse


@dataclass
class Sqs:
    """Two queues: attributes by the end of their URL, on a clock that may be off."""

    queues: dict[str, dict[str, str]]
    off: timedelta = timedelta()
    asked: list[str] = field(default_factory=list)

    def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: list[str]) -> dict[str, Any]:  # noqa: N803
        assert AttributeNames == ["All"]
        self.asked.append(QueueUrl)
        date = format_datetime(datetime.now(UTC) + self.off, usegmt=True)
        return {
            "Attributes": self.queues[QueueUrl.rpartition("/")[2]],
            "ResponseMetadata": {"HTTPHeaders": {"date": date}},
        }


@dataclass
class Lambda:
    """One mapping from the queue, and its function."""

    vpc: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    def list_event_source_mappings(self, *, EventSourceArn: str) -> dict[str, Any]:  # noqa: N803
        assert EventSourceArn == QUEUE
        mapping = {"UUID": "u", "FunctionArn": "arn:f", "State": "Enabled"}
        return {"EventSourceMappings": [mapping | {"FunctionResponseTypes": ["ReportBatchItemFailures"]}]}

    def get_function_configuration(self, *, FunctionName: str) -> dict[str, Any]:  # noqa: N803
        assert FunctionName == "arn:f"
        about = {"FunctionName": "loader", "Timeout": 300, "Role": ROLE, "VpcConfig": self.vpc}
        return about | {"Environment": {"Variables": self.variables}}

    def get_function_concurrency(self, *, FunctionName: str) -> dict[str, Any]:  # noqa: N803
        assert FunctionName == "loader"
        return {}


@dataclass
class Fake:
    """A session whose services are those given; all others refuse."""

    services: dict[str, Any]

    def client(self, name: str, config: object) -> Any:
        assert config
        return self.services.get(name, Denied())


def sqs(**changes: str) -> Sqs:
    redrive = msgspec.json.encode({"deadLetterTargetArn": LETTERS, "maxReceiveCount": 40}).decode()
    source = {"QueueArn": QUEUE, "VisibilityTimeout": "1800", "RedrivePolicy": redrive}
    kept = {"MessageRetentionPeriod": "1209600"}
    return Sqs({"q": source | kept | changes, "d": {"QueueArn": LETTERS} | kept})


def examine(url: str = "", **services: Any) -> dict[str, Finding]:
    """The findings by check, with no cluster in reach."""
    settings = Settings(
        opensearch_url=url or "https://search-acme-ab12.eu-west-1.es.amazonaws.com",
        queue_url="https://sqs/q",
        dead_letter_queue_url="https://sqs/d",
        bucket="trail",
    )

    def no_cluster() -> OpenSearch:
        raise SetupError("There is no cluster.")

    session = cast("Session", Fake({"sqs": sqs()} | services))
    return {one.check: one for one in Doctor(settings, lambda: session, no_cluster, NOW).findings()}


def test_each_side_is_looked_at_though_the_others_refuse() -> None:
    """Half of the permissions is what most operators have."""
    found = examine()

    assert found["redrive policy"].verdict is CheckStatus.OK
    assert found["clock"].verdict is CheckStatus.OK
    for check in ("event source mapping", "bucket notification", "trail", "age of the oldest message"):
        assert found[check].verdict is CheckStatus.NOT_CHECKED
        assert "AccessDenied" in found[check].evidence
    assert found["cluster"] == Finding(CheckStatus.NOT_CHECKED, "cluster", "There is no cluster")
    assert found["newest event"].evidence == "the cluster cannot be asked"


def test_each_queue_is_asked_once() -> None:
    """Its clock is in the header of the same answer."""
    queues = sqs()

    examine(sqs=queues)

    assert queues.asked == ["https://sqs/q", "https://sqs/d"]


@pytest.mark.parametrize("seconds", [-120, 120])
def test_a_clock_that_is_off_is_a_fault(seconds: int) -> None:
    """AWS refuses signatures that are five minutes old, or early."""
    queues = sqs()
    queues.off = timedelta(seconds=seconds)

    found = examine(sqs=queues)["clock"]

    assert found.verdict is CheckStatus.FAULT
    assert found.fix.startswith("set this machine's clock")


# The key of the queue


@dataclass
class Kms:
    """One key with its policy."""

    policy: list[dict[str, Any]]
    state: str = "Enabled"

    def describe_key(self, *, KeyId: str) -> dict[str, Any]:  # noqa: N803
        assert KeyId == "alias/mine"
        return {"KeyMetadata": {"KeyId": "1234", "KeyState": self.state}}

    def get_key_policy(self, *, KeyId: str, PolicyName: str) -> dict[str, Any]:  # noqa: N803
        assert (KeyId, PolicyName) == ("1234", "default")
        return {"Policy": msgspec.json.encode({"Statement": self.policy}).decode()}


def for_s3(*actions: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": list(actions), "Resource": "*"}


OWNER = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*"}


@pytest.mark.parametrize(
    ("kms", "verdict", "words"),
    [
        (Kms([OWNER, for_s3("kms:GenerateDataKey*", "kms:Decrypt")]), CheckStatus.OK, "which S3 may use"),
        (Kms([OWNER, for_s3("kms:Decrypt")]), CheckStatus.FAULT, "does not let S3 use it"),
        (Kms([OWNER]), CheckStatus.FAULT, "does not let S3 use it"),
        (Kms([for_s3("kms:*")], "Disabled"), CheckStatus.FAULT, "is Disabled"),
        (Denied(), CheckStatus.NOT_CHECKED, "cannot be seen: AccessDenied"),
    ],
)
def test_s3_must_be_able_to_use_the_queues_key(kms: Any, verdict: CheckStatus, words: str) -> None:
    """Otherwise S3 drops its notices without a word: its key is the owner's to give."""
    found = examine(sqs=sqs(KmsMasterKeyId="alias/mine"), kms=kms)["queue encryption"]

    assert found.verdict is verdict
    assert words in found.evidence
    assert bool(found.fix) == (verdict is CheckStatus.FAULT)


# How old


@dataclass
class CloudWatch:
    """The age of the oldest message by queue, in seconds."""

    ages: dict[str, float]

    def get_metric_statistics(self, *, Dimensions: list[dict[str, str]], **_: Any) -> dict[str, Any]:  # noqa: N803
        age = self.ages.get(Dimensions[0]["Value"])
        return {"Datapoints": [] if age is None else [{"Maximum": age / 2}, {"Maximum": age}]}


@pytest.mark.parametrize(
    ("ages", "verdict", "evidence"),
    [
        ({}, CheckStatus.NOT_CHECKED, "CloudWatch has no number of the last quarter of an hour"),
        ({"trailsink": 40.0}, CheckStatus.OK, "40 s in the queue, 0.0 h in the dead-letter queue"),
        ({"trailsink": 7200.0}, CheckStatus.WARNING, "7200 s in the queue, 0.0 h in the dead-letter queue"),
        (
            {"trailsink": 0.0, "trailsink-dead-letters": 12.0 * 86_400},
            CheckStatus.WARNING,
            "0 s in the queue, 12 d in the dead-letter queue: letters are deleted after 14 d",
        ),
    ],
)
def test_old_messages_and_letters_that_will_be_deleted_are_told(
    ages: dict[str, float], verdict: CheckStatus, evidence: str
) -> None:
    """A letter that nobody read in fourteen days is an event that is lost after all."""
    found = examine(cloudwatch=CloudWatch(ages))["age of the oldest message"]

    assert (found.verdict, found.evidence) == (verdict, evidence)


# The way to the endpoint


DOMAIN = {"VPCId": "vpc-1", "SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-domain"]}
INSIDE = {"VpcId": "vpc-1", "SubnetIds": ["subnet-2"], "SecurityGroupIds": ["sg-loader"]}


def opensearch(options: dict[str, Any]) -> Any:
    def describe_domain(*, DomainName: str) -> dict[str, Any]:  # noqa: N803
        assert DomainName == "acme-logs"
        return {"DomainStatus": {"VPCOptions": options}}

    return SimpleNamespace(describe_domain=describe_domain)


def ec2(*rules: dict[str, Any]) -> Any:
    def describe_security_groups(*, GroupIds: list[str]) -> dict[str, Any]:  # noqa: N803
        assert GroupIds == ["sg-domain"]
        return {"SecurityGroups": [{"IpPermissions": list(rules)}]}

    return SimpleNamespace(describe_security_groups=describe_security_groups)


def rule(port: int, *groups: str, cidr: str = "") -> dict[str, Any]:
    return {
        "IpProtocol": "tcp",
        "FromPort": port,
        "ToPort": port,
        "UserIdGroupPairs": [{"GroupId": group} for group in groups],
        "IpRanges": [{"CidrIp": cidr}] if cidr else [],
    }


@pytest.mark.parametrize(
    ("host", "services", "verdict", "words"),
    [
        ("search-a-b.eu-west-1.es.amazonaws.com", {"lambda": Lambda()}, "ok", "public"),
        ("search-a-b.eu-west-1.es.amazonaws.com", {"lambda": Lambda(INSIDE)}, "not checked", "NAT"),
        (VPC_HOST, {"lambda": Lambda()}, "fault", "SubnetIds=... --set SecurityGroupIds=..."),
        (
            VPC_HOST,
            {"lambda": Lambda(), "opensearch": opensearch(DOMAIN)},
            "fault",
            "SubnetIds=subnet-1 --set SecurityGroupIds=sg-domain",
        ),
        ("10.1.2.3", {"lambda": Lambda()}, "fault", "is in a VPC, and the function is in none"),
        ("10.1.2.3", {"lambda": Lambda(INSIDE)}, "not checked", "both are in a VPC"),
        (f"{'a' * 64}.example", {"lambda": Lambda(INSIDE)}, "not checked", "cannot be seen from here"),
        ("127.0.0.1", {"lambda": Lambda()}, "not checked", "cannot be seen from here"),
        (
            VPC_HOST,
            {"lambda": Lambda(INSIDE), "opensearch": opensearch(DOMAIN | {"VPCId": "vpc-2"})},
            "warning",
            "the domain is in vpc-2, the function in vpc-1",
        ),
        (
            VPC_HOST,
            {"lambda": Lambda(INSIDE), "opensearch": opensearch(DOMAIN), "ec2": ec2(rule(443, "sg-loader"))},
            "ok",
            "sg-loader may enter",
        ),
        (
            VPC_HOST,
            {"lambda": Lambda(INSIDE), "opensearch": opensearch(DOMAIN), "ec2": ec2(rule(443, cidr="10.0.0.0/8"))},
            "not checked",
            "lets networks in",
        ),
        (
            VPC_HOST,
            {"lambda": Lambda(INSIDE), "opensearch": opensearch(DOMAIN), "ec2": ec2(rule(22, "sg-loader"))},
            "fault",
            "--group-id sg-domain --protocol tcp --port 443 --source-group sg-loader",
        ),
        (VPC_HOST, {"lambda": Lambda(INSIDE), "opensearch": opensearch(DOMAIN)}, "not checked", "AccessDenied"),
    ],
)
def test_a_function_that_cannot_reach_the_endpoint_is_told(
    host: str, services: dict[str, Any], verdict: str, words: str
) -> None:
    """From there, every batch ends in `no_connection`, and nothing in the log says why."""
    found = examine(f"https://{host}", **services)["way to the endpoint"]

    assert found.verdict == verdict
    assert words in f"{found.evidence} {found.fix}"


# Serverless


@dataclass
class Collections:
    """One collection and its data access policies."""

    policies: list[list[dict[str, Any]]]

    def batch_get_collection(self, *, ids: list[str]) -> dict[str, Any]:
        assert ids == ["abc123"]
        return {"collectionDetails": [{"name": "trails"}]}

    def get_paginator(self, name: str) -> Any:
        assert name == "list_access_policies"
        summaries = [{"name": str(number)} for number in range(len(self.policies))]
        return SimpleNamespace(paginate=lambda **_: [{"accessPolicySummaries": summaries}])

    def get_access_policy(self, *, name: str, type: str) -> dict[str, Any]:  # noqa: A002 - AWS's own
        assert type == "data"
        return {"accessPolicyDetail": {"policy": self.policies[int(name)]}}


def grant(*permissions: str, principal: str = ROLE, index: str = "index/trails/cloudtrail-*") -> list[dict[str, Any]]:
    rule = {"ResourceType": "index", "Resource": [index], "Permission": list(permissions)}
    return [{"Rules": [rule], "Principal": [principal]}]


@pytest.mark.parametrize(
    ("policies", "missing"),
    [
        ([grant("aoss:CreateIndex", "aoss:WriteDocument")], ""),
        ([grant("aoss:CreateIndex"), grant("aoss:WriteDocument", index="index/trails/*")], ""),
        ([grant("aoss:*")], ""),
        ([grant("aoss:CreateIndex")], "aoss:WriteDocument"),
        ([grant("aoss:*", principal="arn:aws:iam::123456789012:role/another")], "aoss:CreateIndex, aoss:WriteDocument"),
        ([grant("aoss:*", index="index/others/*")], "aoss:CreateIndex, aoss:WriteDocument"),
        ([], "aoss:CreateIndex, aoss:WriteDocument"),
    ],
)
def test_a_collection_that_does_not_let_the_function_in_is_told(
    policies: list[list[dict[str, Any]]], missing: str
) -> None:
    """There is no role mapping in a collection: its data access policies say who may load."""
    services = {"lambda": Lambda(), "opensearchserverless": Collections(policies)}

    found = examine("https://abc123.eu-west-1.aoss.amazonaws.com", **services)["data access policy"]

    assert found.verdict is (CheckStatus.FAULT if missing else CheckStatus.OK)
    assert found.evidence == (f"{ROLE} lacks {missing}" if missing else f"lets {ROLE} load")
