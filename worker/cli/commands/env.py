"""The command line of `trailsink env`."""

from __future__ import annotations

import click

from worker.cli.options import examples, implemented_by, option


@click.command(
    short_help="Print the settings of a stack, for the shell.",
    epilog=examples("trailsink env --stack trailsink"),
)
@option("--stack", "name", metavar="NAME", default="trailsink", example="audit-trail", help="Name of the stack.")
@implemented_by("worker.cli.env:env", has_stack=False)
def env() -> None:
    """Print what points all commands of this shell at a stack: one `export` or `unset` for each setting.

    Use it as eval "$(trailsink env --stack NAME)".

    Credentials are never among them, only the ARN of the stack's secret.
    """
