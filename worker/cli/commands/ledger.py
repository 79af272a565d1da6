"""The command lines of `trailsink ledger`."""

from __future__ import annotations

import click

from worker.cli.options import PREFIXES, YES, examples, implemented_by, last_option, option, since_option, until_option


@click.group(
    short_help="Make the ledger of files that were loaded before there was one.",
    epilog=examples("trailsink ledger rebuild --last 90d"),
)
def ledger() -> None:
    """Make the ledger of files that were loaded before there was one.

    The ledger holds a document for each file that was loaded. The consumer writes it.
    """


@ledger.command(
    short_help="Make the ledger of files that were loaded before there was one.",
    epilog=examples("trailsink ledger rebuild --last 90d"),
)
@option(
    "--bucket",
    metavar="NAME",
    default_text="TRAILSINK_BUCKET",
    example="acme-trail",
    help="Bucket that the files were loaded from.",
)
@PREFIXES
@since_option("From this day or instant of delivery on, in UTC.")
@until_option("Before this day or instant of delivery, in UTC.")
@last_option(example="90d")
@option(
    "--workers",
    type=click.IntRange(1, 64),
    default=8,
    metavar="THREADS",
    example="16",
    help="Files that are read at the same time.",
)
@YES
@implemented_by("worker.cli.ledger:rebuild")
def rebuild() -> None:
    """Make the ledger of files that were loaded before there was one.

    Reads each file that the ledger lacks, asks for the document of each of its records, and writes the file's document
    when all are there. It loads nothing: files that are not wholly in the index are counted, and `trailsink backfill
    --missing` or `--incomplete` loads them. Running it again continues where it ended.
    """
