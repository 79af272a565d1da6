"""What `trailsink deploy` checks before it uploads anything: bucket, trail, notifications, endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opensearchpy.exceptions import OpenSearchException

from worker.aws.bucket_notifications import OwnNotification, conflicts
from worker.cli.output import print_line
from worker.deploy.policies import Places
from worker.deploy.preflight import NotSimulated, simulate_change
from worker.deploy.template import parameter_defaults, template_text
from worker.errors import SetupError
from worker.humanize import pluralize
from worker.opensearch.errors import describe_error
from worker.opensearch.partition import partition_of_indices
from worker.opensearch.schema import name_of
from worker.opensearch.server import find_server
from worker.opensearch.template_content import read_templates
from worker.settings import load_settings
from worker.wiring import make_client, make_selector_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from boto3 import Session
    from opensearchpy import OpenSearch

    from worker.deploy.account import Account
    from worker.deploy.preflight import Rights
    from worker.deploy.stack import Stack
    from worker.deploy.stack_change import StackChange

# How long a check waits for the cluster: someone is watching.
CLUSTER_SECONDS = 15.0

_SUFFIX = ".json.gz"  # of what the template announces

# Parameters that say where events go, and what the bucket announces.
_ENDPOINT = frozenset(("EndpointUrl", "IndexPartition", "IndexPrefix"))
_NOTIFYING = frozenset(("TrailBucketName", "TrailPrefix", "NotificationSource"))


def check_names(parameters: dict[str, str], template_parameters: set[str]) -> None:
    """Raise SetupError for a parameter that the template does not have: before anything is uploaded."""
    unknown = set(parameters) - template_parameters
    if unknown:
        raise SetupError(f"The template has no parameter {', '.join(sorted(unknown))}.")


def check_deployment(
    account: Account, stack: str, parameters: dict[str, str], existing: dict[str, str], *, is_new: bool
) -> None:
    """Raise SetupError for a bucket that cannot be used; print the results of the other checks."""
    if is_new and "TrailBucketName" not in parameters:
        raise SetupError("A new stack needs the trail's bucket: pass --bucket.")
    merged = parameter_defaults(template_text()) | existing | parameters
    if "TrailBucketName" in parameters:
        _check_trail(account, parameters["TrailBucketName"], merged["TrailBucketAccount"])
    changes_notification = not _NOTIFYING.isdisjoint(parameters) and merged["NotificationSource"] == "S3"
    if changes_notification and merged.get("TrailBucketName"):
        _check_notifications(account, stack, merged["TrailBucketName"], merged)
    if {"FiltersBucket", "FiltersKey"} & set(parameters):
        _check_filters(merged)
    if _ENDPOINT & set(parameters) and merged["EndpointUrl"]:
        _check_endpoint(merged)


def check_rights(
    session: Session, account: Account, stack: Stack, changes: Sequence[StackChange], parameters: dict[str, str]
) -> None:
    """Print what IAM would deny of a change, before CloudFormation tries it; never decides."""
    places = Places(
        region=account.region,
        account=account.id,
        stack=stack.name,
        queue=stack.name,
        role_path=parameters.get("RolePath") or "/",
        trail_topic=parameters.get("TrailTopicArn", ""),
    )
    try:
        for principal, rights in simulate_change(session, account.caller, changes, places, stack.service_role):
            for line in _rights_lines(principal, rights):
                print_line(line)
    except NotSimulated as cause:
        print_line(f"Whether these credentials have the rights for it is not known: {cause}.")


def _rights_lines(principal: str, rights: Rights) -> Iterator[str]:
    if rights.denied:
        yield f"IAM's simulation says that it denies {principal}, and CloudFormation would roll back:"
        for resource, actions in sorted(rights.denied.items()):
            yield f"  {', '.join(sorted(actions))} on {resource}"
        yield "`trailsink permissions deploy` prints what is needed."
    else:
        yield f"IAM's simulation allows {principal} {pluralize(rights.allowed, 'action')} that it needs."
    if rights.unknown:
        yield f"It depends on conditions that are not known here: {', '.join(sorted(rights.unknown))}."


def _check_trail(account: Account, bucket: str, owner: str) -> None:
    if not account.check_bucket(bucket, owner):
        print_line(
            f"Account {owner} does not let these credentials look at the bucket {bucket}, so it was not checked. That"
            " would need s3:ListBucket in its policy: docs/organisation.md."
        )
    trails = account.trails(bucket)
    if trails is None:
        print_line("These credentials may not list trails, so it was not checked whether one writes to the bucket.")
    elif trails:
        print_line(f"Trail {', '.join(trails)} writes to s3://{bucket}.")
    else:
        print_line(f"No trail of this account and region writes to s3://{bucket}; another account's may.")


def _check_notifications(account: Account, stack: str, bucket: str, parameters: dict[str, str]) -> None:
    """Raise SetupError when S3 would refuse our notification, which otherwise fails at the end of the deployment."""
    prefix = parameters["TrailPrefix"]
    own = OwnNotification(f"trailsink-{stack}", "", prefix, _SUFFIX)
    existing = account.notifications(bucket)
    if existing is None:
        print_line("These credentials may not read the bucket's notifications: whether one is in the way is not known.")
    elif others := conflicts(existing, own):
        raise SetupError(
            f"S3 announces each file once, and the bucket {bucket} has a notification in the way: {'; '.join(others)}."
            " Remove it, choose another TrailPrefix, or set NotificationSource to SNS or EventBridge."
        )


def _check_filters(parameters: dict[str, str]) -> None:
    """Raise SetupError for selectors that the function would refuse: it would load nothing."""
    bucket, key = parameters["FiltersBucket"], parameters["FiltersKey"]
    if not bucket and not key:
        return
    selectors = make_selector_file(load_settings(), f"s3://{bucket}/{key}").read()
    names = ", ".join(repr(name) for name in selectors.names)
    print_line(f"Filters: {pluralize(len(selectors.names), 'selector')} of digest {selectors.digest}: {names}.")


def _check_endpoint(parameters: dict[str, str]) -> None:
    """Print which server answers at the endpoint; one that only the function can use is no failure.

    Raises SetupError where the indices hold another time than the stack's partition: events would be doubled.
    """
    url = parameters["EndpointUrl"]
    if parameters["Destination"] == "serverless" or parameters["SubnetIds"]:
        print_line(f"{url} was not checked: only the function has access to it.")
        return
    try:
        client = make_client(load_settings(opensearch_url=url, request_seconds=CLUSTER_SECONDS)).connect()
        server = find_server(client)
    except OpenSearchException as error:
        print_line(
            f"{url} could not be checked from here: {describe_error(error)}; the function may still have access."
        )
    else:
        kind = "compatibility" if server.compatible else "full"
        print_line(f"{server.name} {server.version} answers at {url}: {kind} mapping, because {server.why}.")
        current = _partition(client, parameters["IndexPrefix"])
        if current and current != parameters["IndexPartition"]:
            raise SetupError(
                f"Each index there holds a {current}: with another partition, what is delivered again would be indexed"
                f" a second time. Pass --set IndexPartition={current}, or another IndexPrefix."
            )


def _partition(client: OpenSearch, prefix: str) -> str:
    """Return the partition that the template has, or else the indices; "" where there is none, or nobody may look."""
    name = name_of(prefix)
    try:
        meta = read_templates(client, name).get(name, {}).get("_meta") or {}
        return str(meta.get("partition") or partition_of_indices(client, prefix))
    except OpenSearchException:
        return ""
