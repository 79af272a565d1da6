"""`trailsink deploy` and `trailsink destroy`: create, update and delete the stack on AWS."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opensearchpy.exceptions import OpenSearchException

from worker.aws.session import open_session
from worker.cli.output import confirm, print_line
from worker.deploy.account import Account
from worker.deploy.code_bucket import CodeBucket, own_bucket_names
from worker.deploy.deployed import describe_stack, settings_of
from worker.deploy.function_code import code_sha256, read_function_code
from worker.deploy.stack import IN_REVIEW, Stack, is_in_progress
from worker.deploy.template import parameter_names, template_text
from worker.errors import SetupError
from worker.opensearch.errors import describe_error
from worker.opensearch.setup import find_server
from worker.opensearch.teardown import indices_of, uninstall
from worker.settings import load_settings
from worker.wiring import make_client

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from boto3 import Session

    from worker.deploy.deployed import DeployedStack
    from worker.deploy.stack import StackChange, StackEvent

# How long a check waits for the cluster: someone is watching.
CLUSTER_SECONDS = 15.0

# A stack whose creation or deletion failed can only be deleted.
_FAILED = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", IN_REVIEW, "DELETE_FAILED")


def deploy(  # noqa: PLR0913 - one per option
    *,
    bucket: str | None,
    name: str,
    settings: tuple[str, ...],
    bundle: Path,
    code_bucket: str | None,
    code_bucket_account: str | None,
    yes: bool,
) -> None:
    """Create the stack or update it, after a confirmation of what would change."""
    session = open_session()
    account, stack = Account(session), Stack(session.client("cloudformation"), name)
    print_line(f"Account {account.id}, region {account.region}.")
    status = wait_until_idle(stack)
    parameters = _parameters(settings, bucket)
    _check_parameters(account, parameters, stack.parameters(), is_new=not status)
    if status in _FAILED:
        # The new stack gets what the failed one was asked for.
        current = parameter_names(template_text()) - {"CodeBucket", "CodeKey"}
        kept_values = {name: value for name, value in stack.parameters().items() if name in current}
        parameters = kept_values | parameters
        delete_failed_stack(stack, status, yes=yes)
    uploads = CodeBucket(session, code_bucket_account or account.id, code_bucket or "")
    code = _read(bundle)
    if _update(stack, uploads, code, parameters, yes=yes):
        print_line(f"The stack {name} is ready.")
        for key, value in stack.outputs().items():
            print_line(f"  {key}: {value}")
    else:
        print_line(f"The stack {name} is up to date: no changes.")
    _check_code(session, name, code)
    uploads.delete_unused()


def _update(stack: Stack, uploads: CodeBucket, code: bytes, parameters: dict[str, str], *, yes: bool) -> bool:
    """Bring the stack to the template and the bundle, after a confirmation; returns whether anything changed."""
    upload, text = uploads.upload(code, "zip"), template_text()
    parameters = parameters | {"CodeBucket": upload.bucket, "CodeKey": upload.key}
    url = uploads.upload(text.encode(), "yaml").url
    changes = stack.create_change_set(url, parameters, parameter_names(text))
    if not changes:
        return False
    stack.check_template(text)
    print_line(f"The stack {stack.name} will")
    for change in changes:
        print_line(f"  {change}")
    _refuse_new_domain(stack, changes)
    if not confirm("Go on?", yes=yes, undo=stack.delete_change_set):
        raise SetupError("Nothing was changed.")
    _print_events(stack.execute_change_set())
    return True


def _refuse_new_domain(stack: Stack, changes: list[StackChange]) -> None:
    """Raise SetupError, and delete the change set, if it may replace the domain with all its events."""
    domain = next((change for change in changes if change.loses_data), None)
    if domain is None:
        return
    stack.delete_change_set()
    causes = f" ({', '.join(domain.causes)})" if domain.causes else ""
    raise SetupError(
        f"This may replace the OpenSearch domain by an empty one{causes}, so nothing was changed. Its name and its key"
        " cannot change once it exists. To use KmsKeyArn for everything else, set DomainKey=aws. For another domain,"
        " deploy another stack, and load it with `trailsink backfill`."
    )


def _check_code(session: Session, stack: str, bundle: bytes) -> None:
    """Raise SetupError when a function of the stack runs anything but the bundle that was uploaded."""
    try:
        functions = read_function_code(session, stack)
    except SetupError as error:
        print_line(f"Whether the functions run the bundle was not checked. {error}")
        return
    expected = code_sha256(bundle)
    others = sorted(name for name, digest in functions.items() if digest != expected)
    if others:
        raise SetupError(
            f"{', '.join(others)} of the stack {stack} runs other code than the bundle that was uploaded: somebody has"
            " replaced it in the bucket. Delete the stack, and find out who can write to the bucket."
        )


def destroy(*, name: str, delete_data: bool, yes: bool) -> None:
    """Delete the stack and, with `delete_data`, the events in OpenSearch, after a confirmation."""
    session = open_session()
    account, stack = Account(session), Stack(session.client("cloudformation"), name)
    print_line(f"Account {account.id}, region {account.region}.")
    if not wait_until_idle(stack):
        print_line(f"There is no stack {name} in {account.region}.")
        return
    deployed = describe_stack(session.client("cloudformation"), name)
    data = _stack_data(account, deployed)
    print_line(
        f"The stack {name} will be deleted: queues with all messages in them, function, alarms, bucket notification."
    )
    print_line("The trail's bucket with its files stays, and so do the notifications of others.")
    outcome = "be deleted permanently" if delete_data else "stay; --delete-data deletes it"
    print_line(f"{data.description} will {outcome}.")
    if not confirm("Go on?", yes=yes):
        raise SetupError("Nothing was changed.")
    # Connects to the cluster now: if that fails, nothing is deleted.
    deletion = data.delete() if delete_data else iter(())
    _print_events(stack.delete())
    print_line(f"The stack {name} is deleted.")
    code_bucket = deployed.values.get("CodeBucket", "")
    if code_bucket in own_bucket_names(account.id, account.region):
        print_line(CodeBucket(session, account.id, code_bucket).delete(name))
    for line in deletion:
        print_line(line)


# The data of a stack


@dataclass(frozen=True, slots=True)
class _StackData:
    """The events of a stack: a description, and a function that deletes them and yields what was done."""

    description: str
    delete: Callable[[], Iterator[str]]


def _stack_data(account: Account, deployed: DeployedStack) -> _StackData:
    values, prefix = deployed.values, deployed.values.get("IndexPrefix", "")
    if values.get("Destination") == "create-domain":
        domain, secret = values.get("DomainName", ""), values.get("MasterSecretArn", "")
        description = f"The OpenSearch domain {domain} with its events"

        def delete_domain() -> Iterator[str]:
            yield from account.delete_domain(domain, secret)
            yield from account.delete_domain_logs(deployed.name)

        return _StackData(description, delete_domain)

    def delete() -> Iterator[str]:
        client = make_client(settings_of(deployed)).connect()
        return uninstall(client, prefix, indices_of(client, prefix))

    cluster = values.get("OpensearchUrl", "the cluster")
    return _StackData(f"All data in the indices {prefix}-* of {cluster}, with their template, policy and role,", delete)


# What is deployed


def _read(bundle: Path) -> bytes:
    try:
        return bundle.read_bytes()
    except OSError as error:
        raise SetupError(
            f"The bundle {bundle} cannot be read: {error.strerror}; build it with `trailsink package`."
        ) from error


def _parameters(settings: tuple[str, ...], bucket: str | None) -> dict[str, str]:
    """Return the template's parameters that the command line sets."""
    pairs = [setting.partition("=") for setting in settings]
    invalid = [name for name, equals, _ in pairs if not equals]
    if invalid:
        raise SetupError(f"--set takes NAME=VALUE, not {invalid[0]}.")
    parameters = {name: value for name, _, value in pairs}
    if bucket:
        parameters["TrailBucketName"] = bucket
    return parameters


def _check_parameters(account: Account, parameters: dict[str, str], existing: dict[str, str], *, is_new: bool) -> None:
    """Raise SetupError for a bucket that cannot be used; print the results of the other checks."""
    if is_new and "TrailBucketName" not in parameters:
        raise SetupError("A new stack needs the trail's bucket: pass --bucket.")
    if "TrailBucketName" in parameters:
        owner = parameters.get("TrailBucketAccount", existing.get("TrailBucketAccount", ""))
        _check_trail(account, parameters["TrailBucketName"], owner)
    if parameters.get("EndpointUrl"):
        _check_endpoint(parameters)


def _check_trail(account: Account, bucket: str, owner: str) -> None:
    account.check_bucket(bucket, owner)
    trails = account.trails(bucket)
    if trails is None:
        print_line("These credentials may not list trails, so it was not checked whether one writes to the bucket.")
    elif trails:
        print_line(f"Trail {', '.join(trails)} writes to s3://{bucket}.")
    else:
        print_line(f"No trail of this account and region writes to s3://{bucket}; another account's may.")


def _check_endpoint(parameters: dict[str, str]) -> None:
    """Print which server answers at the endpoint; one that only the function can use is no failure."""
    url = parameters["EndpointUrl"]
    if parameters.get("Destination") == "serverless" or parameters.get("SubnetIds"):
        print_line(f"{url} was not checked: only the function has access to it.")
        return
    try:
        server = find_server(make_client(load_settings(opensearch_url=url, request_seconds=CLUSTER_SECONDS)).connect())
    except OpenSearchException as error:
        print_line(
            f"{url} could not be checked from here: {describe_error(error)}; the function may still have access."
        )
    else:
        kind = "compatibility" if server.compatible else "full"
        print_line(f"{server.name} {server.version} answers at {url}: {kind} mapping, because {server.why}.")


# The stack's operations


def wait_until_idle(stack: Stack) -> str:
    """Wait for an operation that is in progress, as after an interrupted command; returns the stack's status."""
    status = stack.status()
    if is_in_progress(status) and status != IN_REVIEW:
        print_line(f"The stack {stack.name} is busy ({status}); waiting for it.")
        try:
            _print_events(stack.follow(set()))
        except SetupError as error:  # the earlier operation failed; this command continues from there
            print_line(str(error))
        status = stack.status()
    return status


def delete_failed_stack(stack: Stack, status: str, *, yes: bool) -> None:
    """Delete a stack that can neither be used nor updated, after a confirmation."""
    print_line(f"The stack {stack.name} is {status}: it must be deleted before it can be created again.")
    if not confirm("Delete it?", yes=yes):
        raise SetupError("Nothing was changed.")
    _print_events(stack.delete())


def _print_events(events: Generator[StackEvent, None, None]) -> None:
    with closing(events):
        for event in events:
            reason = f": {event.reason}" if event.reason and not event.reason.startswith("User Initiated") else ""
            print_line(f"  {event.status:<28} {event.logical_id}{reason}")
