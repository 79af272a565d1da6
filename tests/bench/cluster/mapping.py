"""`python -m tests.bench.cluster.mapping`: what a document costs the node, in CPU time and disk, by what is mapped.

A real node, real events, each alternative of `support.alternatives` in turn, in several rounds, in a new index each
time. One sender posts gzipped requests of 250 documents, one after the other; at 250 events a second to a shard that is
one a second, so an index that refreshes every 10 s is refreshed after each tenth. Then running merges are waited for,
and the node's own count of its CPU time is read, less what it spends idle in that time and, where the node is started
here, less what the JVM's compilers spend: a node that has run for a day has that behind it. Disk is what one segment
holds when all are merged into it.

Before the rounds an index of each meets all events: where the mapping is dynamic it grows. What that costs is told on
its own, since a busy index pays it once; the rounds begin with the grown mapping. Rounds that are not counted warm the
JVM. Distinct events come first; the same events follow in another index with other ids, keys, addresses and times,
twice, for a longer look at the CPU. What refuses distinct events is not loaded further.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from opensearchpy import OpenSearch
from opensearchpy.exceptions import OpenSearchException

from infra.local.errors import LocalStackError
from infra.local.node import Node
from infra.local.stack import server_already_there
from tests.bench.burst.cpu_share import compiling_seconds
from tests.bench.support.alternatives import CHOSEN, FLATTENED, Alternative, alternatives
from tests.bench.support.pipeline_bench import LIMITS, post
from tests.bench.support.ratios import Ratio, console, figures, in_turn, print_ratios, quotients
from tests.bench.support.workloads import DATA, add_folder, distinct, varied
from worker.cloudtrail.records import Record, read_record
from worker.pipeline.bulk import compress_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

INDEX = "bench-mapping"
BODY = 250  # documents of a request, and events of a second
CPU_BAR, BYTES_BAR = 0.45, 0.47
PATIENCE = 60.0  # seconds that anything of the node is waited for

Body = tuple[bytes, int]


@dataclass(frozen=True)
class Plan:
    """How thoroughly to measure.

    The events come again `copies` times, varied; rounds count once `warm` documents have been sent, or half the
    `seconds` are over; none begins after them.
    """

    rounds: int
    copies: int = 2
    warm: int = 300_000
    seconds: float = 360.0


QUICK = Plan(rounds=1, copies=1, warm=0)


@dataclass(frozen=True)
class Load:
    """Bulk bodies, gzipped, with the number of their documents: the distinct events, and varied ones."""

    distinct: list[Body]
    varied: list[Body]


@dataclass(frozen=True)
class Grown:
    """A mapping that has met every event, and the CPU seconds that an index pays for it before it has."""

    mappings: dict[str, Any]
    cpu: float


@dataclass(frozen=True)
class Cost:
    """What the documents of an index cost, each: microseconds of CPU time and settled bytes.

    `refused` is the share of them that was.
    """

    cpu: float
    bytes: float
    refused: float


class Meter:
    """One node, and what it says of itself; `documents` is how many it was sent."""

    def __init__(self, url: str, compiling: Callable[[], float]) -> None:
        self._client = OpenSearch([url], timeout=120)
        self._compiling = compiling
        self._idle = math.inf
        self.documents = 0

    def close(self) -> None:
        """Leave nothing behind in a node that outlives this; one that no longer answers is not the fault to tell."""
        with suppress(OpenSearchException):
            self._client.indices.delete(index=INDEX, ignore_unavailable=True)
        self._client.close()

    def rest(self, seconds: float) -> None:
        """Learn what the node spends doing nothing: the least so far, since a JVM compiles on after hard work."""
        before, began = self._cpu(), time.monotonic()
        time.sleep(seconds)
        self._idle = min(self._idle, (self._cpu() - before) / (time.monotonic() - began))

    def grow(self, alternative: Alternative, bodies: Sequence[Body]) -> Grown:
        """Let a new index meet all events."""
        self._make(alternative, alternative.mappings)
        cpu = self._spent(lambda: self._fill(bodies, alternative.refresh_seconds))
        return Grown(self._client.indices.get_mapping(index=INDEX)[INDEX]["mappings"], cpu)

    def cost(self, alternative: Alternative, mappings: dict[str, Any], bodies: Sequence[Body]) -> Cost:
        """Fill a new index whose mapping has met all events, and weigh it."""
        self._make(alternative, mappings)
        sent = sum(documents for _, documents in bodies)
        cpu = self._spent(lambda: self._fill(bodies, alternative.refresh_seconds))
        indexed = int(self._client.count(index=INDEX)["count"])
        return Cost(cpu / sent * 1e6, self._weight() / indexed, 1 - indexed / sent)

    def _make(self, alternative: Alternative, mappings: dict[str, Any]) -> None:
        settings = alternative.settings | {"refresh_interval": "-1"}  # it is asked for, by documents
        self._client.indices.delete(index=INDEX, ignore_unavailable=True)
        self._client.indices.create(index=INDEX, body={"settings": settings, "mappings": mappings})

    def _fill(self, bodies: Sequence[Body], refresh_seconds: int) -> None:
        for second, (body, count) in enumerate(bodies, 1):
            self._post(body)
            self.documents += count
            if second % refresh_seconds == 0:
                self._client.indices.refresh(index=INDEX)
        self._client.indices.refresh(index=INDEX)
        until(lambda: self._merges() == 0)

    def _post(self, body: bytes) -> None:
        post(self._client, body, f"/{INDEX}/_bulk")

    def _merges(self) -> int:
        return int(self._client.indices.stats(index=INDEX, metric="merge")["_all"]["total"]["merges"]["current"])

    def _weight(self) -> int:
        """The bytes of the one segment that is left; `_stats` counts the replaced ones for some seconds."""
        self._client.indices.forcemerge(index=INDEX, max_num_segments=1)
        self._client.indices.refresh(index=INDEX)
        until(lambda: len(self._segments()) == 1)
        return sum(self._segments())

    def _segments(self) -> list[int]:
        (shard,) = self._client.indices.segments(index=INDEX)["indices"][INDEX]["shards"]["0"]
        return [one["size_in_bytes"] for one in shard["segments"].values() if one["search"]]

    def _spent(self, work: Callable[[], object]) -> float:
        before, began = self._cpu(), time.monotonic()
        work()
        return self._cpu() - before - self._idle * (time.monotonic() - began)

    def _cpu(self) -> float:
        """The CPU seconds of the node so far; it looks at most once a second, so a later look is waited for."""
        asked = time.time() * 1e3
        until(lambda: self._process()["timestamp"] >= asked)
        return float(self._process()["cpu"]["total_in_millis"]) / 1e3 - self._compiling()

    def _process(self) -> dict[str, Any]:
        (node,) = self._client.nodes.stats(metric="process")["nodes"].values()
        process: dict[str, Any] = node["process"]
        return process


def until(is_so: Callable[[], bool]) -> None:
    """Ask until it is so; end the program when it takes too long."""
    last = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > last:
            raise SystemExit(f"The node did not come to rest within {PATIENCE:.0f} s; nothing was measured.")
        time.sleep(0.2)  # asking costs the node time, too


def loads(chosen: Sequence[Alternative], events: Sequence[bytes], copies: int) -> dict[str, Load]:
    """Build what is sent to each, once for those that are sent the same."""
    more = itertools.chain.from_iterable(varied(events, seed) for seed in range(1, copies + 1))
    first = list(_records(events, 0))
    rest = list(_records(more, len(first)))
    made: dict[Callable[[Record], bytes], Load] = {}
    for one in chosen:
        if one.document not in made:
            made[one.document] = Load(_bodies(first, one.document), _bodies(rest, one.document))
    return {one.name: made[one.document] for one in chosen}


def _records(events: Iterator[bytes] | Sequence[bytes], begin: int) -> Iterator[Record]:
    for number, raw in enumerate(events, begin):
        record = read_record(msgspec.Raw(raw), number, max_depth=LIMITS.max_depth, max_bytes=LIMITS.bulk_max_bytes)
        if isinstance(record, Record):
            yield record


def _bodies(records: Sequence[Record], document: Callable[[Record], bytes]) -> list[Body]:
    lines = [b'{"create":{"_id":%b}}\n%b\n' % (msgspec.json.encode(one.id.decode()), document(one)) for one in records]
    cuts = [lines[at : at + BODY] for at in range(0, len(lines), BODY)]
    return [(compress_body(b"".join(several)), len(several)) for several in cuts]


@contextmanager
def metered() -> Iterator[Meter]:
    """A node whose JVM optimises as it would in production, or the one that the user names."""
    with ExitStack() as opened:
        compiling: Callable[[], float] = float  # 0.0: another's threads cannot be told apart
        url = server_already_there()
        if not url:
            started = opened.enter_context(Node(heap="1g", quick=False))
            url = started.url
            if sys.platform == "linux":
                compiling = compiling_seconds(started.pid)
        yield opened.enter_context(closing(Meter(url, compiling)))


@dataclass(frozen=True)
class Measured:
    """What one alternative cost: to grow, and round by round; `varied` is empty where events were refused."""

    grown: Grown
    distinct: list[Cost]
    varied: list[Cost]


def measured(chosen: Sequence[Alternative], events: Sequence[bytes], plan: Plan) -> dict[str, Measured]:
    """Measure each alternative once a round, in turn, on a warm JVM."""
    prepared = loads(chosen, events, plan.copies)
    began = time.monotonic()
    with metered() as meter:
        meter.rest(2)
        grown = _grown(meter, chosen, prepared)
        jobs = {one.name: partial(_cost, meter, one, grown[one.name], prepared[one.name]) for one in chosen}
        while meter.documents < plan.warm and time.monotonic() < began + plan.seconds / 2:
            in_turn(jobs, 1)
        found: dict[str, list[tuple[Cost, Cost | None]]] = {one.name: [] for one in chosen}
        for _ in range(plan.rounds):
            meter.rest(2)
            for name, more in in_turn(jobs, 1).items():
                found[name] += more
            if time.monotonic() > began + plan.seconds:
                break
    return {
        name: Measured(grown[name], [cost for cost, _ in several], [cost for _, cost in several if cost is not None])
        for name, several in found.items()
    }


def _grown(meter: Meter, chosen: Sequence[Alternative], prepared: Mapping[str, Load]) -> dict[str, Grown]:
    """Let each mapping meet all events, once for those who share it; the first time is for a JVM just started."""
    meter.grow(chosen[0], prepared[chosen[0].name].distinct)
    grown: dict[int, Grown] = {}
    for one in chosen:
        if id(one.mappings) not in grown:
            grown[id(one.mappings)] = meter.grow(one, prepared[one.name].distinct)
    return {one.name: grown[id(one.mappings)] for one in chosen}


def _cost(meter: Meter, alternative: Alternative, grown: Grown, load: Load) -> tuple[Cost, Cost | None]:
    cost = meter.cost(alternative, grown.mappings, load.distinct)
    more = bool(load.varied) and not cost.refused
    return cost, meter.cost(alternative, grown.mappings, load.varied) if more else None


def measure(folder: Path = DATA, rounds: int = 5) -> list[Ratio]:
    """Hold the chosen mapping against the flattening, on the events of a folder."""
    pair = [one for one in alternatives() if one.name in (CHOSEN, FLATTENED)]
    return ratios(measured(pair, distinct(folder), Plan(rounds)))


def ratios(found: Mapping[str, Measured]) -> list[Ratio]:
    """Hold the chosen mapping against the flattening."""
    ours, theirs = found[CHOSEN], found[FLATTENED]

    def ratio(what: str, figure: str, costs: str, bar: float | None) -> Ratio:
        above, below = ([getattr(cost, figure) for cost in getattr(one, costs)] for one in (ours, theirs))
        return Ratio(what, FLATTENED, quotients(above, below), at_most=bar)

    return [
        Ratio("node CPU of a first index", FLATTENED, (ours.grown.cpu / theirs.grown.cpu,)),
        ratio("node CPU per document, distinct events", "cpu", "distinct", CPU_BAR),
        ratio("node CPU per document, varied events", "cpu", "varied", None),
        ratio("settled bytes per document, distinct events", "bytes", "distinct", BYTES_BAR),
        ratio("settled bytes per document, varied events", "bytes", "varied", None),
    ]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.cluster.mapping",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_folder(parser)
    parser.add_argument("--rounds", type=int, default=3, help="each alternative is measured so often, in turn (3)")
    parser.add_argument("--only", action="append", help="a part of the names of alternatives to measure; repeatable")
    parser.add_argument("--quick", action="store_true", help="one round of 1,000 events: shows that it works, no more")
    asked = parser.parse_args()
    events = distinct(asked.folder)
    chosen = [
        one
        for one in alternatives()
        if not asked.only or one.name in (CHOSEN, FLATTENED) or any(part in one.name for part in asked.only)
    ]
    sys.stderr.write(f"{len(events):,} distinct events; this takes about {2 if asked.quick else 7} minutes.\n")
    try:
        plan = QUICK if asked.quick else Plan(asked.rounds)
        found = measured(chosen, events[:1_000] if asked.quick else events, plan)
    except LocalStackError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    _print(found)
    print_ratios(ratios(found))
    if asked.quick:
        console().print("The JVM was cold: these CPU figures say nothing, and so few events weigh more than many.")
    return 0


def _print(found: Mapping[str, Measured]) -> None:
    said = console()
    table = figures("", "CPU us", "spread", "varied", "spread", "bytes", "varied", "refused", "first, CPU s")
    for name, one in found.items():
        refused = statistics.median(cost.refused for cost in one.distinct)
        table.add_row(
            name,
            *_middle([cost.cpu for cost in one.distinct]),
            *_middle([cost.cpu for cost in one.varied]),
            _middle([cost.bytes for cost in one.distinct])[0],
            _middle([cost.bytes for cost in one.varied])[0],
            f"{refused:.1%}",
            f"{one.grown.cpu:.1f}",
        )
    said.print(table)
    said.print(
        "Microseconds of the node's CPU time and settled bytes, per document, of distinct and of varied events; the"
        " share of distinct events that is refused; CPU seconds of a first index, whose mapping meets all events."
        f" Rounds: {len(found[CHOSEN].distinct)}.\n"
    )


def _middle(values: Sequence[float]) -> tuple[str, str]:
    """The median, and the spread."""
    return (f"{statistics.median(values):.0f}", f"{min(values):.0f}-{max(values):.0f}") if values else ("-", "")


if __name__ == "__main__":
    sys.exit(main())
