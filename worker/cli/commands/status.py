"""The command line of `trailsink status`."""

from __future__ import annotations

import click

from worker.cli.options import JSON_LINES, examples, flag, implemented_by, option

_INTERVAL_SECONDS = 5.0


@click.command(
    short_help="Show the state of the pipeline.",
    epilog=examples(
        "trailsink status",
        "trailsink status --watch 30",
        "trailsink status --strict > /dev/null || page-somebody   # in a cron line",
    ),
)
@option(
    "--watch",
    type=click.FloatRange(1),
    metavar="[SECONDS]",
    is_flag=False,
    flag_value=_INTERVAL_SECONDS,
    default_text="once",
    example="30",
    help="Repeat at this interval until Ctrl-C; 5 seconds when none is given.",
)
@JSON_LINES
@flag(
    "--letters", help="Count the dead letters by reason; this receives all of them.", default_text="only their number"
)
@flag("--strict", help="Exit with 1 for a warning, too.", default_text="only for a fault")
@implemented_by("worker.cli.status:status")
def status() -> None:
    """Show the state of the pipeline: queue, dead letters, consumer, throughput, lag, cluster, indices.

    Works with whatever part can be reached, and names what cannot. A queue or a cluster that cannot be checked is a
    fault; anything else is unknown and does not count. Exit code 1 when there is a fault, for cron. Read-only.
    """
