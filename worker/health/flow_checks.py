"""The doctor's checks of the flow: whether something consumes, and whether what is in the bucket is in the index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.health.check import check
from worker.health.flow_rules import judge_files, judge_flow, judge_processes
from worker.health.observe import require
from worker.health.snapshot import Unobserved

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from worker.health.aws_facts import AwsFacts
    from worker.health.bucket_facts import BucketFacts
    from worker.health.findings import Judgement
    from worker.health.index_facts import IndexFacts
    from worker.health.process_facts import ProcessFacts


@dataclass(frozen=True, slots=True)
class FlowChecks:
    """From the bucket through the queue into the index."""

    aws: AwsFacts
    indices: IndexFacts
    processes: ProcessFacts
    bucket: BucketFacts
    now: datetime

    @property
    def _waiting(self) -> int:
        queue = self.aws.source_queue
        return 0 if isinstance(queue, Unobserved) else queue.waiting

    @check("consumer process")
    def consumer(self) -> Iterator[Judgement]:
        """Check that a `trailsink run` consumes, where no function does."""
        mappings = self.aws.mappings
        if not isinstance(mappings, Unobserved) and not mappings:
            freshness = None if isinstance(self.indices.freshness, Unobserved) else self.indices.freshness
            yield judge_processes(require(self.processes.processes), self._waiting, freshness, self.now)

    @check("newest event")
    def freshness(self) -> Iterator[Judgement]:
        """Check how old the newest event is, and when the last one was indexed."""
        yield judge_flow(require(self.indices.freshness), self._waiting, self.now)

    @check("files in the bucket")
    def files(self) -> Iterator[Judgement]:
        """Check that the newest files of each account and region are in the index."""
        lag = require(self.bucket.lag)
        if lag:
            queue = self.aws.source_queue
            in_flight = 0 if isinstance(queue, Unobserved) else queue.in_flight
            freshness = require(self.indices.freshness)
            yield judge_files(lag, freshness, self.now, waiting=self._waiting, in_flight=in_flight)
