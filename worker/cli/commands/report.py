"""The command line of `trailsink report`."""

from __future__ import annotations

from pathlib import Path

import click

from worker.cli.options import (
    ACCOUNTS,
    GEOIP,
    JSON,
    examples,
    implemented_by,
    last_option,
    option,
    since_option,
    until_option,
)


@click.command(
    short_help="Write a report of a range of time, as one HTML file.",
    epilog=examples(
        "trailsink report            # the last seven days, into report.html",
        "trailsink report --last 24h -o today.html",
        "trailsink report --since 2026-01-01 --account 123456789012",
        "trailsink report --json | jq '.counters[] | select(.red)'",
    ),
)
@last_option("The last s, m, h, d or w.", default_text="7d", example="24h")
@since_option(
    "Events from this day or instant on, in UTC.", default_text="seven days before the end", example="2026-01-01"
)
@until_option("Events before this day or instant, in UTC.", default_text="now", example="2026-02-01")
@ACCOUNTS
@option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    default=Path("report.html"),
    show_default="report.html",
    example="report.html",
    help="Where to write it, for its owner alone to read; - is standard output. An existing FILE is overwritten.",
)
@GEOIP
@JSON
@implemented_by("worker.cli.report:write_report")
def report() -> None:
    """Write what the boards of `trailsink dashboards` show, as one file without scripts that opens anywhere.

    It starts with the range and what it rests on. Then come counters, charts, what is new against the range before, and
    tables, each with the command that lists its events. Needs only the right to search, and the extra
    trailsink[report].
    """
