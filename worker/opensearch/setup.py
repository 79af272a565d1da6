"""Creates retention policy and index template in a cluster: in this order, and before the first index.

An ISM policy attaches only to indices that are created after it.
docs.opensearch.org/latest/im-plugin/ism/policies/#ism-templates
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from opensearchpy.exceptions import NotFoundError, OpenSearchException, TransportError

from worker.errors import SetupError
from worker.opensearch.errors import NOT_OPENSEARCH, classify_error, translate_errors
from worker.opensearch.ledger_setup import install_ledger
from worker.opensearch.policies import PolicyChange, put_policy
from worker.opensearch.schema import VERSION, index_policy, index_template, name_of, replicas_of
from worker.pipeline.limits import Partition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opensearchpy import OpenSearch

# Before 2.18 a scalar in a flat_object could send a node into an endless loop
# (github.com/opensearch-project/OpenSearch/issues/15985); 2.19 is the oldest that our tests run against.
_MIN_VERSION = (2, 19)

# A cluster can be configured to report itself as Elasticsearch 7.10. No OpenSearch has such a number yet.
_ELASTICSEARCH_VERSION = (7, 0)


@dataclass(frozen=True, slots=True)
class Server:
    """What a server reports about itself; `compatible` when it needs the compatibility mapping, and why."""

    name: str
    version: str
    compatible: bool
    why: str


# A collection does not report what it is.
SERVERLESS = Server("OpenSearch Serverless", "", True, "it is not known to support flat_object")


@dataclass(frozen=True, slots=True)
class SetupOptions:
    """What to set up. `replicas` are copies of each shard, `retention_days` 0 keeps indices for ever.

    Without `replicas`, those of an existing template are kept. One index holds a `partition` of time, which retention
    adds to the days. `read_only_days` 0 leaves indices writable, `ledger_days` 0 keeps the ledger for ever.
    """

    prefix: str
    retention_days: int = 0
    replicas: int | None = None
    serverless: bool = False
    partition: Partition = Partition.DAY
    read_only_days: int = 0
    ledger: bool = True
    ledger_days: int = 0

    @property
    def policy(self) -> dict[str, Any] | None:
        """The policy for ISM, None where nothing is to be done with age."""
        return index_policy(self.prefix, self.retention_days, self.read_only_days, self.partition)

    @property
    def policy_text(self) -> str:
        """What the policy does, as a part of a sentence."""
        parts = [f"{self.retention_days} days"] if self.retention_days else []
        parts += [f"read-only after {self.read_only_days} days"] if self.read_only_days else []
        return ", ".join(parts)


def check_template(client: OpenSearch, index_prefix: str) -> None:
    """Raise SetupError unless the cluster has our index template; IndexUnavailable when it does not answer.

    Indices created without the template would guess their fields. A role that may only load may not read templates:
    then there is nothing to check.
    """
    name = name_of(index_prefix)
    try:
        client.indices.get_index_template(name=name)
    except NotFoundError as error:
        raise SetupError(f"The cluster has no index template {name}: run `trailsink setup` first.") from error
    except OpenSearchException as error:
        if not (isinstance(error, TransportError) and error.status_code == HTTPStatus.FORBIDDEN):
            raise classify_error(error) from error


def install(client: OpenSearch, options: SetupOptions) -> Iterator[str]:
    """Set up a cluster, and yield a line for each thing found or changed. A second run changes nothing.

    Raises SetupError when the cluster does not answer or refuses, or when an existing template is not ours.
    """
    with translate_errors():
        server = SERVERLESS if options.serverless else find_server(client)
        yield f"Found {server.name} {server.version}".rstrip() + "."
        yield f"Mapping: {'compatibility' if server.compatible else 'full'}, because {server.why}."
        if options.policy:
            yield _put_policy(client, options, options.policy)
        else:
            yield "Retention: not configured; indices are kept."
        yield _put_template(client, options, server)
        if options.ledger:
            yield from install_ledger(
                client,
                options.prefix,
                days=options.ledger_days,
                replicas=options.replicas,
                serverless=options.serverless,
            )


def find_server(client: OpenSearch) -> Server:
    """Read what a server is, and choose the mapping that is safe on it."""
    match client.info():
        case {"version": {"number": str(number)} as version}:
            pass
        case _:
            raise SetupError(f"The {NOT_OPENSEARCH}.")
    if version.get("distribution") != "opensearch":
        return Server("Elasticsearch or compatible", number, True, "flat_object needs OpenSearch")
    parts = tuple(int(part) for part in re.findall(r"\d+", number)[:2])
    if not _MIN_VERSION <= parts < _ELASTICSEARCH_VERSION:
        return Server("OpenSearch", number, True, "flat_object is safe from OpenSearch 2.19 on")
    return Server("OpenSearch", number, False, "OpenSearch 2.19 and newer index free-form fields as flat_object")


def _put_policy(client: OpenSearch, options: SetupOptions, policy: dict[str, Any]) -> str:
    name, text = name_of(options.prefix), options.policy_text
    if options.serverless:
        return "Retention: Serverless has no ISM; set a lifecycle policy on the collection."
    match put_policy(client, name, policy):
        case PolicyChange.CREATED:
            return f"Retention: policy {name} created, {text}."
        case PolicyChange.UNCHANGED:
            return f"Retention: policy {name} already exists, {text}."
        case PolicyChange.CHANGED:
            return f"Retention: policy {name} changed to {text}; it applies to indices created from now on."
        case PolicyChange.NO_PLUGIN:
            return "Retention: this server has no ISM plugin; indices are kept, delete old ones yourself."


def _put_template(client: OpenSearch, options: SetupOptions, server: Server) -> str:
    name = name_of(options.prefix)
    existing = templates(client)
    replicas = replicas_of(existing.get(name, {})) if options.replicas is None else options.replicas
    body = index_template(options.prefix, compatible=server.compatible, replicas=replicas)
    body["_meta"]["digest"] = sha256(msgspec.json.encode(body, order="sorted")).hexdigest()
    _refuse_shadow(existing, name, body["priority"], options.prefix)
    if name not in existing:
        client.indices.put_index_template(name=name, body=body)
        return f"Index template {name} version {VERSION} created, for {options.prefix}-*."
    meta = existing[name].get("_meta") or {}
    if meta.get("owner") != "trailsink":
        raise SetupError(
            f"The index template {name} exists, and trailsink did not create it; rename it or change the prefix."
        )
    if meta.get("digest") == body["_meta"]["digest"]:
        return f"Index template {name} version {VERSION} already exists."
    if int(meta.get("version", 0)) > VERSION:
        raise SetupError(
            f"The index template {name} was created by a newer trailsink (version {meta['version']}); use that one."
        )
    client.indices.put_index_template(name=name, body=body)
    if meta.get("version") == VERSION:
        return f"Index template {name} changed; it applies to new indices."
    return f"Index template {name} upgraded from version {meta.get('version')} to {VERSION}; it applies to new indices."


def templates(client: OpenSearch) -> dict[str, dict[str, Any]]:
    """Return all index templates of a cluster by name, ours and others."""
    response: Any = client.indices.get_index_template()
    return {template["name"]: template["index_template"] for template in response["index_templates"]}


def _refuse_shadow(existing: dict[str, dict[str, Any]], own_name: str, priority: int, prefix: str) -> None:
    """Raise SetupError when another template would win over ours for our indices."""
    for name, template in existing.items():
        matches = any(fnmatchcase(f"{prefix}-2026-01-31", pattern) for pattern in template["index_patterns"])
        if name != own_name and matches and template.get("priority", 0) >= priority:
            raise SetupError(
                f"The index template {name} also matches {prefix}-* and has a priority of {priority} or more;"
                " lower its priority or narrow its patterns."
            )
