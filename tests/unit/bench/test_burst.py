"""Promises about the simulation of bursts: it loses nothing itself, and shows what an outage does to the queue."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from statistics import median

import pytest

from infra.local import resources
from tests.bench.burst.model import Queue, Simulation, World
from tests.bench.burst.simulation import Course, follow, picture
from tests.bench.cluster.trail import sizes

HOUR = 3_600.0
QUEUE = Queue(10, 300, resources.MAX_RECEIVES, resources.DEAD_LETTER_SECONDS)

# Thirty accounts in three regions: a fifth of what the cluster takes.
WORLD = World(sources=90, concurrency=5, capacity=100.0, queue=QUEUE)
OUTAGE = replace(WORLD, away_for=6 * HOUR)


@cache
def after_the_outage(concurrency: int, seed: int) -> Course:
    return follow(replace(OUTAGE, concurrency=concurrency), seed)


@pytest.mark.parametrize("concurrency", [2, 20])
@pytest.mark.parametrize("window", [None, 2])
def test_every_message_is_in_one_place_at_every_step(concurrency: int, window: int | None) -> None:
    """A model that loses messages would show a pipeline that does not."""
    world = replace(WORLD, concurrency=concurrency, window=window, pressure_bytes=2 << 20, away_from=600, away_for=900)

    samples = list(Simulation(world).run(HOUR, 1.0))

    assert all(sample.announced == sample.accounted for sample in samples)
    assert samples[-1].announced > 0


@pytest.mark.parametrize("concurrency", [2, 5, 20])
def test_the_backlog_of_six_hours_is_worked_off_without_letters(concurrency: int) -> None:
    """An outage of the region is nobody's fault but the region's: no message may pay for it with its life."""
    course = after_the_outage(concurrency, seed=1)

    assert course.drained is not None
    assert course.drained < 6 * HOUR
    assert course.most_receives < QUEUE.receives
    assert (course.samples[-1].letters, course.samples[-1].lost) == (0, 0)


def test_a_small_trail_uses_up_most_receives_and_still_less_than_half_of_them() -> None:
    """With few messages and many functions each one is tried whenever it may be: only its doubling waits protect it."""
    course = follow(replace(OUTAGE, sources=5, concurrency=20), seed=1)

    assert 10 < course.most_receives < QUEUE.receives / 2
    assert course.samples[-1].letters == 0


@pytest.mark.parametrize("concurrency", [2, 20])
def test_a_cluster_that_is_away_for_36_hours_costs_no_letter(concurrency: int) -> None:
    """A small trail uses up the most receives, because each message is tried whenever it may be."""
    course = follow(replace(WORLD, sources=1, concurrency=concurrency, away_for=36 * HOUR), seed=1)

    assert course.samples[-1].letters == 0
    assert max(course.simulation.receives) < 60


def test_a_cluster_that_is_away_for_60_hours_costs_a_small_trail_letters() -> None:
    """The bound that the queue sets: 60 receives, at most an hour apart, last two days and not much longer."""
    course = follow(replace(WORLD, sources=1, concurrency=20, away_for=60 * HOUR), seed=1)

    assert course.samples[-1].letters > 0


@pytest.mark.parametrize("concurrency", [2, 20])
@pytest.mark.parametrize("seed", range(1, 9))
def test_no_message_starves_in_the_backlog(concurrency: int, seed: int) -> None:
    """Fair: what was announced before the cluster's return ends before the backlog does, or one long wait later."""
    course = after_the_outage(concurrency, seed=seed)

    before = [one for one in course.simulation.messages if one.announced < OUTAGE.back_at]
    assert course.drained is not None
    latest = OUTAGE.back_at + course.drained + WORLD.settings.backoff_max_seconds
    assert all(one.done is not None and one.done <= latest for one in before)


# Requests cost less of a node at full speed than of one that is held to a quarter of a processor, as WORLD's is.
AT_FULL_SPEED = replace(WORLD, request_cost=15.0, refusal_cost=0.013)


@pytest.mark.parametrize(
    ("world", "concurrency", "least"),
    [
        (AT_FULL_SPEED, 2, 0.85),
        (AT_FULL_SPEED, 5, 0.85),
        (AT_FULL_SPEED, 20, 0.85),
        (WORLD, 2, 0.85),
        (WORLD, 5, 0.85),
        (WORLD, 20, 0.8),
    ],
)
def test_a_throttled_cluster_is_kept_busy(world: World, concurrency: int, least: float) -> None:
    """The bar of the load test, in the model; twenty functions before so little room cost refusals, and no more."""
    files = tuple(sizes(6, 150_000))
    world = replace(world, sources=0, announced=files, concurrency=concurrency, capacity=1_500, pressure_bytes=6 << 20)

    paces = [pace(world, seed) for seed in range(1, 9)]

    of_a_replayer = world.capacity / (1 + world.request_cost / world.settings.bulk_actions)
    assert median(paces) > least * of_a_replayer


def pace(world: World, seed: int) -> float:
    """Records a second, until nine in ten files are done."""
    simulation = Simulation(world, seed)
    at = next(sample.at for sample in simulation.run(600, 1.0) if sample.done >= 0.9 * len(world.announced))
    return sum(one.records for one in simulation.messages if one.done) / at


def test_a_node_that_others_fill_is_no_reason_for_a_letter() -> None:
    """Where there is never room for a large request, a smaller one gets in."""
    files = tuple(sizes(6, 50_000))
    world = replace(WORLD, sources=0, announced=files, concurrency=2, capacity=1_500, pressure_bytes=24 << 20)

    simulation = Simulation(replace(world, held_bytes=22 << 20))
    *_, last = simulation.run(600, 60.0)

    assert (last.done, last.letters) == (len(files), 0)
    assert max(simulation.receives) <= 2


def test_the_same_seed_gives_the_same_course() -> None:
    """Figures of a document can be had again."""
    one, other = (list(Simulation(OUTAGE, seed=3).run(2 * HOUR, 600.0)) for _ in range(2))

    assert one == other


def test_queue_and_function_are_those_of_the_template() -> None:
    """A simulation of something else than what is deployed would comfort nobody."""
    assert Queue.deployed() == QUEUE


def test_the_picture_is_as_high_as_the_queue_is_deep() -> None:
    """The terminal's picture is read for its shape."""
    lines = picture([0, 4, 8])

    assert [line[0] for line in lines] == [" "] * 7
    assert [line[2] for line in lines] == ["█"] * 7
    assert [line[1] for line in lines] == [" "] * 3 + ["▄"] + ["█"] * 3
