"""Promises about what `trailsink dlq` tells its user before anything is done: its help, and how a letter is printed."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from worker.cli import main
from worker.cli_dlq import dlq

COMMANDS = sorted(dlq.commands)


def test_the_group_has_what_an_operator_does() -> None:
    """One word each."""
    assert COMMANDS == ["discard", "export", "import", "list", "redrive", "show"]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_says_its_unit_its_default_and_an_example(name: str) -> None:
    """The help is the manual; a flag is its own example."""
    for option in dlq.commands[name].params:
        if not isinstance(option, click.Option):
            continue
        assert option.help, option.name
        if option.is_flag:
            continue
        assert option.metavar, option.name
        assert "Example: " in option.help, option.name
        assert "[default: " in option.help or isinstance(option.default, (str, int)), option.name


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_fits_a_terminal_of_80_columns(name: str) -> None:
    """Nobody reads what wraps."""
    shown = CliRunner().invoke(main, ["dlq", name, "--help"], terminal_width=80)

    assert shown.exit_code == 0
    assert max(map(len, shown.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--reason", "trunkated"),
        ("list", "--older-than", "soon"),
        ("redrive", "--rate", "501"),
        ("redrive", "--attach", "--cancel"),
        ("discard", "--yes"),
        ("discard", "--all", "--to", "-"),
        ("import", "x", "--to", "nowhere"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(words: tuple[str, ...]) -> None:
    """Told before any queue is asked."""
    done = CliRunner().invoke(main, ["dlq", *words])

    assert (done.exit_code, done.stdout) == (2, "")
    assert "Usage: " in done.stderr
