"""The command lines of `trailsink local`."""

from __future__ import annotations

from pathlib import Path

import click

from worker.cli.commands.run import PORT
from worker.cli.options import examples, flag, implemented_by, option


@click.group(
    short_help="OpenSearch and a stand-in for AWS on this machine.",
    epilog=examples(
        "trailsink local up",
        "trailsink local load ./trail-copy --detect rules/",
        "trailsink local down --clean",
    ),
)
def local() -> None:
    """Start a real OpenSearch node, S3 and SQS on this machine, to try things or to look into an incident.

    Everything listens on the loopback interface only, and nothing of it asks for a password. It needs the extra
    trailsink[local]. The first start downloads 68 MiB, each file of which is held against a SHA-256. Files are kept in
    XDG_DATA_HOME/trailsink, by default ~/.local/share/trailsink.
    """


_OPENSEARCH = option(
    "--opensearch",
    metavar="VERSION",
    default_text="3.9.0",
    example="2.19.1",
    help="Version of OpenSearch: one with a lock of its jars.",
)


@local.command(
    short_help="Start it, in the background.", epilog=examples("trailsink local up", "trailsink local up --port 9200")
)
@_OPENSEARCH
@option(
    "--port",
    type=PORT,
    metavar="PORT",
    default_text="any free one",
    example="9200",
    help="Port of OpenSearch.",
)
@implemented_by("worker.cli.local:up", has_stack=False)
def up() -> None:
    """Start what is not running, and write a file that points a shell at it: `. FILE`.

    The data of the last time is there again.
    """


@local.command(short_help="Stop it.", epilog=examples("trailsink local down", "trailsink local down --clean"))
@flag("--clean", help="Delete its data: events, objects and messages.", default_text="kept for the next `up`")
@implemented_by("worker.cli.local:down", has_stack=False)
def down() -> None:
    """Stop what `up` and `load` started.

    A shell that was pointed at it still is: the command prints what to unset.
    """


@local.command(short_help="Show whether it runs.", epilog=examples("trailsink local status"))
@implemented_by("worker.cli.local:status", has_stack=False)
def status() -> None:
    """Show what runs, and where.

    Exit code 1 unless all of it answers.
    """


@local.command(
    short_help="Load a folder of CloudTrail files into it.",
    epilog=examples(
        "trailsink local load ./trail-copy",
        "trailsink local load ./trail-copy --detect rules/ --report incident.html",
    ),
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER")
@option(
    "--detect",
    "rules",
    type=click.Path(path_type=Path),
    metavar="RULES",
    default_text="none",
    example="rules/",
    help="Then show what these Sigma rules find: a file or a folder.",
)
@option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    default_text="none",
    example="incident.html",
    help="Then write a report of all events, as one HTML file.",
)
@option(
    "--bucket",
    metavar="NAME",
    default="local",
    example="acme-trail",
    help="Bucket that the files are a copy of: each document names it.",
)
@_OPENSEARCH
@implemented_by("worker.cli.local:load", has_stack=False)
def load() -> None:
    """Start it if it does not run, and load every CloudTrail file below FOLDER. Loading again changes nothing.

    Afterwards `trailsink search`, `explain`, `detect` and `report` work on these events. `trailsink local down --clean`
    deletes everything again. Exit code 1 when some files could not be loaded.
    """
