"""The command line of `trailsink doctor`."""

from __future__ import annotations

import click

from worker.cli.options import JSON_LINES, examples, implemented_by, option


@click.command(
    short_help="Check every part of a live pipeline, read-only.",
    epilog=examples("trailsink doctor", "trailsink doctor --stack trailsink   # what `trailsink deploy` created"),
)
@option(
    "--stack",
    "name",
    metavar="NAME",
    default_text="none, what the settings name",
    example="trailsink",
    help="Check what this stack created.",
)
@option(
    "--loader-role",
    metavar="ARN",
    default_text="the function's role",
    example="arn:aws:iam::123456789012:role/loader",
    help="With `trailsink run`: the role that it uses, as the cluster knows it.",
)
@JSON_LINES
@implemented_by("worker.cli.doctor:doctor", has_stack=False)
def doctor() -> None:
    """Check a live pipeline, read-only: each check with its status, the evidence and the exact fix.

    Exit code 1 when there is a fault, or when a queue or the cluster cannot be checked. Checks what
    TRAILSINK_QUEUE_URL, TRAILSINK_DEAD_LETTER_QUEUE_URL, TRAILSINK_BUCKET and TRAILSINK_OPENSEARCH_URL name, or a
    stack. Works with whatever part can be reached.
    """
