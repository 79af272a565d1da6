"""The Lambda handler of `Custom::ClusterSetup`: sets a cluster up as `trailsink setup` does, for the loader as well."""

from __future__ import annotations

import time
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from opensearchpy.exceptions import AuthenticationException, SSLError, TransportError
from opensearchpy.exceptions import ConnectionError as NoConnection

from worker.deploy.custom_resource import RetryableFailure, WorkResult, read_variables, serve
from worker.errors import SetupError
from worker.opensearch.roles import AccessFor, grant_access
from worker.opensearch.setup import SetupOptions, install, lifecycle_of
from worker.settings import load_settings
from worker.wiring import make_client

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opensearchpy import OpenSearch

    from worker.aws.lambda_context import LambdaContext
    from worker.deploy.custom_resource import CustomResourceRequest, InvocationClock

# A new domain refuses everyone for minutes. AWS does not say how many, so the retries last as long as time remains. A
# wrong password or an unreadable secret is reported sooner.
_RETRY_SECONDS = 3_600.0
_CREDENTIALS_RETRY_SECONDS = 60.0
_TRANSIENT_STATUSES = (403, 429, 502, 503, 504)
_MAX_REQUEST_SECONDS = 30.0


def cluster_setup(event: Mapping[str, Any], context: LambdaContext) -> None:
    """Set up a cluster and give the loader its access: `Custom::ClusterSetup`.

    The function's environment has the settings, and ClusterVariables as `TRAILSINK_REPLICAS`, `TRAILSINK_SHARDS`,
    `TRAILSINK_LOADER_ROLE_ARN`, `TRAILSINK_VERIFY_ROLE_ARN` and `TRAILSINK_DETECT_ROLE_ARN`. A deletion sends nothing
    to the cluster: events, template, policy and roles stay.
    """
    serve(event, context, _apply)


class ClusterVariables(msgspec.Struct, frozen=True):
    """What the environment has beside the settings: copies of each shard, shards, and the roles to give access to."""

    replicas: int | None = None
    shards: int | None = None
    loader_role_arn: str = ""
    verify_role_arn: str = ""
    detect_role_arn: str = ""


def _apply(request: CustomResourceRequest, clock: InvocationClock) -> WorkResult:
    if request.request_type == "Delete":
        return WorkResult("", "Events, index template, retention policy and role stay in the cluster.")
    variables = read_variables(ClusterVariables)
    started, lines = time.monotonic(), list[str]()

    def attempt() -> None:
        try:
            lines[:] = _set_up(variables, clock)
        except SetupError as error:
            if is_transient(error.__cause__, time.monotonic() - started):
                raise RetryableFailure(str(error)) from error
            raise

    clock.retry_until_deadline(attempt, _RETRY_SECONDS)
    physical_id = request.physical_resource_id or f"trailsink-cluster-setup:{request.logical_resource_id}"
    return WorkResult(physical_id, " ".join(lines))


def _set_up(variables: ClusterVariables, clock: InvocationClock) -> Iterator[str]:
    """Run all steps, yielding a line for each; a step that was done before changes nothing."""
    clock.check()
    settings = load_settings(request_seconds=min(_MAX_REQUEST_SECONDS, clock.remaining()))
    options = SetupOptions(
        settings.index_prefix,
        settings.retention_days,
        variables.replicas,
        settings.is_serverless,
        settings.index_partition,
        settings.read_only_days,
        settings.ledger,
        settings.ledger_retention_days,
        leaves_ledger_policy="ledger_retention_days" not in settings.model_fields_set,
        shards=variables.shards,
        lifecycle=lifecycle_of(settings),
    )
    client = make_client(settings).connect()
    try:
        for line in chain(install(client, options), _grant_access(client, options, variables)):
            yield line
            clock.check()
    finally:
        client.close()


def _grant_access(client: OpenSearch, options: SetupOptions, variables: ClusterVariables) -> Iterator[str]:
    arns = {
        AccessFor.LOADER: variables.loader_role_arn,
        AccessFor.VERIFY: variables.verify_role_arn,
        AccessFor.DETECT: variables.detect_role_arn,
    }
    asked = {purpose: arn for purpose, arn in arns.items() if arn}
    if asked and options.serverless:
        yield "Access: on OpenSearch Serverless, data access policies grant it."
        return
    for purpose, arn in asked.items():
        yield from grant_access(client, options.prefix, purpose, arn)


def is_transient(cause: BaseException | None, seconds: float) -> bool:
    """Return whether a failed set-up is worth a retry, `seconds` after the first attempt started."""
    match cause:
        case SSLError():
            return False
        case NoConnection():
            return True
        case ClientError() | BotoCoreError() | AuthenticationException():
            return seconds < _CREDENTIALS_RETRY_SECONDS
        case TransportError():
            return cause.status_code in _TRANSIENT_STATUSES
        case _:
            return False
