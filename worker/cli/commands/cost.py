"""The command line of `trailsink cost`."""

from __future__ import annotations

from pathlib import Path

import click

from worker.cli.options import JSON, examples, implemented_by, last_option, option


@click.command(
    short_help="Show whose events cost how much.",
    epilog=examples(
        "trailsink cost                              # the last 30 days, by account",
        "trailsink cost --last 7d --by service",
        "trailsink cost --by caller --limit 50 --price prices.json",
        "trailsink cost --by service --filters noise.json",
    ),
)
@last_option(default_text="30d", example="7d")
@option(
    "--by",
    type=click.Choice(["account", "service", "event", "caller"]),
    default="account",
    example="service",
    help="What events are grouped by: recipientAccountId, eventSource, eventName or userIdentity.arn.",
)
@option(
    "--limit",
    type=click.IntRange(1, 2_000),
    default=20,
    metavar="ROWS",
    example="50",
    help="Groups to show; the rest is a row.",
)
@option(
    "--price",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    default_text="the prices of docs/sizing.md, without nodes",
    example="prices.json",
    help="JSON with your prices a month: gigabyte (on disk), million_events (loaded), nodes (all of them).",
)
@option(
    "--filters",
    metavar="FILE",
    default_text="none",
    example="noise.json",
    help="Selectors as in TRAILSINK_FILTERS, a file or an s3:// object: show what they would save of each row.",
)
@JSON
@implemented_by("worker.cli.cost:cost")
def cost() -> None:
    """Show events, bytes on this cluster, and what a month costs, by account, service, event or caller.

    Bytes are those of the indices on all disks, replicas included. They are shared out by the number of events and the
    length of sampled documents, so the rows add up to what the cluster reports.
    """
