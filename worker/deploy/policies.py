"""Policy documents for a command: one of IAM, and a role of the cluster's security plugin."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from worker.aws.partitions import partition_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.deploy.needs import Need

# Actions that take no ARN:
# docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
_WITHOUT_RESOURCE = {"cloudtrail:DescribeTrails", "cloudtrail:ListPublicKeys", "lambda:ListEventSourceMappings"}
_OF_OBJECTS = re.compile(r"s3:(?:Get|Put|Delete)Object")
_ANY = "`*`"

_CLUSTER_ACTIONS = ("es:ESHttpDelete", "es:ESHttpGet", "es:ESHttpHead", "es:ESHttpPost", "es:ESHttpPut")

# The ARNs of each resource that worker.deploy.needs names.
_ARNS: dict[str, tuple[str, ...]] = {
    "source queue": ("sqs:{region}:{account}:{queue}",),
    "dead-letter queue": ("sqs:{region}:{account}:{dead_letters}",),
    "both queues": ("sqs:{region}:{account}:{queue}", "sqs:{region}:{account}:{dead_letters}"),
    "bucket": ("s3:::{bucket}",),
    "function": ("lambda:{region}:{account}:function:{stack}-*",),
    "trail": ("cloudtrail:{region}:{account}:trail/*",),
    "stack": ("cloudformation:{region}:{account}:stack/{stack}/*",),
    "topic": ("sns:{region}:{account}:TOPIC",),
    "domain": ("es:{region}:{account}:domain/{domain}",),
    "code bucket": ("s3:::trailsink-code-{account}-{region}*",),
    "queues": ("sqs:{region}:{account}:{stack}", "sqs:{region}:{account}:{stack}-dead-letters"),
    "topics": ("sns:{region}:{account}:{stack}-*",),
    "subscribed topics": ("sns:{region}:{account}:{stack}-*",),  # and the trail's, of whichever account
    "announcing topics": ("sns:{region}:*:*",),  # of whichever account
    "announcing rules": ("events:{region}:{account}:rule/*",),
    "rules": ("events:{region}:{account}:rule/{stack}-*",),
    "event source mappings": ("lambda:{region}:{account}:event-source-mapping:*",),
    "functions": ("lambda:{region}:{account}:function:{stack}-*",),
    "roles": ("iam::{account}:role{role_path}{stack}-*",),
    "log groups": (
        "logs:{region}:{account}:log-group:/aws/lambda/{stack}-*",
        "logs:{region}:{account}:log-group:/aws/opensearch/{stack}*",
    ),
    # CloudFormation names it after the resource, not after the stack.
    "secrets": ("secretsmanager:{region}:{account}:secret:DomainSecret-*",),
    "alarms": ("cloudwatch:{region}:{account}:alarm:{stack}-*",),
    "dashboards": ("cloudwatch::{account}:dashboard/{stack}",),
}


# Which of the places is a key; what is not known is left out.
_KEYS = {"the trail's key": "trail_key", "the queues' key": "queue_key"}


@dataclass(frozen=True, slots=True)
class Places:
    """Where a pipeline's parts are. An upper-case word stands for what is not known."""

    region: str = "REGION"
    account: str = "ACCOUNT"
    stack: str = "trailsink"
    queue: str = "trailsink"
    dead_letters: str = "trailsink-dead-letters"
    bucket: str = "BUCKET"
    trail_prefix: str = "AWSLogs/"
    trail_key: str = ""
    trail_topic: str = ""
    queue_key: str = ""
    filters: str = ""  # bucket and key
    domain: str = "DOMAIN"
    collection: str = ""
    secret: str = ""
    role_path: str = "/"

    @property
    def unknown(self) -> list[str]:
        """The words that the reader has to replace."""
        return [word for word in ("REGION", "ACCOUNT", "BUCKET", "DOMAIN") if word in vars_of(self).values()]

    def arn(self, resource: str) -> str:
        """Return the ARN of a resource, given without its partition."""
        return f"arn:{partition_of(self.region).name}:{resource}".format(**vars_of(self))


def vars_of(places: Places) -> dict[str, str]:
    """Return the values by name."""
    return {name: str(getattr(places, name)) for name in places.__slots__}


def queue_place(url: str) -> tuple[str, str, str]:
    """Return region, account and name of the queue at a URL, "" for what it does not say."""
    parts = urlsplit(url)
    region = re.match(r"sqs\.([a-z0-9-]+)\.", parts.hostname or "")
    account, _, name = parts.path.strip("/").rpartition("/")
    return (region[1] if region else "", account.rpartition("/")[2], name)


def iam_policy(need: Need, places: Places) -> dict[str, Any]:
    """Return the IAM policy with which a command can do its work."""
    statements: list[dict[str, Any]] = []
    everywhere: set[str] = set()
    for resource, actions in need.aws.items():
        label = resource.partition(",")[0]
        without = set(actions) if label == _ANY else set(actions) & _WITHOUT_RESOURCE
        everywhere |= without
        if label == _ANY:
            continue
        for suffix, arns, allowed in _by_arn(label, sorted(set(actions) - without), places):
            if allowed and arns:
                statements.append(_statement(_sid(resource) + suffix, allowed, arns))
    if everywhere:
        statements.append(_statement("AllResources", sorted(everywhere), ["*"]))
    if need.role(""):
        statements += _cluster_statements(places)
    return {"Version": "2012-10-17", "Statement": statements}


def cluster_role(need: Need, prefix: str) -> dict[str, Any]:
    """Return the role of the security plugin with which a command can do its work, {} when it needs none."""
    return need.role(prefix)


def _by_arn(label: str, actions: list[str], places: Places) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield the end of a statement's id, its ARNs and its actions: objects have other ARNs than their bucket."""
    if key := _KEYS.get(label):
        arn = str(getattr(places, key))
        yield "", [arn] if arn else [], actions
        return
    if label == "filters":
        yield "", [places.arn(f"s3:::{places.filters}")] if places.filters else [], actions
        return
    arns = [places.arn(arn) for arn in _ARNS[label]]
    if label == "subscribed topics" and places.trail_topic:
        arns.append(places.trail_topic)
    of_objects = [action for action in actions if _OF_OBJECTS.match(action)]
    keys = f"{places.trail_prefix}*" if label == "bucket" else "*"
    yield "", arns, [action for action in actions if action not in of_objects]
    yield "Objects", [f"{arn}/{keys}" for arn in arns], of_objects


def _cluster_statements(places: Places) -> list[dict[str, Any]]:
    """Return what IAM must allow for the cluster; its own security plugin decides about the rest."""
    secret = (
        [_statement("ClusterPassword", ["secretsmanager:GetSecretValue"], [places.secret])] if places.secret else []
    )
    if places.collection:
        return [_statement("Collection", ["aoss:APIAccessAll"], [places.collection]), *secret]
    domain = places.domain if places.domain.startswith("arn:") else places.arn("es:{region}:{account}:domain/{domain}")
    cluster = [_statement("Cluster", list(_CLUSTER_ACTIONS), [f"{domain}/*"])] if places.domain else []
    return [*cluster, *secret]


def _statement(sid: str, actions: list[str], arns: list[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": arns if len(arns) > 1 else arns[0]}


def _sid(resource: str) -> str:
    return "".join(word.capitalize() for word in re.findall(r"[A-Za-z]+", resource.replace("'s", "s")))
