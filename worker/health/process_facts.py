"""Facts of the processes that consume the queue, by the heartbeats that they write into the cluster."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from worker.health.flow_snapshot import ConsumerProcess
from worker.health.observe import fact
from worker.opensearch.security import heartbeat_index

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.health.cluster_facts import ClusterFacts
    from worker.settings import Settings

# A process that was last heard of before that belongs to the past. The number bounds the response.
_WINDOW = timedelta(days=7)
_MAX_PROCESSES = 100


class ProcessFacts:
    """Which `trailsink run` consume the queue of the settings, or did."""

    def __init__(self, settings: Settings, cluster: ClusterFacts, now: datetime) -> None:
        self._settings, self._cluster, self._now = settings, cluster, now

    @fact
    def processes(self) -> list[ConsumerProcess]:
        """Read the heartbeats of the last week, the latest first."""
        if self._settings.is_serverless:
            return []
        recent = {"range": {"beat_at": {"gte": (self._now - _WINDOW).isoformat()}}}
        query = {"bool": {"filter": [recent, {"term": {"queue": self._settings.queue_url}}]}}
        newest = {"beat_at": {"order": "desc", "unmapped_type": "date"}}
        body = {"size": _MAX_PROCESSES, "query": query, "sort": [newest]}
        response = self._cluster.search(heartbeat_index(self._settings.index_prefix), body, ignore_unavailable="true")
        return [_process(hit["_source"]) for hit in response["hits"]["hits"]]


def _process(document: Mapping[str, Any]) -> ConsumerProcess:
    stopped = document.get("stopped_at")
    return ConsumerProcess(
        str(document.get("host", "")),
        int(document.get("pid", 0)),
        str(document.get("version", "")),
        datetime.fromisoformat(document["beat_at"]),
        datetime.fromisoformat(stopped) if stopped else None,
    )
