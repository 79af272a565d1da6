"""The command line of `trailsink run`."""

from __future__ import annotations

import re

import click

from worker.cli.options import examples, flag, implemented_by, option

_LOWEST, _HIGHEST = 1024, 65_535


class _Port(click.ParamType[int]):
    """A port that any user may open."""

    name = "port"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if not re.fullmatch(r"[0-9]{4,5}", str(value)) or not _LOWEST <= int(str(value)) <= _HIGHEST:
            self.fail(f"{value!r} is not a port from {_LOWEST} to {_HIGHEST}.", param, ctx)
        return int(str(value))


PORT = _Port()


@click.command(
    short_help="Consume the queue.",
    epilog=examples(
        "trailsink run",
        "trailsink run --health 8080                   # in a container",
        "trailsink run --concurrency 4 --batch-size 100 >> trailsink.jsonl",
        "trailsink run --until-idle --timeout 600      # drain it, and end",
    ),
)
@option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=1,
    metavar="LOOPS",
    example="4",
    help="Batches processed at the same time.",
)
@option(
    "--batch-size",
    type=click.IntRange(1, 1000),
    default=10,
    metavar="MESSAGES",
    example="100",
    help="Maximum messages in a batch.",
)
@flag("--until-idle", help="End when the queue is empty, hidden messages included.", default_text="run until stopped")
@option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    default_text="none",
    example="600",
    help="With --until-idle: give up after this time, with exit code 1.",
)
@option(
    "--health",
    type=PORT,
    metavar="PORT",
    default_text="none",
    example="8080",
    help="Answer /live, /ready and /metrics (Prometheus) at this port of all interfaces.",
)
@option(
    "--progress/--no-progress",
    default=None,
    default_text="on a terminal",
    help="Show a live line of counts on standard error.",
)
@implemented_by("worker.cli.run:run")
def run() -> None:
    """Consume the queue: what the Lambda function does, as a process that runs anywhere.

    SIGTERM and SIGINT stop it gracefully. Messages that it holds are finished or handed back, within
    TRAILSINK_REQUEST_SECONDS if the cluster hangs. A second signal ends it at once. It prints JSON lines, except on a
    terminal that shows the live line.
    """
