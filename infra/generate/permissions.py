"""Who needs which permissions: the consumer's from the template and the roles in the code, each command's from here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from cfnlint.decode.cfn_yaml import loads

from infra.generate.markdown import code, page, table
from worker.deploy.needs import NEEDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.deploy.needs import Need

TEMPLATE = Path(__file__).resolve().parents[1] / "template.yaml"


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


def permissions_page() -> str:
    """Return docs/reference/permissions.md."""
    consumer = table(("statement", "actions"), ((sid, code(actions)) for sid, actions in consumer_actions().items()))
    introduction = "The statements of the function's role in the template. Some of them depend on the parameters."
    parts = [f"## The Lambda function\n\n{introduction}\n\n{consumer}"]
    for need in NEEDS:
        rows = [(resource, code(actions)) for resource, actions in need.aws.items()]
        rows += _cluster_rows(need)
        permissions = [table(("resource", "permissions"), rows)] if rows else []
        parts.append("\n\n".join([f"## `trailsink {need.command}`", *permissions, *filter(None, [need.note])]))
    introduction = (
        "What the function and each command need, and nothing more. `trailsink permissions COMMAND` prints it as a"
        " policy of IAM, and with `--cluster` as a role of OpenSearch's security plugin. On a managed domain, IAM must"
        " also allow `es:ESHttpGet`, `es:ESHttpHead`, `es:ESHttpPost`, `es:ESHttpPut` and `es:ESHttpDelete` to each"
        " command that has a row for the cluster, on Serverless `aoss:APIAccessAll`. `{prefix}` is"
        " `TRAILSINK_INDEX_PREFIX`. [Policies for an organization](policies.md) has those of other accounts."
    )
    return page("Permissions", introduction, *parts)


def _cluster_rows(need: Need) -> Iterator[tuple[str, str]]:
    """Yield the rows of a command's role: the cluster's, and one for each set of indices."""
    role = need.role("{prefix}")
    if role and role["cluster_permissions"]:
        yield "cluster", code(role["cluster_permissions"])
    for permission in role.get("index_permissions", ()):
        yield f"indices {code(permission['index_patterns'])}", code(permission["allowed_actions"])
