"""What the ledger adds to an event: bytes in the index, CPU of the node, and CPU of the client."""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from opensearchpy import OpenSearch

from infra.local.node import Node
from tests.bench.cluster.trail import files
from tests.bench.support.pipeline_bench import post
from worker.opensearch.setup import SetupOptions, install
from worker.pipeline.accounting import FileTally
from worker.pipeline.bulk import compress_body
from worker.pipeline.ledger import ledger_pattern, make_entry, to_action
from worker.pipeline.objects import ObjectRef

FILES, RECORDS_PER_FILE, FILES_PER_BATCH = 20_000, 57, 20

_START = datetime(2026, 11, 1, tzinfo=UTC)


def _tally(number: int) -> FileTally:
    delivered = _START + timedelta(minutes=number % 40_000)
    account, region = f"{number % 40:012d}", ("eu-central-1", "us-east-1", "eu-west-1")[number % 3]
    digest = sha256(str(number).encode()).hexdigest()
    key = (
        f"AWSLogs/o-a1b2c3d4e5/{account}/CloudTrail/{region}/{delivered:%Y/%m/%d}/"
        f"{account}_CloudTrail_{region}_{delivered:%Y%m%dT%H%MZ}_{digest[:16]}.json.gz"
    )
    ref = ObjectRef("acme-trail", key, version_id=digest[:32], etag=digest[32:])
    tally = FileTally(ref, delivered, read=RECORDS_PER_FILE, indexed=RECORDS_PER_FILE, complete=True)
    tally.sha256, tally.stored_bytes, tally.inflated_bytes = digest, 9_000 + number % 5_000, 90_000 + number % 9_000
    tally.oldest_event = f"{delivered - timedelta(minutes=9):%Y-%m-%dT%H:%M:%SZ}"
    tally.newest_event = f"{delivered - timedelta(minutes=4):%Y-%m-%dT%H:%M:%SZ}"
    return tally


def ledger_cost() -> list[tuple[str, str]]:
    """Return the rows of the report."""
    tallies = [_tally(number) for number in range(FILES)]
    began = time.process_time()
    actions = [to_action(make_entry(tally, _START), "cloudtrail", number) for number, tally in enumerate(tallies)]
    client_cpu = time.process_time() - began
    bodies = [
        compress_body(b"".join(action.lines for action in actions[first : first + FILES_PER_BATCH]))
        for first in range(0, FILES, FILES_PER_BATCH)
    ]
    with Node(heap="1g", quick=False) as node:
        client = OpenSearch([node.url], timeout=120)
        deque(install(client, SetupOptions("cloudtrail", 0)), maxlen=0)
        warm, measured = bodies[: len(bodies) // 4], bodies[len(bodies) // 4 :]
        for body in warm:
            post(client, body)
        idle, before = _idle(client), _cpu(client)
        began = time.monotonic()
        for body in measured:
            if post(client, body)["errors"]:
                raise SystemExit("The node refused documents of the ledger; the figures would be wrong.")
        client.indices.refresh(index=ledger_pattern("cloudtrail"))
        node_cpu = _cpu(client) - before - idle * (time.monotonic() - began)
        client.indices.forcemerge(index=ledger_pattern("cloudtrail"), max_num_segments=1)
        stats: Any = client.indices.stats(index=ledger_pattern("cloudtrail"))
    events = FILES * RECORDS_PER_FILE
    octets = stats["_all"]["primaries"]["store"]["size_in_bytes"]
    inflated = next(iter(files(0, 2_000))).content * 50
    began = time.process_time()
    sha256(inflated).hexdigest()
    hashing = (time.process_time() - began) / len(inflated)
    per_event = node_cpu / (len(measured) * FILES_PER_BATCH * RECORDS_PER_FILE)
    return [
        ("ledger", f"{FILES:,} files of {RECORDS_PER_FILE} events, {FILES_PER_BATCH} in a batch"),
        ("ledger, bytes", f"{octets / FILES:.0f} a file, {octets / events:.1f} an event"),
        ("ledger, node CPU", f"{per_event * 1e6:.2f} us an event, {per_event * RECORDS_PER_FILE * 1e6:.0f} a file"),
        (
            "ledger, client CPU",
            f"{client_cpu / FILES * 1e6:.0f} us a file; hash {hashing * 1_900 * 1e6:.2f} us an event",
        ),
    ]


def _cpu(client: OpenSearch) -> float:
    nodes: Any = client.nodes.stats(metric="process")
    return float(sum(node["process"]["cpu"]["total_in_millis"] for node in nodes["nodes"].values())) / 1e3


def _idle(client: OpenSearch, seconds: float = 5.0) -> float:
    before = _cpu(client)
    time.sleep(seconds)
    return (_cpu(client) - before) / seconds
