"""The command line of `trailsink roles`."""

from __future__ import annotations

from pathlib import Path

import click

from worker.cli.options import examples, flag, implemented_by, option


@click.command(
    short_help="Make a reader role that sees some accounts only.",
    epilog=examples(
        "trailsink roles payments --accounts 111111111111,222222222222",
        "trailsink roles payments --ou accounts.json --put --backend-role payments",
    ),
)
@click.argument("team")
@option(
    "--accounts",
    multiple=True,
    metavar="IDS",
    default_text="those of --ou",
    example="111111111111,222222222222",
    help="Accounts of the team, with commas between; may be repeated.",
)
@option(
    "--ou",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    default_text="those of --accounts",
    example="accounts.json",
    help="What aws organizations list-accounts-for-parent printed.",
)
@flag("--put", help="Put the role into the cluster.", default_text="print it")
@option(
    "--backend-role",
    multiple=True,
    metavar="NAME",
    default_text="map nobody",
    example="payments",
    help="With --put: map this backend role to it, on AWS the ARN of an IAM role; may be repeated.",
)
@implemented_by("worker.cli.roles:roles")
def roles() -> None:
    """Make a role for TEAM: its users see the events of some accounts, and nothing else.

    It works in searches, aggregations and Dashboards, by document-level security. Without --put it prints the body that
    the security API takes. The role reads; it cannot write.
    """
