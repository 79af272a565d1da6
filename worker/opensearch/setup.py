"""Creates retention policy and index template in a cluster: in this order, and before the first index.

An ISM policy attaches only to indices that are created after it.
docs.opensearch.org/latest/im-plugin/ism/policies/#ism-templates
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import NotFoundError, OpenSearchException, TransportError

from worker.errors import SetupError
from worker.opensearch.errors import classify_error, translate_errors
from worker.opensearch.holds import held_indices
from worker.opensearch.index_upgrade import add_missing_fields
from worker.opensearch.ledger_setup import LedgerOptions, install_ledger
from worker.opensearch.lifecycle import Lifecycle
from worker.opensearch.managed_indices import attach_policy, managed_pattern
from worker.opensearch.mapping_choice import MappingChoice, choose_mapping, own_meta
from worker.opensearch.partition import check_partition, other_partition
from worker.opensearch.profiles import hide_path_field
from worker.opensearch.retention import NOT_CONFIGURED, put_policy, remove_policy
from worker.opensearch.schema import VERSION, index_policy, index_template, name_of, number_in
from worker.opensearch.server import SERVERLESS, find_server
from worker.opensearch.template_content import (
    changed_parts,
    read_templates,
    refuse_newer,
    seal,
    shadowing_template,
    with_additions,
)
from worker.opensearch.write_once import check_server, is_write_once, make_write_once
from worker.pipeline.limits import Partition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opensearchpy import OpenSearch

    from worker.opensearch.profiles import Profile
    from worker.settings import Settings


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
    leaves_policy: bool = False  # without days, leave a policy that exists
    leaves_ledger_policy: bool = False
    force: bool = False  # replace what others made, and say what
    shards: int | None = None  # primary shards of an index; without it, those of an existing template are kept
    existing: bool = False  # bring the indices that exist to the template and the policy
    profile: Profile | None = None  # without it, that of an existing template is kept
    write_once: bool | None = None  # without it, as an existing template has it
    lifecycle: Lifecycle = field(default_factory=Lifecycle)

    @property
    def policy(self) -> dict[str, Any] | None:
        """The policy for ISM, None where nothing is to be done with age."""
        return index_policy(self.prefix, self.retention_days, self.read_only_days, self.partition, self.lifecycle)

    @property
    def policy_text(self) -> str:
        """What the policy does, as a part of a sentence."""
        return ", ".join(self.lifecycle.parts(self.retention_days, self.read_only_days))


def lifecycle_of(settings: Settings) -> Lifecycle:
    """Return the lifecycle that the settings ask for; raises SetupError for days that cannot be meant."""
    lifecycle = Lifecycle(settings.merge_days, settings.merged_replicas, settings.warm_days)
    if fault := lifecycle.fault(settings.retention_days):
        raise SetupError(f"TRAILSINK_MERGE_DAYS, TRAILSINK_MERGED_REPLICAS, TRAILSINK_WARM_DAYS: {fault}.")
    return lifecycle


def check_template(client: OpenSearch, index_prefix: str, partition: Partition | None = None) -> str:
    """Raise SetupError unless the cluster has our index template, made for this partition of time.

    Returns a warning where it is of another version than this trailsink's, "" otherwise: events are loaded either way.

    Indices created without the template would guess their fields. With another partition, events would be doubled. A
    role that may only load may not read templates: then there is nothing to check. Raises IndexUnavailable when the
    cluster does not answer.
    """
    name = name_of(index_prefix)
    try:
        response: Any = client.indices.get_index_template(name=name)
    except NotFoundError as error:
        raise SetupError(f"The cluster has no index template {name}: run `trailsink setup` first.") from error
    except OpenSearchException as error:
        if not (isinstance(error, TransportError) and error.status_code == HTTPStatus.FORBIDDEN):
            raise classify_error(error) from error
        return ""
    meta = response["index_templates"][0]["index_template"].get("_meta") or {}
    if meta.get("owner") != "trailsink":
        raise SetupError(f"trailsink did not create the index template {name}: run `trailsink setup --force` first.")
    current = meta.get("partition")
    if partition and current and current != partition:
        raise SetupError(other_partition(index_prefix, current, partition))
    return _other_version(name, int(meta.get("version") or 0))


def _other_version(name: str, version: int) -> str:
    if version == VERSION:
        return ""
    text = f"The index template {name} is of version {version}, and this trailsink has {VERSION}"
    if version > VERSION:
        return f"{text}: load with the trailsink that installed it."
    return f"{text}: new indices get the older mapping. Run `trailsink setup`."


def install(client: OpenSearch, options: SetupOptions) -> Iterator[str]:
    """Set up a cluster, and yield a line for each thing found or changed. A second run changes nothing.

    Raises SetupError when the cluster does not answer or refuses, or when an existing template is not ours.
    """
    with translate_errors():
        server = SERVERLESS if options.serverless else find_server(client)
        yield f"Found {server.name} {server.version}".rstrip() + "."
        others = read_templates(client)
        choice = choose_mapping(client, options.prefix, server, own_meta(others, options.prefix), options.profile)
        yield from choice.lines
        if options.write_once:
            check_server(client)
        elif options.write_once is None:
            options = replace(options, write_once=is_write_once(others.get(name_of(options.prefix), {})))
        if options.write_once:
            yield "Write-once: nobody can change or delete a document of a new index."
        yield f"Retention: {_put_policy(client, options)}"
        if options.lifecycle.text and not options.serverless:
            replicas = options.replicas if options.replicas is not None else _replicas(others, options.prefix)
            yield from options.lifecycle.lines(replicas, options.retention_days)
        yield from _put_template(client, options, choice, others)
        if options.ledger:
            ledger = LedgerOptions(
                options.prefix,
                options.ledger_days,
                options.replicas,
                options.serverless,
                options.force,
                write_once=bool(options.write_once),
            )
            remover = "TRAILSINK_LEDGER_RETENTION_DAYS=0" if options.leaves_ledger_policy else ""
            yield from install_ledger(client, ledger, remover=remover)
        if options.existing:
            held = held_indices(client, options.prefix)
            yield from add_missing_fields(client, options.prefix, choice.fields_for, held)
            if options.policy and not options.serverless:
                yield from attach_policy(client, options.prefix, held)


def _replicas(templates: dict[str, dict[str, Any]], prefix: str) -> int:
    existing = number_in(templates.get(name_of(prefix), {}), "number_of_replicas")
    return 1 if existing is None else existing


def _put_policy(client: OpenSearch, options: SetupOptions) -> str:
    name, text = name_of(options.prefix), options.policy_text
    if not options.policy and options.serverless:
        return NOT_CONFIGURED
    if not options.policy:
        remover = "--retention-days 0" if options.leaves_policy else ""
        return remove_policy(client, name, managed_pattern(options.prefix), remover=remover)
    if options.serverless:
        return "Serverless has no ISM; set a lifecycle policy on the collection."
    done = put_policy(client, name, options.policy, text)
    return done or "this server has no ISM plugin; indices are kept, delete old ones yourself."


def _put_template(
    client: OpenSearch, options: SetupOptions, choice: MappingChoice, others: dict[str, dict[str, Any]]
) -> Iterator[str]:
    name = name_of(options.prefix)
    existing = others.get(name, {})
    meta = existing.get("_meta") or {}
    is_own = meta.get("owner") == "trailsink"
    body = _template_body(options, choice, others)
    if existing and not is_own:
        if not options.force:
            raise SetupError(
                f"The index template {name} exists, and trailsink did not create it; rename it, change the prefix, or"
                " replace it with --force."
            )
        patterns = ", ".join(existing.get("index_patterns") or ())
        yield f"Replacing the index template {name} of somebody else, for {patterns}."
    refuse_newer(name, existing, VERSION)
    yield from check_partition(
        client, options.prefix, options.partition, str(meta.get("partition", "")), force=options.force
    )
    changed = changed_parts(body, existing) if is_own and meta.get("version") == VERSION else []
    is_current = meta.get("digest") == body["_meta"]["digest"]
    if is_own and is_current and not changed and existing.get("priority") == body["priority"]:
        yield f"Index template {name} version {VERSION} already exists."
        return
    if is_current:
        body = with_additions(body, existing)
    client.indices.put_index_template(name=name, body=body)
    yield _describe_change(name, options, meta, changed if is_current else [])


def _describe_change(name: str, options: SetupOptions, meta: dict[str, Any], restored: list[str]) -> str:
    """Say what became of the template: `meta` is of the one that existed, {} where none of ours did."""
    if meta.get("owner") != "trailsink":
        return f"Index template {name} version {VERSION} created, for {options.prefix}-*."
    if meta.get("version") != VERSION:
        old = meta.get("version")
        return f"Index template {name} upgraded from version {old} to {VERSION}; it applies to new indices."
    what = f"restored ({', '.join(restored)})" if restored else "changed"
    return f"Index template {name} {what}; it applies to new indices."


def _template_body(options: SetupOptions, choice: MappingChoice, others: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the template to put; raises SetupError when another would win over it, unless options force ours."""
    name = name_of(options.prefix)
    existing = others.get(name, {})
    replicas = number_in(existing, "number_of_replicas") if options.replicas is None else options.replicas
    body = index_template(options.prefix, choice.profile, without=choice.without, replicas=replicas)
    hide_path_field(body, existing)
    shards = number_in(existing, "number_of_shards") if options.shards is None else options.shards
    if shards is not None:
        body["template"]["settings"]["number_of_shards"] = shards
    if options.write_once:
        make_write_once(body)
    body["_meta"] |= {"prefix": options.prefix, "partition": str(options.partition)}
    seal(body)
    # One that was raised above another's stays there.
    if (existing.get("_meta") or {}).get("owner") == "trailsink":
        body["priority"] = max(body["priority"], int(existing.get("priority") or 0))
    shadow = shadowing_template(others, name, options.prefix, body["priority"])
    if shadow and not options.force:
        raise SetupError(
            f"The index template {shadow[0]} also matches {options.prefix}-* and has a priority of {body['priority']}"
            " or more; lower its priority, narrow its patterns, or raise trailsink's above it with --force."
        )
    if shadow:
        body["priority"] = shadow[1] + 1
    return body
