"""The command line of `trailsink backfill`."""

from __future__ import annotations

from pathlib import Path

import click

from worker.cli.options import (
    ACCOUNTS,
    DURATION,
    ORGANISATIONS,
    PREFIXES,
    REGIONS,
    YES,
    examples,
    flag,
    implemented_by,
    last_option,
    option,
    since_option,
    until_option,
)

KINDS = {
    "aggregated": "CloudTrail-Aggregated",
    "events": "CloudTrail",
    "insight": "CloudTrail-Insight",
    "network-activity": "CloudTrail-NetworkActivity",
}


@click.command(
    short_help="Load files that are already in the bucket.",
    epilog=examples(
        "trailsink backfill --last 30d --dry-run       # what would be loaded?",
        "trailsink backfill --since 2025-01-01 --until 2025-02-01",
        "trailsink backfill --missing --last 7d        # lost notifications",
        "trailsink backfill --local ./trail-copy --direct --workers 8",
        "trailsink backfill --direct --retry-failed failed.jsonl",
    ),
)
@option(
    "--bucket",
    metavar="NAME",
    default_text="TRAILSINK_BUCKET; with --local and --dry-run: local",
    example="acme-trail",
    help="Bucket to load from; with --local, the one that the files are a copy of.",
)
@PREFIXES
@option(
    "--local",
    type=click.Path(path_type=Path),
    metavar="PATH",
    default_text="the bucket",
    example="./trail-copy",
    help="Load the files of this folder, the one with AWSLogs/ in it, instead of a bucket; only with --direct.",
)
@ACCOUNTS
@ORGANISATIONS
@REGIONS
@option(
    "--kind",
    multiple=True,
    type=click.Choice(sorted(KINDS)),
    default_text="all",
    example="insight",
    help="Only files of this kind; may be repeated.",
)
@since_option("From this day or instant on, in UTC.")
@until_option("Before this day or instant, in UTC; files of the hour after it are loaded too, for late events.")
@last_option()
@flag("--missing", help="Only files of which the index holds no document.", default_text="all files")
@flag(
    "--incomplete",
    default_text="all files",
    help="Like --missing, and also files with a gap: fewer documents than the highest position implies.",
)
@flag(
    "--no-filters",
    default_text="TRAILSINK_FILTERS",
    help="Index what filters leave out; with --missing, also of files that are in the index. Needs --direct.",
)
@option(
    "--retry-failed",
    type=click.Path(path_type=Path),
    metavar="REPORT",
    default_text="none",
    example="failed.jsonl",
    help="Load exactly the files of a report of failed files; only with --direct.",
)
@option(
    "--via",
    type=click.Choice(["queue", "direct"]),
    default="queue",
    example="direct",
    help="queue: announce the files to the pipeline's queue. direct: load them from here.",
)
@flag("--direct", help="Short for --via direct.", default_text="--via")
@option(
    "--rate",
    type=click.IntRange(1, 10_000),
    metavar="FILES",
    default=100,
    example="20",
    help="Maximum files announced per second; via the queue.",
)
@option(
    "--max-depth",
    type=click.IntRange(1, 1_000_000),
    metavar="MESSAGES",
    default=1_000,
    example="200",
    help="Announce only while the queue holds fewer messages, so that live files are not delayed.",
)
@option(
    "--workers",
    type=click.IntRange(1, 64),
    metavar="THREADS",
    default=4,
    example="8",
    help="Batches processed at the same time.",
)
@option(
    "--patience",
    type=DURATION,
    metavar="DURATION",
    default="10m",
    example="1h",
    help="How long a file that cannot be loaded now is retried before it fails, or, when no file can be loaded, "
    "before the run ends: s, m, h, d or w.",
)
@flag("--dry-run", help="Show what would be done, and end.", default_text="ask, and do it")
@YES
@flag("--restart", help="Forget the progress of an interrupted run.", default_text="resume it")
@option(
    "--state",
    type=click.Path(path_type=Path),
    metavar="FILE",
    example="./january.json",
    default_text="$XDG_STATE_HOME/trailsink/backfill-HASH.json, by what is selected",
    help="Where to keep the progress of the run.",
)
@option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE",
    example="./failed.jsonl",
    default_text="beside the state, named by the time of the start",
    help="Where to list files that fail, as JSON lines; with --direct.",
)
@option("--progress/--no-progress", default=None, default_text="on a terminal", help="Show a bar on standard error.")
@flag("--json", "as_json", help="Print JSON documents, one per line.", default_text="tables")
@implemented_by("worker.cli.backfill:backfill")
def backfill() -> None:
    """Load what is already in the bucket: last year's files, or those whose notifications were lost.

    Shows what it will do, and asks. Loading a file again changes nothing, so any time may be loaded twice. If
    it is interrupted, run the same command again: it resumes.

    Days and times are those of delivery, which a file's key names. An event of 23:58 is in a file of the next day: so
    files delivered within an hour after --until are loaded too.
    """
