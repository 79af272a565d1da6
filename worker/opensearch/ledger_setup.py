"""Creates the ledger's retention policy and index template: in this order, and before its first index."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec
from opensearchpy.exceptions import NotFoundError, TransportError

from worker.errors import SetupError
from worker.opensearch.schema import POLICIES, ledger_name, ledger_policy, ledger_template
from worker.pipeline.ledger import ledger_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opensearchpy import OpenSearch

_NO_PLUGIN = 400  # "no handler found"


def install_ledger(
    client: OpenSearch, prefix: str, *, days: int, replicas: int | None, serverless: bool
) -> Iterator[str]:
    """Set the ledger up, and yield a line for each thing created or changed. A second run changes nothing.

    `days` are how long its documents are kept, 0 for ever. Raises SetupError when an existing template is not ours, and
    lets errors of the client pass.
    """
    policy = None if serverless else ledger_policy(prefix, days)
    if policy and (line := _put_policy(client, ledger_name(prefix), policy, days)):
        yield line
    yield _put_template(client, prefix, replicas)


def _put_policy(client: OpenSearch, name: str, policy: Mapping[str, Any], days: int) -> str:
    path = f"{POLICIES}/{name}"
    try:
        existing: Any = client.transport.perform_request("GET", path)
    except NotFoundError:
        client.transport.perform_request("PUT", path, body=policy)
        return f"Ledger: policy {name} created, {days} days."
    except TransportError as error:
        if error.status_code == _NO_PLUGIN:
            return ""  # the events' own policy has said so
        raise
    if existing["policy"].get("description") == policy["policy"]["description"]:
        return f"Ledger: policy {name} already exists, {days} days."
    version = {"if_seq_no": existing["_seq_no"], "if_primary_term": existing["_primary_term"]}
    client.transport.perform_request("PUT", path, params=version, body=policy)
    return f"Ledger: policy {name} changed to {days} days; it applies to indices created from now on."


def _put_template(client: OpenSearch, prefix: str, replicas: int | None) -> str:
    name = ledger_name(prefix)
    existing = fetch_template(client, name)
    body = ledger_template(prefix, replicas=_replicas(existing) if replicas is None else replicas)
    version = body["_meta"]["version"]
    body["_meta"]["digest"] = sha256(msgspec.json.encode(body, order="sorted")).hexdigest()
    meta = existing.get("_meta") or {}
    if existing and meta.get("owner") != "trailsink":
        raise SetupError(f"The index template {name} exists, and trailsink did not create it; rename it.")
    if int(meta.get("version", 0)) > version:
        raise SetupError(
            f"The index template {name} was created by a newer trailsink (version {meta['version']}); use that one."
        )
    if meta.get("digest") == body["_meta"]["digest"]:
        return f"Ledger: index template {name} version {version} already exists."
    client.indices.put_index_template(name=name, body=body)
    if not existing:
        return f"Ledger: index template {name} version {version} created, for {ledger_pattern(prefix)}."
    return f"Ledger: index template {name} changed to version {version}; it applies to new indices."


def fetch_template(client: OpenSearch, name: str) -> dict[str, Any]:
    """Return an index template, {} where there is none of this name."""
    try:
        response: Any = client.indices.get_index_template(name=name)
    except NotFoundError:
        return {}
    templates: dict[str, dict[str, Any]] = {
        entry["name"]: entry["index_template"] for entry in response["index_templates"]
    }
    return templates.get(name, {})


def _replicas(template: Mapping[str, Any]) -> int | None:
    """Return the number of replicas that a template sets, so that nobody has to pass it again."""
    settings = template.get("template", {}).get("settings", {}).get("index", {})
    return int(settings["number_of_replicas"]) if "number_of_replicas" in settings else None
