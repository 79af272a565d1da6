"""`make bench-detect`: a run over a backlog of a million events, and a run over what is new after it.

Loads the real events of tests/data again and again under ids of their own, a minute's worth: with times of indexing
within one minute. Prints wall time, CPU time and peak memory of `trailsink detect run`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opensearchpy import OpenSearch

from infra.demo.console import say
from infra.local.stack import Stack, program_environment
from tests.support.cli import TRAILSINK
from tests.support.event_files import real_records
from worker.opensearch.retry import retry_while_busy
from worker.opensearch.setup import SetupOptions, install

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "bench-detect"
_PER_REQUEST, _ATTEMPTS = 500, 8
RULES = Path(__file__).parents[3] / "infra" / "demo" / "rules"


def main() -> int:
    """Load, run twice, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cluster.detection", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rules", type=Path, action="append", help="rules to run besides the demo's; repeatable")
    arguments = parser.parse_args()
    with Stack(heap="1g", quick=False) as stack:
        client = OpenSearch([stack.opensearch_url], timeout=120)
        _clear(client)
        try:
            _load(client, arguments.events)
            rules = [str(RULES), *map(str, arguments.rules or ())]
            for name in ("backlog", "what is new"):
                _run(name, rules, stack.environment)
        finally:
            _clear(client)
    return 0


def _clear(client: OpenSearch) -> None:
    client.indices.delete(index=f"{PREFIX}-*,trailsink-*-{PREFIX}", ignore_unavailable=True)
    client.indices.delete_index_template(name=f"trailsink-{PREFIX}", params={"ignore": 404})


def _load(client: OpenSearch, number: int) -> None:
    list(install(client, SetupOptions(PREFIX, replicas=0)))
    started = time.monotonic()
    lines: list[str] = []
    for line in _lines(number):
        lines.append(line)
        if len(lines) == _PER_REQUEST:
            _send(client, lines)
            lines.clear()
    if lines:
        _send(client, lines)
    client.indices.refresh(index=f"{PREFIX}-*")
    loaded = int(client.count(index=f"{PREFIX}-*")["count"])
    if loaded != number:
        raise SystemExit(f"{loaded:,} of {number:,} events are in the index")
    say(f"{loaded:,} events loaded in {time.monotonic() - started:.0f} s")


def _send(client: OpenSearch, lines: list[str]) -> None:
    retry_while_busy(lambda: client.bulk(body="\n".join([*lines, ""])), _ATTEMPTS)


def _lines(number: int) -> Iterator[str]:
    records: list[dict[str, Any]] = real_records()
    start = datetime.now(UTC) - timedelta(minutes=2)
    for position in range(number):
        record = records[position % len(records)]
        indexed_at = start + timedelta(seconds=60 * position / number)
        origin = {
            "object": f"s3://b/{position // 500}",
            "position": position % 500,
            "indexed_at": indexed_at.isoformat(),
        }
        ids = {"eventID": f"{position // len(records)}-{record['eventID']}"}
        yield json.dumps({"create": {"_index": f"{PREFIX}-2023-07-10", "_id": ids["eventID"]}})
        yield json.dumps({"@timestamp": record["eventTime"], "trailsink": origin} | record | ids)


def _run(name: str, rules: list[str], environment: dict[str, str]) -> None:
    started = time.monotonic()
    with Path(os.devnull).open("wb") as nowhere:
        process = subprocess.Popen(
            [TRAILSINK, "detect", "run", *rules, "--since-last"],
            env=program_environment(environment | {"TRAILSINK_INDEX_PREFIX": PREFIX}),
            stdout=nowhere,
            stderr=subprocess.PIPE,
            text=True,
        )
        summary = (process.stderr.read() if process.stderr else "").strip()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds, memory = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    if process.returncode not in (0, 3):  # 3: it found something
        raise SystemExit(f"{name}: exit code {process.returncode}: {summary}")
    say(f"{name}: {time.monotonic() - started:.1f} s, {seconds:.1f} s of CPU, {memory:.0f} MiB. {summary}")


if __name__ == "__main__":
    sys.exit(main())
