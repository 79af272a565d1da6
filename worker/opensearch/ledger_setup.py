"""Creates the ledger's retention policy and index template: in this order, and before its first index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import AuthorizationException

from worker.errors import SetupError
from worker.opensearch.retention import NOTHING_TO_REMOVE, put_policy, remove_policy
from worker.opensearch.schema import ledger_name, ledger_policy, ledger_template, number_in
from worker.opensearch.template_content import (
    changed_parts,
    fields_of,
    missing_fields,
    read_templates,
    refuse_newer,
    seal,
    with_additions,
)
from worker.opensearch.write_once import make_write_once
from worker.pipeline.ledger import ledger_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opensearchpy import OpenSearch


@dataclass(frozen=True, slots=True)
class LedgerOptions:
    """What to set up. `days` are how long the ledger's documents are kept, 0 for ever.

    Without `replicas`, those of an existing template are kept. `force` replaces a template of somebody else.
    """

    prefix: str
    days: int = 0
    replicas: int | None = None
    serverless: bool = False
    force: bool = False
    write_once: bool = False


def install_ledger(client: OpenSearch, options: LedgerOptions, *, remover: str = "") -> Iterator[str]:
    """Set the ledger up, and yield a line for each thing created or changed. A second run changes nothing.

    Without days, a policy that deletes is removed, unless nobody asked; see remove_policy for `remover`. Raises
    SetupError when an existing template is not ours, and lets errors of the client pass.
    """
    if not options.serverless and (text := _put_policy(client, options.prefix, options.days, remover)):
        yield f"Ledger: {text}"
    yield from _put_template(client, options)


def _put_policy(client: OpenSearch, prefix: str, days: int, remover: str) -> str:
    """Return what was done, "" where there is nothing to say."""
    name = ledger_name(prefix)
    policy = ledger_policy(prefix, days)
    if policy:
        # Without the plugin the events' own policy has said so.
        return put_policy(client, name, policy, f"{days} days")
    text = remove_policy(client, name, ledger_pattern(prefix), remover=remover)
    return "" if text in NOTHING_TO_REMOVE else text


def _add_missing_fields(client: OpenSearch, prefix: str, body: dict[str, Any]) -> Iterator[str]:
    """Add new fields to the indices that exist: they are strict, and would refuse the documents of this version."""
    try:
        response: Any = client.indices.get_mapping(index=ledger_pattern(prefix))
        for name, index in sorted(response.items()):
            if missing := missing_fields(fields_of(body), index.get("mappings", {}).get("properties")):
                client.indices.put_mapping(index=name, body={"properties": missing})
                yield f"Ledger: fields were added to {name}: {', '.join(missing)}."
    except AuthorizationException:
        yield (
            "Ledger: this role may not add fields to indices that exist, so files go back to the queue until next"
            " month if TRAILSINK_FILTERS is set; run it once with indices:admin/mappings/get and"
            " indices:admin/mapping/put on the ledger."
        )


def _put_template(client: OpenSearch, options: LedgerOptions) -> Iterator[str]:
    name = ledger_name(options.prefix)
    existing = read_templates(client, name).get(name, {})
    replicas = number_in(existing, "number_of_replicas") if options.replicas is None else options.replicas
    body = ledger_template(options.prefix, replicas=replicas)
    if options.write_once:
        make_write_once(body)
    version = body["_meta"]["version"]
    seal(body)
    meta = existing.get("_meta") or {}
    is_own = meta.get("owner") == "trailsink"
    if existing and not is_own:
        if not options.force:
            raise SetupError(
                f"The index template {name} exists, and trailsink did not create it; rename it, or replace it with"
                " --force."
            )
        yield f"Ledger: replacing the index template {name} of somebody else."
    refuse_newer(name, existing, version)
    is_current = meta.get("digest") == body["_meta"]["digest"]
    changed = changed_parts(body, existing) if is_current else []
    if is_current and not changed:
        yield f"Ledger: index template {name} version {version} already exists."
        return
    if is_own and meta.get("version") != version:
        yield from _add_missing_fields(client, options.prefix, body)
    client.indices.put_index_template(name=name, body=with_additions(body, existing) if is_current else body)
    if not is_own:
        yield f"Ledger: index template {name} version {version} created, for {ledger_pattern(options.prefix)}."
    elif changed:
        yield f"Ledger: index template {name} restored ({', '.join(changed)}); it applies to new indices."
    else:
        yield f"Ledger: index template {name} changed to version {version}; it applies to new indices."
