"""The doctor's check for what records hold and no search finds, because the mapping does not know it.

CloudTrail adds members without notice.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from worker.cloudtrail.picking import ADDED_MEMBERS
from worker.health.check import check
from worker.health.findings import Judgement
from worker.opensearch.field_kinds import Kind, read_field_kinds
from worker.pipeline.searchable import leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.health.cluster_facts import ClusterFacts

# Enough to meet what is common; the newest, since a member that is new is in them.
_EVENTS = 500
_SHOWN = 5

# CloudTrail's own have less than 100 characters.
_MAX_PATH = 200


class CoverageChecks:
    """Whether the members of recent events can be searched."""

    def __init__(self, cluster: ClusterFacts, index_prefix: str) -> None:
        self._cluster, self._prefix = cluster, index_prefix

    @check("unsearchable members")
    def members(self) -> Iterator[Judgement]:
        """Compare the members of recent events with the fields of the indices."""
        newest = {"trailsink.indexed_at": {"order": "desc", "unmapped_type": "date"}}
        body = {"size": _EVENTS, "sort": [newest], "query": {"range": {"trailsink.indexed_at": {"gte": "now-1d"}}}}
        response = self._cluster.search(f"{self._prefix}-*", body)
        kinds = read_field_kinds(self._cluster.client, self._prefix)
        if not kinds.has_free_form:  # free-form members are stored only, as setup has said
            return
        events = [hit["_source"] for hit in response["hits"]["hits"]]
        unknown = Counter(
            path for event in events for path in member_paths(event) if kinds.kind(path) in (Kind.STORED, Kind.UNKNOWN)
        )
        if unknown:
            shown = ", ".join(f"{path} ({count})" for path, count in unknown.most_common(_SHOWN))
            more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
            path = unknown.most_common(1)[0][0]
            yield Judgement.warning(
                f"in the last {len(events):,} events of a day, not searchable: {shown}{more}",
                f"they are stored; count their values with trailsink search --last 1d --count-by {path}",
            )
        elif events:
            yield Judgement.ok(f"none in the last {len(events):,} events of a day")


def member_paths(event: dict[str, Any]) -> set[str]:
    """Return the paths of the values of an event, without what trailsink added."""
    paths = {path for name, value in event.items() if name not in ADDED_MEMBERS for path, _ in leaves(value, name)}
    return {path for path in paths if len(path) <= _MAX_PATH}
