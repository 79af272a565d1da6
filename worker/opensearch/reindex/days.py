"""The indices of a prefix, and which of them have an older mapping than the index template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.errors import SetupError
from worker.opensearch.index_names import copies_pattern, is_own_name, marked_name, period_of, public_name
from worker.opensearch.profiles import profile_of
from worker.opensearch.schema import VERSION, generation_of, name_of
from worker.opensearch.template_content import read_templates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from opensearchpy import OpenSearch

_MEMBERS = ",".join(
    (
        "*.aliases",
        "*.mappings._meta",
        *(
            f"*.settings.index.{name}"
            for name in ("uuid", "creation_date", "blocks", "number_of_*", "store", "verified_before_close", "routing")
        ),
    )
)


@dataclass(frozen=True, slots=True)
class IndexState:
    """One index: `name` is what events are written to, `index` the index itself, whose name may be another.

    `settings` and `meta` are as the cluster returns them; `aliases` are all but `name`.
    """

    name: str
    index: str
    aliases: dict[str, Any]
    settings: dict[str, Any]
    meta: dict[str, Any]

    @property
    def uuid(self) -> str:
        """What tells this index from another that had its name before."""
        return str(self.settings["uuid"])

    @property
    def shards(self) -> int:
        """How many primary shards it has."""
        return int(self.settings["number_of_shards"])

    @property
    def replicas(self) -> int:
        """How many replicas each shard has."""
        return int(self.settings["number_of_replicas"])

    @property
    def blocks(self) -> frozenset[str]:
        """The blocks that are set, without `index.blocks.`."""
        blocks = self.settings.get("blocks") or {}
        return frozenset(name for name, value in blocks.items() if str(value) == "true")

    @property
    def obstacle(self) -> str:
        """Why this index cannot be reindexed as it is; "" for most."""
        if self.settings.get("verified_before_close"):
            return f"it is closed: POST /{self.index}/_open, then run this again"
        if (self.settings.get("store") or {}).get("type") == "remote_snapshot" or "warm" in str(
            self.settings.get("routing") or {}
        ):
            return "it is in a snapshot or in warm storage: bring it back to hot storage first"
        if "read_only" in self.blocks or "metadata" in self.blocks:
            return "its block read_only or metadata forbids to delete it: lift the block first"
        return ""


class Template:
    """The index template of a prefix in the cluster, from which copies are made."""

    def __init__(self, prefix: str, body: Mapping[str, Any]) -> None:
        self.prefix = prefix
        self.settings: dict[str, Any] = dict(body["template"]["settings"]["index"])
        self.mappings: dict[str, Any] = dict(body["template"]["mappings"])

    def is_newer(self, state: IndexState) -> bool:
        """Return whether an index has another mapping: of an older generation, or in another profile."""
        mappings = {"_meta": state.meta}
        other_profile = profile_of(state.meta) != profile_of(self.mappings.get("_meta") or {})
        return generation_of(mappings) != generation_of(self.mappings) or (bool(state.meta) and other_profile)

    @property
    def shards(self) -> int:
        """How many primary shards a new index gets."""
        return int(self.settings.get("number_of_shards", 1))


def read_template(client: OpenSearch, prefix: str) -> Template:
    """Return the template of a prefix; raises SetupError unless `trailsink setup` of this version made it."""
    name = name_of(prefix)
    body = read_templates(client, name).get(name) or {}
    meta = body.get("_meta") or {}
    if meta.get("owner") != "trailsink" or meta.get("version") != VERSION:
        raise SetupError(f"The index template {name} is not that of this trailsink: run `trailsink setup` first.")
    return Template(prefix, body)


def read_states(client: OpenSearch, prefix: str) -> list[IndexState]:
    """Return the indices that events of a prefix are in, by their public names.

    An operator's alias, as cloudtrail-2026-01 for the days of a month, is no name of an index.
    """
    return [
        IndexState(name, index, {alias: body for alias, body in aliases.items() if alias != name}, settings, meta)
        for index, aliases, settings, meta in _read(client, f"{prefix}-*")
        if (name := public_name(index)) in (index, *aliases) and is_own_name(name, prefix)
    ]


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy that has not replaced its index yet: `mark` is the alias that says so."""

    state: IndexState
    mark: str
    is_abandoned: bool


def read_copies(client: OpenSearch, prefix: str) -> list[Copy]:
    """Return the copies of a prefix that have not replaced their index."""
    copies = []
    for index, aliases, settings, meta in _read(client, copies_pattern(prefix)):
        for mark in aliases:
            name, is_abandoned = marked_name(mark)
            if is_own_name(name, prefix):
                copies.append(Copy(IndexState(name, index, aliases, settings, meta), mark, is_abandoned))
    return copies


def _read(client: OpenSearch, pattern: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]]:
    params = {"filter_path": _MEMBERS, "expand_wildcards": "open,closed", "ignore": 404}
    response: Any = client.transport.perform_request("GET", f"/{pattern}", params=params)
    for index, body in sorted(response.items()):
        if "settings" in body:  # not the members of an error
            meta = (body.get("mappings") or {}).get("_meta") or {}
            yield index, body.get("aliases") or {}, body["settings"]["index"], meta


def between(
    states: Iterable[IndexState], prefix: str, since: datetime | None, until: datetime | None
) -> list[IndexState]:
    """Return the indices of a time, the oldest first; those without a time only where no time is set."""

    def is_within(period: str) -> bool:
        if not period:
            return since is None and until is None
        earliest = since.strftime("%Y-%m-%d")[: len(period)] if since else ""
        last = until.isoformat()[:19] if until else "9999"
        start = f"{period}-01"[:10] + "T00:00:00"
        return period >= earliest and start < last

    return sorted((state for state in states if is_within(period_of(state.name, prefix))), key=lambda state: state.name)
