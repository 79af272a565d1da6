"""Who needs which permissions: the consumer's from the template and the roles in the code, each command's from here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cfnlint.decode.cfn_yaml import loads

from infra.generate.markdown import code, page, table
from worker.opensearch.security import examiner_role, installer_role, loader_role

TEMPLATE = Path(__file__).resolve().parents[1] / "template.yaml"

_READ_OBJECTS = ("s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket")
_INDICES = "on the indices"
_LEDGER = "on the ledger"


@dataclass(frozen=True, slots=True)
class Need:
    """What one command needs of AWS, by resource, and of the cluster."""

    command: str
    aws: dict[str, tuple[str, ...]]
    cluster: tuple[str, ...] = ()
    note: str = ""


def _role_permissions(role: dict[str, Any]) -> tuple[str, ...]:
    """Return a role of the security plugin as a list, the permissions on indices marked."""
    on_indices = [action for part in role["index_permissions"] for action in part["allowed_actions"]]
    return (*role["cluster_permissions"], *(f"{action} {_INDICES}" for action in on_indices))


def consumer_actions() -> dict[str, list[str]]:
    """Return the actions that the template's loader role allows, by the id of their statement."""
    template = json.loads(json.dumps(loads(TEMPLATE.read_text(encoding="utf-8"))))
    statements = template["Resources"]["LoaderRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    actions: dict[str, list[str]] = {}
    for entry in statements:
        statement = entry["Fn::If"][1] if "Fn::If" in entry else entry
        if statement["Effect"] == "Allow":
            allowed = statement["Action"]
            actions[statement["Sid"]] = allowed if isinstance(allowed, list) else [allowed]
    return actions


NEEDS = (
    Need(
        "run",
        {
            "source queue": (
                "sqs:ReceiveMessage",
                "sqs:DeleteMessage",
                "sqs:ChangeMessageVisibility",
                "sqs:GetQueueAttributes",
                "sqs:SendMessage",
            ),
            "dead-letter queue": ("sqs:SendMessage", "sqs:GetQueueAttributes"),
            "bucket": _READ_OBJECTS,
            "the trail's key": ("kms:Decrypt",),
        },
        _role_permissions(loader_role("cloudtrail")),
        "`s3:ListBucket` lets S3 say that an object is missing, not forbidden. `cluster:monitor/main` is"
        " needed only to run `trailsink doctor` with the loader's credentials. With"
        " `TRAILSINK_OPENSEARCH_SECRET_ARN`, `secretsmanager:GetSecretValue` on the secret is needed, too. With"
        " `TRAILSINK_S3_ROLE_ARN`, `sts:AssumeRole` on that role is needed. Then it is the role that needs the"
        " permissions on the bucket and on the trail's key. The same is true of `backfill` and `dlq`.",
    ),
    Need(
        "setup",
        {},
        _role_permissions(installer_role(retention=True)),
        "Without `--retention-days`, the two permissions of `ism` are not needed. With"
        " `indices:admin/index_template/simulate`, `setup` can try the template before it puts it."
        " `--loader-role` also needs the security API. The plugin opens it to the roles that"
        " `plugins.security.restapi.roles_enabled` names, on a managed domain to its master user. Anyone with it can"
        " grant themselves any permission.",
    ),
    Need(
        "doctor",
        {
            "both queues": ("sqs:GetQueueAttributes",),
            "function": (
                "lambda:ListEventSourceMappings",
                "lambda:GetFunctionConfiguration",
                "lambda:GetFunctionConcurrency",
            ),
            "bucket": ("s3:GetBucketNotification",),
            "trail": ("cloudtrail:DescribeTrails", "cloudtrail:GetTrailStatus"),
            "stack, with --stack": (
                "cloudformation:DescribeStacks",
                "cloudformation:GetTemplate",
                "cloudformation:ListStackResources",
            ),
            "`*`": ("cloudwatch:GetMetricData",),
        },
        _role_permissions(examiner_role("cloudtrail", retention=True)),
        "A check that lacks its permission says so, and does not affect the other checks. The security API"
        " shows the loader's permissions. From OpenSearch 3.2 on, the doctor can check its own without it. With"
        " `TRAILSINK_S3_ROLE_ARN`, the doctor tries `sts:AssumeRole`.",
    ),
    Need(
        "status",
        {
            "both queues": ("sqs:GetQueueAttributes",),
            "function": ("lambda:ListEventSourceMappings", "lambda:GetFunctionConcurrency"),
            "bucket": ("s3:ListBucket",),
            "trail": ("cloudtrail:DescribeTrails", "cloudtrail:GetTrailStatus"),
            "`*`": ("cloudwatch:GetMetricData",),
            "dead-letter queue, with --letters": ("sqs:ReceiveMessage", "sqs:ChangeMessageVisibility"),
        },
        (
            "cluster:monitor/main",
            "cluster:monitor/health",
            "cluster:monitor/state",
            "cluster:monitor/nodes/stats",
            "indices:admin/index_template/get",
            "indices:monitor/settings/get",
            "indices:monitor/stats",
            "cluster:admin/opendistro/ism/policy/get",
            *(
                f"{action} {_INDICES}"
                for action in (
                    "indices:data/read/search",
                    "indices:monitor/settings/get",
                    "indices:monitor/stats",
                    "cluster:monitor/state",
                    "cluster:monitor/health",
                )
            ),
        ),
        "This list is sufficient, but may be longer than needed. The permission of `ism` is untested.",
    ),
    Need(
        "search",
        {},
        (
            f"indices:data/read/search {_INDICES}",
            f"indices:data/read/point_in_time/create {_INDICES}",
            f"indices:data/read/point_in_time/delete {_INDICES}",
            f"indices:data/read/field_caps {_INDICES}",
        ),
        "`search` alone is enough. With the two of `point_in_time`, all pages show the same moment. With `field_caps`,"
        " misspelt fields are named.",
    ),
    Need("explain", {}, (f"indices:data/read/search {_INDICES}", f"indices:data/read/search {_LEDGER}")),
    Need(
        "detect",
        {"topic, with --sns": ("sns:Publish",)},
        (
            "indices:data/read/msearch",
            "indices:data/read/mget",
            "indices:data/write/bulk",
            f"indices:data/read/search {_INDICES}",
            f"indices:data/read/field_caps {_INDICES}",
        ),
        "`run` also needs the action groups `create_index`, `read` and `write` on `trailsink-findings-{prefix}` and"
        " `trailsink-detect-{prefix}`. `install --put` needs `cluster:admin/opendistro/alerting/monitor/search` and"
        " `cluster:admin/opendistro/alerting/monitor/write`. This list has not been tested on a secured node.",
    ),
    Need(
        "backfill",
        {
            "bucket": ("s3:ListBucket",),
            "source queue, via the queue": ("sqs:SendMessage", "sqs:GetQueueAttributes"),
            "dead-letter queue, via the queue": ("sqs:GetQueueAttributes",),
            "bucket, with --direct": _READ_OBJECTS,
        },
        (f"indices:data/read/search {_INDICES}", f"indices:data/read/search {_LEDGER}"),
        "Only `--missing` needs the searches. `--direct` also needs what `run` needs of the cluster and of the trail's"
        " key.",
    ),
    Need(
        "verify",
        {
            "bucket": _READ_OBJECTS,
            "`*`": ("cloudtrail:ListPublicKeys",),
            "the trail's key": ("kms:Decrypt",),
        },
        (
            f"indices:data/read/search {_INDICES}",
            f"indices:data/read/mget {_INDICES}",
            f"indices:data/read/search {_LEDGER}",
            f"indices:data/read/get {_LEDGER}",
        ),
        "Digests are read without the trail's key. `--load` also needs what `run` needs of the cluster. With `--local`"
        " nothing is needed. `ledger rebuild` needs the same, without the public keys, and"
        f" `indices:data/write/index` {_LEDGER}.",
    ),
    Need(
        "dlq",
        {
            "dead-letter queue": (
                "sqs:ReceiveMessage",
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:SendMessage",
                "sqs:GetQueueAttributes",
                "sqs:StartMessageMoveTask",
                "sqs:ListMessageMoveTasks",
                "sqs:CancelMessageMoveTask",
            ),
            "source queue": ("sqs:SendMessage", "sqs:GetQueueAttributes"),
            "bucket": _READ_OBJECTS,
        },
        (),
        "`dlq redrive` checks in S3 whether an object was replaced. `dlq show --records` also needs `kms:Decrypt`"
        " on the trail's key, if there is one.",
    ),
)


def permissions_page() -> str:
    """Return docs/reference/permissions.md."""
    consumer = table(("statement", "actions"), ((sid, code(actions)) for sid, actions in consumer_actions().items()))
    introduction = "The statements of the function's role in the template. Some of them depend on the parameters."
    parts = [f"## The Lambda function\n\n{introduction}\n\n{consumer}"]
    for need in NEEDS:
        rows = [(resource, code(actions)) for resource, actions in need.aws.items()]
        if need.cluster:
            rows.append(("cluster", code(need.cluster)))
        note = f"\n\n{need.note}" if need.note else ""
        parts.append(f"## `trailsink {need.command}`\n\n{table(('resource', 'permissions'), rows)}{note}")
    introduction = (
        "What the function and each command need, and nothing more. Permissions of the cluster are those of the"
        f' security plugin. The ones marked "{_INDICES}" are for the index pattern `{{prefix}}-*`. On a managed domain,'
        " IAM must also allow `es:ESHttpGet`, `es:ESHttpPost`, `es:ESHttpPut` and `es:ESHttpDelete`, on Serverless"
        " `aoss:APIAccessAll`. `deploy` and `destroy` need the rights to create and delete what the template contains."
    )
    return page("Permissions", introduction, *parts)
