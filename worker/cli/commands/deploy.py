"""The command lines of `trailsink deploy`, `destroy` and `template`."""

from __future__ import annotations

from pathlib import Path

import click

from worker.cli.options import JSON, YES, examples, flag, implemented_by, option
from worker.deploy.template import BUNDLE

_STACK = option(
    "--stack", "name", metavar="NAME", default="trailsink", example="audit-trail", help="Name of the stack."
)


@click.command(
    short_help="Print the CloudFormation template.",
    epilog=examples(
        "trailsink template > trailsink.yaml",
        "trailsink template --tfvars audit   # lines for the block of the module",
    ),
)
@option(
    "--tfvars",
    "name",
    metavar="STACK",
    default_text="the template",
    example="trailsink",
    help="Print the parameters of this stack as lines for the block of the Terraform module instead.",
)
@implemented_by("worker.cli.template:template", has_stack=False)
def template() -> None:
    """Print the CloudFormation template, for those who bring their own deployment pipeline.

    It is the one that `trailsink deploy` of this version uses. Needs no AWS, and no settings, unless --tfvars names a
    stack that Terraform shall take over.
    """


@click.command(
    short_help="Create the stack on AWS, or update it.",
    epilog=examples(
        "trailsink deploy --bucket acme-trail          # with a new OpenSearch domain",
        "trailsink deploy --bucket acme-trail --set Destination=url \\",
        "    --set EndpointUrl=https://opensearch.example.com",
        "trailsink deploy --plan                       # what an upgrade would change",
        "trailsink deploy --set RetentionDays=365      # parameters alone",
    ),
)
@option("--bucket", metavar="NAME", help="The trail's bucket.", default_text="that of the stack", example="acme-trail")
@_STACK
@option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    example="RetentionDays=365",
    default_text="as the stack has it, else the template's",
    help="A parameter of the template; may be repeated.",
)
@option(
    "--bundle",
    type=click.Path(path_type=Path),
    metavar="FILE",
    default_text=f"{BUNDLE}, or that of the stack's Architecture and Runtime; none when --set changes a stack",
    example="build/trailsink-x86_64-py311.zip",
    help="The function's bundle; `trailsink package` builds it. It says which Architecture and Runtime it is for.",
)
@option(
    "--scheduled-bundle",
    type=click.Path(path_type=Path),
    metavar="FILE",
    default_text="none",
    example="build/trailsink-scheduled-arm64-py313.zip",
    help="The bundle of the functions that VerifySchedule and DetectSchedule run; `trailsink package --scheduled`"
    " builds it.",
)
@option(
    "--code-bucket",
    metavar="NAME",
    example="acme-code",
    default_text="one is created, trailsink-code-ACCOUNT-REGION-an",
    help="Bucket for the bundle.",
)
@option(
    "--code-bucket-account",
    metavar="ID",
    example="210987654321",
    default_text="your own",
    help="Account that owns --code-bucket. Uploads to a bucket of any other account are refused.",
)
@option(
    "--tag",
    "tags",
    multiple=True,
    metavar="KEY=VALUE",
    example="team=security",
    default_text="those of the stack stay",
    help="Add a tag to the stack and all its resources; may be repeated.",
)
@option(
    "--service-role",
    metavar="ARN",
    example="arn:aws:iam::123456789012:role/cloudformation",
    default_text="the one that the stack has, else your own permissions",
    help="Role that CloudFormation acts with.",
)
@flag("--plan", help="Show what would change, and change nothing.", default_text="ask, and change it")
@YES
@JSON
@implemented_by("worker.cli.deploy:deploy", has_stack=False)
def deploy() -> None:
    """Create the stack, or update it; shows what would change, and asks.

    If it is interrupted, run the same command again: it continues. With --json, sentences go to standard error.
    """


@click.command(
    short_help="Delete the stack, and keep the events unless you pass --delete-data.",
    epilog=examples("trailsink destroy", "trailsink destroy --stack audit-trail --delete-data"),
)
@_STACK
@flag(
    "--delete-data",
    default_text="they stay",
    help="Delete the events, too: the domain that the stack created, or the indices in an existing cluster.",
)
@YES
@implemented_by("worker.cli.destroy:destroy", has_stack=False)
def destroy() -> None:
    """Delete the stack: queues, function, alarms, its own bucket notification, the bucket created for its bundle.

    The trail's bucket and its files always stay. An OpenSearch domain or indices with all events in them stay, too,
    unless --delete-data is given. For a cluster that is not the stack's own, the environment says how to sign in.
    """
