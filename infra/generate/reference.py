"""The reference pages: settings, commands, reasons, metrics, JSON and permissions, from the code itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra.generate.json_page import json_page
from infra.generate.markdown import code, page, table
from infra.generate.permissions import permissions_page
from worker.cli.main import main
from worker.dlq.eligibility import REDRIVE_RULES
from worker.dlq.reasons import MEANINGS, REASONS
from worker.settings import Settings, variable
from worker.telemetry import DIMENSION, METRICS, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator


def pages() -> dict[str, str]:
    """Return the text of every reference page, by its path below docs/."""
    return {
        "reference/settings.md": settings_page(),
        "reference/commands.md": commands_page(),
        "reference/reasons.md": reasons_page(),
        "reference/metrics.md": metrics_page(),
        "reference/json.md": json_page(),
        "reference/permissions.md": permissions_page(),
    }


def settings_page() -> str:
    """Return the list of settings."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = getattr(field.default, "value", field.default)
        rows.append((f"`{variable(name)}`", "" if default in ("", None) else f"`{default}`", field.description or ""))
    introduction = (
        "Settings are environment variables. Times are in seconds, sizes in bytes. An empty variable is not set."
        " Region, credentials and endpoints of AWS are boto3's own: `AWS_REGION`, `AWS_PROFILE`, `AWS_ENDPOINT_URL` and"
        " so on."
    )
    return page("Settings", introduction, table(("variable", "default", "meaning"), rows))


def commands_page() -> str:
    """Return every command with its options."""
    introduction = (
        "Each command prints this, and examples, with `--help`. Exit codes: 0 done; 1 something is wrong, and one"
        " sentence says what; 2 the command line is wrong. Piped output is plain and never cut."
    )
    return page("Commands", introduction, *_commands(main, "trailsink"))


def _commands(group: click.Group, name: str) -> Iterator[str]:
    context = click.Context(group, info_name=name)
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        if isinstance(command, click.Group):
            yield from _commands(command, f"{name} {word}")
        elif command:
            yield _command(command, f"{name} {word}")


def _command(command: click.Command, name: str) -> str:
    context = click.Context(command, info_name=name, show_default=True)
    usage = " ".join(command.collect_usage_pieces(context))
    paragraphs = [f"## `{name}`", f"`{name} {usage}`", _help_text(command)]
    records = [
        parameter.get_help_record(context)
        for parameter in command.get_params(context)
        if "--help" not in parameter.opts
    ]
    rows = [(f"`{record[0]}`", " ".join(record[1].split())) for record in records if record]
    return "\n\n".join([*paragraphs, table(("option", "meaning"), rows)] if rows else paragraphs)


def _help_text(command: click.Command) -> str:
    """Return a command's help; what click must not wrap is shown as it is."""
    paragraphs = []
    for paragraph in (command.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):
            paragraphs.append("```\n" + paragraph.removeprefix("\b\n") + "\n```")
        else:
            paragraphs.append(" ".join(paragraph.split()))
    return "\n\n".join(paragraphs)


def reasons_page() -> str:
    """Return the reasons of dead letters: what is wrong, and when a redrive moves the letter."""
    rules = {reason: rule for reasons, rule in REDRIVE_RULES for reason in reasons}
    rows = [(f"`{reason}`", MEANINGS[reason], rules[reason]) for reason in REASONS]
    introduction = (
        "The `reason` of a dead letter is one of these codes. They are stable. The last column says when"
        " `trailsink dlq redrive` moves a letter back to the source queue. `--force` moves it in any case."
        " [Dead letters](../dead-letters.md) explains the commands."
    )
    return page("Reasons of dead letters", introduction, table(("reason", "meaning", "redrive"), rows))


def metrics_page() -> str:
    """Return the metrics."""
    rows = [(f"`{metric.name}`", metric.unit, metric.meaning) for metric in METRICS]
    introduction = (
        f"CloudWatch metrics in the namespace `{NAMESPACE}`, one EMF line per batch. The only dimension is"
        f" {code([DIMENSION])}, the name of the source queue. `TRAILSINK_EMF=false` turns them off."
    )
    return page("Metrics", introduction, table(("metric", "unit", "meaning"), rows))
