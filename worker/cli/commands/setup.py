"""The command line of `trailsink setup`."""

from __future__ import annotations

import click

from worker.cli.options import YES, examples, flag, implemented_by, option


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
    help="Delete indices this many days after their creation; 0 keeps them, and removes a policy of trailsink's.",
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
    "--merge-after",
    type=click.IntRange(0),
    metavar="DAYS",
    default_text="TRAILSINK_MERGE_DAYS",
    example="3",
    help="Merge indices to one segment this many days after their last events; 0 never does.",
)
@option(
    "--merged-replicas",
    type=click.IntRange(0, 10),
    metavar="COPIES",
    default_text="TRAILSINK_MERGED_REPLICAS",
    example="0",
    help="Replicas that a merged index keeps.",
)
@option(
    "--warm-after",
    type=click.IntRange(0),
    metavar="DAYS",
    default_text="TRAILSINK_WARM_DAYS",
    example="30",
    help="Move indices to UltraWarm this many days after their last events; 0 never does.",
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
    "--shards",
    type=click.IntRange(1, 100),
    metavar="SHARDS",
    default_text="unchanged, at first 1",
    example="3",
    help="Primary shards of each index: one for each 50 GB that an index will hold.",
)
@option(
    "--profile",
    type=click.Choice(["flat", "dynamic"]),
    default_text="unchanged, at first flat",
    example="dynamic",
    help="How request parameters and other free-form fields are indexed. With dynamic, from OpenSearch 3.7 on,"
    " others than trailsink find parts of their values, too, and group by any path. docs/searching.md has its price.",
)
@option(
    "--write-once/--no-write-once",
    default=None,
    default_text="unchanged, at first --no-write-once",
    help="Let nobody change or delete a document of a new index, not even to redact it. Only a whole index can be"
    " deleted.",
)
@option(
    "--loader-role",
    metavar="ARN",
    default_text="grant nobody access",
    example="arn:aws:iam::123456789012:role/loader",
    help="Under fine-grained access control: grant this IAM role the minimum permissions to load.",
)
@option(
    "--verify-role",
    metavar="ARN",
    default_text="grant nobody access",
    example="arn:aws:iam::123456789012:role/verify",
    help="The same for trailsink verify: the role may read events and write verdicts.",
)
@option(
    "--detect-role",
    metavar="ARN",
    default_text="grant nobody access",
    example="arn:aws:iam::123456789012:role/detect",
    help="The same for trailsink detect run: the role may read events and write findings.",
)
@flag(
    "--force",
    help="Replace an index template of somebody else, go above one that wins over ours, or change the partition."
    " Prints what it replaces.",
    default_text="refuse",
)
@flag(
    "--existing",
    help="Also add missing fields to the indices that exist, and attach the retention policy to them.",
    default_text="only new indices",
)
@YES
@implemented_by("worker.cli.setup:setup")
def setup() -> None:
    """Put the index template and the retention policy into the cluster.

    Prints which server it found, which profile of the mapping it chose, and what that means for searches. Running it
    again changes nothing.
    """
