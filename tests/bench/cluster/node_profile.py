"""Where a node's CPU time goes, which is what the figures of the mapping are made of.

Run it with `python -m tests.bench.cluster.node_profile`.

Java's Flight Recorder looks at each thread whenever it has used 5 ms of CPU time, native code included (JEP 509: a JDK
25 or newer, Linux), while varied events are indexed, refreshed, and merged into one segment, a few times, on a JVM that
has done the same before. Garbage collection and compilers are no Java threads, and are left out.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections import Counter
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from infra.local.errors import LocalStackError
from infra.local.java import find_java
from infra.local.node import DEFAULT_VERSION, Node
from tests.bench.burst.cpu_share import compiling_seconds
from tests.bench.cluster.mapping import Meter, loads
from tests.bench.support.alternatives import alternatives, only_the_time
from tests.bench.support.ratios import console, figures
from tests.bench.support.workloads import add_folder, distinct

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.bench.support.alternatives import Alternative

_COPIES = 2  # of the events, varied
_WARM, _PROFILED = 4, 3  # times that each alternative is loaded

_SAMPLE_SECONDS = 0.005

_RECORDING = """<?xml version="1.0" encoding="UTF-8"?>
<configuration version="2.0">
  <event name="jdk.CPUTimeSample">
    <setting name="enabled">true</setting><setting name="throttle">5ms</setting>
  </event>
</configuration>
"""

# What a stack is about: the first whose pattern is found among its methods.
PARTS = {
    "merging segments": "SegmentMerger|ConcurrentMergeScheduler",
    "writing segments at a refresh": r"DocumentsWriterPerThread\.flush|refreshInternal",
    "_source: compressing, buffering": r"StoredFieldsConsumer|StoredFieldsWriter",
    "Lucene: terms, doc values, points": r"IndexingChain\.",
    "is the id there already": "VersionsAndSeqNo|LiveVersionMap|PerThreadIDVersion",
    "mapping: flat_object": "FlatObject|JsonToString",
    "mapping: dynamic fields, text": "TextFieldMapper|TextFieldType|parseDynamic|DynamicTemplate",
    "mapping: dates": "DateFieldMapper",
    "mapping: keywords, addresses": "KeywordFieldMapper|IpFieldMapper",
    "reading the document's JSON": "DocumentParser|DocumentMapper|XContentHelper",
    "translog": r"\.translog\.",
    "reading the request": r"BulkRequest|Inflater|netty|RestController|RestBulkAction",
}
OTHER = "all else"


def main() -> int:
    """Profile and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.cluster.node_profile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_folder(parser)
    asked = parser.parse_args()
    try:
        print_profiles(profiles(distinct(asked.folder)))
    except LocalStackError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def profiles(events: list[bytes]) -> dict[str, dict[str, float]]:
    """Return, for each alternative, what a document costs by part: microseconds of CPU time."""
    tools = recorder()
    chosen = [*alternatives()[:2], only_the_time()]
    prepared = loads(chosen, events, _COPIES)
    with Node(heap="1g", quick=False) as node, closing(Meter(node.url, compiling_seconds(node.pid))) as meter:
        grown = {one.name: meter.grow(one, prepared[one.name].distinct).mappings for one in chosen}

        def load(one: Alternative) -> int:
            meter.cost(one, grown[one.name], prepared[one.name].varied)
            return sum(count for _, count in prepared[one.name].varied)

        for one in chosen * _WARM:
            load(one)
        found: dict[str, dict[str, float]] = {}
        for one in chosen:
            with recorded(tools, node) as samples:
                documents = sum(load(one) for _ in range(_PROFILED))
            found[one.name] = per_document(samples, documents)
    return found


def recorder() -> Path:
    """Return the folder of Java's tools; raises LocalStackError when they cannot profile."""
    tools = find_java(DEFAULT_VERSION).executable.parent
    if not ((tools / "jcmd").exists() and (tools / "jfr").exists()):
        raise LocalStackError(f"The profile needs jcmd and jfr, which {tools} lacks: install a JDK 25 or newer.")
    return tools


def per_document(samples: Mapping[str, int], documents: int) -> dict[str, float]:
    """Return what a document cost by part: microseconds of CPU time."""
    return {part: many * _SAMPLE_SECONDS / documents * 1e6 for part, many in samples.items()}


@contextmanager
def recorded(tools: Path, node: Node) -> Iterator[Counter[str]]:
    """Record what a node does; at the end, what is given has the number of samples of each part."""
    samples: Counter[str] = Counter()
    # In the node's own folder, since it may run as nobody; jcmd takes what follows a blank for another argument.
    settings, recording = node.folder / "profile.jfc", node.folder / "profile.jfr"
    settings.write_text(_RECORDING)
    _run(tools / "jcmd", node.pid, "JFR.start", "name=profile", f'settings="{settings}"')
    try:
        yield samples
    finally:
        _run(tools / "jcmd", node.pid, "JFR.stop", "name=profile", f'filename="{recording}"')
    told = _run(tools / "jfr", "print", "--json", "--stack-depth", "64", "--events", "jdk.CPUTimeSample", recording)
    samples.update(part_of(event["values"]) for event in json.loads(told)["recording"]["events"])


def _run(*command: object) -> str:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, timeout=120).stdout


def part_of(sample: dict[str, Any]) -> str:
    """Say what a sample's stack is about."""
    frames = (sample["stackTrace"] or {}).get("frames", ())
    stack = " ".join(f"{one['method']['type']['name']}.{one['method']['name']}" for one in frames).replace("/", ".")
    return next((part for part, pattern in PARTS.items() if re.search(pattern, stack)), OTHER)


def print_profiles(found: Mapping[str, Mapping[str, float]]) -> None:
    """Print a row for each part, a column for each alternative."""
    table = figures("CPU us a document", *found)
    for part in [*PARTS, OTHER]:
        table.add_row(part, *(f"{one.get(part, 0):.1f}" for one in found.values()))
    table.add_row("together", *(f"{sum(one.values()):.1f}" for one in found.values()))
    console().print(table)


if __name__ == "__main__":
    sys.exit(main())
