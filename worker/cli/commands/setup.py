"""The command line of `trailsink setup`."""

from __future__ import annotations

import click

from worker.cli.options import examples, implemented_by, option


@click.command(
    short_help="Put index template and retention policy into the cluster.",
    epilog=examples(
        "trailsink setup",
        "trailsink setup --replicas 0                  # a cluster of one node",
        "trailsink setup --retention-days 365",
    ),
)
@option(
    "--retention-days",
    type=click.IntRange(0),
    metavar="DAYS",
    default_text="TRAILSINK_RETENTION_DAYS",
    example="365",
    help="Delete indices this many days after their creation; 0 keeps them.",
)
@option(
    "--read-only-after",
    type=click.IntRange(0),
    metavar="DAYS",
    default_text="TRAILSINK_READ_ONLY_DAYS",
    example="7",
    help="Block writes to indices this many days after their creation; 0 never does.",
)
@option(
    "--replicas",
    type=click.IntRange(0, 10),
    metavar="COPIES",
    default_text="unchanged, at first 1",
    example="0",
    help="Replicas of each shard; 0 for a cluster of one node.",
)
@option(
    "--loader-role",
    metavar="ARN",
    default_text="grant nobody access",
    example="arn:aws:iam::123456789012:role/loader",
    help="Under fine-grained access control: grant this IAM role the minimum permissions to load.",
)
@implemented_by("worker.cli.setup:setup")
def setup() -> None:
    """Put the index template and the retention policy into the cluster.

    Prints which server it found and which mapping it chose. Running it again changes nothing.
    """
