"""What `trailsink destroy` deletes with a stack: how many messages and events, and how events are deleted."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.sqs import QueueClient
from worker.deploy.deployed import settings_of
from worker.errors import QueueUnavailable, TrailsinkError
from worker.humanize import pluralize
from worker.opensearch.holds import Hold, read_holds, refuse_deletion
from worker.opensearch.teardown import indices_of, uninstall
from worker.wiring import make_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from boto3 import Session

    from worker.deploy.account import Account
    from worker.deploy.deployed import DeployedStack

_CLUSTER_SECONDS = 15.0  # someone is watching


@dataclass(frozen=True, slots=True)
class StackData:
    """The events of a stack: a description, how many there are, and a function that deletes them.

    `why_holds_unread` returns why nobody can say whether there is a hold on them, "" where that is known.
    """

    description: str
    count: Callable[[], str]
    delete: Callable[[], Iterator[str]]
    why_holds_unread: Callable[[], str] = lambda: ""


def stack_data(account: Account, deployed: DeployedStack) -> StackData:
    """Return what holds the events of a stack: a domain of its own, or indices in an existing cluster."""
    values, prefix = deployed.values, deployed.values.get("IndexPrefix", "")

    def count() -> str:
        settings = settings_of(deployed).model_copy(update={"request_seconds": _CLUSTER_SECONDS})
        try:
            indices = indices_of(make_client(settings).connect(), prefix)
        except (TrailsinkError, ClientError, BotoCoreError) as error:
            return f"How many events that are could not be counted: {str(error).rstrip('.')}."
        text = f"These are {indices.events:,} events in {pluralize(len(indices.names), 'index', 'indices')}"
        if not indices.uncounted:
            return f"{text}."
        return f"{text}, and those of {indices.uncounted} of them are not counted: they are closed, or lack a shard."

    if values.get("Destination") == "create-domain":
        domain, secret = values.get("DomainName", ""), values.get("MasterSecretArn", "")

        def domain_holds() -> list[Hold]:
            settings = settings_of(deployed).model_copy(update={"request_seconds": _CLUSTER_SECONDS})
            return read_holds(make_client(settings).connect(), prefix)

        def why_holds_unread() -> str:
            # A domain may be reachable from its VPC only, and then its holds are not.
            try:
                domain_holds()
            except (TrailsinkError, ClientError, BotoCoreError) as error:
                return str(error).rstrip(".")
            return ""

        def delete_domain() -> Iterator[str]:
            holds: list[Hold] = []
            with suppress(TrailsinkError, ClientError, BotoCoreError):  # who deletes was told, and has typed the name
                holds[:] = domain_holds()
            refuse_deletion(prefix, holds)
            return chain(account.delete_domain(domain, secret), account.delete_domain_logs(deployed.name))

        return StackData(f"The OpenSearch domain {domain} with its events", count, delete_domain, why_holds_unread)

    def delete() -> Iterator[str]:
        client = make_client(settings_of(deployed)).connect()
        indices = indices_of(client, prefix)
        refuse_deletion(prefix, read_holds(client, prefix))
        return uninstall(client, prefix, indices)

    cluster = values.get("OpensearchUrl", "the cluster")
    description = f"All data in trailsink's indices {prefix}-* of {cluster}, with their template, policy and role,"
    return StackData(description, count, delete)


def describe_queues(session: Session, deployed: DeployedStack) -> str:
    """Say how many messages and dead letters go with the queues."""
    client = session.client("sqs")
    urls = (deployed.values.get(name, "") for name in ("QueueUrl", "DeadLetterQueueUrl"))
    try:
        # A stack that failed has no queues.
        messages, letters = (sum(QueueClient(client, url).depth()) if url else 0 for url in urls)
    except QueueUnavailable:
        return "How many messages are in the queues could not be counted."
    return f"These are {pluralize(messages, 'message')} and {pluralize(letters, 'dead letter')}."
