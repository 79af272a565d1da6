"""The command line of `trailsink reindex`."""

from __future__ import annotations

import click

from worker.cli.options import JSON_LINES, YES, examples, flag, implemented_by, option, since_option, until_option


@click.command(
    short_help="Bring older days to the current mapping.",
    epilog=examples(
        "trailsink reindex --since 2026-01-01 --until 2026-02-01",
        "trailsink reindex --yes --json",
        "trailsink reindex --from-files --since 2026-01-31 --until 2026-02-01",
    ),
)
@since_option("From this day or instant on, in UTC.", default_text="the first day")
@until_option("Before this day or instant, in UTC.", default_text="the last day")
@flag("--force", help="Also reindex days that have the current mapping already.", default_text="leave them alone")
@option(
    "--rate",
    type=click.IntRange(1, 1_000_000),
    metavar="EVENTS",
    default_text="as fast as the cluster can",
    example="5000",
    help="Events to copy in a second, at most.",
)
@flag(
    "--from-files",
    help="Rebuild days from the files in S3, where documents themselves must change, as by a new id.",
    default_text="copy the documents inside the cluster",
)
@YES
@JSON_LINES
@implemented_by("worker.cli.reindex:reindex")
def reindex() -> None:
    """Bring days that are in the index to the mapping of the index template, as setup puts it.

    Day by day: a new index beside the old, filled by _reindex, compared with it, then swapped in one request. Searches
    find each event exactly once all the while. Consumers that write to a day get a write block for a moment, and
    their messages come again. Run it again after any interruption: it goes on where it was. With --from-files, each
    file that has an event in a day is read again, without filters.
    """
