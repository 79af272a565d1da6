"""Promises about `--help` of every command that there is: whoever reads it needs no other manual."""

from __future__ import annotations

import inspect
import re
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from worker.cli.backfill_options import BackfillOptions
from worker.cli.dlq.context import build_filter
from worker.cli.filter import TrialOptions
from worker.cli.main import main
from worker.cli.options import DURATION, TIMESTAMP, Implementation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COLUMNS = 80

# What stands in the place of arguments while an option is tried.
ARGUMENTS = {
    "COMMAND": ["run"],
    "NAME": ["case-17"],
    "[QUERY]": [],
    "EVENTID": ["x"],
    "TEAM": ["x"],
    "ID": ["x"],
    "[ID]...": [],
    "FILE": ["x"],
    "RULES...": ["."],
    "FOLDER": ["x"],
}


def tree(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """The command itself and everything below it, by what is typed."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for word in command.list_commands(context):
            if inner := command.get_command(context, word):
                yield from tree(inner, f"{name} {word}")


ALL = dict(tree(main, "trailsink"))
ADDED = {"help", "version"}  # by click, which explains them
OPTIONS = [
    (name, option)
    for name, command in ALL.items()
    for option in command.params
    if isinstance(option, click.Option) and option.name not in ADDED
]
WITH_A_VALUE = [(name, option) for name, option in OPTIONS if not option.is_flag]

every_command = pytest.mark.parametrize("name", ALL)
every_option = pytest.mark.parametrize(
    ("name", "option"), OPTIONS, ids=[f"{name} {option.opts[0]}" for name, option in OPTIONS]
)
every_value = pytest.mark.parametrize(
    ("name", "option"), WITH_A_VALUE, ids=[f"{name} {option.opts[0]}" for name, option in WITH_A_VALUE]
)


# What an implementation that takes `**options` hands them to.
TAKES_THE_REST: dict[str, Callable[..., object]] = {
    "trailsink backfill": BackfillOptions,
    "trailsink filter test": TrialOptions,
}
TAKES_A_FILTER = {"trailsink dlq list", "trailsink dlq redrive", "trailsink dlq discard", "trailsink dlq export"}
TAKES_THE_REST |= dict.fromkeys(TAKES_A_FILTER, build_filter)


@pytest.mark.parametrize("name", [name for name, command in ALL.items() if not isinstance(command, click.Group)])
def test_a_command_and_its_implementation_take_the_same(name: str) -> None:
    """They are in two modules, and only a call would show that one of them lacks an option."""
    callback = ALL[name].callback
    assert isinstance(callback, Implementation)
    parameters = inspect.signature(callback.load()).parameters
    named = {parameter.name for parameter in parameters.values() if parameter.kind is not parameter.VAR_KEYWORD}
    rest = inspect.signature(TAKES_THE_REST[name]).parameters if len(named) < len(parameters) else {}

    declared = {str(parameter.name) for parameter in ALL[name].params if parameter.expose_value} - ADDED

    assert declared - named <= set(rest)
    assert named <= declared
    assert {key for key, parameter in rest.items() if parameter.default is parameter.empty} <= declared


def page(name: str) -> str:
    """The manual as a terminal of 80 columns shows it."""
    shown = CliRunner().invoke(
        main, [*name.split()[1:], "--help"], prog_name="trailsink", env={"COLUMNS": str(COLUMNS)}
    )
    assert shown.exit_code == 0, shown.output
    return shown.stdout


def flowing(text: str) -> str:
    """Text without its line breaks."""
    return " ".join(text.split())


def told(option: click.Option, name: str) -> str:
    """What the manual says of an option, on one line."""
    record = option.get_help_record(click.Context(ALL[name], show_default=True))
    assert record
    return flowing(record[1])


def parse(words: list[str]) -> None:
    """Read a command line as the command would, and do nothing; raises click's own error for a wrong one."""
    command: click.Command = main
    while (
        isinstance(command, click.Group) and words and (inner := command.get_command(click.Context(command), words[0]))
    ):
        command, words = inner, words[1:]
    with suppress(click.exceptions.Exit):  # which is how --help ends
        command.make_context("trailsink", words)


def examples(command: click.Command) -> list[list[str]]:
    """The examples of a manual as words, each up to its comment, its pipe or its redirection."""
    found = []
    for line in (command.epilog or "").replace("\\\n", "").splitlines()[2:]:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
        end = next((at for at, word in enumerate(words) if set(word) <= set("|&><;")), len(words))
        found.append(words[:end])
    return found


@every_command
def test_a_manual_has_a_summary_a_body_and_an_example_and_fits_the_terminal(name: str) -> None:
    """What a man page has, in 80 columns; where a group lists its commands, no summary is cut."""
    command, shown = ALL[name], page(name)

    assert len((command.help or "").split("\n\n")) > 1, "one sentence, and what else there is to know"
    assert "Examples:" in shown
    assert max(map(len, shown.splitlines())) <= COLUMNS
    assert "\b" not in shown
    assert "\\b" not in shown
    if isinstance(command, click.Group):
        assert "..." not in shown.partition("\nCommands:\n")[2]


@every_command
def test_the_examples_of_a_manual_are_commands_that_can_be_typed(name: str) -> None:
    """Each is read as the command would read it; what is wrong with it is click's to say."""
    found = examples(ALL[name])

    assert found
    for words in found:
        assert words[0] == "trailsink"
        assert " ".join(words).startswith(name)
        parse(words[1:])


@every_command
def test_a_manual_explains_each_argument_by_its_name(name: str) -> None:
    """Click itself says nothing of them but the name."""
    arguments = [one for one in ALL[name].params if isinstance(one, click.Argument)]

    for argument in arguments:
        assert argument.make_metavar(click.Context(ALL[name])) in ARGUMENTS
        assert re.search(
            rf"\b{(argument.metavar or argument.name or '').strip('[].').upper()}s?\b", ALL[name].help or ""
        )


@every_option
def test_an_option_says_what_it_does_and_what_happens_without_it(name: str, option: click.Option) -> None:
    """Once: two defaults side by side are a riddle."""
    text = told(option, name)

    assert re.match(r"[A-Za-z]+.* ", text)
    assert text.count("[default: ") == 1


@every_value
def test_an_option_that_takes_a_value_gives_its_unit_or_what_is_allowed(name: str, option: click.Option) -> None:
    """A number alone may be seconds or minutes, a time anybody's."""
    text, metavar = told(option, name), option.metavar or ""

    match option.type:
        case click.IntRange() | click.FloatRange() | click.types.IntParamType() | click.types.FloatParamType():
            assert re.fullmatch(r"\[?([A-Z]+S|PER_SECOND)\]?", metavar), "a number is of something"
        case click.Choice(choices=choices):
            around = page(name) + page(name.rpartition(" ")[0] or name)
            assert all(re.search(rf"\b{re.escape(one)}\b", around) for one in choices)
        case one if one is DURATION:
            assert "s, m, h, d or w" in text
        case one if one is TIMESTAMP:
            assert "UTC" in text
        case _:
            assert metavar


@every_value
def test_an_option_that_takes_a_value_shows_one_that_it_takes(name: str, option: click.Option) -> None:
    """The example is read as the command would read it: it cannot rot."""
    value = re.search(r"Example: (\S+)", told(option, name))

    assert value
    arguments = [one for one in ALL[name].params if isinstance(one, click.Argument)]
    others = [word for one in arguments for word in ARGUMENTS[one.make_metavar(click.Context(ALL[name]))]]
    parse([*name.split()[1:], option.opts[0], value[1], *others])


def test_what_other_tools_have_for_help_and_version_works() -> None:
    """`git help log`, `docker version`: habits of the fingers."""
    runner = CliRunner()
    pairs = {
        ("help",): ("--help",),
        ("help", "search"): ("search", "--help"),
        ("help", "dlq", "list"): ("dlq", "list", "--help"),
        ("version",): ("--version",),
    }

    for words, others in pairs.items():
        typed, expected = (runner.invoke(main, [*line], prog_name="trailsink") for line in (words, others))
        assert (typed.exit_code, typed.stdout) == (0, expected.stdout)
