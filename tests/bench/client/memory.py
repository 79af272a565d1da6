"""Peak memory of one consumer: W3, a file of 165,000 records and some 200 MB inflated, alone and in a batch of ten."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from isal import igzip

from tests.bench.support.pipeline_bench import announced, cluster, consume, consumer, name_of, put, store
from tests.bench.support.ratios import Ratio
from tests.bench.support.stub_servers import stand_in
from tests.bench.support.workloads import fresh

RECORDS = 165_000
_MB = 1_000_000
ALLOWED_TIMES, ALLOWED_MORE = 1.6, 100 * _MB  # of the inflated size of the one file in work


def large_files(folder: Path, batches: tuple[int, ...] = (1, 10)) -> tuple[list[Ratio], list[tuple[str, str]]]:
    """W3, in batches of so many files; each batch in a process of its own. Returns ratios and figures in MB."""
    records = fresh(folder)
    text = b'{"Records":[' + b",".join(next(records) for _ in range(RECORDS)) + b"]}"
    allowed = ALLOWED_TIMES * len(text) + ALLOWED_MORE
    file = igzip.compress(text, 1)
    ratios, facts = (
        [],
        [("W3", f"{RECORDS:,} records, {len(text) / _MB:.0f} MB inflated, {len(file) / _MB:.0f} MB stored")],
    )
    del text
    for files in batches:
        with tempfile.TemporaryDirectory() as name, ExitStack() as opened:
            put(Path(name), {name_of(at): file for at in range(files)})
            bucket = opened.enter_context(stand_in("bucket", name))
            sink = opened.enter_context(stand_in("sink"))
            peak = _peak(name, bucket.url, sink.url)
        many = "one file" if files == 1 else f"a batch of {files}"
        beside = f"{ALLOWED_TIMES} x the one file inflated + {ALLOWED_MORE // _MB} MB"
        ratios.append(Ratio(f"W3 peak RSS, {many}", beside, (peak / allowed,), at_most=1.0))
        facts.append((f"W3 peak RSS, {many}", f"{peak / _MB:.0f} MB of {allowed / _MB:.0f} MB allowed"))
    return ratios, facts


def _peak(folder: str, bucket: str, sink: str) -> int:
    command = [sys.executable, "-m", "tests.bench.client.memory", folder, bucket, sink]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise SystemExit(done.stderr)
    return int(done.stdout)


def main() -> None:
    """Be the process that is measured: print its peak in bytes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("bucket")
    parser.add_argument("sink")
    asked = parser.parse_args()
    sizes = {
        path.relative_to(asked.folder).as_posix(): path.stat().st_size
        for path in asked.folder.rglob("*")
        if path.is_file()
    }
    with consumer(store(asked.bucket), cluster(asked.sink)) as made:
        consume(made, announced(sizes), RECORDS * len(sizes))
    print(_most_resident())  # noqa: T201


def _most_resident() -> int:
    """Return the peak of this process in bytes; `ru_maxrss` would begin with its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(status.read_text(encoding="ascii").partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
