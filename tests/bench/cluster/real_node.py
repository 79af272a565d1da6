"""W4: the files of a trail into a real node on the same processors, beside replaying ready-made requests into it."""

from __future__ import annotations

import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from infra.local.node import Node
from tests.bench.cluster.trail import File, files
from tests.bench.support.pipeline_bench import (
    LIMITS,
    announced,
    bodies,
    cluster,
    consume,
    consumer,
    our_actions,
    post,
    put,
    store,
)
from tests.bench.support.ratios import Ratio, quotients
from tests.bench.support.stub_servers import stand_in
from worker.opensearch.setup import SetupOptions, install

if TYPE_CHECKING:
    from collections.abc import Sequence

RECORDS = 40_000


def a_trail_into_a_node(rounds: int) -> tuple[list[Ratio], list[tuple[str, str]]]:
    """Wall time of the whole road, and of replaying its requests with as many at once; ids are new in each round."""
    with Node(heap="1g", quick=False) as node:
        client = OpenSearch([node.url], timeout=120)
        deque(install(client, SetupOptions("cloudtrail", 0)), maxlen=0)
        ours: list[float] = []
        replayed: list[float] = []
        for seed in range(2 * rounds + 4):
            several = list(files(seed // 2, RECORDS))
            client.indices.delete(index="cloudtrail-*")
            if seed % 2:
                replayed.append(_replay(node.url, several))
            else:
                ours.append(_road(node.url, several))
    # the first two rounds warm the node's JVM
    ratio = Ratio(
        "W4 records per second into a real node",
        "(f) replaying ready-made requests",
        quotients(replayed[2:], ours[2:]),
        at_least=0.75,
    )
    return [ratio], [("W4", f"{len(several)} files, {RECORDS:,} records; the node and all else on the same processors")]


def _road(url: str, several: Sequence[File]) -> float:
    with tempfile.TemporaryDirectory() as name, ExitStack() as opened:
        sizes = put(Path(name), {file.key: file.content for file in several})
        bucket = opened.enter_context(stand_in("bucket", name))
        made = opened.enter_context(consumer(store(bucket.url), cluster(url)))
        messages = announced(sizes)
        began = time.monotonic()
        consume(made, messages, RECORDS)
        return time.monotonic() - began


def _replay(url: str, several: Sequence[File]) -> float:
    actions = (action for file in several for action in our_actions(file.content))
    ready = [body for body, _ in bodies(actions)]
    with ThreadPoolExecutor(LIMITS.bulk_in_flight) as senders:
        client = OpenSearch([url], timeout=120, maxsize=LIMITS.bulk_in_flight)

        # The road asks again what the node refuses for want of memory, so the replayer may.
        refused = retry_if_exception(lambda error: isinstance(error, TransportError) and error.status_code == 429)

        @retry(retry=refused, wait=wait_fixed(0.2), stop=stop_after_delay(30), reraise=True)
        def feed(body: bytes) -> None:
            if post(client, body)["errors"]:
                raise SystemExit("The node refused documents of the replay; the figures would be wrong.")

        began = time.monotonic()
        deque(senders.map(feed, ready), maxlen=0)
        return time.monotonic() - began
