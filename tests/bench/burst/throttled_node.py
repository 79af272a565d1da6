"""A real OpenSearch node on one processor, with little room for bulk requests under way, and what it is fed."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import urllib3
from opensearchpy import OpenSearch

from infra.local.node import Node, Setting
from tests.bench.burst.cpu_share import working_seconds
from tests.bench.cluster.node_profile import recorded
from tests.bench.cluster.trail import BUCKET, File, files
from tests.bench.support import pipeline_bench
from worker.opensearch.sender import BULK_HEADERS, BULK_PARAMS
from worker.opensearch.setup import SetupOptions, install
from worker.pipeline.documents import FIRST_EVENT, Action, IndexNaming, Provenance
from worker.pipeline.limits import Partition

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PREFIX = "load"
_TIME = "2023-07-10T12:00:00Z"
_ROUTING = IndexNaming(PREFIX, Partition.DAY, FIRST_EVENT, "2030-01-01", pipeline_bench.LIMITS.max_days_per_file)
_MOST_FILES = 60_000  # that can be counted in one answer: search.max_buckets is 65,535


@dataclass(frozen=True)
class Body:
    """A ready-made bulk request, gzipped."""

    packed: bytes
    records: int


@dataclass(frozen=True)
class Fed:
    """What the node was fed, over what time, for how much of its own CPU time; by part, where that was profiled."""

    records: int
    seconds: float
    cpu_seconds: float
    samples: Counter[str] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds

    @property
    def busy(self) -> float:
        """Of its one processor, the share that the node used; its compilers are not counted, here as below."""
        return self.cpu_seconds / self.seconds

    @property
    def cpu_microseconds(self) -> float:
        """Of the node, for each record."""
        return self.cpu_seconds / self.records * 1e6


@contextmanager
def throttled(megabytes: int) -> Iterator[Throttled]:
    """Run a node on the first processor, with room for so much in bulk requests; this process goes to the others."""
    processors = sorted(os.sched_getaffinity(0))
    settings: dict[str, Setting] = {
        "indexing_pressure.memory.limit": f"{megabytes}mb",
        "node.processors": 1,
        # The node collects its garbage only when its heap is full, which the breaker would take for want of memory.
        "indices.breaker.total.use_real_memory": "false",
    }
    node = Node(settings=settings, heap="1g", quick=False)
    os.sched_setaffinity(0, processors[:1])  # what is started now inherits it
    try:
        with node:
            os.sched_setaffinity(0, processors[1:] or processors)
            list(install(OpenSearch([node.url], timeout=60), SetupOptions(PREFIX, replicas=0)))
            yield Throttled(node)
    finally:
        os.sched_setaffinity(0, processors)


def bodies(seed: int, records: int) -> list[Body]:
    """Make the bulk requests that trailsink would make of the files of a seed, ready to be sent."""
    made = (action for file in files(seed, records) for action in _actions(file))
    return [Body(*one) for one in pipeline_bench.bodies(made)]


def _actions(file: File) -> Iterator[Action]:
    return pipeline_bench.our_actions(file.content, Provenance(f"s3://{BUCKET}/{file.key}", _TIME, _TIME), _ROUTING)


class Throttled:
    """The node while it runs."""

    def __init__(self, node: Node) -> None:
        self.url, self.pid = node.url, node.pid
        self.cpu_seconds = working_seconds(node.pid)
        self.profiler: Path | None = None  # the folder of Java's tools, while profiles are wanted
        self._node = node
        self._http = urllib3.PoolManager(maxsize=8, retries=False)

    def profiled(self) -> AbstractContextManager[Counter[str]]:
        """Profile what the node does meanwhile, if that is wanted; see `recorded`."""
        return recorded(self.profiler, self._node) if self.profiler else nullcontext(Counter())

    def replay(self, ready: Iterable[Body], most_seconds: float) -> Fed:
        """Send ready-made bodies into new indices, one after the other, until there are none or the time is over.

        One at a time is what a node of one processor takes fastest: two of these are more than its limit lets in, and
        what it refuses it has read.
        """
        self.empty()
        first, *rest = ready
        self._send(first)  # which makes the index, as it is there when a burst begins
        with self.profiled() as samples:
            cpu, began, records = self.cpu_seconds(), time.monotonic(), 0
            for body in rest:
                if time.monotonic() >= began + most_seconds:
                    break
                self._send(body)
                records += body.records
            seconds, spent = time.monotonic() - began, self.cpu_seconds() - cpu
        return Fed(records, seconds, spent, samples)

    def _send(self, body: Body) -> None:
        """Send one request until it is taken."""
        url = f"{self.url}/_bulk?{urlencode(BULK_PARAMS)}"
        while (answer := self._http.request("POST", url, body=body.packed, headers=BULK_HEADERS)).status == 429:
            time.sleep(0.05)
        if answer.status != 200 or answer.json()["errors"]:
            raise SystemExit(f"The replayer was answered {answer.status}; the figures would be wrong.")

    def empty(self) -> None:
        """Delete all documents, with their indices."""
        self._ask("DELETE", f"/{PREFIX}-*")

    def indexed(self) -> int:
        """Documents in the indices so far, searchable or not."""
        found = self._ask("GET", f"/{PREFIX}-*/_stats/indexing?filter_path=_all.primaries.indexing.index_total")
        return int(found["_all"]["primaries"]["indexing"]["index_total"]) if found else 0

    def refused(self) -> int:
        """Bulk requests refused so far for want of room."""
        return int(self._stats("indexing_pressure")["indexing_pressure"]["memory"]["total"]["coordinating_rejections"])

    def documents(self) -> Counter[str]:
        """Count the documents of each file, by key."""
        self._ask("POST", f"/{PREFIX}-*/_refresh")
        by_file = {"files": {"terms": {"field": "trailsink.object", "size": _MOST_FILES}}}
        found = self._ask("POST", f"/{PREFIX}-*/_search", {"size": 0, "aggs": by_file})["aggregations"]["files"]
        start = len(f"s3://{BUCKET}/")
        return Counter({one["key"][start:]: one["doc_count"] for one in found["buckets"]})

    def _stats(self, part: str) -> Any:
        return next(iter(self._ask("GET", f"/_nodes/stats/{part}")["nodes"].values()))

    def _ask(self, method: str, path: str, body: dict[str, object] | None = None) -> Any:
        return self._http.request(method, self.url + path, json=body).json()
