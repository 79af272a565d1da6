"""The operator's door to AWS: `trailsink deploy`, `destroy` and `template`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from opensearchpy.exceptions import OpenSearchException

from worker.aws.session import open_session
from worker.cli.output import confirm
from worker.deploy.account import Account
from worker.deploy.deployed import describe_stack, settings_of
from worker.deploy.stack import Stack
from worker.deploy.template import parameter_names, template_text
from worker.errors import SetupError
from worker.opensearch.errors import describe_error
from worker.opensearch.setup import find_server
from worker.opensearch.teardown import indices_of, uninstall
from worker.settings import load_settings
from worker.wiring import make_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from worker.deploy.deployed import DeployedStack
    from worker.deploy.stack import StackEvent


# How long `doctor` waits for an answer of the cluster: nobody likes to watch a minute of nothing.
CLUSTER_SECONDS = 15.0


# A stack whose creation failed can only be deleted; nothing of it is there any more.
_DEAD = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "REVIEW_IN_PROGRESS", "DELETE_FAILED")


def template() -> None:
    """Print the CloudFormation template, for those who bring their own pipeline.

    It is the one that `trailsink deploy` of this version takes. Needs no AWS, and no settings.
    """
    click.echo(template_text(), nl=False)


def deploy(  # noqa: PLR0913 - one per option
    *, bucket: str | None, name: str, settings: tuple[str, ...], bundle: Path, code_bucket: str | None, yes: bool
) -> None:
    """Make the stack, or bring it up to date; says what would change, and asks.

    Interrupted half-way, it can be run again: it goes on watching.
    """
    made = open_session()
    account, stack = Account(made), Stack(made.client("cloudformation"), name)
    click.echo(f"Account {account.id}, region {account.region}.")
    status = _wait_until_it_rests(stack)
    given = _given(settings)
    if bucket:
        given["TrailBucketName"] = bucket
    if not status and "TrailBucketName" not in given:
        raise SetupError("A new stack needs --bucket, the trail's bucket.")
    if "TrailBucketName" in given:
        _check_trail(account, given["TrailBucketName"])
    if given.get("EndpointUrl"):
        _check_endpoint(given)
    if status in _DEAD:
        _say_goodbye(stack, status, yes=yes)
    given["CodeBucket"], given["CodeKey"], _ = account.upload(_read(bundle), "zip", code_bucket or "")
    text = template_text()
    _, _, url = account.upload(text.encode(), "yaml", given["CodeBucket"])
    changes = stack.propose(url, given, parameter_names(text))
    if not changes:
        click.echo(f"The stack {name} is as it should be: no changes.")
        return
    click.echo(f"The stack {name} will")
    for change in changes:
        click.echo(f"  {change}")
    if not confirm("Go on?", yes=yes, undo=stack.withdraw):
        raise SetupError("Nothing was changed.")
    _show(stack.execute())
    click.echo(f"The stack {name} is ready.")
    for key, value in stack.outputs().items():
        click.echo(f"  {key}: {value}")


def destroy(*, name: str, delete_data: bool, yes: bool) -> None:
    """Delete the stack: queues, function, alarms, its own bucket notification, the bucket made for its bundle.

    The trail's bucket and its files always stay; so do an OpenSearch domain or indices with all events in them, unless
    --delete-data is given. For a cluster that is not the stack's own, the environment says how to sign in.
    """
    made = open_session()
    account, stack = Account(made), Stack(made.client("cloudformation"), name)
    click.echo(f"Account {account.id}, region {account.region}.")
    if not _wait_until_it_rests(stack):
        click.echo(f"There is no stack {name} in {account.region}.")
        return
    deployed = describe_stack(made.client("cloudformation"), name)
    click.echo(f"The stack {name} goes: queues with all messages in them, function, alarms, its bucket notification.")
    click.echo("What stays: the trail's bucket with its files, and the notifications of others.")
    data = _data(account, deployed)
    click.echo(f"{data.what} {'goes, too, for ever' if delete_data else 'stays; --delete-data deletes it'}.")
    if not confirm("Go on?", yes=yes):
        raise SetupError("Nothing was changed.")
    delete = data.delete() if delete_data else iter(())  # signs in while there is still a way back
    _show(stack.delete())
    click.echo(f"The stack {name} is gone.")
    if deployed.values.get("CodeBucket") == account.code_bucket_name():
        click.echo(account.remove_code(name))
    for line in delete:
        click.echo(line)


@dataclass(frozen=True, slots=True)
class _Data:
    """Where a stack's events are, in words, and how they are deleted."""

    what: str
    delete: Callable[[], Iterator[str]]


def _data(account: Account, deployed: DeployedStack) -> _Data:
    values, prefix = deployed.values, deployed.values.get("IndexPrefix", "")
    if values.get("Destination") == "create-domain":
        domain, secret = values.get("DomainName", ""), values.get("MasterSecretArn", "")
        return _Data(f"The OpenSearch domain {domain} with its events", lambda: account.delete_domain(domain, secret))

    def clear() -> Iterator[str]:
        client = make_client(settings_of(deployed)).connect()
        return uninstall(client, prefix, indices_of(client, prefix))

    where = values.get("OpensearchUrl", "the cluster")
    return _Data(f"What is in the indices {prefix}-* of {where}, their template, policy and role,", clear)


def _read(bundle: Path) -> bytes:
    try:
        return bundle.read_bytes()
    except OSError as error:
        raise SetupError(f"The bundle {bundle} cannot be read: {error.strerror}; `make package` makes it.") from error


def _given(settings: tuple[str, ...]) -> dict[str, str]:
    pairs = [one.partition("=") for one in settings]
    wrong = [name for name, equals, _ in pairs if not equals]
    if wrong:
        raise SetupError(f"--set takes NAME=VALUE, not {wrong[0]}.")
    return {name: value for name, _, value in pairs}


def _check_trail(account: Account, bucket: str) -> None:
    account.check_bucket(bucket)
    trails = account.trails(bucket)
    if trails is None:
        click.echo("These credentials may not list trails; whether one writes to the bucket was not checked.")
    elif trails:
        click.echo(f"Trail {', '.join(trails)} writes to s3://{bucket}.")
    else:
        click.echo(f"No trail of this account and region writes to s3://{bucket}; another account's may.")


def _check_endpoint(given: dict[str, str]) -> None:
    """Say what answers at the endpoint; one that only the function reaches, or lets in, is no reason to fail."""
    url = given["EndpointUrl"]
    if given.get("Destination") == "serverless" or given.get("SubnetIds"):
        click.echo(f"{url} was not asked from here: it lets in, or is reached by, the function only.")
        return
    try:
        server = find_server(make_client(load_settings(opensearch_url=url, request_seconds=CLUSTER_SECONDS)).connect())
    except OpenSearchException as error:
        click.echo(f"{url} could not be asked from here: {describe_error(error)}; the function may still be let in.")
    else:
        kind = "compatibility" if server.compatible else "full"
        click.echo(f"{server.name} {server.version} answers at {url}: {kind} mapping, because {server.why}.")


def _wait_until_it_rests(stack: Stack) -> str:
    """Return the stack's status, once nothing is under way: an interrupted command goes on where it was."""
    status = stack.status()
    if status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
        click.echo(f"The stack {stack.name} is busy ({status}); waiting for it.")
        try:
            _show(stack.follow(set()))
        except SetupError as error:  # how the earlier run ended; this one says what it makes of it
            click.echo(str(error))
        status = stack.status()
    return status


def _say_goodbye(stack: Stack, status: str, *, yes: bool) -> None:
    click.echo(f"The stack {stack.name} is {status}: it has to be deleted before it can be made.")
    if not confirm("Delete it?", yes=yes):
        raise SetupError("Nothing was changed.")
    _show(stack.delete())


def _show(events: Iterator[StackEvent]) -> None:
    with closing(events):  # type: ignore[type-var]
        for event in events:
            why = f": {event.why}" if event.why and not event.why.startswith("User Initiated") else ""
            click.echo(f"  {event.status:<28} {event.name}{why}")
