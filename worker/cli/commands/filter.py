"""The command lines of `trailsink filter`."""

from __future__ import annotations

from pathlib import Path

import click

from worker.cli.options import (
    JSON_LINES,
    PREFIXES,
    examples,
    implemented_by,
    last_option,
    option,
    since_option,
    until_option,
)


@click.group(
    short_help="Try filters, and get suggestions.",
    epilog=examples(
        "trailsink filter suggest --last 7d > noise.json",
        "trailsink filter test noise.json --last 7d",
    ),
)
def filter() -> None:  # noqa: A001 - the command's name
    """Try filters on events before they are set, and get suggestions.

    A filter is a JSON list of selectors in the syntax of CloudTrail's advanced event selectors. TRAILSINK_FILTERS sets
    it. Records that match a selector are left out of the index, and counted.
    """


@filter.command(
    short_help="Show what a filter would leave out.",
    epilog=examples(
        "trailsink filter test noise.json --last 7d",
        "trailsink filter test noise.json --rules rules/ --last 30d",
        "trailsink filter test s3://acme-config/noise.json --bucket acme-trail",
        "trailsink filter test noise.json --local ./trail-copy --json",
    ),
)
@click.argument("file")
@option(
    "--local",
    type=click.Path(path_type=Path),
    metavar="PATH",
    default_text="the index",
    example="./trail-copy",
    help="Try it on the files of this folder, the one with AWSLogs/ in it.",
)
@option(
    "--bucket",
    metavar="NAME",
    default_text="the index",
    example="acme-trail",
    help="Try it on the files of this bucket.",
)
@PREFIXES
@since_option("Events from this day or instant on, in UTC; of files, the time of delivery.")
@until_option("Events before this day or instant, in UTC; of files, the time of delivery.")
@last_option(default_text="7d; with --local: all files")
@option(
    "--rules",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PATH",
    default_text="none",
    example="rules/",
    help="Show which of these Sigma rules would lose hits; may be repeated. Needs trailsink[detect].",
)
@option(
    "--replicas",
    type=click.IntRange(0, 10),
    default=1,
    metavar="COPIES",
    example="0",
    help="Copies of each shard, for the cost.",
)
@option(
    "--price",
    type=click.FloatRange(min=0),
    default=0.122,
    metavar="DOLLARS",
    example="0.135",
    help="Price of a gigabyte of disk a month, for the cost.",
)
@JSON_LINES
@implemented_by("worker.cli.filter:try_filter")
def test() -> None:
    """Show what the selectors of FILE would leave out: of each selector events, bytes, share and cost.

    FILE is a file or an s3:// object. It is refused as the consumer would refuse it. Lists the ten commonest events
    that would go, and the ten rarest: what is rare is seldom noise. The cost is that of disk, by the formula of
    docs/sizing.md.
    """


@filter.command(
    short_help="Suggest selectors for what is loud and only reads.",
    epilog=examples("trailsink filter suggest --last 7d > noise.json", "trailsink filter suggest --last 30d --share 5"),
)
@since_option("Events from this day or instant on, in UTC.")
@until_option("Events before this day or instant, in UTC.")
@last_option(default_text="7d")
@option(
    "--limit",
    type=click.IntRange(1, 100),
    default=10,
    metavar="SELECTORS",
    example="3",
    help="Maximum number of selectors.",
)
@option(
    "--share",
    type=click.FloatRange(0, 100),
    default=1.0,
    metavar="PERCENTS",
    example="5",
    help="Only events that are at least this share of all.",
)
@implemented_by("worker.cli.filter:suggest")
def suggest() -> None:
    """Print selectors for the commonest read-only events, as a file that TRAILSINK_FILTERS takes.

    Denied calls, sign-ins and some questions that attackers ask first are never suggested. Where nearly all events of a
    name are one caller's, the selector names this caller. It is a suggestion: try it with `trailsink filter test`.
    """
