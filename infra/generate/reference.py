"""The reference pages: settings, commands, reasons, metrics, JSON and permissions, from the code itself."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import click

from infra.generate.json_page import json_page
from infra.generate.markdown import code, page, table
from infra.generate.permissions import permissions_page
from infra.generate.policies import policies_page
from infra.generate.terraform import read_template
from worker.cli.main import main
from worker.dlq.eligibility import REDRIVE_RULES
from worker.dlq.reasons import MEANINGS, REASONS
from worker.settings import Settings, variable
from worker.telemetry import DIMENSION, METRICS, NAMESPACE
from worker.verify.metrics import VERIFY_METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator


def pages() -> dict[str, str]:
    """Return the text of every reference page, by its path below docs/."""
    return {
        "reference/settings.md": settings_page(),
        "reference/parameters.md": parameters_page(),
        "reference/commands.md": commands_page(),
        "reference/reasons.md": reasons_page(),
        "reference/metrics.md": metrics_page(),
        "reference/json.md": json_page(),
        "reference/permissions.md": permissions_page(),
        "reference/policies.md": policies_page(),
    }


def settings_page() -> str:
    """Return the list of settings."""
    template = read_template()
    variables = template["Resources"]["LoaderFunction"]["Properties"]["Environment"]["Variables"]
    rows = []
    for name, field in Settings.model_fields.items():
        in_stack = _parameter(variables.get(variable(name)), template["Parameters"])
        rows.append((f"`{variable(name)}`", _default(field.default), in_stack, field.description or ""))
    introduction = (
        "Settings are environment variables. Times are in seconds, sizes in bytes (1 MiB is 1048576). An empty variable"
        " is not set. On Lambda, the [parameter](parameters.md) of the third column sets it; the stack sets the others"
        " that say so."
        " Region, credentials and endpoints of AWS are boto3's own: `AWS_REGION`, `AWS_PROFILE`, `AWS_ENDPOINT_URL` and"
        " so on."
    )
    return page("Settings", introduction, table(("variable", "default", "in the stack", "meaning"), rows))


def _default(value: object) -> str:
    value = getattr(value, "value", value)
    return "" if value in ("", None) else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _parameter(value: object, parameters: dict[str, object]) -> str:
    """Return the parameter that a variable of the function has its value from."""
    if value is None:
        return ""
    names = [name for name in parameters if f'"{name}"' in json.dumps(value)]
    return f"`{names[0]}`" if len(names) == 1 else "set"


def parameters_page() -> str:
    """Return the parameters of the CloudFormation template."""
    rows = []
    for name, rules in read_template()["Parameters"].items():
        values = ", ".join(f"`{value}`" for value in rules.get("AllowedValues", ()))
        if "MaxValue" in rules:
            values = f"{rules['MinValue']} to {rules['MaxValue']}"
        default = rules.get("Default", "*required*")
        rows.append(
            (
                f"`{name}`",
                f"`{default}`" if default not in ("", "*required*") else default,
                values,
                rules["Description"],
            )
        )
    introduction = (
        "`trailsink deploy --set NAME=VALUE` sets a parameter of the CloudFormation template. `trailsink deploy` fills"
        " in `TrailBucketName`, `CodeBucket`, `CodeKey` and `ScheduledCodeKey`."
    )
    return page("Parameters of the stack", introduction, table(("parameter", "default", "values", "meaning"), rows))


def commands_page() -> str:
    """Return every command with its options."""
    introduction = (
        "Each command prints this, and examples, with `--help`. Exit codes: 0 done; 1 something is wrong, and one"
        " sentence says what; 2 the command line is wrong, or the command cannot ask and `--yes` is missing; 3,"
        " of `verify` only, nothing could be judged. Output to a pipe has no colour and is not truncated."
    )
    return page("Commands", introduction, _CONVENTIONS, *_commands(main, "trailsink"))


_CONVENTIONS = """## What all commands have in common

- **Verdicts**: `ok`, `warning`, `fault`. What could not be checked is `unknown` in `status`, and `not checked` in
  `doctor`.
- **Times** are UTC. Documents have ISO 8601: `2026-03-01T10:00:00Z`, in the documents of `status` with `+00:00`.
  For people there is a minute, as in `2026-03-01 10:00 UTC`, or an age, as in `3h 20m`.
- **Sizes** are binary: KiB, MiB, GiB. Counts have commas, and documents have plain numbers.
- **`--json`** is an option of every command that lists, counts or checks. [JSON](json.md) lists the members. `run`
  always prints JSON lines, and `deploy` one document. `setup` and `destroy` print sentences only.
- **Limits**: `--limit 0` is all, and so is `search --all`.
- **Exit code 1** of a search: a `search` without hits ends with 0, as a listing does. `explain` of an event that is not
  there ends with 1. `backfill` ends with 0 if nothing is missing, and with 1 if nothing matches the options. `redrive`
  ends with 1 if it moves nothing that it was told to, and its `--dry-run` with 0. An answer of no changes nothing and
  ends with 1."""


def _commands(group: click.Group, name: str) -> Iterator[str]:
    context = click.Context(group, info_name=name)
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        if isinstance(command, click.Group):
            if command.params:
                yield _command(command, f"{name} {word}")
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
    rows = [(f"`{record[0]}`", _meaning(record[1])) for record in records if record]
    rows = [(f"`{metavar}`", _ARGUMENTS[metavar]) for metavar in _arguments(command, context)] + rows
    return "\n\n".join([*paragraphs, table(("option", "meaning"), rows)] if rows else paragraphs)


# Click's arguments have no help of their own.
_ARGUMENTS = {
    "TEAM": "The name of the team, which becomes a part of the role's.",
    "[QUERY]": "OpenSearch query string, for example `eventName:ConsoleLogin AND errorCode:*`; without it, all events.",
    "EVENTID": "The eventID; a requestID or a sharedEventID is recognised.",
    "NAME": "The name of a hold, as `trailsink hold list` shows it.",
    "COMMAND": "The command that the policy is for.",
    "ID": "The id of a dead letter, as `trailsink dlq list` shows it.",
    "[ID]...": "Ids of dead letters, as `trailsink dlq list` shows them.",
    "FOLDER": "The folder: a copy of a bucket, or any folder with CloudTrail files somewhere below it.",
    "RULES...": "Files of Sigma rules, and folders of such files.",
    "FILE": "The file; `-` is standard output, or standard input.",
}


def _arguments(command: click.Command, context: click.Context) -> list[str]:
    return [
        parameter.make_metavar(context)
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Argument)
    ]


def _meaning(text: str) -> str:
    """Return an option's help on one line, with its range in words."""
    return re.sub(r"(\d+)<=x<=(\d+)", r"\1 to \2", " ".join(text.split()))


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
        " `trailsink dlq redrive` moves a dead letter back to the source queue. With `--force`, it always does."
        " [Dead letters](../dead-letters.md) explains the commands."
    )
    return page("Reasons of dead letters", introduction, table(("reason", "meaning", "redrive"), rows))


def metrics_page() -> str:
    """Return the metrics."""
    rows = [(f"`{metric.name}`", metric.unit, metric.meaning) for metric in METRICS]
    introduction = (
        f"CloudWatch metrics in the namespace `{NAMESPACE}`, one line in Embedded Metric Format (EMF) per batch. The"
        f" only dimension is {code([DIMENSION])}, the name of the source queue. `TRAILSINK_EMF=false` turns them off;"
        " `trailsink run` prints them only with `TRAILSINK_EMF=true`."
        " `trailsink run --health PORT` shows them at `/metrics` in the format of Prometheus: counters as"
        " `trailsink_files_indexed_total`, and the lags as histograms, `trailsink_delivery_lag_seconds`."
    )
    rows += [
        (f"`{metric.name}`", "Count", f"{metric.meaning}; of a scheduled verification") for metric in VERIFY_METRICS
    ]
    return page("Metrics", introduction, table(("metric", "unit", "meaning"), rows))
