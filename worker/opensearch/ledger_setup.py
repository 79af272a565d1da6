"""Creates the ledger's retention policy and index template: in this order, and before its first index."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec
from opensearchpy.exceptions import NotFoundError

from worker.errors import SetupError
from worker.opensearch.retention import PolicyChange, put_policy, remove_policy
from worker.opensearch.schema import ledger_name, ledger_policy, ledger_template, replicas_of
from worker.pipeline.ledger import ledger_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opensearchpy import OpenSearch


@dataclass(frozen=True, slots=True)
class LedgerOptions:
    """What to set up. `days` are how long the ledger's documents are kept, 0 for ever.

    Without `replicas`, those of an existing template are kept.
    """

    prefix: str
    days: int = 0
    replicas: int | None = None
    serverless: bool = False


def install_ledger(client: OpenSearch, options: LedgerOptions, *, remover: str = "") -> Iterator[str]:
    """Set the ledger up, and yield a line for each thing created or changed. A second run changes nothing.

    Without days, a policy that deletes is removed, unless nobody asked; see remove_policy for `remover`. Raises
    SetupError when an existing template is not ours, and lets errors of the client pass.
    """
    if not options.serverless and (text := _put_policy(client, options.prefix, options.days, remover)):
        yield f"Ledger: {text}"
    yield _put_template(client, options.prefix, options.replicas)


def _put_policy(client: OpenSearch, prefix: str, days: int, remover: str) -> str:
    """Return what was done, "" where there is nothing to say."""
    name = ledger_name(prefix)
    policy = ledger_policy(prefix, days)
    if not policy:
        text = remove_policy(client, name, ledger_pattern(prefix), remover=remover)
        return "" if text.startswith("not configured") else text
    match put_policy(client, name, policy):
        case PolicyChange.CREATED:
            return f"policy {name} created, {days} days."
        case PolicyChange.UNCHANGED:
            return f"policy {name} already exists, {days} days."
        case PolicyChange.CHANGED:
            return f"policy {name} changed to {days} days; it applies to indices created from now on."
        case PolicyChange.NO_PLUGIN:
            return ""  # the events' own policy has said so


def _put_template(client: OpenSearch, prefix: str, replicas: int | None) -> str:
    name = ledger_name(prefix)
    existing = fetch_template(client, name)
    body = ledger_template(prefix, replicas=replicas_of(existing) if replicas is None else replicas)
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
