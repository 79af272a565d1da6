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

from infra.local.node import Node
from tests.bench.client import our_actions
from tests.bench.ratios import Ratio, quotients
from tests.bench.road import LIMITS, cluster, consume, consumer, name_of, put, store
from tests.bench.standins import stand_in
from tests.bench.workloads import count, trail
from worker.bulk import compressed, requests
from worker.cluster_setup import Wanted, set_up

if TYPE_CHECKING:
    from collections.abc import Sequence

FILES = 400
_BULK = {"filter_path": "errors,items.*.status,items.*.error.type"}
_HEADERS = {"content-type": "application/x-ndjson", "content-encoding": "gzip"}


def a_trail_into_a_node(folder: Path, rounds: int) -> tuple[list[Ratio], list[tuple[str, str]]]:
    """Wall time of the whole road, and of replaying its requests with as many at once; ids are new in each round."""
    with Node(heap="1g", quick=False) as node:
        client = OpenSearch([node.url], timeout=120)
        deque(set_up(client, Wanted("cloudtrail", 0)), maxlen=0)
        ours: list[float] = []
        replayed: list[float] = []
        for seed in range(2 * rounds + 4):
            files = trail(folder, FILES, seed // 2)
            client.indices.delete(index="cloudtrail-*")
            if seed % 2:
                replayed.append(_replay(node.url, files))
            else:
                ours.append(_road(node.url, files))
        records = sum(map(count, files))
    # the first two rounds warm the node's JVM
    ratio = Ratio(
        "W4 records per second into a real node",
        "(f) replaying ready-made requests",
        quotients(replayed[2:], ours[2:]),
        at_least=0.75,
    )
    return [ratio], [("W4", f"{FILES} files, {records:,} records; the node and all else on the same processors")]


def _road(url: str, files: Sequence[bytes]) -> float:
    with tempfile.TemporaryDirectory() as name, ExitStack() as opened:
        sizes = put(Path(name), {name_of(at): file for at, file in enumerate(files)})
        bucket = opened.enter_context(stand_in("bucket", name))
        made = opened.enter_context(consumer(store(bucket.url), cluster(url)))
        records = sum(map(count, files))
        began = time.monotonic()
        consume(made, sizes, records)
        return time.monotonic() - began


def _replay(url: str, files: Sequence[bytes]) -> float:
    actions = (action for file in files for action in our_actions(file))
    bodies = [
        compressed(b"".join(action.lines for action in request))
        for request in requests(actions, LIMITS.bulk_bytes, LIMITS.bulk_actions)
    ]
    with ThreadPoolExecutor(LIMITS.bulk_in_flight) as senders:
        client = OpenSearch([url], timeout=120, maxsize=LIMITS.bulk_in_flight)

        def post(body: bytes) -> None:
            answer = client.transport.perform_request("POST", "/_bulk", params=_BULK, headers=_HEADERS, body=body)
            if answer["errors"]:
                raise SystemExit("The node refused documents of the replay; the figures would be wrong.")

        began = time.monotonic()
        deque(senders.map(post, bodies), maxlen=0)
        return time.monotonic() - began
