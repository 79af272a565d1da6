"""The command line of `trailsink permissions`."""

from __future__ import annotations

import click

from worker.cli.options import examples, flag, implemented_by, option

# The commands that a policy can be printed for: worker.deploy.needs, which loads more than a command line may.
COMMANDS = (
    "backfill",
    "cost",
    "dashboards",
    "deploy",
    "destroy",
    "detect",
    "dlq",
    "doctor",
    "env",
    "explain",
    "filter",
    "hold",
    "ledger",
    "local",
    "package",
    "permissions",
    "reindex",
    "report",
    "roles",
    "run",
    "search",
    "setup",
    "status",
    "template",
    "verify",
)


@click.command(
    short_help="Print the permissions of a command, as a policy.",
    epilog=examples(
        "trailsink permissions deploy --stack audit > deploy.json",
        "trailsink permissions run                     # for your own role",
        "trailsink permissions search --cluster        # a role of OpenSearch",
        "trailsink permissions search --cluster --put --backend-role ROLE",
    ),
)
@click.argument("command", type=click.Choice(COMMANDS), metavar="COMMAND")
@option(
    "--stack",
    "name",
    metavar="NAME",
    default_text="none, what the settings name",
    example="trailsink",
    help="Fill in the parts of this stack.",
)
@flag(
    "--cluster",
    help="Print the role of OpenSearch's security plugin in place of the policy of IAM.",
    default_text="the policy of IAM",
)
@flag(
    "--put",
    help="With --cluster: create the role trailsink-cli-COMMAND-PREFIX in the cluster. Needs the security API, as its"
    " administrators have.",
    default_text="print it",
)
@option(
    "--backend-role",
    multiple=True,
    metavar="ROLE",
    default_text="nobody",
    example="arn:aws:iam::123456789012:role/analyst",
    help="With --put: who gets it, on AWS the ARN of an IAM role; may be repeated.",
)
@implemented_by("worker.cli.permissions:permissions", has_stack=False)
def permissions() -> None:
    """Print what the command COMMAND needs, as JSON to paste: a policy of IAM, or a role of the cluster.

    What is not known is an upper-case word. A statement whose Sid ends in an option, as in WithDirect, is needed only
    with that option. docs/reference/permissions.md explains each.
    """
