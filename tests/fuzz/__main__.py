"""Runs many changed inputs through the consumer on all processors: `make fuzz`."""

from __future__ import annotations

import argparse
import faulthandler
import os
import secrets
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.fuzz.checks import make_fuzzer

_CHUNK = 2_000
_CHUNK_SECONDS = 300  # a process that is silent for longer hangs


def run_chunk(first: int, count: int, seed: int) -> list[str]:
    """Run consecutive cases; returns a line for each that failed."""
    faulthandler.dump_traceback_later(_CHUNK_SECONDS, exit=True)
    failures: list[str] = []
    with make_fuzzer(seed) as fuzzer:
        for number in range(first, first + count):
            try:
                fuzzer.run(number)
            except Exception as failure:  # noqa: BLE001 - whatever it is, it is reported with its case
                failures.append(f"case {number}: {type(failure).__name__}: {str(failure)[:500]}")
    faulthandler.cancel_dump_traceback_later()
    return failures


def main() -> int:
    """Run the cases that the arguments name; returns 1 when one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    options = parser.parse_args()
    began, failures = time.monotonic(), 0
    sys.stderr.write(f"Seed {options.seed}.\n")
    chunks = range(options.first, options.first + options.cases, _CHUNK)
    end = options.first + options.cases
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        work = partial(run_chunk, seed=options.seed)
        counts = [min(_CHUNK, end - first) for first in chunks]
        for number, lines in enumerate(pool.map(work, chunks, counts), 1):
            failures += len(lines)
            for line in lines:
                sys.stdout.write(f"{line}\n")
            if number % 25 == 0:
                sys.stderr.write(f"{number * _CHUNK:,} cases, {failures} failed\n")
    seconds = time.monotonic() - began
    sys.stdout.write(f"{options.cases:,} cases with seed {options.seed} in {seconds:,.0f} s: {failures} failed.\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
