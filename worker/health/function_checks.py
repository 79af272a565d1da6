"""The doctor's look at the Lambda function that the queue feeds, and at its way to the cluster."""

from __future__ import annotations

import socket
from fnmatch import fnmatchcase
from functools import cached_property
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from worker.health.findings import fault, not_checked, ok, warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.health.findings import Finding
    from worker.health.queue_checks import QueueChecks
    from worker.settings import Settings

# Six times the timeout leaves room for throttled tries:
# docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
_VISIBILITY_FACTOR = 6
_HTTPS = 443

# What the loader does in a collection:
# docs.aws.amazon.com/opensearch-service/latest/developerguide/serverless-data-access.html
_SERVERLESS = ("aoss:CreateIndex", "aoss:WriteDocument")

_NO_FUNCTION = "no function is fed by the queue: `trailsink run` has to consume it"


class FunctionChecks:
    """The event source mapping of the queue, and its function."""

    def __init__(self, settings: Settings, aws: Callable[[str], Any], queues: QueueChecks) -> None:
        self._settings, self._aws, self._queues = settings, aws, queues

    @cached_property
    def _mappings(self) -> list[dict[str, Any]]:
        client = self._aws("lambda")
        found: Any = client.list_event_source_mappings(EventSourceArn=self._queues.arn)["EventSourceMappings"]
        return list(found)

    @cached_property
    def _function(self) -> dict[str, Any]:
        """The configuration of the function, {} where there is none."""
        if not self._mappings:
            return {}
        name = self._mappings[0]["FunctionArn"]
        found: Any = self._aws("lambda").get_function_configuration(FunctionName=name)
        return dict(found)

    @property
    def _host(self) -> str:
        self._settings.required("opensearch_url")
        return self._settings.opensearch_host

    def role(self) -> str:
        """Return the ARN by which the cluster knows the function; "" where there is none or it has a password."""
        variables = self._function.get("Environment", {}).get("Variables", {})
        by_password = variables.get("TRAILSINK_OPENSEARCH_AUTH") == "basic" or any(
            variables.get(f"TRAILSINK_OPENSEARCH_{name}") for name in ("SECRET_ARN", "USERNAME")
        )
        return "" if by_password else str(self._function.get("Role", ""))

    # How the queue feeds it

    def mapping(self) -> Iterator[Finding]:
        """Look at the mapping between queue and function."""
        if not self._mappings:
            yield not_checked("event source mapping", _NO_FUNCTION)
            return
        mapping = self._mappings[0]
        uuid, state = mapping.get("UUID"), mapping.get("State")
        change = f"aws lambda update-event-source-mapping --uuid {uuid}"
        if len(self._mappings) > 1:
            evidence = f"{len(self._mappings)} of them share the queue: each gets a part of the files"
            fix = "remove all but one: aws lambda delete-event-source-mapping --uuid ..."
            yield warning("event source mapping", evidence, fix)
        elif state in ("Enabled", "Enabling", "Updating", "Creating"):
            yield ok("event source mapping", f"{state}, to {mapping['FunctionArn']}")
        else:
            yield fault("event source mapping", f"it is {state}", f"{change} --enabled")
        if "ReportBatchItemFailures" in mapping.get("FunctionResponseTypes", []):
            yield ok("ReportBatchItemFailures", "on")
        else:
            evidence = "off: what the function hands back is deleted"
            fix = f"{change} --function-response-types ReportBatchItemFailures"
            yield fault("ReportBatchItemFailures", evidence, fix)

    def visibility(self) -> Iterator[Finding]:
        """Compare how long a message is hidden with how long the function may take."""
        if not self._function:
            return
        timeout = int(self._function["Timeout"])
        least = _VISIBILITY_FACTOR * timeout
        evidence = f"{self._queues.visibility_seconds} s, the function's timeout is {timeout} s"
        if self._queues.visibility_seconds >= least:
            yield ok("visibility timeout", evidence)
            return
        attributes = msgspec.json.encode({"VisibilityTimeout": str(least)}).decode()
        fix = f"aws sqs set-queue-attributes --queue-url {self._queues.url} --attributes '{attributes}'"
        yield fault("visibility timeout", evidence, fix)

    def concurrency(self) -> Iterator[Finding]:
        """Look for the trap of reserved concurrency: throttled receives fill the dead-letter queue."""
        if not self._function:
            return
        name = self._function["FunctionName"]
        answer: Any = self._aws("lambda").get_function_concurrency(FunctionName=name)
        reserved = answer.get("ReservedConcurrentExecutions")
        most = self._mappings[0].get("ScalingConfig", {}).get("MaximumConcurrency")
        if reserved is not None and (most is None or reserved < most):
            fix = f"aws lambda delete-function-concurrency --function-name {name}"
            evidence = f"{reserved}, less than the mapping may use: throttled receives fill the dead-letter queue"
            yield fault("reserved concurrency", evidence, fix)
        else:
            yield ok("reserved concurrency", f"{'none' if reserved is None else reserved}, mapping {most or 'any'}")

    # Its way to the cluster

    def network(self) -> Iterator[Finding]:
        """Compare the function's network with the endpoint's."""
        if not self._function:
            return
        check, vpc = "way to the endpoint", self._function.get("VpcConfig") or {}
        inside, private = bool(vpc.get("SubnetIds")), _is_private(self._host)
        if private is None:
            yield not_checked(check, f"whether {self._host} is an address of a VPC cannot be seen from here")
        elif private and not inside:
            yield self._outside()
        elif private:
            yield from self._inside(vpc)
        elif inside:
            evidence = "the function is in a VPC, the endpoint is not; whether its subnets have a way out was not seen"
            yield not_checked(check, evidence, "its subnets need a NAT gateway, or an endpoint for the cluster")
        else:
            yield ok(check, f"{self._host} is public, and the function is in no VPC")

    def _outside(self) -> Finding:
        options = self._domain_network()
        subnets, groups = (",".join(options.get(name, ())) or "..." for name in ("SubnetIds", "SecurityGroupIds"))
        return fault(
            "way to the endpoint",
            f"{self._host} is in a VPC, and the function is in none",
            f"trailsink deploy --set SubnetIds={subnets} --set SecurityGroupIds={groups}",
        )

    def _inside(self, vpc: dict[str, Any]) -> Iterator[Finding]:
        check, options = "way to the endpoint", self._domain_network()
        if not options:
            yield not_checked(check, f"both are in a VPC; whether {self._host} lets the function in was not seen")
        elif options.get("VPCId") != vpc.get("VpcId"):
            evidence = f"the domain is in {options.get('VPCId')}, the function in {vpc.get('VpcId')}"
            yield warning(check, evidence, "the two VPCs need a peering, or move the function to the domain's")
        else:
            yield from self._doors(options.get("SecurityGroupIds", []), vpc.get("SecurityGroupIds", []))

    def _doors(self, of_domain: list[str], of_function: list[str]) -> Iterator[Finding]:
        """Look whether a security group of the domain lets one of the function's in on port 443."""
        check = "way to the endpoint"
        ec2: Any = self._aws("ec2")
        groups = ec2.describe_security_groups(GroupIds=of_domain)["SecurityGroups"]
        rules = [rule for group in groups for rule in group["IpPermissions"] if _is_https(rule)]
        named = {pair["GroupId"] for rule in rules for pair in rule.get("UserIdGroupPairs", ())}
        if named & set(of_function):
            yield ok(check, f"{', '.join(sorted(named & set(of_function)))} may enter the domain's security group")
        elif any(rule.get("IpRanges") or rule.get("PrefixListIds") for rule in rules):
            yield not_checked(check, "the domain's security group lets networks in; compare them with the subnets")
        else:
            fix = (
                f"aws ec2 authorize-security-group-ingress --group-id {of_domain[0]} --protocol tcp --port {_HTTPS} "
                f"--source-group {of_function[0]}"
            )
            evidence = f"{', '.join(of_domain)} of the domain lets none of the function's groups in on port {_HTTPS}"
            yield fault(check, evidence, fix)

    def _domain_network(self) -> dict[str, Any]:
        """Ask where the managed domain behind the endpoint is; {} for any other, and where that may not be asked."""
        if not self._host.endswith(".es.amazonaws.com"):
            return {}
        # vpc-NAME-RANDOM.REGION.es.amazonaws.com
        name = self._host.split(".")[0].partition("-")[2].rpartition("-")[0]
        client: Any = self._aws("opensearch")
        try:
            found: dict[str, Any] = client.describe_domain(DomainName=name)["DomainStatus"].get("VPCOptions", {})
        except (ClientError, BotoCoreError):
            return {}
        return found

    def data_access(self) -> Iterator[Finding]:
        """Look whether a Serverless collection's data access policies let the function's role load."""
        role = self.role()
        if not self._host.endswith(".aoss.amazonaws.com") or not role:
            return
        check, client = "data access policy", self._aws("opensearchserverless")
        index = f"index/{self._collection(client)}/{self._settings.index_prefix}-2026-01-31"
        granted = {
            permission
            for rules in self._rules_for(client, role)
            for rule in rules
            if rule.get("ResourceType") == "index" and any(fnmatchcase(index, one) for one in rule["Resource"])
            for permission in rule["Permission"]
        }
        missing = [one for one in _SERVERLESS if not granted & {one, "aoss:*"}]
        if missing:
            pattern = index.replace("2026-01-31", "*")
            fix = f"let {role} use {', '.join(_SERVERLESS)} on {pattern} in a data access policy of the collection"
            yield fault(check, f"{role} lacks {', '.join(missing)}", fix)
        else:
            yield ok(check, f"lets {role} load")

    def _collection(self, client: Any) -> str:  # noqa: ANN401 - there are no types for this client
        found = client.batch_get_collection(ids=[self._host.split(".")[0]])["collectionDetails"]
        return str(found[0]["name"]) if found else ""

    @staticmethod
    def _rules_for(client: Any, role: str) -> Iterator[list[dict[str, Any]]]:  # noqa: ANN401
        for page in client.get_paginator("list_access_policies").paginate(type="data"):
            for one in page["accessPolicySummaries"]:
                policy = client.get_access_policy(name=one["name"], type="data")["accessPolicyDetail"]["policy"]
                yield from (part["Rules"] for part in policy if role in part["Principal"])


def _is_private(host: str) -> bool | None:
    """Say whether only a VPC knows the way to a host; None where this machine cannot tell."""
    if host.endswith(".es.amazonaws.com"):
        return host.startswith("vpc-")
    if host.endswith(".aoss.amazonaws.com"):
        return None  # its network policy says, and the name does not
    try:
        found = {ip_address(str(one[4][0])) for one in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):  # no such name, or none that DNS could have
        return None
    if any(one.is_loopback for one in found):
        return None
    return any(one.is_private for one in found)


def _is_https(rule: dict[str, Any]) -> bool:
    return rule.get("IpProtocol") == "-1" or rule.get("FromPort", 0) <= _HTTPS <= rule.get("ToPort", 0)
