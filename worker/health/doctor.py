"""Read-only checks of a live pipeline: for each a verdict, the evidence, and the exact fix.

A check that cannot look says so and harms no other: the doctor works with whatever part can be reached.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from opensearchpy.exceptions import OpenSearchException

from worker.aws.errors import error_text
from worker.aws.session import config
from worker.errors import SetupError
from worker.health.cluster_checks import ClusterChecks, cannot_look
from worker.health.findings import Finding, not_checked
from worker.health.function_checks import FunctionChecks
from worker.health.queue_checks import QueueChecks
from worker.health.trail_checks import TrailChecks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from boto3 import Session
    from opensearchpy import OpenSearch

    from worker.settings import Settings

    Checks = tuple[tuple[str, Callable[[], Iterator[Finding]]], ...]


class Doctor:
    """Looks at a pipeline as its settings describe it; `session` and `client` are made only when something asks them.

    `trail_prefix` is what the trail's keys begin with and `loader_role` the ARN of who loads, each "" where only the
    trail or the function can tell.
    """

    def __init__(  # noqa: PLR0913
        self,
        settings: Settings,
        session: Callable[[], Session],
        client: Callable[[], OpenSearch],
        now: datetime,
        *,
        trail_prefix: str = "",
        loader_role: str = "",
    ) -> None:
        opened = cache(session)

        @cache
        def aws(service: str) -> Any:  # noqa: ANN401 - a client of any service
            made: Any = opened()
            return made.client(service, config=config(connections=1))

        queues = QueueChecks(settings, aws, now)
        function = FunctionChecks(settings, aws, queues)
        self._trail = TrailChecks(settings, aws, queues, trail_prefix)
        self._cluster = ClusterChecks(settings, client, now, lambda: loader_role or _role_of(function))
        self._queues, self._function = queues, function

    def findings(self) -> Iterator[Finding]:
        """Run every check."""
        yield from self._run(self._aws)
        yield from self._one("cluster", self._cluster.cluster)
        if self._cluster.is_reached:
            yield from self._run(self._of_the_cluster)
        else:
            yield from (not_checked(name, "the cluster cannot be asked") for name, _ in self._of_the_cluster)

    @property
    def _aws(self) -> Checks:
        queues, function, trail = self._queues, self._function, self._trail
        return (
            ("source queue", queues.queues),
            ("redrive policy", queues.redrive),
            ("redrive allow policy", queues.redrive_allow),
            ("queue encryption", lambda: queues.encryption(trail.announcers())),
            ("queue policy", lambda: queues.policy(trail.announcers())),
            ("retention of the queues", queues.retention),
            ("dead letters", queues.letters),
            ("age of the oldest message", queues.age),
            ("clock", queues.clock),
            ("event source mapping", function.mapping),
            ("visibility timeout", function.visibility),
            ("reserved concurrency", function.concurrency),
            ("way to the endpoint", function.network),
            ("data access policy", function.data_access),
            ("bucket notification", trail.notification),
            ("prefix", trail.prefix),
            ("trail", trail.trail),
        )

    @property
    def _of_the_cluster(self) -> Checks:
        cluster = self._cluster
        return (
            ("loader's rights", cluster.access),
            ("index template", cluster.template),
            ("mapping", cluster.mapping),
            ("retention", cluster.retention),
            ("newest event", cluster.newest),
        )

    def _run(self, checks: Checks) -> Iterator[Finding]:
        for name, check in checks:
            yield from self._one(name, check)

    @staticmethod
    def _one(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
        try:
            yield from check()
        except (ClientError, BotoCoreError) as error:
            yield not_checked(name, error_text(error))
        except SetupError as error:
            yield not_checked(name, str(error).rstrip("."))
        except OpenSearchException as error:
            yield cannot_look(name, error)


def _role_of(function: FunctionChecks) -> str:
    """Return the function's role, "" where it cannot be seen: the cluster's side is looked at all the same."""
    try:
        return function.role()
    except (ClientError, BotoCoreError, SetupError):
        return ""
