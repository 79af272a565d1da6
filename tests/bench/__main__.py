"""`make bench`: what trailsink costs beside what people use today, every figure a ratio measured in one run.

Workloads are made of real events with fresh ids: W1 one file of 20,000 records, W2 400 files of 50, W3 one file of
165,000 records and some 200 MB inflated, W4 files as large as a trail's are. S3 and the cluster are stand-ins in
processes of their own; W4 and the mapping take a real node.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from tests.bench.client.cpu import many_small_files, one_large_file
from tests.bench.client.filters import with_filters
from tests.bench.client.latency import small_files_far_away
from tests.bench.client.memory import large_files
from tests.bench.cluster.ledger import ledger_cost
from tests.bench.cluster.mapping import measure
from tests.bench.cluster.real_node import a_trail_into_a_node
from tests.bench.support.ratios import console, figures, print_ratios
from tests.bench.support.workloads import DATA, add_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bench.support.ratios import Ratio

Told = tuple[list["Ratio"], list[tuple[str, str]]]


def _parts(folder: Path, rounds: int) -> dict[str, Callable[[], Told]]:
    return {
        "w1": lambda: (one_large_file(folder, rounds), []),
        "filters": lambda: (with_filters(folder, rounds), []),
        "w2": lambda: many_small_files(folder, rounds),
        "latency": lambda: (small_files_far_away(folder, max(1, rounds // 2)), []),
        "w3": lambda: large_files(folder),
        "w4": lambda: a_trail_into_a_node(2 * rounds - 1),  # the node's pace differs more than anything else's
        "ledger": lambda: ([], ledger_cost()),
        "mapping": lambda: (measure(folder, rounds), []),
    }


def main() -> int:
    """Measure and print."""
    names = list(_parts(DATA, 1))
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_folder(parser)
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="some of it")
    parser.add_argument("--rounds", type=int, default=5, help="each thing is measured so often, in turn (5; W4 9)")
    asked = parser.parse_args()
    ratios: list[Ratio] = []
    facts = [("machine", f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {asked.rounds} rounds")]
    for name, part in _parts(asked.folder, asked.rounds).items():
        if name in asked.only:
            sys.stderr.write(f"measuring {name} ...\n")
            more, told = part()
            ratios += more
            facts += told
    print_ratios(ratios)
    table = figures("", "")
    for row in facts:
        table.add_row(*row)
    console().print("", table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
