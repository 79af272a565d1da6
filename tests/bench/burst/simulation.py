"""What no single machine shows, simulated: 1,000 accounts, a region away for six hours.

Run it with `python -m tests.bench.burst.simulation`.

    python -m tests.bench.burst.simulation --svg docs/burst.svg
    python -m tests.bench.burst.simulation --accounts 5 --outage 30 --concurrency 20
    python -m tests.bench.burst.load --json load.json && python -m tests.bench.burst.simulation --like load.json

Prints the queue's depth over time, how long the backlog takes, how often a message is received, how old one becomes,
and what is lost, for each MaximumConcurrency. The model is stated at the top of tests/bench/burst/model.py; numbers
of trailsink and of its queue are those of worker.settings and infra/template.yaml. `--like` runs the model with what a
load test measured, and says how far off it is.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.burst.model import Sample, Simulation, World
from tests.bench.cluster.trail import sizes
from tests.bench.support.ratios import console, figures
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

HOUR = 3_600.0
EVERY = 300.0  # seconds between two looks
AFTER = 2 * HOUR  # shown when the backlog is gone
LONGEST = 14 * 24 * HOUR

_COLUMNS, _ROWS = 68, 7  # and ten columns for the numbers: a terminal has 80
_EIGHTHS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Course:
    """One simulation from its beginning until its backlog is gone, or until messages would expire."""

    world: World
    samples: tuple[Sample, ...]
    drained: float | None  # seconds from the cluster's return until the queue is as it was
    most_receives: int
    simulation: Simulation

    @property
    def deepest(self) -> int:
        """Most messages in the queue."""
        return max(sample.depth for sample in self.samples)


def main() -> int:
    """Simulate and print; 1 when a message became a letter or was lost."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.burst.simulation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--accounts", type=int, default=1_000, help="that the trail covers (1000)")
    parser.add_argument("--regions", type=int, default=4, help="in which each of them does something (4)")
    parser.add_argument("--outage", type=float, default=6.0, help="hours that the cluster is away (6)")
    parser.add_argument("--capacity", type=float, default=World.capacity, help="records a second it takes (4000)")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[2, 5, 20], help="functions at once (2 5 20)")
    parser.add_argument("--window", type=int, help="bulk requests in flight, of a function (default: adapts)")
    parser.add_argument("--seed", type=int, default=1, help="of chance (1)")
    parser.add_argument("--svg", type=Path, help="file to draw the queue's depth into")
    parser.add_argument("--like", type=Path, help="what tests.bench.burst.load --json wrote: hold the model against it")
    asked = parser.parse_args()
    if asked.like:
        _print_likeness(json.loads(asked.like.read_text(encoding="utf-8")), asked.window, asked.seed)
        return 0
    world = World(
        sources=asked.accounts * asked.regions,
        capacity=asked.capacity,
        away_for=asked.outage * HOUR,
        window=asked.window,
    )
    title = (
        f"{asked.accounts:,} accounts, {asked.regions} regions, cluster of {asked.capacity:,.0f} records/s"
        f" away for {asked.outage:g} h"
    )
    console().print(f"Simulation: {title}.", "")
    courses = []
    for concurrency in asked.concurrency:
        courses.append(follow(replace(world, concurrency=concurrency), asked.seed))
        _print_picture(courses[-1])
    _print_table(courses)
    if asked.svg:
        from tests.bench.burst.picture import draw  # noqa: PLC0415 - pygal gets in the way of later imports

        asked.svg.write_bytes(draw(courses, title))
    return 1 if any(course.samples[-1].letters or course.samples[-1].lost for course in courses) else 0


def follow(world: World, seed: int) -> Course:
    """Run a world until some time after its backlog is gone."""
    simulation = Simulation(world, seed)
    samples, usual, drained, end = [], world.queue.batch, None, LONGEST
    for sample in simulation.run(LONGEST, EVERY):
        samples.append(sample)
        if sample.at < world.away_from:
            usual = max(usual, sample.depth)
        elif drained is None and sample.at >= world.back_at and sample.depth <= 2 * usual:
            drained, end = sample.at - world.back_at, sample.at + AFTER
        if sample.at >= end:
            break
    most = max((message.receives for message in simulation.messages), default=0)
    return Course(world, tuple(samples), drained, most, simulation)


# Pictures


def picture(values: Sequence[int]) -> list[str]:
    """Draw values as lines of text, as wide as there are values: eighths of a block, the highest fills all rows."""
    highest = max(*values, 1)
    heights = [round(value / highest * _ROWS * 8) for value in values]
    return ["".join(_EIGHTHS[min(8, max(0, height - 8 * row))] for height in heights) for row in reversed(range(_ROWS))]


def _print_picture(course: Course) -> None:
    out, samples = console(), course.samples
    step = max(1, -(-len(samples) // _COLUMNS))
    parts = [samples[at : at + step] for at in range(0, len(samples), step)]
    lines = picture([max(sample.depth for sample in part) for part in parts])
    out.print(f"Messages in the queue, MaximumConcurrency {course.world.concurrency} (x: the cluster is away)")
    for label, line in zip([f"{course.deepest:,}"] + [""] * (_ROWS - 1), lines, strict=True):
        out.print(f"{label:>9} {line.rstrip()}")
    end = f"{samples[-1].at / HOUR:.0f} h"
    away = int(course.world.away_from / EVERY / step)
    back = int(course.world.back_at / EVERY / step)
    axis = "".join("x" if away <= at < back else "-" for at in range(len(parts)))
    out.print(f"{'':9} {axis}")
    out.print(f"{'':9} 0{end:>{len(parts) - 1}}", "")


# Figures


def _print_table(courses: Sequence[Course]) -> None:
    table = figures("MaximumConcurrency", *(str(course.world.concurrency) for course in courses))
    rows: dict[str, list[str]] = {
        "records a second announced, mean": [
            f"{sum(one.records for one in course.simulation.messages) / course.samples[-1].at:,.0f}"
            for course in courses
        ],
        "deepest queue, messages": [f"{course.deepest:,}" for course in courses],
        "backlog gone, after the cluster's return": [_hours(course.drained) for course in courses],
        "oldest message ever": [_hours(max(sample.oldest for sample in course.samples)) for course in courses],
        "  allowed (retention)": [_hours(course.world.queue.retention_seconds) for course in courses],
        "most receives of a message": [str(course.most_receives) for course in courses],
        "  allowed (maxReceiveCount)": [str(course.world.queue.receives) for course in courses],
        "messages received more than once": [_share(course) for course in courses],
        "bulk requests refused for want of room": [f"{course.simulation.refused_for_room:,}" for course in courses],
        "most hidden at once, of 120,000 allowed": [
            f"{max(sample.hidden + sample.working for sample in course.samples):,}" for course in courses
        ],
        "letters, messages lost": [f"{course.samples[-1].letters}, {course.samples[-1].lost}" for course in courses],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    console().print(table)


def _hours(seconds: float | None) -> str:
    if seconds is None:
        return "not within 14 d"
    return f"{seconds / HOUR:.1f} h" if seconds < 48 * HOUR else f"{seconds / HOUR / 24:.1f} d"


def _share(course: Course) -> str:
    receives = course.simulation.receives
    return f"{1 - receives[1] / max(1, receives.total()):.1%}"


# The model beside what was measured


def _print_likeness(measured: dict[str, Any], window: int | None, seed: int) -> None:
    out = console()
    for one in measured["rounds"]:
        load = one["load"]
        rates = [fed["records"] / fed["seconds"] for fed in (one["before"], one["after"])]
        files = sizes(measured["seed"], load["records"])[load["concurrency"] :]  # each consumer has loaded one before
        settings = Settings.model_validate(measured["settings"])
        world = World(
            sources=0,
            announced=tuple(files),
            concurrency=load["concurrency"],
            capacity=sum(rates) / 2 * (1 + World.request_cost / settings.limits.bulk_actions),  # a replayer's requests
            pressure_bytes=measured["pressure_bytes"],
            read_seconds=load["client_cpu_seconds"] / load["records"],
            window=window,
            settings=settings,
        )
        simulation = Simulation(world, seed)
        samples = list(simulation.run(10 * load["drained_seconds"], 0.5))
        table = figures(f"MaximumConcurrency {load['concurrency']}", "measured", "model")
        receives = {int(number): many for number, many in load["receives"].items()}
        drained = next((sample.at for sample in samples if not sample.depth), float("inf"))
        table.add_row("seconds until the queue is empty", f"{load['drained_seconds']:.1f}", f"{drained:.1f}")
        table.add_row("bulk requests refused", f"{load['refused']:,}", f"{simulation.refused_for_room:,}")
        table.add_row("messages handed back", f"{sum(load['waits'].values()):,}", f"{simulation.handed_back:,}")
        table.add_row("most receives", str(max(receives)), str(max(one.receives for one in simulation.messages)))
        out.print(table, "")


if __name__ == "__main__":
    sys.exit(main())
