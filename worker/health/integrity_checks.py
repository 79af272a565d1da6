"""The doctor's checks for what a stolen credential of the loader could do: docs/security.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.health.check import check
from worker.health.findings import Judgement
from worker.health.flow_rules import judge_writes, reindex_command
from worker.health.observe import fact, require
from worker.health.rules import first_names
from worker.opensearch.index_names import is_own_index, public_name
from worker.opensearch.schema import CHANGED_SINCE, VERSION, generation_of
from worker.opensearch.template_content import differing_fields, fields_of, missing_core_fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.health.cluster_facts import ClusterFacts
    from worker.health.index_facts import IndexFacts
    from worker.health.write_facts import WriteFacts
    from worker.settings import Settings

# Bounds the searches for versions: the newest indices with something odd, and the last writes of each.
_MAX_INDICES, _LAST_WRITES = 20, 2_000

_SHARD_STATS = "indices.*.shards.*.routing.primary,indices.*.shards.*.docs,indices.*.shards.*.seq_no.max_seq_no"


class IntegrityChecks:
    """Whether documents were replaced, and whether indices are what the template makes them.

    Another tool's index may begin with the same prefix. What is in it is not ours to judge, and never to delete.
    """

    def __init__(self, settings: Settings, cluster: ClusterFacts, indices: IndexFacts, writes: WriteFacts) -> None:
        self._settings, self._cluster, self._indices, self._writes = settings, cluster, indices, writes
        self._pattern = f"{settings.index_prefix}-*"

    @check("overwritten events")
    def overwritten(self) -> Iterator[Judgement]:
        """Check that documents were only ever created.

        Each write has a sequence number, and merging segments does not change the highest one. An index with more
        writes than documents had some replaced, deleted or refused. What was replaced has a version above 1.
        """
        if self._settings.is_serverless:
            return
        surplus = self._surplus_writes()
        names = sorted(surplus, reverse=True)[:_MAX_INDICES]
        replaced = [f"{name}/{id_}" for name in names for id_ in self._replaced(name)]
        quiet = [f"{name} ({surplus[name]:,})" for name in names if name != require(self._indices.last_written)]
        if replaced:
            fix = "change the loader's credentials, and compare with the files in the bucket: docs/security.md"
            yield Judgement.fault(f"documents have a version above 1: {first_names(replaced)}", fix)
        elif quiet:
            evidence = f"more writes than documents in {first_names(quiet)}: replaced, deleted, or refused by the index"
            yield Judgement.warning(evidence, "docs/security.md says how to find out")
        else:
            yield Judgement.ok("none: no document has a version above 1, or was deleted")

    def _surplus_writes(self) -> dict[str, int]:
        """Return how many writes of each index left no document of their own, where there are any."""
        options = {"level": "shards", "filter_path": _SHARD_STATS, "ignore": 404}
        response: Any = self._cluster.ask("GET", f"/{self._pattern}/_stats/docs", params=options)
        surplus = {}
        for name, index in self._own(response.get("indices", {})).items():
            primaries = [
                shard for shards in index["shards"].values() for shard in shards if shard["routing"].get("primary")
            ]
            writes = sum(shard["seq_no"]["max_seq_no"] + 1 for shard in primaries)
            documents = sum(shard["docs"]["count"] for shard in primaries)
            deleted = sum(shard["docs"]["deleted"] for shard in primaries)
            if number := max(writes - documents, deleted):
                surplus[name] = number
        return surplus

    def _replaced(self, index: str) -> list[str]:
        """Return the ids of replaced documents among the last writes of an index."""
        body = {"size": _LAST_WRITES, "_source": False, "version": True, "sort": [{"_seq_no": "desc"}]}
        response = self._cluster.search(index, body)
        return [str(hit["_id"]) for hit in response["hits"]["hits"] if hit.get("_version", 1) > 1]

    @fact
    def _mappings(self) -> dict[str, dict[str, Any]]:
        response: dict[str, dict[str, Any]] = self._cluster.client.indices.get_mapping(index=self._pattern)
        return self._own(response)

    def _own(self, indices: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {name: index for name, index in indices.items() if is_own_index(name, self._settings.index_prefix)}

    @check("mapping of each index")
    def mappings(self) -> Iterator[Judgement]:
        """Check that each index is searched as the template says: whoever creates one first chooses its mapping.

        What is wrong with the index that was written last is the other check's to report.
        """
        response = require(self._mappings)
        last, altered = require(self._indices.last_written), {}
        for name, index in sorted(response.items(), reverse=True):
            mappings = index.get("mappings", {})
            expected = fields_of(self._cluster.expected_template(mappings))
            fields = altered_fields(expected, mappings)
            if fields and not (name == last and differing_fields(expected, mappings.get("properties"))):
                altered[name] = fields
        if altered:
            evidence = first_names([f"{name} ({first_names(fields)})" for name, fields in altered.items()])
            fix = reindex_command([public_name(name) for name in altered], force=True)
            if self._settings.is_serverless:  # it has no _reindex
                fix = "if the bucket still has their files, delete these indices, then trailsink backfill --incomplete"
            yield Judgement.fault(f"{len(altered)} of {len(response)} are not the template's: {evidence}", fix)
        elif response:
            older = sum(generation_of(index.get("mappings", {})) < VERSION for index in response.values())
            behind = f"; {older} of an older generation, without newer fields" if older else ""
            yield Judgement.ok(f"{len(response)} of {len(response)} are the template's{behind}")

    @check("older mappings")
    def older_mappings(self) -> Iterator[Judgement]:
        """Check which days have an older generation of the mapping, and what is not found there."""
        response = require(self._mappings)
        older = {
            public_name(name): index.get("mappings", {})
            for name, index in response.items()
            if generation_of(index.get("mappings", {})) < VERSION
        }
        if not older:
            return
        names, mappings = sorted(older), next(iter(older.values()))
        fields = differing_fields(fields_of(self._cluster.expected_template(mappings)), mappings.get("properties"))
        span = f"{names[0]} to {names[-1]}" if len(names) > 1 else names[0]
        evidence = f"{len(names)} of {len(response)} have an older mapping: {span}"
        if fields:
            evidence += f"; searches find nothing there by {first_names(fields)}"
        yield Judgement.warning(evidence, reindex_command(names))

    @check("write blocks")
    def blocks(self) -> Iterator[Judgement]:
        """Check that the cluster and its indices accept writes, apart from what the policy has made read-only."""
        if not self._settings.is_serverless:
            yield judge_writes(require(self._writes.blocks))


def altered_fields(expected: Mapping[str, Any], mappings: Mapping[str, Any]) -> list[str]:
    """Return what a mapping has that no version of the template makes: fields that are not searched as they should be.

    Additional fields are the user's own.
    """
    properties: Mapping[str, Any] = mappings.get("properties") or {}
    switched = [
        name for name, value in (("enabled", "true"), ("dynamic", "false")) if _setting(mappings, name) != value
    ]
    older = CHANGED_SINCE.get(generation_of(mappings), frozenset())
    differing = [name for name in differing_fields(expected, properties, ignore_missing=True) if name not in older]
    return [*switched, *missing_core_fields(properties), *differing]


def _setting(mappings: Mapping[str, Any], name: str) -> str:
    return str(mappings.get(name, True)).lower()
