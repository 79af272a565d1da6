"""The doctor on the way to the endpoint, in VPCs and collections that no local stack can be."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.health.fake_pipeline import ROLE, FakeLambda, FakePipeline
from worker.health.findings import CheckStatus
from worker.health.network_checks import is_private_host

if TYPE_CHECKING:
    from worker.health.findings import Finding

VPC_HOST = "vpc-acme-logs-ab12.eu-west-1.es.amazonaws.com"
DOMAIN = {"VPCId": "vpc-1", "SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-domain"]}
INSIDE = {"VpcId": "vpc-1", "SubnetIds": ["subnet-2"], "SecurityGroupIds": ["sg-loader"]}


def check(url: str, services: dict[str, Any]) -> dict[str, Finding]:
    """The findings with an endpoint at this address, by check."""
    return FakePipeline(services, settings={"opensearch_url": url}).findings()


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
    ("host", "services", "status", "words"),
    [
        ("search-a-b.eu-west-1.es.amazonaws.com", {"lambda": FakeLambda()}, "ok", "public"),
        ("search-a-b.eu-west-1.es.amazonaws.com", {"lambda": FakeLambda(vpc=INSIDE)}, "not checked", "NAT"),
        (VPC_HOST, {"lambda": FakeLambda()}, "fault", "SubnetIds=... --set SecurityGroupIds=..."),
        (
            VPC_HOST,
            {"lambda": FakeLambda(), "opensearch": opensearch(DOMAIN)},
            "fault",
            "SubnetIds=subnet-1 --set SecurityGroupIds=sg-domain",
        ),
        ("10.1.2.3", {"lambda": FakeLambda()}, "fault", "is in a VPC, and the function is in none"),
        ("10.1.2.3", {"lambda": FakeLambda(vpc=INSIDE)}, "not checked", "both are in a VPC"),
        (f"{'a' * 64}.example", {"lambda": FakeLambda(vpc=INSIDE)}, "not checked", "cannot be determined from here"),
        ("127.0.0.1", {"lambda": FakeLambda()}, "not checked", "cannot be determined from here"),
        (
            VPC_HOST,
            {"lambda": FakeLambda(vpc=INSIDE), "opensearch": opensearch(DOMAIN | {"VPCId": "vpc-2"})},
            "warning",
            "the domain is in vpc-2, the function in vpc-1",
        ),
        (
            VPC_HOST,
            {"lambda": FakeLambda(vpc=INSIDE), "opensearch": opensearch(DOMAIN), "ec2": ec2(rule(443, "sg-loader"))},
            "ok",
            "sg-loader may enter",
        ),
        (
            VPC_HOST,
            {
                "lambda": FakeLambda(vpc=INSIDE),
                "opensearch": opensearch(DOMAIN),
                "ec2": ec2(rule(443, cidr="10.0.0.0/8")),
            },
            "not checked",
            "accepts address ranges",
        ),
        (
            VPC_HOST,
            {"lambda": FakeLambda(vpc=INSIDE), "opensearch": opensearch(DOMAIN), "ec2": ec2(rule(22, "sg-loader"))},
            "fault",
            "--group-id sg-domain --protocol tcp --port 443 --source-group sg-loader",
        ),
        (VPC_HOST, {"lambda": FakeLambda(vpc=INSIDE), "opensearch": opensearch(DOMAIN)}, "not checked", "AccessDenied"),
    ],
)
def test_a_function_that_cannot_reach_the_endpoint_is_reported(
    host: str, services: dict[str, Any], status: str, words: str
) -> None:
    """From there, every batch ends in `no_connection`, and nothing in the log says why."""
    finding = check(f"https://{host}", services)["way to the endpoint"]

    assert finding.status == status
    assert words in f"{finding.evidence} {finding.fix}"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (VPC_HOST, True),
        ("vpc-acme-logs-ab12.aos.eu-west-1.on.aws", True),
        ("vpc-acme-logs-ab12.cn-north-1.es.amazonaws.com.cn", True),
        ("search-a-b.aos.eu-west-1.on.aws", False),
        ("abc123.aoss.eu-west-1.on.aws", None),
        ("search-a-b.eu-west-1.es.amazonaws.com", False),
        ("abc123.eu-west-1.aoss.amazonaws.com", None),
        ("192.168.1.1", True),
        ("9.9.9.9", False),
        ("127.0.0.1", None),
        ("", None),
        (f"{'a' * 64}.example", None),
    ],
)
def test_a_host_is_private_where_its_name_or_address_shows_it(host: str, expected: bool | None) -> None:  # noqa: FBT001
    """Where this machine cannot know, it must not guess."""
    assert is_private_host(host) is expected


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


def grant(*permissions: str, principal: str = ROLE, index: str = "") -> list[dict[str, Any]]:
    resources = [index] if index else ["index/trails/cloudtrail-*", "index/trails/trailsink-files-cloudtrail-*"]
    part = {"ResourceType": "index", "Resource": resources, "Permission": list(permissions)}
    return [{"Rules": [part], "Principal": [principal]}]


@pytest.mark.parametrize(
    ("policies", "missing"),
    [
        ([grant("aoss:CreateIndex", "aoss:WriteDocument")], ""),
        ([grant("aoss:CreateIndex"), grant("aoss:WriteDocument", index="index/trails/*")], ""),
        ([grant("aoss:*")], ""),
        ([grant("aoss:CreateIndex")], "aoss:WriteDocument"),
        ([grant("aoss:*", principal="arn:aws:iam::123456789012:role/another")], "aoss:CreateIndex, aoss:WriteDocument"),
        ([grant("aoss:*", index="index/others/*")], "aoss:CreateIndex, aoss:WriteDocument"),
        # A policy of before the ledger: nothing could be acknowledged.
        ([grant("aoss:*", index="index/trails/cloudtrail-*")], "aoss:CreateIndex, aoss:WriteDocument"),
        ([], "aoss:CreateIndex, aoss:WriteDocument"),
    ],
)
def test_a_collection_that_does_not_let_the_function_in_is_reported(
    policies: list[list[dict[str, Any]]], missing: str
) -> None:
    """There is no role mapping in a collection: its data access policies say who may load."""
    services = {"lambda": FakeLambda(), "opensearchserverless": Collections(policies)}

    finding = check("https://abc123.eu-west-1.aoss.amazonaws.com", services)["data access policy"]

    assert finding.status is (CheckStatus.FAULT if missing else CheckStatus.OK)
    assert finding.evidence == (f"{ROLE} lacks {missing}" if missing else f"allows {ROLE} to load")
    indices = "index/trails/cloudtrail-* and index/trails/trailsink-files-cloudtrail-*"
    assert (f"on {indices} in a data access policy" in finding.fix) == bool(missing)
