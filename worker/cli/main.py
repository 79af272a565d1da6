"""The operator's entry point: the `trailsink` command."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from worker import __version__
from worker.cli.options import STACK_NAME, examples, option, stack_name
from worker.errors import TrailsinkError
from worker.humanize import escape_control_characters

_CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100}

# The module in worker.cli.commands that declares each command.
_COMMANDS = {
    "backfill": "backfill",
    "cost": "cost",
    "dashboards": "dashboards",
    "deploy": "deploy",
    "destroy": "deploy",
    "detect": "detect",
    "dlq": "dlq",
    "doctor": "doctor",
    "env": "env",
    "explain": "search",
    "filter": "filter",
    "hold": "hold",
    "ledger": "ledger",
    "local": "local",
    "package": "package",
    "permissions": "permissions",
    "reindex": "reindex",
    "report": "report",
    "roles": "roles",
    "run": "run",
    "search": "search",
    "setup": "setup",
    "status": "status",
    "template": "deploy",
    "verify": "verify",
}


# Commands that read the stack themselves, by an option of theirs.
_OF_A_STACK = ("deploy", "destroy", "env")
_WITH_OWN_STACK = (*_OF_A_STACK, "doctor", "permissions")


class LazyGroup(click.Group):
    """Imports a command when it is needed, and turns every expected error into one sentence and exit code 1."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line; `help COMMAND` and `version` are what other tools have for --help and --version."""
        match args:
            case ["help", *words]:
                args = [*words, "--help"]
            case ["version"]:
                args = ["--version"]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        """Return the names of all commands."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command, None where there is none of this name."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"worker.cli.commands.{_COMMANDS[cmd_name]}"), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run the command."""
        try:
            return super().invoke(ctx)
        except _expected_errors() as error:
            sentence = escape_control_characters(str(error).strip().removesuffix("."))
            from worker.health.stack_advice import for_stack  # noqa: PLC0415 - not for TAB at the prompt

            advice = for_stack(sentence, stack_name())
            raise click.ClickException(advice if advice.endswith("?") else f"{advice}.") from error


def _expected_errors() -> tuple[type[Exception], ...]:
    """Return what a command may raise: our own errors and, where the SDK is loaded, its errors outside a response."""
    botocore: Any = sys.modules.get("botocore.exceptions")
    return (TrailsinkError, botocore.BotoCoreError) if botocore else (TrailsinkError,)


@click.group(
    cls=LazyGroup,
    context_settings=_CONTEXT,
    epilog=examples(
        "trailsink setup           # the index template, before the first event",
        "trailsink run             # consume the queue",
        "trailsink status          # is everything all right?",
        "trailsink dlq list        # what could not be indexed, and why",
        "trailsink search --help   # the help of a command, with examples",
    ),
)
@click.version_option(__version__, prog_name="trailsink")
@option(
    "--stack",
    metavar="NAME",
    default_text="that of .trailsink.toml, else the settings of the shell",
    example="trailsink",
    help="Take all settings from this stack.",
)
@option(
    "--profile",
    metavar="NAME",
    default_text="AWS_PROFILE, else that of .trailsink.toml",
    example="security",
    help="Profile of AWS.",
)
@option(
    "--region",
    metavar="NAME",
    default_text="AWS_REGION, else that of .trailsink.toml",
    example="eu-central-1",
    help="Region of AWS.",
)
@click.pass_context
def main(ctx: click.Context, stack: str | None, profile: str | None, region: str | None) -> None:
    """Bring CloudTrail log files from S3 into OpenSearch, losing none and doubling none.

    Settings are environment variables, TRAILSINK_*; docs/reference/settings.md lists them. --stack takes them from a
    deployed stack. Region, credentials and endpoints of AWS are boto3's own: AWS_REGION, AWS_PROFILE and so on.
    .trailsink.toml in the current folder may name stack, profile and region.

    Exit codes: 0 done; 1 something is wrong, and one sentence says what; 2 the command line is wrong; 3, of verify
    only, nothing could be judged.
    """
    if any(name.startswith("TRAILSINK_") for name in os.environ):
        _warn_of_unknown_settings()
    if stack or profile or region or Path(".trailsink.toml").exists():
        _apply(ctx, stack, profile, region)


def _apply(ctx: click.Context, stack: str | None, profile: str | None, region: str | None) -> None:
    """Hold the options, and the file of this folder, for the command that follows."""
    from worker.cli.context import points_at_pipeline, read_defaults, use_account  # noqa: PLC0415 - rarely needed

    defaults = read_defaults()
    use_account(profile, region, defaults)
    name = stack or defaults.stack
    if not name:
        return
    # The shell wins over the file; what these three are about is a stack in any case.
    is_used = stack or not points_at_pipeline()
    commands = _WITH_OWN_STACK if is_used else _OF_A_STACK
    ctx.default_map = {command: {"name": name} for command in commands}
    if is_used:
        ctx.meta[STACK_NAME] = name
    elif ctx.invoked_subcommand not in _OF_A_STACK:
        click.echo(f"Warning: .trailsink.toml names the stack {name}, but this shell has settings; they win.", err=True)


def _warn_of_unknown_settings() -> None:
    from worker.settings import unknown_settings  # noqa: PLC0415 - `trailsink template` needs no settings

    for name in unknown_settings(os.environ):
        click.echo(f"Warning: {escape_control_characters(name)} is not a setting of trailsink.", err=True)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
