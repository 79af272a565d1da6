"""The command line of `trailsink package`."""

from __future__ import annotations

from pathlib import Path

import click

from worker.cli.options import examples, flag, implemented_by, option


@click.command(
    short_help="Build the Lambda function's bundle.",
    epilog=examples(
        "trailsink package", "trailsink package --arch x86_64 --python 3.12", "trailsink package --scheduled"
    ),
)
@option(
    "--arch",
    "architecture",
    type=click.Choice(["arm64", "x86_64"]),
    default="arm64",
    example="x86_64",
    help="Architecture of the function.",
)
@option(
    "--python",
    type=click.Choice(["3.11", "3.12", "3.13", "3.14"]),
    default="3.13",
    example="3.12",
    help="Python version of the function's runtime.",
)
@option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    default_text="build/trailsink-ARCH-pyXY.zip",
    example="bundle.zip",
    help="The file to write.",
)
@option("--bytecode/--no-bytecode", default=True, help="Compile the modules, where a Python of this version is found.")
@flag(
    "--scheduled",
    help="Build the bundle of the functions that run on a schedule, verify and detect, instead of the loader's.",
    default_text="the loader's",
)
@implemented_by("worker.cli.package:package", has_stack=False)
def package() -> None:
    """Build the Lambda function's bundle: trailsink and its libraries, from hash-pinned wheels.

    Needs pip and, the first time, a package index. The same inputs give the same bytes. `trailsink deploy` uploads it.
    """
