"""The command lines of `trailsink ledger`."""

from __future__ import annotations

import click

from worker.cli.options import DURATION, TIMESTAMP, YES, examples, implemented_by, option


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
@option(
    "--prefix",
    multiple=True,
    metavar="PREFIX",
    example="security/",
    default_text="all that are found, down to three folders",
    help="Path before AWSLogs/ in the keys; may be repeated.",
)
@option(
    "--since",
    type=TIMESTAMP,
    metavar="TIME",
    default_text="the first file",
    example="2025-01-01",
    help="From this day or instant of delivery on, in UTC.",
)
@option(
    "--until",
    type=TIMESTAMP,
    metavar="TIME",
    default_text="now",
    example="2025-02-01",
    help="Before this day or instant of delivery, in UTC.",
)
@option(
    "--last",
    type=DURATION,
    metavar="DURATION",
    default_text="all time",
    example="90d",
    help="The time before now: s, m, h, d or w.",
)
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
