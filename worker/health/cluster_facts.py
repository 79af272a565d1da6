"""Facts of the cluster for both `trailsink status` and `trailsink doctor`: each is read once, when it is needed."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import TransportError

from worker.health.observe import NotObservedError, fact, observe, require
from worker.health.snapshot import (
    ClusterState,
    DiskUsage,
    RetentionState,
    ServerVersion,
    TemplateState,
    Unobserved,
    Unreachable,
)
from worker.opensearch.schema import POLICIES, VERSION, index_policy, index_template, name_of
from worker.opensearch.setup import SERVERLESS, Server, find_server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opensearchpy import OpenSearch

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
        disks = [
            DiskUsage(100 - 100 * int(node["disk.avail"]) / int(node["disk.total"]), int(node["disk.avail"]))
            for node in nodes
            if node.get("disk.total")
        ]
        return max(disks, key=lambda disk: disk.used_percent, default=None)

    # How events are stored

    @fact
    def server(self) -> Server:
        """Read which mapping the server needs."""
        return SERVERLESS if self._settings.is_serverless else find_server(self.client)

    @property
    def expected_fields(self) -> dict[str, Any]:
        """The fields as this trailsink maps them on this server; raises NotObservedError."""
        body = index_template(self._prefix, compatible=require(self.server).compatible)
        fields: dict[str, Any] = body["template"]["mappings"]["properties"]
        return fields

    @fact
    def template(self) -> TemplateState:
        """Read the index template of the prefix."""
        response: Any = self.client.indices.get_index_template(params={"ignore": HTTPStatus.NOT_FOUND})
        templates = {entry["name"]: entry["index_template"] for entry in response.get("index_templates", [])}
        name = name_of(self._prefix)
        template = templates.get(name, {})
        meta = template.get("_meta") or {}
        if meta.get("owner") != "trailsink":
            return TemplateState(name, None, VERSION)
        version = int(meta.get("version") or 0)
        if version != VERSION:
            return TemplateState(name, version, VERSION)
        fields = template.get("template", {}).get("mappings", {}).get("properties")
        return TemplateState(name, version, VERSION, differing_fields(self.expected_fields, fields))

    @fact
    def retention(self) -> RetentionState | None:
        """Read the retention policy, None on Serverless, which has none of this kind."""
        if self._settings.is_serverless:
            return None
        days, read_only = self._settings.retention_days, self._settings.read_only_days
        policy = index_policy(self._prefix, days, read_only, self._settings.index_partition)
        state = RetentionState(days, "", policy["policy"]["description"] if policy else "", read_only_days=read_only)
        try:
            response = self.ask("GET", f"{POLICIES}/{name_of(self._prefix)}")
        except TransportError as error:
            match error.status_code:
                case HTTPStatus.NOT_FOUND:
                    return state
                case HTTPStatus.BAD_REQUEST:  # "no handler found": the plugin is not installed
                    return replace(state, has_ism=False)
                case HTTPStatus.FORBIDDEN if not policy:  # a role without retention needs no permission for it
                    return replace(state, policy=None)
            raise
        return replace(state, policy=response["policy"].get("description") or "")


# What decides whether a field can be searched: name and the server's default.
_DEFAULTS = {"type": "object", "index": True, "doc_values": True, "enabled": True}


def _is_same_field(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> bool:
    """Return whether a field is searched as the expected one is."""
    return all(
        str(actual.get(name, default)) == str(expected.get(name, default)) for name, default in _DEFAULTS.items()
    )


def differing_fields(
    expected: Mapping[str, Any], actual: Mapping[str, Any] | None, path: str = "", *, ignore_missing: bool = False
) -> list[str]:
    """Return the expected fields that are missing or searched otherwise; additional fields are the user's own."""
    names = []
    for name, field in expected.items():
        other = (actual or {}).get(name)
        if other is None and ignore_missing:
            continue
        if other is None or not _is_same_field(field, other):
            names.append(f"{path}{name}")
        else:
            names += differing_fields(
                field.get("properties", {}), other.get("properties"), f"{path}{name}.", ignore_missing=ignore_missing
            )
    return names
