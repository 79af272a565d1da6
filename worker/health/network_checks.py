"""The doctor's checks of the way from the Lambda function to the cluster's endpoint."""

from __future__ import annotations

import socket
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.partitions import opensearch_service
from worker.health.check import check
from worker.health.findings import Judgement
from worker.health.observe import require
from worker.pipeline.ledger import ledger_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from worker.health.aws_facts import AwsFacts
    from worker.health.snapshot import FunctionConfiguration
    from worker.settings import Settings

_HTTPS = 443

# What the loader does in a collection:
# docs.aws.amazon.com/opensearch-service/latest/developerguide/serverless-data-access.html
_LOADER_PERMISSIONS = ("aoss:CreateIndex", "aoss:WriteDocument")


class NetworkChecks:
    """The networks of the function and the endpoint; `role` returns the function's role, "" where it has none."""

    def __init__(self, settings: Settings, facts: AwsFacts, role: Callable[[], str]) -> None:
        self._settings, self._facts, self._role = settings, facts, role

    @property
    def _host(self) -> str:
        self._settings.required("opensearch_url")
        return self._settings.opensearch_host

    @check("way to the endpoint")
    def network(self) -> Iterator[Judgement]:
        """Compare the function's network with the endpoint's."""
        function = require(self._facts.function)
        if function is None:
            return
        host, is_inside = self._host, bool(function.subnets)
        is_private = is_private_host(host)
        if is_private is None:
            yield Judgement.not_checked(f"whether {host} is an address of a VPC cannot be determined from here")
        elif is_private and not is_inside:
            yield self._judge_outside()
        elif is_private:
            yield self._judge_inside(function)
        elif is_inside:
            evidence = "the function is in a VPC, the endpoint is not; whether its subnets have a way out is not known"
            yield Judgement.not_checked(evidence, "its subnets need a NAT gateway, or an endpoint for the cluster")
        else:
            yield Judgement.ok(f"{host} is public, and the function is in no VPC")

    def _judge_outside(self) -> Judgement:
        options = self._domain_network()
        subnets, groups = (",".join(options.get(name, ())) or "..." for name in ("SubnetIds", "SecurityGroupIds"))
        return Judgement.fault(
            f"{self._host} is in a VPC, and the function is in none",
            f"trailsink deploy --set SubnetIds={subnets} --set SecurityGroupIds={groups}",
        )

    def _judge_inside(self, function: FunctionConfiguration) -> Judgement:
        options = self._domain_network()
        if not options:
            evidence = f"both are in a VPC; whether {self._host} accepts connections of the function is not known"
            return Judgement.not_checked(evidence)
        if options.get("VPCId") != function.vpc_id:
            evidence = f"the domain is in {options.get('VPCId')}, the function in {function.vpc_id}"
            return Judgement.warning(evidence, "peer the two VPCs, or move the function to the domain's")
        return self._judge_security_groups(options.get("SecurityGroupIds", []), function.security_groups)

    def _judge_security_groups(self, of_domain: Sequence[str], of_function: Sequence[str]) -> Judgement:
        """Judge whether a security group of the domain accepts one of the function's on port 443."""
        response: Any = self._facts.client("ec2").describe_security_groups(GroupIds=of_domain)
        rules = [rule for group in response["SecurityGroups"] for rule in group["IpPermissions"] if _covers_https(rule)]
        accepted = {pair["GroupId"] for rule in rules for pair in rule.get("UserIdGroupPairs", ())}
        if common := accepted & set(of_function):
            return Judgement.ok(f"{', '.join(sorted(common))} may enter the domain's security group")
        if any(rule.get("IpRanges") or rule.get("PrefixListIds") for rule in rules):
            evidence = "the domain's security group accepts address ranges; compare them with the function's subnets"
            return Judgement.not_checked(evidence)
        fix = (
            f"aws ec2 authorize-security-group-ingress --group-id {of_domain[0]} --protocol tcp --port {_HTTPS} "
            f"--source-group {of_function[0]}"
        )
        evidence = f"{', '.join(of_domain)} of the domain accepts none of the function's groups on port {_HTTPS}"
        return Judgement.fault(evidence, fix)

    def _domain_network(self) -> dict[str, Any]:
        """Read the network of the managed domain behind the endpoint; {} for any other, and without permission."""
        if opensearch_service(self._host) != "es":
            return {}
        # vpc-NAME-RANDOM.REGION.es.amazonaws.com or vpc-NAME-RANDOM.aos.REGION.on.aws
        name = self._host.split(".")[0].partition("-")[2].rpartition("-")[0]
        try:
            response: Any = self._facts.client("opensearch").describe_domain(DomainName=name)
        except (ClientError, BotoCoreError):
            return {}
        options: dict[str, Any] = response["DomainStatus"].get("VPCOptions", {})
        return options

    @check("data access policy")
    def data_access(self) -> Iterator[Judgement]:
        """Check that a Serverless collection's data access policies allow the function's role to load."""
        require(self._facts.function)
        role = self._role()
        if opensearch_service(self._host) != "aoss" or not role:
            return
        client = self._facts.client("opensearchserverless")
        prefix, collection = self._settings.index_prefix, self._collection(client)
        patterns = [f"{prefix}-*", *([ledger_pattern(prefix)] if self._settings.ledger else [])]
        rules = [rule for rules in _rules_for(client, role) for rule in rules if rule.get("ResourceType") == "index"]
        granted = [_granted(rules, f"index/{collection}/{pattern[:-1]}2026-01") for pattern in patterns]
        missing = [
            permission
            for permission in _LOADER_PERMISSIONS
            if not all(permissions & {permission, "aoss:*"} for permissions in granted)
        ]
        if missing:
            permissions = ", ".join(_LOADER_PERMISSIONS)
            indices = " and ".join(f"index/{collection}/{pattern}" for pattern in patterns)
            fix = f"allow {role} to use {permissions} on {indices} in a data access policy of the collection"
            yield Judgement.fault(f"{role} lacks {', '.join(missing)}", fix)
        else:
            yield Judgement.ok(f"allows {role} to load")

    def _collection(self, client: Any) -> str:  # noqa: ANN401 - there are no types for this client
        collections = client.batch_get_collection(ids=[self._host.split(".")[0]])["collectionDetails"]
        return str(collections[0]["name"]) if collections else ""


def _granted(rules: Sequence[Mapping[str, Any]], index: str) -> set[str]:
    """Return the permissions that rules grant on one index."""
    return {
        permission
        for rule in rules
        if any(fnmatchcase(index, pattern) for pattern in rule["Resource"])
        for permission in rule["Permission"]
    }


def _rules_for(client: Any, role: str) -> Iterator[list[dict[str, Any]]]:  # noqa: ANN401
    for page in client.get_paginator("list_access_policies").paginate(type="data"):
        for summary in page["accessPolicySummaries"]:
            detail = client.get_access_policy(name=summary["name"], type="data")["accessPolicyDetail"]
            yield from (part["Rules"] for part in detail["policy"] if role in part["Principal"])


def is_private_host(host: str) -> bool | None:
    """Return whether a host has an address of a VPC; None where this machine cannot know."""
    service = opensearch_service(host)
    if service == "es":
        return host.startswith("vpc-")
    if service == "aoss":
        return None  # its network policy decides that, and the name does not show it
    try:
        addresses = {ip_address(str(entry[4][0])) for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):  # no such name, or none that DNS could have
        return None
    if any(address.is_loopback for address in addresses):
        return None
    return any(address.is_private for address in addresses)


def _covers_https(rule: dict[str, Any]) -> bool:
    return rule.get("IpProtocol") == "-1" or rule.get("FromPort", 0) <= _HTTPS <= rule.get("ToPort", 0)
