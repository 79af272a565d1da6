"""Facts of the cluster for both `trailsink status` and `trailsink doctor`: each is read once, when it is needed."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import TransportError

from worker.aws.partitions import is_aws_host
from worker.health.node_settings import NODE_SETTINGS, blocking_bytes, flat_settings
from worker.health.observe import NotObservedError, fact, observe, require
from worker.health.retention_snapshot import asked_for
from worker.health.snapshot import (
    ClusterState,
    DiskUsage,
    ServerVersion,
    TemplateState,
    Unobserved,
    Unreachable,
)
from worker.opensearch.complete_search import check_shards
from worker.opensearch.mapping_choice import expected_template
from worker.opensearch.policy_steps import steps_of
from worker.opensearch.schema import POLICIES, VERSION, name_of
from worker.opensearch.server import SERVERLESS, Server, find_server
from worker.opensearch.template_content import changed_parts, read_templates, shadowing_template

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opensearchpy import OpenSearch

    from worker.health.retention_snapshot import RetentionState
    from worker.settings import Settings


CLUSTER_NOT_CHECKED = "the cluster cannot be checked"


class ClusterFacts:
    """What the cluster reports about itself, and about the index template and the retention policy.

    `connect` opens the client, and may raise SetupError.
    """

    def __init__(self, settings: Settings, connect: Callable[[], OpenSearch]) -> None:
        self._settings, self._connect, self._prefix = settings, connect, settings.index_prefix

    @fact
    def connection(self) -> OpenSearch:
        """Open the client; Unreachable when it cannot be opened."""
        connection = observe(self._connect)
        if isinstance(connection, Unobserved):
            raise NotObservedError(Unreachable(connection.why, connection.error))
        return connection

    @property
    def client(self) -> OpenSearch:
        """The client; raises NotObservedError where the cluster did not answer before."""
        # One timeout is enough: a cluster that is silent must not be waited for with each question.
        if isinstance(self.version, Unreachable) or isinstance(self.cluster, Unreachable):
            raise NotObservedError(Unobserved(CLUSTER_NOT_CHECKED))
        return require(self.connection)

    def search(self, index: str, body: Mapping[str, Any], **params: str) -> Any:  # noqa: ANN401 - a foreign answer
        """Search as `ask` does; raises IndexUnavailable when a shard did not answer: half a fact is a wrong one."""
        response: Any = self.client.search(index=index, body=dict(body), params=params)
        check_shards(response.get("_shards", {}))
        return response

    def ask(self, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401 - a foreign answer
        """Send any other request; lets errors of the client pass, and raises NotObservedError as `client` does."""
        return self.client.transport.perform_request(method, path, **options)

    def close(self) -> None:
        """Close the client, if it was opened."""
        if not isinstance(self.connection, Unobserved):
            self.connection.close()

    # The cluster itself

    @fact
    def version(self) -> ServerVersion:
        """Read what the server reports about itself, which shows that it answers and accepts the sign-in."""
        path = "/_cat/indices" if self._settings.is_serverless else "/"
        # Not every role may ask for this. A refusal is an answer, too.
        options = {"ignore": HTTPStatus.FORBIDDEN}
        response: Any = require(self.connection).transport.perform_request("GET", path, params=options)
        match response:
            case {"version": {"number": str(number)} as version}:
                return ServerVersion(str(version.get("distribution", "")), number)
        return ServerVersion()

    @fact
    def cluster(self) -> ClusterState:
        """Read the health of the cluster."""
        version, client = require(self.version), require(self.connection)
        if self._settings.is_serverless:
            client.search(index=f"{self._prefix}-*", body={"size": 0})
            return ClusterState("OpenSearch Serverless", None, None, None)
        health: Any = client.cluster.health()
        server = f"{version.distribution or 'server'} {version.number}".rstrip()
        counts = [health.get(f"{name}_shards") for name in ("active", "initializing", "unassigned")]
        shards = sum(counts) if None not in counts else None
        return ClusterState(
            server,
            health["status"],
            health["number_of_nodes"],
            health["unassigned_shards"],
            shards,
            health.get("number_of_data_nodes"),
        )

    @fact
    def disk(self) -> DiskUsage | None:
        """Read the disk of the fullest node, None where the server does not report it."""
        if self._settings.is_serverless:
            return None
        nodes: Any = self.client.cat.allocation(params={"format": "json", "bytes": "b"})
        disks = [(int(node["disk.total"]), int(node["disk.avail"])) for node in nodes if node.get("disk.total")]
        if not disks:
            return None
        total, free = min(disks, key=lambda disk: disk[1] / disk[0])
        settings = {} if isinstance(self.node_settings, Unobserved) else self.node_settings
        blocking = blocking_bytes(settings, total, is_managed=is_aws_host(self._settings.opensearch_host))
        return DiskUsage(100 - 100 * free / total, free, blocking)

    @fact
    def node_settings(self) -> dict[str, str]:
        """Read settings of the cluster that decide what it accepts, set or by default; {} on Serverless."""
        if self._settings.is_serverless:
            return {}
        options = {"include_defaults": "true", "filter_path": ",".join(f"*.{name}" for name in NODE_SETTINGS)}
        return flat_settings(self.ask("GET", "/_cluster/settings", params=options))

    # How events are stored

    @fact
    def server(self) -> Server:
        """Read which mapping the server needs."""
        return SERVERLESS if self._settings.is_serverless else find_server(self.client)

    def expected_template(self, mappings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the index template for this server, in the profile of the one there, or of an index's mappings."""
        templates = {} if isinstance(self.all_templates, Unobserved) else self.all_templates
        return expected_template(self._prefix, require(self.server), templates, mappings)

    @fact
    def all_templates(self) -> dict[str, dict[str, Any]]:
        """Read all index templates by name."""
        return read_templates(self.client)

    @fact
    def template(self) -> TemplateState:
        """Read the index template of the prefix."""
        templates = require(self.all_templates)
        name = name_of(self._prefix)
        template = templates.get(name, {})
        meta = template.get("_meta") or {}
        is_own = meta.get("owner") == "trailsink"
        version = int(meta.get("version") or 0) if is_own else None
        changed: list[str] = []
        if version == VERSION:
            changed = changed_parts(self.expected_template(), template)
        shadow = shadowing_template(templates, name, self._prefix, int(template.get("priority") or 0))
        return TemplateState(
            name,
            version,
            VERSION,
            changed,
            exists=bool(template),
            shadow=shadow[0] if shadow and is_own else "",
            partition=str(meta.get("partition") or ""),
            expected_partition=str(self._settings.index_partition),
        )

    @fact
    def retention(self) -> RetentionState | None:
        """Read the retention policy, None on Serverless, which has none of this kind."""
        if self._settings.is_serverless:
            return None
        state = asked_for(self._settings)
        try:
            response = self.ask("GET", f"{POLICIES}/{name_of(self._prefix)}")
        except TransportError as error:
            match error.status_code:
                case HTTPStatus.NOT_FOUND:
                    return state
                case HTTPStatus.BAD_REQUEST:  # "no handler found": the plugin is not installed
                    return replace(state, has_ism=False)
                case HTTPStatus.FORBIDDEN if not state.expected:  # a role without retention needs no permission for it
                    return replace(state, policy=None)
            raise
        text = str(response["policy"].get("description") or "no description")
        return replace(state, policy=text, steps=steps_of(response["policy"]))
