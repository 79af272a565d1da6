"""Puts retention policy and index template into a cluster: in this order, and before the first index.

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
from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import NotFoundError, OpenSearchException, SSLError, TransportError

from worker.errors import SetupError
from worker.opensearch.errors import connection_fault, missing_permission
from worker.opensearch.inventory import holdings_fault
from worker.opensearch.schema import POLICIES, VERSION, index_template, name_of, retention_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opensearchpy import OpenSearch


def check_template(client: OpenSearch, index_prefix: str) -> None:
    """Raise SetupError unless the cluster has our index template, IndexUnavailable when it does not answer.

    Indices made without it would guess their fields. A role that may only load may not look at templates; then there
    is nothing to say.
    """
    name = name_of(index_prefix)
    try:
        client.indices.get_index_template(name=name)
    except NotFoundError as error:
        raise SetupError(f"The cluster has no index template {name}: run `trailsink setup` first.") from error
    except TransportError as error:
        if error.status_code != HTTPStatus.FORBIDDEN:
            raise holdings_fault(error) from error
    except OpenSearchException as error:
        raise holdings_fault(error) from error


# Before 2.18 a scalar in a flat_object could send a node into an endless loop
# (github.com/opensearch-project/OpenSearch/issues/15985); 2.19 is the oldest that our tests run against.
_OLDEST = (2, 19)


# A cluster can be told to call itself Elasticsearch 7.10; no OpenSearch has such a number yet.
_MASKED = (7, 0)


@dataclass(frozen=True, slots=True)
class Server:
    """What a server says it is; `compatible` when it needs the compatibility mapping, and why."""

    name: str
    version: str
    compatible: bool
    why: str


# A collection cannot be asked what it is.
SERVERLESS = Server("OpenSearch Serverless", "", True, "it is not known to support flat_object")


@dataclass(frozen=True, slots=True)
class SetupOptions:
    """What to set up. `replicas` are copies of each shard, `retention_days` 0 keeps indices for ever."""

    prefix: str
    retention_days: int = 0
    replicas: int | None = None
    serverless: bool = False


def install(client: OpenSearch, wanted: SetupOptions) -> Iterator[str]:
    """Set a cluster up, saying line by line what was found and done; running it again changes nothing.

    Raises SetupError when the cluster does not answer or refuses, or when what is there is not ours.
    """
    try:
        server = SERVERLESS if wanted.serverless else find_server(client)
        yield f"Found {server.name} {server.version}".rstrip() + "."
        yield f"Mapping: {'compatibility' if server.compatible else 'full'}, because {server.why}."
        if wanted.retention_days:
            yield _retention(client, wanted)
        else:
            yield "Retention: none asked for; indices are kept."
        yield _template(client, wanted, server)
    except (NoConnection, SSLError) as error:
        raise SetupError(f"OpenSearch does not answer: {connection_fault(error)}.") from error
    except TransportError as error:
        raise SetupError(f"OpenSearch refuses with {error.status_code}: {_refusal(error)}.") from error
    except OpenSearchException as error:
        raise SetupError("What answers at this address does not speak OpenSearch.") from error


def find_server(client: OpenSearch) -> Server:
    """Ask a server what it is and choose the mapping that it can be trusted with."""
    match client.info():
        case {"version": {"number": str(number)} as version}:
            pass
        case _:
            raise SetupError("What answers at this address does not speak OpenSearch.")
    if version.get("distribution") != "opensearch":
        return Server("Elasticsearch or compatible", number, True, "flat_object needs OpenSearch")
    parts = tuple(int(part) for part in re.findall(r"\d+", number)[:2])
    if not _OLDEST <= parts < _MASKED:
        return Server("OpenSearch", number, True, "flat_object is safe from OpenSearch 2.19 on")
    return Server("OpenSearch", number, False, "OpenSearch 2.19 and newer index free-form fields as flat_object")


def _retention(client: OpenSearch, wanted: SetupOptions) -> str:
    name, policy = name_of(wanted.prefix), retention_policy(wanted.prefix, wanted.retention_days)
    path = f"{POLICIES}/{name}"
    if wanted.serverless:
        return "Retention: Serverless has no ISM; set a lifecycle policy on the collection."
    try:
        there: Any = client.transport.perform_request("GET", path)
    except NotFoundError:
        client.transport.perform_request("PUT", path, body=policy)
        return f"Retention: policy {name} made, {wanted.retention_days} days."
    except TransportError as error:
        if error.status_code == 400:  # "no handler found": the plugin is not installed
            return "Retention: this server has no ISM plugin; indices are kept, delete old ones yourself."
        raise
    if _same_policy(there["policy"], policy["policy"]):
        return f"Retention: policy {name} is there already, {wanted.retention_days} days."
    version = {"if_seq_no": there["_seq_no"], "if_primary_term": there["_primary_term"]}
    client.transport.perform_request("PUT", path, params=version, body=policy)
    return f"Retention: policy {name} changed to {wanted.retention_days} days; it holds for indices made from now on."


def _same_policy(there: dict[str, Any], ours: dict[str, Any]) -> bool:
    # The server adds defaults of its own to states and templates; the description says the days, so it tells.
    return bool(there.get("description") == ours["description"])


def _template(client: OpenSearch, wanted: SetupOptions, server: Server) -> str:
    name = name_of(wanted.prefix)
    there = templates(client)
    replicas = _replicas(there.get(name, {})) if wanted.replicas is None else wanted.replicas
    body = index_template(wanted.prefix, compatible=server.compatible, replicas=replicas)
    body["_meta"]["digest"] = sha256(msgspec.json.encode(body, order="sorted")).hexdigest()
    _refuse_shadow(there, name, body["priority"], wanted.prefix)
    if name not in there:
        client.indices.put_index_template(name=name, body=body)
        return f"Index template {name} version {VERSION} made, for {wanted.prefix}-*."
    meta = there[name].get("_meta") or {}
    if meta.get("owner") != "trailsink":
        raise SetupError(
            f"An index template {name} is there that trailsink did not make; rename it or change the prefix."
        )
    if meta.get("digest") == body["_meta"]["digest"]:
        return f"Index template {name} version {VERSION} is there already."
    if int(meta.get("version", 0)) > VERSION:
        raise SetupError(f"Index template {name} is of a newer trailsink (version {meta['version']}); use that one.")
    client.indices.put_index_template(name=name, body=body)
    if meta.get("version") == VERSION:
        return f"Index template {name} changed; it holds for new indices."
    return f"Index template {name} upgraded from version {meta.get('version')} to {VERSION}; it holds for new indices."


def _replicas(template: dict[str, Any]) -> int | None:
    """Read how many replicas a template asks for: whoever set that need not say it again."""
    settings = template.get("template", {}).get("settings", {}).get("index", {})
    return int(settings["number_of_replicas"]) if "number_of_replicas" in settings else None


def templates(client: OpenSearch) -> dict[str, dict[str, Any]]:
    """Return all index templates of a cluster by name, ours and others."""
    answer: Any = client.indices.get_index_template()
    return {one["name"]: one["index_template"] for one in answer["index_templates"]}


def _refuse_shadow(there: dict[str, dict[str, Any]], ours: str, priority: int, prefix: str) -> None:
    """Raise SetupError when another template would win over ours for our indices."""
    for name, template in there.items():
        matches = any(fnmatchcase(f"{prefix}-2026-01-31", pattern) for pattern in template["index_patterns"])
        if name != ours and matches and template.get("priority", 0) >= priority:
            raise SetupError(f"Index template {name} also matches {prefix}-* and has a priority of {priority} or more.")


def _refusal(error: TransportError) -> str:
    if permission := missing_permission(error):
        return f"the user or role lacks {permission}"
    if error.status_code in (401, 403):
        return f"{error.error}; the user or role may not do this"
    return str(error.error)
