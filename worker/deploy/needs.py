"""What each command needs: permissions of AWS by resource, and a role of the cluster's security plugin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.deploy.stack_needs import BUCKET_ACTIONS, DEPLOY, DESTROY
from worker.opensearch.security import (
    examiner_role,
    heartbeat_index,
    hold_index,
    holder_role,
    installer_role,
    loader_role,
    reindexer_role,
    verdict_index,
)
from worker.pipeline.ledger import ledger_pattern

if TYPE_CHECKING:
    from collections.abc import Callable

    Role = dict[str, Any]

_READ_OBJECTS = ("s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket")
_FILTERS = {"filters, in S3": ("s3:GetObject",)}
_TRAIL_KEY = {"the trail's key": ("kms:Decrypt",)}
_QUEUE_KEY = {"the queues' key": ("kms:Decrypt", "kms:GenerateDataKey")}
_SEARCH = "indices:data/read/search"


def _no_role(_: str) -> Role:
    return {}


@dataclass(frozen=True, slots=True)
class Need:
    """What one command needs of AWS, by resource, and its role in the cluster, by the prefix of the indices."""

    command: str
    aws: dict[str, tuple[str, ...]] = field(default_factory=dict)
    role: Callable[[str], Role] = _no_role
    note: str = ""


def _role(
    *actions: str,
    cluster: tuple[str, ...] = (),
    ledger: tuple[str, ...] = (),
    others: dict[str, tuple[str, ...]] | None = None,
) -> Callable[[str], Role]:
    """Return a role: `actions` on the indices, and others on the ledger and on the indices that `others` names."""

    def role(prefix: str) -> Role:
        named = {pattern.format(prefix=prefix): allowed for pattern, allowed in (others or {}).items()}
        by_pattern = {f"{prefix}-*": actions, ledger_pattern(prefix): ledger, **named}
        return {
            "cluster_permissions": sorted(cluster),
            "index_permissions": [
                {"index_patterns": [pattern], "allowed_actions": sorted(allowed)}
                for pattern, allowed in by_pattern.items()
                if allowed
            ],
        }

    return role


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
            **_TRAIL_KEY,
            **_QUEUE_KEY,
            **_FILTERS,
        },
        loader_role,
        "`s3:ListBucket` lets S3 say that an object is missing, not forbidden. `cluster:monitor/main` is"
        " needed only to run `trailsink doctor` with the loader's credentials. With"
        " `TRAILSINK_OPENSEARCH_SECRET_ARN`, `secretsmanager:GetSecretValue` on the secret is needed, too. With"
        " `TRAILSINK_S3_ROLE_ARN`, `sts:AssumeRole` on that role is needed. Then it is the role that needs the"
        " permissions on the bucket and on the trail's key. The same is true of `backfill` and `dlq`.",
    ),
    Need(
        "setup",
        {},
        lambda _: installer_role(retention=True),
        "Without `--retention-days`, the two permissions of `ism` are not needed. `--existing` also needs"
        " `indices:monitor/settings/get`, `indices:admin/mappings/get` and `indices:admin/mapping/put` on the indices,"
        " and `add`, `change_policy` and `explain` of `cluster:admin/opendistro/ism/managedindex`. To remove a policy,"
        " `setup` needs `explain` and `remove` of these, and `cluster:admin/opendistro/ism/policy/delete`. With"
        " `indices:admin/index_template/simulate`, `setup` can try the template before it puts it. `--loader-role`,"
        " `--verify-role` and `--detect-role` also need the security API. The plugin opens it to the roles that"
        " `plugins.security.restapi.roles_enabled` names, on a"
        " managed domain to its master user. Anyone with it can grant themselves any permission.",
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
            "bucket": ("s3:GetBucketNotification", "s3:ListBucket"),
            "announcing topics": ("sns:ListSubscriptionsByTopic",),
            "announcing rules": ("events:ListRuleNamesByTarget", "events:DescribeRule"),
            "the queues' key": ("kms:DescribeKey", "kms:GetKeyPolicy"),
            "trail": ("cloudtrail:DescribeTrails", "cloudtrail:GetTrailStatus"),
            "stack, with --stack": (
                "cloudformation:DescribeStacks",
                "cloudformation:GetTemplate",
                "cloudformation:ListStackResources",
            ),
            "`*`": ("cloudwatch:GetMetricData",),
        },
        lambda prefix: examiner_role(prefix, retention=True),
        "A check that lacks its permission says so, and does not affect the other checks. The security API"
        " shows the loader's permissions. From OpenSearch 3.2 on, the doctor can check its own without it. With"
        " `TRAILSINK_S3_ROLE_ARN`, the doctor assumes that role, and looks at the bucket with it.",
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
        _role(
            _SEARCH,
            "indices:monitor/settings/get",
            "indices:monitor/stats",
            "cluster:monitor/state",
            "cluster:monitor/health",
            cluster=(
                "cluster:monitor/main",
                "cluster:monitor/health",
                "cluster:monitor/state",
                "cluster:monitor/nodes/stats",
                "indices:admin/index_template/get",
                "indices:monitor/settings/get",
                "indices:monitor/stats",
                "cluster:admin/opendistro/ism/managedindex/explain",
                "cluster:admin/opendistro/ism/policy/get",
            ),
            ledger=(_SEARCH, "indices:monitor/settings/get"),
            others=dict.fromkeys(
                (heartbeat_index("{prefix}"), hold_index("{prefix}"), verdict_index("{prefix}")),
                (_SEARCH, "indices:monitor/settings/get"),
            ),
        ),
        "This list is sufficient, but may be longer than needed. The permissions of `ism` are untested.",
    ),
    Need(
        "report",
        {},
        _role(_SEARCH, "indices:data/read/field_caps", ledger=(_SEARCH,)),
    ),
    Need(
        "search",
        {},
        _role(
            _SEARCH,
            "indices:data/read/point_in_time/create",
            "indices:data/read/point_in_time/delete",
            "indices:data/read/field_caps",
        ),
        "`search` alone is enough. With the two of `point_in_time`, all pages show the same moment. With `field_caps`,"
        " misspelt fields are named.",
    ),
    Need("roles", note="Needs nothing of AWS. With `--put` it needs the security API, as `setup --loader-role` does."),
    Need("cost", {}, _role(_SEARCH, "indices:admin/get", "indices:monitor/stats")),
    Need(
        "reindex",
        {"bucket, with --from-files": _READ_OBJECTS, **_TRAIL_KEY},
        reindexer_role,
        "With an ISM policy it also needs `cluster:admin/opendistro/ism/policy/get` and"
        " `cluster:admin/opendistro/ism/managedindex/add`, which have not been tried.",
    ),
    Need("explain", {}, _role(_SEARCH, ledger=(_SEARCH,))),
    Need(
        "filter",
        {"bucket, with --bucket": _READ_OBJECTS, **_TRAIL_KEY, **_FILTERS},
        _role(_SEARCH, "indices:data/read/field_caps"),
        "With `--local`, nothing is needed. `--rules` also needs `indices:data/read/msearch` of the cluster.",
    ),
    Need(
        "detect",
        {"topic, with --sns": ("sns:Publish",)},
        _role(
            _SEARCH,
            "indices:data/read/field_caps",
            cluster=("indices:data/read/msearch", "indices:data/read/mget", "indices:data/write/bulk"),
            others=dict.fromkeys(
                ("trailsink-findings-{prefix}", "trailsink-detect-{prefix}"), ("create_index", "read", "write")
            ),
        ),
        "`test` needs nothing on the indices of findings. `install --put` needs"
        " `cluster:admin/opendistro/alerting/monitor/search` and `cluster:admin/opendistro/alerting/monitor/write`."
        " This list has not been tested on a secured node.",
    ),
    Need(
        "backfill",
        {
            "bucket": ("s3:ListBucket",),
            "source queue, via the queue": ("sqs:SendMessage", "sqs:GetQueueAttributes"),
            "dead-letter queue, via the queue": ("sqs:GetQueueAttributes",),
            "bucket, with --direct": _READ_OBJECTS,
            **_QUEUE_KEY,
            **_FILTERS,
        },
        _role(_SEARCH, ledger=(_SEARCH,)),
        "Only `--missing` needs the searches. `--direct` also needs what `run` needs of the cluster and of the trail's"
        " key.",
    ),
    Need(
        "verify",
        {"bucket": _READ_OBJECTS, "`*`": ("cloudtrail:ListPublicKeys",), **_TRAIL_KEY, **_FILTERS},
        _role(_SEARCH, "indices:data/read/mget", ledger=(_SEARCH, "indices:data/read/get")),
        "Digests are read without the trail's key. The verdict is recorded with `indices:data/write/bulk`,"
        " `indices:admin/create` and `indices:data/write/index` on `trailsink-verdicts-{prefix}`."
        " `--load` also needs what `run` needs of the cluster. With `--local`"
        " nothing is needed.",
    ),
    Need(
        "ledger",
        {"bucket": _READ_OBJECTS, **_TRAIL_KEY, **_FILTERS},
        _role(
            _SEARCH,
            "indices:data/read/mget",
            ledger=(_SEARCH, "indices:data/read/get", "indices:data/write/index"),
        ),
    ),
    Need("hold", {}, holder_role, "The permissions of `ism` are untested."),
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
            **_QUEUE_KEY,
        },
        _role(
            cluster=("indices:admin/index_template/get", "indices:data/write/bulk"),
            ledger=("indices:admin/create", "indices:data/write/bulk*", "indices:data/write/index"),
        ),
        note="`dlq discard` records in the ledger what it discards. `dlq redrive` checks in S3 whether an object was"
        " replaced. `dlq show --records` also needs `kms:Decrypt` on the trail's key, if there is one.",
    ),
    Need("env", {"stack": ("cloudformation:DescribeStacks", "cloudformation:GetTemplate")}),
    Need(
        "deploy",
        {"bucket": BUCKET_ACTIONS} | _FILTERS | DEPLOY,
        note="These are the permissions for what the template contains, by the kind of resource. With `--service-role`,"
        " CloudFormation uses that role for the resources, and you need `iam:PassRole` on it instead. Actions on"
        " resources were listed by AWS's documentation, and have not been tried on AWS.",
    ),
    Need(
        "destroy",
        DEPLOY | DESTROY,
        note="`--delete-data` also needs what deletes the indices of a cluster that is not the stack's own.",
    ),
    Need("local", note="Needs nothing of AWS."),
    Need("package", note="Needs nothing of AWS."),
    Need("permissions", note="Needs nothing of AWS; with `--stack`, what `env` needs. With `--put`, the security API."),
    Need("template", note="Needs nothing of AWS."),
    Need(
        "dashboards",
        note="Needs nothing of AWS. In OpenSearch Dashboards it needs a user who may write to the tenant.",
    ),
)
