"""The command lines of `trailsink detect`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.options import (
    DURATION,
    JSON_LINES,
    examples,
    flag,
    implemented_by,
    last_option,
    option,
    since_option,
    until_option,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.cli.options import Command

# worker.detect.rules has the same, but a declaration imports nothing of the work.
_LEVELS = ("informational", "low", "medium", "high", "critical")


@click.group(
    short_help="Find events by Sigma rules.",
    epilog=examples(
        "trailsink detect coverage rules/          # which rules can be searched for?",
        "trailsink detect test rules/ --last 30d   # what would they have found?",
        "trailsink detect run rules/ --since-last  # what is new?",
    ),
)
def detect() -> None:
    """Find events by Sigma rules, which are read from files and folders of yours.

    Rules for CloudTrail have the log source product: aws, service: cloudtrail; others are left out. Text is compared in
    any case, as Sigma means it. It needs the extra trailsink[detect].
    """


def _rules(command: Command) -> Command:
    """Add the rules, and which of them."""
    level = option(
        "--level",
        type=click.Choice(_LEVELS),
        default_text="all",
        example="high",
        help="Only rules of at least this level, and rules without one.",
    )
    paths = click.argument("rules", nargs=-1, required=True, metavar="RULES...", type=click.Path(path_type=Path))
    return paths(level(command))


def _group_command(name: str, short_help: str, *lines: str) -> Callable[[Command], click.Command]:
    return detect.command(name, short_help=short_help, epilog=examples(*lines))


@_group_command(
    "test",
    "Show what rules would have found.",
    "trailsink detect test rules/ --last 30d",
    "trailsink detect test rules/login.yml --since 2026-01-01 --json",
)
@_rules
@last_option("Only events of the last s, m, h, d or w.", default_text="all")
@since_option("Only events from this day or instant on, in UTC.", default_text="the first event", example="2026-01-31")
@until_option("Only events before this day or instant, in UTC.", default_text="the last event", example="2026-02-01")
@JSON_LINES
@implemented_by("worker.cli.detect:backtest")
def backtest() -> None:
    """Show what the RULES would have found: hits by day, by account and by caller.

    Times are the events' own. Nothing is written.
    """


@_group_command(
    "run",
    "Find what is new, and announce it.",
    "trailsink detect run rules/ --since-last",
    "trailsink detect run rules/ --webhook https://hooks.example.com/x",
)
@_rules
@flag(
    "--since-last",
    help="Look at what was indexed since the last run of each rule.",
    default_text="yes, unless --last is passed",
)
@last_option(
    "Look at what was indexed in the last s, m, h, d or w instead, and do not note how far the rules have come.",
    default_text="since the last run",
    example="2h",
)
@option(
    "--first",
    type=DURATION,
    metavar="DURATION",
    default=timedelta(days=1),
    show_default="1d",
    example="30d",
    help="How far back the first run of a rule looks: s, m, h, d or w.",
)
@option(
    "--overlap",
    type=DURATION,
    metavar="DURATION",
    default=timedelta(minutes=30),
    show_default="30m",
    example="2h",
    help="How much of the last run to look at again, for events that were being indexed: s, m, h, d or w. It must be "
    "longer than the loader's longest batch, and the difference of the clocks.",
)
@option(
    "--sns",
    metavar="ARN",
    default_text="none",
    example="arn:aws:sns:eu-west-1:123456789012:alerts",
    help="Publish each new finding to this topic.",
)
@option(
    "--webhook",
    metavar="URL",
    default_text="none",
    example="https://hooks.example.com/findings",
    help="Post new findings to this address, as JSON.",
)
@implemented_by("worker.cli.detect:run_rules")
def run_rules() -> None:
    """Find what is new by RULES, write each finding once, and announce it.

    Findings are in the index trailsink-findings-PREFIX.

    Each new finding is a line of JSON. A run that is killed is finished by the next one: a finding is written once, and
    announced at least once. Exit codes: 0 nothing is new; 3 there are new findings; 1 something is wrong.
    """


@_group_command(
    "install",
    "Write monitors for the Alerting plugin.",
    "trailsink detect install rules/ --output monitors.json",
    "trailsink detect install rules/ --level high --put --channel 3kX9dYsBZ",
)
@_rules
@option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    default=Path("-"),
    show_default="standard output",
    example="monitors.json",
    help="Where to write the monitors, as a JSON array.",
)
@flag("--put", "put", help="Create or replace them in the cluster instead.", default_text="write them")
@option(
    "--every",
    type=click.IntRange(1),
    metavar="MINUTES",
    default=5,
    example="15",
    help="How often each monitor runs.",
)
@option(
    "--channel",
    metavar="ID",
    default_text="alerts only",
    example="3kX9dYsBZ",
    help="Id of the notification channel that gets a message.",
)
@implemented_by("worker.cli.detect:install_monitors")
def install_monitors() -> None:
    """Write a monitor of OpenSearch's Alerting plugin for each of the RULES, or create it in the cluster.

    A monitor asks the same as `trailsink detect run`. Correlations need that command.
    """


@_group_command(
    "coverage",
    "Show which rules can be searched for.",
    "trailsink detect coverage rules/",
    "trailsink detect coverage rules/ --json",
)
@_rules
@JSON_LINES
@implemented_by("worker.cli.detect:coverage")
def coverage() -> None:
    """Show of each of the RULES whether it can fire on the indices of this prefix.

    If it cannot, one sentence says why. Rules for other sources than CloudTrail are only counted.
    """


@_group_command(
    "pipeline",
    "Print a pySigma pipeline, for queries of your own.",
    "trailsink detect pipeline > trailsink.yml",
    "trailsink detect pipeline | less",
)
@implemented_by("worker.cli.detect:print_pipeline")
def print_pipeline() -> None:
    """Print a processing pipeline for pySigma's OpenSearch backend, whose queries then find the same.

    Use it as in: sigma convert -t opensearch -p trailsink.yml rules/. It needs OpenSearch 3.4 or newer.
    """
