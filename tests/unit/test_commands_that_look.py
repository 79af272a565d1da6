"""Promises about what the commands that look, and draw, take, and about their manual."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from worker.cli import main
from worker.cli_dashboards import dashboards


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--last", "2h", "--since", "2026-01-01"), "--last and --since both say where to begin"),
        (("--limit", "5", "--all"), "--limit and --all exclude each other"),
        (("--fields", "eventName,"), "write names with commas between"),
        (("--fields", "user*"), "write names with commas between"),
        (("--last", "soon"), "is no span"),
        (("--limit", "0"), "0 is not in the range"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(words: tuple[str, ...], said: str) -> None:
    """Exit code 2 is for what was typed wrong."""
    done = CliRunner().invoke(main, ["search", *words])

    assert done.exit_code == 2
    assert said in done.stderr


@pytest.mark.parametrize("words", [("search",), ("explain", "x")])
def test_without_a_cluster_the_setting_is_named(words: tuple[str, ...]) -> None:
    """The first thing that a newcomer forgets."""
    done = CliRunner().invoke(main, list(words))

    assert (done.exit_code, done.stderr) == (1, "Error: TRAILSINK_OPENSEARCH_URL is not set.\n")


def options(command: click.Command) -> list[click.Option]:
    return [one for one in command.params if isinstance(one, click.Option)]


COMMANDS = {name: main.commands[name] for name in ("search", "explain", "status")} | {
    f"dashboards {name}": command for name, command in dashboards.commands.items()
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_manual_gives_each_option_a_default_and_each_value_an_example(name: str) -> None:
    """`--help` is all that most people read."""
    assert COMMANDS[name].help
    for option in options(COMMANDS[name]):
        assert option.help
        assert "[default: " in option.help or option.default is not None, option.name
        assert option.is_flag or "Example: " in option.help, option.name
