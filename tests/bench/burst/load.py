"""Ten times more files than the cluster can take in a minute, through several consumers.

Run it with `python -m tests.bench.burst.load`.

The parts are real: an OpenSearch node with little room for bulk requests under way, ElasticMQ as the queue, `trailsink
run` processes as consumers, one for each function that MaximumConcurrency allows (Lambda hands a function one batch of
ten at a time, and so does `trailsink run`). Each has loaded one file before, as functions have that run all day: what
twenty do for the first time on one processor would keep the node waiting. S3 is a stand-in. The node has a share of one
processor, less than the machine has to give, so that its pace is the same whatever else goes on; all others have the
other processor. The burst is measured until nine tenths of the records are in; the reference is the same node, fed with
as many of the same kind as ready-made gzip bodies by one replayer, before and after each load; each makes a ratio.

To keep a run short "a minute" is `--minute` seconds; from 12 on the index reaches its first large merge. The times that
make up trailsink's patience (how long a request is retried and a batch may take, how long a message waits in the queue)
are a quarter of what they are by default, so that messages are handed back at all; `--patience 1` leaves them. Requests
are not smaller or served sooner for that, so a shorter patience is a harder test. Linux only: it asks /proc, and places
processes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import urllib3

from infra.local.errors import LocalStackError
from infra.local.polling import wait_until
from infra.local.resources import ACCESS_KEY, MAX_RECEIVES, REGION
from infra.local.stack import program_environment
from tests.bench.burst.cpu_share import governed
from tests.bench.burst.sqs_proxy import Life, Watched, watching
from tests.bench.burst.throttled_node import PREFIX, Body, Fed, Throttled, bodies, throttled
from tests.bench.cluster.node_profile import per_document, print_profiles, recorder
from tests.bench.cluster.trail import files
from tests.bench.support.ratios import Ratio, console, figures, print_ratios
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SEED = 6
SHIPPED = Settings()

TIMES_TOO_MUCH = 10
BURST = 0.9  # of the records: until so many are in there is a backlog, and the node sets the pace; then comes the tail
THROUGHPUT = 0.85
RECEIVES = 0.25  # of those allowed: a burst must leave most of them for an outage
LATENESS = 1.0  # of the time of one batch: how far behind its place in the queue any message may end

# What makes up patience.
_SCALED = ("retry_seconds", "reserve_seconds", "backoff_seconds", "backoff_max_seconds", "batch_seconds")

_MINUTE, _SHARE = 6.0, 0.25
_READY_RECORDS = 250_000  # for the replayer, with those two
_REHEARSED_RECORDS = 150_000
_STEADY = 0.03  # by so much at most is a warm JVM faster each time
_WARM_AT_MOST = 240.0
_REPLAY_MINUTES = TIMES_TOO_MUCH * BURST  # as much as the burst: a larger index has more to merge
_START_SECONDS = 120
_LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Load:
    """What came of one load. `lateness` is each message's seconds behind its place in the queue."""

    concurrency: int
    files: int
    records: int
    documents: int
    wrong: int  # files that are done and have not as many documents as records
    undone: int
    letters: int
    burst: Fed
    drained_seconds: float
    receives: Counter[int]
    waits: Counter[int]
    lateness: tuple[float, ...]
    gets: int
    refused: int
    totals: Counter[str]  # of the consumers
    causes: Counter[str]  # why files were handed back
    client_cpu_seconds: float

    @property
    def sound(self) -> bool:
        """Whether every record is in, once, and no letter was written."""
        return self.documents == self.records and not (self.wrong or self.undone or self.letters)


@dataclass(frozen=True)
class Round:
    """A load between two replays."""

    before: Fed
    load: Load
    after: Fed


def main() -> int:
    """Measure and print; 1 when an event is missing or dead."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.burst.load", description=__doc__)
    parser.add_argument("--minute", type=float, default=_MINUTE, help="seconds that stand for a minute (6)")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[2, 5, 20], help="consumers at once (2 5 20)")
    parser.add_argument("--rounds", type=int, default=1, help="times that each is measured, in turn (1)")
    parser.add_argument("--limit", type=int, default=6, help="megabytes of bulk requests that the node holds (6)")
    parser.add_argument("--patience", type=float, default=0.25, help="of trailsink's times by default, the part (0.25)")
    parser.add_argument("--quick", action="store_true", help="5 consumers only, and 3 s for a minute: two minutes")
    parser.add_argument("--json", type=Path, help="file to write all that was measured to")
    parser.add_argument(
        "--profile",
        action="store_true",
        help="and where the node's CPU time goes, which costs some: its other figures do not count (a JDK 25 or newer)",
    )
    parser.add_argument("--share", type=float, default=_SHARE, help="of a processor, that the node may use (0.25)")
    asked = parser.parse_args()
    if asked.rounds < 1:
        parser.error("--rounds: at least 1")
    if asked.quick:
        asked.minute, asked.concurrency = 3.0, [5]
    settings = patience(asked.patience)
    try:
        profiler = recorder() if asked.profile else None
    except LocalStackError as error:
        parser.error(str(error))
    with throttled(asked.limit) as node, tempfile.TemporaryDirectory() as folder:
        more = max(1.0, asked.minute / _MINUTE) * max(1.0, asked.share / _SHARE)
        ready = bodies(SEED + 1, round(_READY_RECORDS * more))
        consumers = Consumers(Path(folder), node.url, settings)
        _load(node, consumers, max(asked.concurrency), _REHEARSED_RECORDS, _REHEARSED_RECORDS / _WARM_AT_MOST)
        _warm_up(node, ready)
        node.profiler = profiler
        with governed(node.pid, asked.share):
            rounds = list(_rounds(node, consumers, ready, asked.minute, asked.concurrency * asked.rounds))
    _print(rounds, SHIPPED.batch_seconds * asked.patience)
    if asked.profile:
        print_profiles(_profiles(rounds))
    if asked.json:
        asked.json.write_text(json.dumps(_told(rounds, asked.limit, settings), indent=1))
    return 0 if all(one.load.sound for one in rounds) else 1


def patience(factor: float) -> dict[str, str]:
    """Scale the settings that make up trailsink's patience."""
    shipped = {name: getattr(SHIPPED, name) for name in _SCALED}
    return {f"TRAILSINK_{name.upper()}": str(max(1, round(value * factor))) for name, value in shipped.items()}


def _rounds(
    node: Throttled, consumers: Consumers, ready: Sequence[Body], minute: float, concurrencies: Sequence[int]
) -> Iterator[Round]:
    before = node.replay(ready, _REPLAY_MINUTES * minute)
    records = round(TIMES_TOO_MUCH * minute * before.rate)
    console().print(
        f"One replayer, a request after the other: {before.rate:,.0f} records/s. {records:,} are announced each time."
    )
    for concurrency in concurrencies:
        load = _load(node, consumers, concurrency, records, before.rate)
        after = node.replay(ready, _REPLAY_MINUTES * minute)
        yield Round(before, load, after)
        before = after


def _warm_up(node: Throttled, ready: Sequence[Body]) -> None:
    """Replay until the JVM has compiled what is hot: before that, a record takes it three times as long.

    A burst is rehearsed before: the first one after replays alone made the JVM compile anew what refusals and smaller
    requests pass through, three times as much as the replays before it.
    """
    until = time.monotonic() + _WARM_AT_MOST
    best, slower = math.inf, 0
    while slower < 2 and time.monotonic() < until:  # one replay may be slower by chance
        spent = node.replay(ready, _WARM_AT_MOST / 8).cpu_microseconds
        slower = slower + 1 if spent > best * (1 - _STEADY) else 0
        best = min(best, spent)


def _load(node: Throttled, consumers: Consumers, concurrency: int, records: int, rate: float) -> Load:
    """Announce so many records in files, and let so many consumers drain the queue, for three times as long at most."""
    node.empty()
    counts = {file.key: file.records for file in files(SEED, records)}
    with served(records) as store, watching() as watched:
        watched.announce(files(SEED, records))
        with consumers.running(concurrency, watched, store, 3 * records / rate) as running:
            if not wait_until(lambda: watched.came >= concurrency, _START_SECONDS):
                raise SystemExit(f"The consumers do not start: {consumers.tail()}")
            refused = node.refused()
            burst = _watch(node, records, running, watched)
        documents = node.documents()
        done = {key: life.done for key, life in watched.lives.items() if life.done}
        return Load(
            concurrency=concurrency,
            files=len(counts),
            records=records,
            documents=documents.total(),
            wrong=sum(documents[key] != counts[key] for key in done),
            undone=len(counts) - len(done),
            letters=watched.letters(),
            burst=burst,
            drained_seconds=max(done.values(), default=watched.opened) - watched.opened,
            receives=Counter(life.receives for life in watched.lives.values()),
            waits=Counter(wait for life in watched.lives.values() for wait in life.waits),
            lateness=tuple(_lateness(counts, watched.lives, watched.opened)),
            gets=int(urllib3.request("HEAD", store).headers["X-Gets"]),
            refused=node.refused() - refused,
            totals=consumers.totals(),
            causes=consumers.causes(),
            client_cpu_seconds=consumers.cpu_seconds,
        )


def _watch(node: Throttled, records: int, running: Sequence[subprocess.Popen[bytes]], watched: Watched) -> Fed:
    """Let the burst begin, and look at the index until most of it is in."""
    first = indexed = node.indexed()
    with node.profiled() as samples:
        cpu = node.cpu_seconds()
        watched.open()
        began = time.monotonic()
        while indexed < BURST * records and any(one.poll() is None for one in running):
            time.sleep(_LOOK_SECONDS)
            indexed = node.indexed()
        seconds, spent = time.monotonic() - began, node.cpu_seconds() - cpu
    return Fed(max(indexed - first, 1), seconds, spent, samples)


def _lateness(counts: Mapping[str, int], lives: Mapping[str, Life], opened: float) -> Iterator[float]:
    """Hold the end of each message against the moment at which its turn would be, in order and at an even pace."""
    last = max((life.done for life in lives.values() if life.done), default=opened)
    total, before = sum(counts.values()), itertools.accumulate(counts.values())
    for key, reached in zip(counts, before, strict=True):
        yield (lives[key].done or last) - opened - (last - opened) * reached / total


class Consumers:
    """Processes of `trailsink run`, and what they wrote."""

    def __init__(self, folder: Path, opensearch: str, settings: Mapping[str, str]) -> None:
        self._folder, self._opensearch, self._settings = folder, opensearch, settings
        self._logs: list[Path] = []
        self.cpu_seconds = 0.0

    @contextmanager
    def running(
        self, number: int, watched: Watched, store: str, seconds: float
    ) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Start so many; at the end wait until the queue is empty, for so many seconds after their start at most."""
        environment = program_environment(
            {
                "AWS_ENDPOINT_URL_S3": store,
                "AWS_ENDPOINT_URL_SQS": watched.url,
                "AWS_ACCESS_KEY_ID": ACCESS_KEY,
                "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
                "AWS_REGION": REGION,
                "TRAILSINK_OPENSEARCH_URL": self._opensearch,
                "TRAILSINK_QUEUE_URL": watched.queue_url,
                "TRAILSINK_DEAD_LETTER_QUEUE_URL": watched.letters_url,
                "TRAILSINK_INDEX_PREFIX": PREFIX,
                "TRAILSINK_EMF": "false",
                **self._settings,
            }
        )
        self._logs = [self._folder / f"{one}.log" for one in range(number)]
        before = _children_cpu()
        with ExitStack() as stack:
            started = [stack.enter_context(self._start(log, seconds, environment)) for log in self._logs]
            try:
                yield started
                for one in started:
                    one.wait(seconds + _START_SECONDS)
            finally:
                for one in started:
                    one.kill()
        self.cpu_seconds = _children_cpu() - before

    def _start(self, log: Path, seconds: float, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        trailsink = str(Path(sys.executable).with_name("trailsink"))
        command = [trailsink, "run", "--until-idle", "--no-progress", "--timeout", str(seconds + _START_SECONDS)]
        with log.open("wb") as to:
            return subprocess.Popen(command, stdout=to, stderr=to, env=environment)

    def totals(self) -> Counter[str]:
        """Add up what the consumers count."""
        totals: Counter[str] = Counter()
        for said in self._said():
            if said.get("message") == "totals":
                totals.update({name: value for name, value in said.items() if isinstance(value, int | float)})
        return totals

    def causes(self) -> Counter[str]:
        """Count why files were handed back."""
        return Counter(said["reason"] for said in self._said() if said.get("outcome") == "handed_back")

    def tail(self) -> str:
        """Return the end of what the first one wrote."""
        return self._logs[0].read_text()[-300:]

    def _said(self) -> Iterator[dict[str, Any]]:
        for log in self._logs:
            for line in log.read_bytes().splitlines():
                if line.startswith(b"{"):
                    yield json.loads(line)


def _children_cpu() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


@contextmanager
def served(records: int) -> Iterator[str]:
    """Serve the announced files from a process of its own; gives its address."""
    command = [sys.executable, "-m", "tests.bench.cluster.trail", str(SEED), str(records)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield (server.stdout.readline() if server.stdout else "").strip()
        finally:
            server.kill()


def _print(rounds: Sequence[Round], batch_seconds: float) -> None:
    out = console()
    table = figures("MaximumConcurrency", *(str(one.load.concurrency) for one in rounds))
    for name, cells in _rows(rounds).items():
        table.add_row(name, *cells)
    out.print(table, "")
    print_ratios(itertools.chain.from_iterable(_ratios(those, batch_seconds) for those in _alike(rounds).values()))


def _alike(rounds: Sequence[Round]) -> dict[int, list[Round]]:
    """Put together the rounds of as many consumers."""
    alike: dict[int, list[Round]] = {}
    for one in rounds:
        alike.setdefault(one.load.concurrency, []).append(one)
    return alike


def _profiles(rounds: Sequence[Round]) -> dict[str, dict[str, float]]:
    """Put together what was profiled alike: the replays, and the bursts through as many consumers."""
    profiled = {"one replayer": [rounds[0].before, *(one.after for one in rounds)]}
    for concurrency, those in _alike(rounds).items():
        profiled[f"{concurrency} consumers"] = [one.load.burst for one in those]
    return {
        name: per_document(sum((one.samples for one in fed), Counter()), sum(one.records for one in fed))
        for name, fed in profiled.items()
    }


def _told(rounds: Sequence[Round], megabytes: int, settings: Mapping[str, str]) -> dict[str, object]:
    """Write down what `burst --like` needs to do the same in its model."""
    given = {name.removeprefix("TRAILSINK_").lower(): value for name, value in settings.items()}
    return {
        "seed": SEED,
        "pressure_bytes": megabytes << 20,
        "settings": given,
        "rounds": [_plain(one) for one in rounds],
    }


def _plain(value: object) -> object:
    """Take dataclasses apart; `asdict` cannot, where there is a Counter in them."""
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    return value


def _rows(rounds: Sequence[Round]) -> dict[str, list[str]]:
    loads = [one.load for one in rounds]
    behind = [sorted(load.lateness) for load in loads]
    return {
        "files, records announced": [f"{load.files:,}, {load.records:,}" for load in loads],
        "documents at the end": [f"{load.documents:,}" for load in loads],
        "files done and wrong, not done": [f"{load.wrong}, {load.undone}" for load in loads],
        "dead letters": [str(load.letters) for load in loads],
        "records/s: replayer before, load, after": [
            f"{one.before.rate:,.0f}, {one.load.burst.rate:,.0f}, {one.after.rate:,.0f}" for one in rounds
        ],
        "node CPU us/record: before, load, after": [
            f"{one.before.cpu_microseconds:.0f}, {one.load.burst.cpu_microseconds:.0f},"
            f" {one.after.cpu_microseconds:.0f}"
            for one in rounds
        ],
        "node's share of its processor, the same": [
            f"{one.before.busy:.0%}, {one.load.burst.busy:.0%}, {one.after.busy:.0%}" for one in rounds
        ],
        "consumers' CPU us/record, with their start": [
            f"{load.client_cpu_seconds / load.records * 1e6:.0f}" for load in loads
        ],
        "bulk requests, refused by the node": [
            f"{load.totals['BulkRequests']:,.0f}, {load.refused:,}" for load in loads
        ],
        "objects fetched per file": [f"{load.gets / load.files:.2f}" for load in loads],
        "records sent again, and found there": [f"{load.totals['RecordsDuplicate']:,.0f}" for load in loads],
        "messages handed back, longest wait": [
            f"{load.waits.total():,}, {max(load.waits, default=0)} s" for load in loads
        ],
        "why files were": [", ".join(f"{n} {why}" for why, n in load.causes.most_common(3)) or "-" for load in loads],
        "receives of a message: mean, most": [
            f"{sum(n * many for n, many in load.receives.items()) / load.files:.2f}, {max(load.receives)}"
            for load in loads
        ],
        "seconds to 90 % of the records, to the last": [
            f"{load.burst.seconds:.0f}, {load.drained_seconds:.0f}" for load in loads
        ],
        "seconds behind its turn: half, 99 %, all": [
            f"{statistics.median(late):.1f}, {late[int(0.99 * (len(late) - 1))]:.1f}, {late[-1]:.1f}" for late in behind
        ],
    }


def _ratios(rounds: Sequence[Round], batch_seconds: float) -> Iterator[Ratio]:
    """Hold bursts through as many consumers each against the replays before and after it."""
    at = f"MaximumConcurrency {rounds[0].load.concurrency}"
    pairs = [(one.load.burst, replay) for one in rounds for replay in (one.before, one.after)]
    pace = tuple(burst.rate / replay.rate for burst, replay in pairs)
    cost = tuple(burst.cpu_microseconds / replay.cpu_microseconds for burst, replay in pairs)
    yield Ratio(f"{at}: throughput", "one replayer", pace, at_least=THROUGHPUT)
    yield Ratio(f"{at}: node CPU per record", "one replayer", cost)
    received = max(max(one.load.receives) for one in rounds) / MAX_RECEIVES
    yield Ratio(f"{at}: most receives", f"allowed {MAX_RECEIVES}", (received,), at_most=RECEIVES)
    late = max(max(one.load.lateness) for one in rounds) / batch_seconds
    yield Ratio(f"{at}: furthest behind its turn", f"a batch's {batch_seconds:.0f} s", (late,), at_most=LATENESS)


if __name__ == "__main__":
    sys.exit(main())
