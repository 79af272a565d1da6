"""How much of the network's latency the road hides: W2, with every answer of S3 and of the cluster coming late."""

from __future__ import annotations

import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.client.cpu import FILES, PER_FILE
from tests.bench.support.pipeline_bench import (
    LIMITS,
    announced,
    cluster,
    consume,
    consumer,
    name_of,
    our_actions,
    put,
    ref,
    store,
)
from tests.bench.support.ratios import Ratio, in_turn
from tests.bench.support.stub_servers import stand_in
from tests.bench.support.workloads import many_files
from worker.pipeline.bulk import cut_requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from worker.pipeline.documents import Action

LATENCIES: dict[float, float | None] = {0.02: None, 0.1: 1.3}  # seconds, and the bar


def small_files_far_away(folder: Path, rounds: int) -> list[Ratio]:
    """W2 on the clock, beside the larger of fetching alone and sending alone with as many threads."""
    files = {name_of(at): file for at, file in enumerate(many_files(folder, FILES, PER_FILE))}
    bodies = list(
        cut_requests(
            (one for file in files.values() for one in our_actions(file)), LIMITS.bulk_bytes, LIMITS.bulk_actions
        )
    )
    return [_far_away(files, bodies, latency, bar, rounds) for latency, bar in LATENCIES.items()]


def _far_away(
    files: Mapping[str, bytes], bodies: Sequence[Sequence[Action]], latency: float, bar: float | None, rounds: int
) -> Ratio:
    with tempfile.TemporaryDirectory() as name, ExitStack() as opened:
        sizes = put(Path(name), files)
        bucket = opened.enter_context(stand_in("bucket", name, latency=latency))
        sink = opened.enter_context(stand_in("sink", latency=latency))
        s3, index = store(bucket.url), cluster(sink.url)
        ours, messages = opened.enter_context(consumer(s3, index)), announced(sizes)
        fetchers = opened.enter_context(ThreadPoolExecutor(LIMITS.fetch_ahead))
        senders = opened.enter_context(ThreadPoolExecutor(LIMITS.bulk_in_flight))
        consume(ours, messages, FILES * PER_FILE)  # connections are open, and the gate is where it will be
        jobs: dict[str, Callable[[], float]] = {
            "road": _wall(lambda: consume(ours, messages, FILES * PER_FILE)),
            "fetch": _wall(lambda: _drain(fetchers.map(lambda one: s3.fetch(ref(*one), 1 << 30), sizes.items()))),
            "send": _wall(lambda: _drain(senders.map(lambda one: index.deliver(one, lambda: 300.0), bodies))),
        }
        spent = in_turn(jobs, rounds)
    pairs = zip(spent["road"], spent["fetch"], spent["send"], strict=True)
    values = tuple(road / max(fetch, send) for road, fetch, send in pairs)
    what = f"W2 wall time, {latency * 1000:.0f} ms on both sides"
    return Ratio(what, "the larger of fetching and sending alone", values, at_most=bar)


def _wall(job: Callable[[], object]) -> Callable[[], float]:
    def measured() -> float:
        began = time.monotonic()
        job()
        return time.monotonic() - began

    return measured


def _drain(several: Iterable[object]) -> None:
    deque(several, maxlen=0)
