"""What the client costs: CPU time of this process (user and system) per record, beside what people write by hand."""

from __future__ import annotations

import gzip
import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from isal import igzip
from opensearchpy import OpenSearch, helpers

from tests.bench.support.pipeline_bench import (
    LIMITS,
    announced,
    bodies,
    cluster,
    consume,
    consumer,
    name_of,
    our_actions,
    put,
    s3_client,
    store,
)
from tests.bench.support.ratios import Ratio, in_turn, quotients
from tests.bench.support.stub_servers import BUCKET, stand_in
from tests.bench.support.workloads import many_files, one_file
from worker.pipeline.bulk import Verdict, cut_requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.opensearch.sender import BulkSender
    from worker.pipeline.accounting import BatchResult

FILES, PER_FILE = 400, 50


def ours(file: bytes) -> int:
    """Gzip in, gzip bulk bodies out."""
    return sum(documents for _, documents in bodies(our_actions(file)))


def ours_sent(file: bytes, index: BulkSender) -> int:
    """Gzip in, delivered over HTTP, each outcome read."""
    done = 0
    for request in cut_requests(our_actions(file), LIMITS.bulk_bytes, LIMITS.bulk_actions):
        receipt = index.deliver(request, lambda: 300.0)
        done += sum(outcome.verdict is Verdict.INDEXED for outcome in receipt.outcomes)
    return done


def inflate_only(file: bytes) -> int:
    """Reference (a): inflate, and no more: the floor. Returns no count."""
    return len(igzip.decompress(file)) and -1


def with_orjson(file: bytes) -> int:
    """Reference (b): inflate and build Python objects, with no output."""
    return len(orjson.loads(igzip.decompress(file))["Records"])


def with_json(file: bytes) -> int:
    """Reference (c): the standard library, in and out."""
    events = json.loads(gzip.decompress(file))["Records"]
    return len([json.dumps(event) for event in events])


def with_helpers(file: bytes, client: OpenSearch) -> int:
    """Reference (d): what most hand-made loaders do: json, and opensearchpy.helpers.bulk with http_compress."""
    events = json.loads(gzip.decompress(file))["Records"]
    lines = (
        {"_op_type": "create", "_index": f"cloudtrail-{event['eventTime'][:10]}", "_id": event["eventID"], **event}
        for event in events
    )
    done, _ = helpers.bulk(client, lines)
    return int(done)


def cpu_seconds(job: Callable[[], int], expected: int) -> Callable[[], float]:
    """The CPU time of a job that has to bring so many records, or -1 for one that brings none."""

    def measured() -> float:
        began = time.process_time()
        done = job()
        spent = time.process_time() - began
        if done not in (expected, -1):
            raise SystemExit(f"{done} records of {expected} arrived; the figures would be wrong.")
        return spent

    return measured


def one_large_file(folder: Path, rounds: int, records: int = 20_000) -> list[Ratio]:
    """W1: one file of 20,000 records."""
    file = one_file(folder, records)
    with stand_in("sink") as sink:
        plain, index = OpenSearch([sink.url], http_compress=True, timeout=60), cluster(sink.url)
        jobs: dict[str, Callable[[], int]] = {
            "bodies": lambda: ours(file),
            "sent": lambda: ours_sent(file, index),
            "a": lambda: inflate_only(file),
            "b": lambda: with_orjson(file),
            "c": lambda: with_json(file),
            "d": lambda: with_helpers(file, plain),
        }
        spent = in_turn({name: cpu_seconds(job, records) for name, job in jobs.items()}, rounds)
    what = "W1 records per CPU-second, bodies out"
    return [
        Ratio(what, "(a) inflate only", quotients(spent["a"], spent["bodies"])),
        Ratio(what, "(b) inflate, orjson.loads", quotients(spent["b"], spent["bodies"]), at_least=1.0),
        Ratio(what, "(c) json.loads, json.dumps", quotients(spent["c"], spent["bodies"])),
        Ratio(what, "(d) json, helpers.bulk", quotients(spent["d"], spent["bodies"]), at_least=4.0),
        Ratio("W1 the same, delivered over HTTP", "(d) json, helpers.bulk", quotients(spent["d"], spent["sent"])),
    ]


def many_small_files(folder: Path, rounds: int) -> tuple[list[Ratio], list[tuple[str, str]]]:
    """W2: 400 files of 50 records, from bucket to cluster; returns the ratios and what was asked of the neighbours."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as opened:
        files = {name_of(at): file for at, file in enumerate(many_files(folder, FILES, PER_FILE))}
        sizes = put(Path(name), files)
        bucket = opened.enter_context(stand_in("bucket", name))
        sink = opened.enter_context(stand_in("sink"))
        client, messages = s3_client(bucket.url), announced(sizes)
        short, long = (
            opened.enter_context(consumer(store(bucket.url, short=short), cluster(sink.url))) for short in (True, False)
        )
        seen: list[BatchResult] = []
        busy: list[float] = []

        def get_only() -> int:
            for key in sizes:
                client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            return -1

        def down_the_road() -> int:
            began, before = time.monotonic(), [server.cpu_seconds for server in (bucket, sink)]
            seen.append(consume(short, messages, FILES * PER_FILE))
            wall = time.monotonic() - began
            busy.extend((server.cpu_seconds - was) / wall for server, was in zip((bucket, sink), before, strict=True))
            return FILES * PER_FILE

        down_the_road()  # so that each bucket is known, and every connection open
        jobs: dict[str, Callable[[], int]] = {
            "short": down_the_road,
            "boto3": lambda: sum(tally.indexed for tally in consume(long, messages, FILES * PER_FILE).files),
            "e": get_only,
        }
        spent = in_turn({name: cpu_seconds(job, FILES * PER_FILE) for name, job in jobs.items()}, rounds)
        effort = seen[-1].stats
    what = "W2 files per CPU-second, to the cluster"
    beside = "(e) boto3 GetObject alone"
    ratios = [
        Ratio(f"{what}, boto3's GetObject", beside, quotients(spent["e"], spent["boto3"]), at_least=0.7),
        Ratio(f"{what}, the short way", beside, quotients(spent["e"], spent["short"]), at_least=1.2),
    ]
    facts = [
        ("W2 requests", f"{FILES} GetObject, {effort.bulk_requests} _bulk"),
        ("W2 bytes on the wire", f"{sum(sizes.values()):,} in, {effort.bulk_bytes:,} out"),
        ("W2 busier stand-in", f"{max(busy):.0%} of one core at most"),
    ]
    return ratios, facts
