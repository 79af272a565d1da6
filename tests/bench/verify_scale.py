"""Verifies an organisation's week of digests: 100 accounts in 4 regions, a digest an hour, signed with a key of ours.

Measures wall time, CPU, requests and memory, then kills a run five times and compares the reports.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.signed_trail import SignedTrail, public_key
from worker.verify.keys import write_keys

START = datetime(2026, 11, 1, 0, 49, 11, tzinfo=UTC)
REGIONS = ("eu-central-1", "eu-west-1", "us-east-1", "us-west-2")
HOURS_PER_LOG = 6
KILLS = 5


def generate(folder: Path, accounts: int, days: int) -> int:
    """Write the tree; returns the number of digests."""
    digests = 0
    for number in range(accounts):
        for region in REGIONS:
            trail = SignedTrail(account=f"{number + 1:012d}", region=region, ended_at=START)
            for hour in range(24 * days):
                trail.hour(1 if hour % HOURS_PER_LOG == 0 else 0)
            digests += len(trail.digests)
            for key, content in trail.objects.items():
                path = folder / key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            last = trail.digests[-1]
            (folder / f"{last}.signature").write_text(trail.signatures[last])
    days_valid = timedelta(days=40)
    keys = [
        public_key(region=region, validity_start_time=START - days_valid, validity_end_time=START + days_valid)
        for region in REGIONS
    ]
    write_keys(folder / "keys.json", keys)
    return digests


def command(folder: Path, report: Path, until: datetime) -> list[str]:
    """The verification as its user types it."""
    trailsink = str(Path(sys.executable).with_name("trailsink"))
    words = ["verify", "--local", str(folder), "--keys", str(folder / "keys.json"), "--report", str(report)]
    return [trailsink, *words, "--until", f"{until:%Y-%m-%dT%H:%M:%S}", "--no-progress", "--json"]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=100)
    parser.add_argument("--days", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trailsink-verify-") as name:
        folder, until = Path(name) / "tree", START + timedelta(days=arguments.days, hours=-1)  # the last one covers it
        folder.mkdir()
        started = time.monotonic()
        digests = generate(folder, arguments.accounts, arguments.days)
        print(f"{digests:,} digests generated in {time.monotonic() - started:.0f} s", flush=True)  # noqa: T201
        environment = os.environ | {"XDG_STATE_HOME": str(Path(name) / "state")}
        whole, resumed = Path(name) / "whole.jsonl", Path(name) / "resumed.jsonl"
        started, cpu = time.monotonic(), _child_cpu()
        done = subprocess.run(
            command(folder, whole, until), env=environment, capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - started
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        summary = json.loads(done.stdout)
        print(  # noqa: T201
            f"{summary['verdict']}\n"
            f"{seconds:.0f} s wall, {_child_cpu() - cpu:.0f} s CPU, {usage.ru_maxrss / 1024:.0f} MiB at most;"
            f" {summary['digests']:,} digests, report of {whole.stat().st_size / 2**20:.0f} MiB",
            flush=True,
        )
        kills = 0
        while True:
            process = subprocess.Popen(command(folder, resumed, until), env=environment, stdout=subprocess.PIPE)
            try:
                process.communicate(timeout=seconds / (KILLS + 2) if kills < KILLS else None)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                kills += 1
                continue
            break
        same = whole.read_bytes() == resumed.read_bytes()
        print(f"killed {kills} times: the report is {'the same' if same else 'ANOTHER'}", flush=True)  # noqa: T201


def _child_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
