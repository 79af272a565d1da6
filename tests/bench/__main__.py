"""`make bench`: what the client costs per record, beside what people write by hand, measured in one run.

Every figure is CPU time of this process (user and system), interleaved over several rounds; the sink that takes bulk
requests is another process. Absolute figures mean little on a shared machine: read the ratios.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from isal import igzip
from opensearchpy import OpenSearch, helpers
from rich.console import Console
from rich.table import Table

from tests.bench.workloads import DATA, one_file
from worker.bulk import Verdict, compressed, requests
from worker.documents import Action, Origin, Partition, Routing, actions
from worker.files import read_text
from worker.opensearch import Client, Cluster
from worker.pipeline import Limits
from worker.records import Record, read_records
from worker.slicing import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SINK = Path(__file__).with_name("sink.py")
LIMITS = Limits()
ORIGIN = Origin("s3://bench/AWSLogs/file.json.gz", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z")
ROUTING = Routing("cloudtrail", Partition.DAY, "2030-01-01", 100)


def our_actions(file: bytes) -> Iterator[Action]:
    """Take a file down the core of the road: inflate, cut, validate, splice."""
    raws = cut(read_text(file, LIMITS.max_inflated_bytes)).records
    found = read_records(raws, 0, max_depth=LIMITS.max_depth, max_bytes=LIMITS.bulk_max_bytes)
    records = [one for one in found if isinstance(one, Record)]
    ROUTING.check(records)
    return actions(records, 0, ORIGIN, ROUTING)


def ours(file: bytes) -> int:
    """Gzip in, gzip bulk bodies out."""
    done = 0
    for request in requests(our_actions(file), LIMITS.bulk_bytes, LIMITS.bulk_actions):
        compressed(b"".join(action.lines for action in request))
        done += len(request)
    return done


def ours_sent(file: bytes, cluster: Cluster) -> int:
    """Gzip in, delivered over HTTP, each outcome read."""
    done = 0
    for request in requests(our_actions(file), LIMITS.bulk_bytes, LIMITS.bulk_actions):
        receipt = cluster.deliver(request, lambda: 300.0)
        done += sum(outcome.verdict is Verdict.INDEXED for outcome in receipt.outcomes)
    return done


def inflate_only(file: bytes) -> int:
    """Inflate, and no more: the floor."""
    return len(igzip.decompress(file)) and 0


def with_orjson(file: bytes) -> int:
    """Inflate and build Python objects, with no output."""
    return len(orjson.loads(igzip.decompress(file))["Records"])


def with_helpers(file: bytes, client: OpenSearch) -> int:
    """Do what most hand-made loaders do: json, and opensearchpy.helpers.bulk with http_compress."""
    events = json.loads(gzip.decompress(file))["Records"]
    lines = (
        {"_op_type": "create", "_index": f"cloudtrail-{event['eventTime'][:10]}", "_id": event["eventID"], **event}
        for event in events
    )
    done, _ = helpers.bulk(client, lines)
    return int(done)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DATA, help="of CloudTrail files (tests/data)")
    parser.add_argument("--records", type=int, default=20_000, help="in the file that is measured")
    parser.add_argument("--rounds", type=int, default=5, help="each thing is measured so often, in turn")
    asked = parser.parse_args()
    file = one_file(asked.folder, asked.records)
    with subprocess.Popen([sys.executable, str(SINK)], stdout=subprocess.PIPE, text=True) as sink:
        try:
            url = (sink.stdout.readline() if sink.stdout else "").strip()
            _measure(file, url, asked.records, asked.rounds)
        finally:
            sink.kill()
    return 0


def _measure(file: bytes, url: str, records: int, rounds: int) -> None:
    plain = OpenSearch([url], http_compress=True, timeout=60)
    client = Client(url, sign_in=lambda: None, ca_file=None, seconds=60)
    cluster = Cluster(client, request_seconds=60, retry_seconds=60, max_bytes=LIMITS.bulk_max_bytes, in_flight=2)
    jobs: dict[str, Callable[[], int]] = {
        "trailsink: gzip in, validated, gzip bulk bodies out": lambda: ours(file),
        "trailsink: the same, and delivered over HTTP": lambda: ours_sent(file, cluster),
        "inflate only": lambda: inflate_only(file) or records,
        "inflate + orjson.loads, no output": lambda: with_orjson(file),
        "gzip + json + opensearchpy.helpers.bulk": lambda: with_helpers(file, plain),
    }
    spent: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            began = time.process_time()
            done = job()
            spent[name].append(time.process_time() - began)
            if done != records:
                raise SystemExit(f"{name}: {done} records of {records} arrived; the figures would be wrong.")
    _print(spent, records, len(file))


def _print(spent: dict[str, list[float]], records: int, size: int) -> None:
    base = statistics.median(next(iter(spent.values())))
    version = sys.version.split()[0]
    table = Table(
        title=f"{records:,} records, {size / 1e6:.1f} MB gzipped; {os.cpu_count()} cores, Python {version}",
        title_justify="left",
        box=None,
    )
    for name in ("", "records per CPU-second", "spread", "CPU, trailsink = 1"):
        table.add_column(name, justify="right" if name else "left")
    for name, seconds in spent.items():
        middle = statistics.median(seconds)
        spread = f"{records / max(seconds):,.0f} to {records / min(seconds):,.0f}"
        table.add_row(name, f"{records / middle:,.0f}", spread, f"{middle / base:.2f} x")
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    sys.exit(main())
