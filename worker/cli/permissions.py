"""`trailsink permissions`: the policy documents with which a command can do its work."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from worker.aws.session import open_session
from worker.cli.context import use_stack
from worker.cli.output import print_document, print_line
from worker.deploy.deployed import describe_stack
from worker.deploy.needs import NEEDS
from worker.deploy.policies import Places, cluster_role, iam_policy, queue_place
from worker.errors import SetupError
from worker.humanize import ascii_json
from worker.opensearch.roles import grant_role
from worker.settings import load_settings
from worker.wiring import make_client

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.settings import Settings


def permissions(*, command: str, name: str | None, cluster: bool, put: bool, backend_role: tuple[str, ...]) -> None:
    """Print the policy of IAM or the role of the cluster; raises SetupError when the command needs none."""
    if put and not cluster:
        raise click.UsageError("--put needs --cluster: IAM's policies are yours to put.")
    if backend_role and not put:
        raise click.UsageError("--backend-role needs --put.")
    if cluster and name:
        use_stack(name)
    need = next(need for need in NEEDS if need.command == command)
    settings = load_settings()
    if cluster:
        role = cluster_role(need, settings.index_prefix)
        if not role:
            raise SetupError(f"`trailsink {command}` does not ask the cluster anything.")
        if not put:
            print_document(_text(role))
            return
        role_name = f"trailsink-cli-{command}-{settings.index_prefix}"
        for line in grant_role(make_client(settings).connect(), role_name, role, backend_role):
            print_line(line)
        return
    places = _places_of_stack(name) if name else places_of(settings)
    policy = iam_policy(need, places)
    if not policy["Statement"]:
        raise SetupError(f"`trailsink {command}` needs no permission of AWS.")
    text = _text(policy)
    print_document(text)
    unknown = [word for word in places.unknown if word in text]
    if unknown:
        print_line(f"Replace {', '.join(unknown)}, or name a stack with --stack.", err=True)


def _text(document: dict[str, Any]) -> str:
    return f"{ascii_json(json.dumps(document, indent=2))}\n"


def places_of(settings: Settings) -> Places:
    """Return what the environment says of the places of a pipeline."""
    region, account, queue = queue_place(settings.queue_url)
    letters = queue_place(settings.dead_letter_queue_url)[2]
    return _places(
        {
            "region": os.environ.get("AWS_REGION", "") or region,
            "account": account,
            "stack": queue,
            "queue": queue,
            "dead_letters": letters,
            "bucket": settings.bucket,
            "filters": settings.filters.removeprefix("s3://") if settings.filters.startswith("s3://") else "",
            "secret": settings.opensearch_secret_arn,
        }
    )


def _places_of_stack(name: str) -> Places:
    session = open_session()
    values = describe_stack(session.client("cloudformation"), name).values
    _, account, queue = queue_place(values.get("QueueUrl", ""))
    is_url, is_serverless = (values.get("Destination", "") == kind for kind in ("url", "serverless"))
    arn = values.get("EndpointArn", "")
    return _places(
        {
            "region": session.region_name,
            "account": account,
            "stack": name,
            "queue": queue,
            "dead_letters": queue_place(values.get("DeadLetterQueueUrl", ""))[2],
            "bucket": values.get("TrailBucketName", ""),
            "trail_prefix": values.get("TrailPrefix", ""),
            "trail_key": values.get("TrailKmsKeyArn", ""),
            "queue_key": values.get("KmsKeyArn", ""),
            "trail_topic": values.get("TrailTopicArn", ""),
            "filters": "/".join(filter(None, (values.get("FiltersBucket"), values.get("FiltersKey")))),
            "collection": arn if is_serverless else "",
            "domain": "" if is_serverless else arn or values.get("DomainName", ""),
            "secret": values.get("MasterSecretArn", "") or values.get("SecretArn", ""),
            "role_path": values.get("RolePath", ""),
        },
        has_domain=not is_url,
    )


def _places(values: Mapping[str, str], *, has_domain: bool = True) -> Places:
    """Return the places that are known; the others keep the word that stands for them."""
    known = {name: value for name, value in values.items() if value}
    return Places(**(known if has_domain else known | {"domain": ""}))
