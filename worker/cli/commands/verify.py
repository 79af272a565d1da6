"""The command lines of `trailsink verify`."""

from __future__ import annotations

from pathlib import Path

import click

from worker.cli.options import (
    ACCOUNTS,
    JSON,
    ORGANISATIONS,
    PREFIXES,
    REGIONS,
    examples,
    flag,
    implemented_by,
    last_option,
    option,
    since_option,
    until_option,
)


@click.group(
    invoke_without_command=True,
    short_help="Prove that nothing is missing or altered.",
    epilog=examples(
        "trailsink verify --last 7d",
        "trailsink verify --since 2025-01-01 --until 2025-02-01 --report jan.jsonl",
        "trailsink verify --last 30d --deep 5     # compare documents of 5 % of files",
        "trailsink verify --last 7d --load        # load what is not in the index",
        "trailsink verify --local ./trail-copy --keys keys.json",
    ),
)
@option(
    "--bucket",
    metavar="NAME",
    default_text="TRAILSINK_BUCKET; with --local: as the digests say",
    example="acme-trail",
    help="Bucket to verify; with --local, the one that the files are a copy of.",
)
@PREFIXES
@option(
    "--local",
    type=click.Path(path_type=Path),
    metavar="PATH",
    default_text="the bucket",
    example="./trail-copy",
    help="Verify the files of this folder, the one with AWSLogs/ in it. Asks neither AWS nor the cluster.",
)
@option(
    "--keys",
    type=click.Path(path_type=Path),
    metavar="FILE",
    default_text="ask CloudTrail",
    example="keys.json",
    help="Public keys that `trailsink verify keys` has saved.",
)
@ACCOUNTS
@ORGANISATIONS
@REGIONS
@option(
    "--trail",
    multiple=True,
    metavar="NAME",
    default_text="all",
    example="management-events",
    help="Only the digests of this trail; may be repeated. Files that they do not name are left out.",
)
@since_option("From this day or instant of delivery on, in UTC.")
@until_option("Before this day or instant of delivery, in UTC.")
@last_option()
@option(
    "--deep",
    type=click.FloatRange(0, 100, min_open=True),
    metavar="[FILES]",
    is_flag=False,
    flag_value=100.0,
    default_text="by the ledger and its counts",
    example="5",
    help="Read files again, and compare each record with its document; of all files, or of this percentage.",
)
@flag("--load", help="Load what is signed and not in the index.", default_text="only say so")
@option(
    "--filters",
    multiple=True,
    metavar="FILE",
    default_text="TRAILSINK_FILTERS",
    example="./old-filters.json",
    help="Selectors by which files were loaded earlier, a file or s3:// object; may be repeated.",
)
@option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE",
    default_text="none",
    example="january.jsonl",
    help="Where to write every digest and finding, as JSON lines of which each holds the hash of the one before.",
)
@option(
    "--workers",
    type=click.IntRange(1, 64),
    default=8,
    metavar="THREADS",
    example="16",
    help="Accounts and regions that are verified at the same time.",
)
@flag("--restart", help="Forget the progress of an interrupted run.", default_text="resume it")
@option("--progress/--no-progress", default=None, default_text="on a terminal", help="Show progress on standard error.")
@JSON
@implemented_by("worker.cli.verify:verify")
def verify() -> None:
    """Prove by CloudTrail's signed digests that nothing is missing, altered or planted.

    Joins three things: the digests that CloudTrail signs each hour, the files in the bucket, and what was loaded, by
    the ledger and the index. The first line is the verdict. If it is interrupted, run the same command again.

    Exit codes: 0 complete; 1 something is missing, altered, planted or gone; 3 it could not be judged.
    """


@verify.command(
    short_help="Save CloudTrail's public keys.", epilog=examples("trailsink verify keys --region eu-west-1 keys.json")
)
@click.argument("file", type=click.Path(path_type=Path))
@option(
    "--region",
    multiple=True,
    metavar="NAME",
    default_text="that of AWS_REGION",
    example="eu-west-1",
    help="Region whose digests are to be verified; may be repeated.",
)
@since_option("Keys that were valid from this day or instant on, in UTC.", default_text="a year ago")
@implemented_by("worker.cli.verify:save_keys", has_stack=False)
def keys() -> None:
    """Save the public keys of CloudTrail in FILE, for `trailsink verify --local`.

    Keys that are in it already stay there. Each proves itself: digests name its fingerprint.
    """
