"""Promises about options that hold for the whole command line, and the file that names them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from worker.cli.context import Defaults, points_at_pipeline, read_defaults, use_account
from worker.cli.main import LazyGroup, _apply, main
from worker.cli.options import STACK_NAME
from worker.errors import SetupError

if TYPE_CHECKING:
    from pathlib import Path

FILE = Defaults(profile="of-file", region="eu-west-1")
KEYS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, and a shell without keys, profile and region."""
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", *KEYS):
        monkeypatch.setenv(name, "")
    return tmp_path


def test_the_file_names_stack_profile_and_region(folder: Path) -> None:
    """What one types in every command, written down once."""
    (folder / ".trailsink.toml").write_text('stack = "audit"\nprofile = "security"\nregion = "eu-central-1"\n')

    assert read_defaults() == Defaults("audit", "security", "eu-central-1")


def test_no_file_names_nothing(folder: Path) -> None:
    """Most folders have none."""
    assert read_defaults(folder / ".trailsink.toml") == Defaults()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            'opensearch_url = "https://evil"',
            "may only name stack, profile, region, each as a text; not opensearch_url.",
        ),
        ("stack = 7", "not stack."),
        ("stack = ", "cannot be read"),
    ],
)
def test_a_file_that_is_not_valid_is_one_sentence(folder: Path, text: str, sentence: str) -> None:
    """An address in the file of somebody's folder would get the credentials of whoever enters it."""
    (folder / ".trailsink.toml").write_text(text)

    with pytest.raises(SetupError, match=sentence.replace(".", r"\.")):
        read_defaults()


@pytest.mark.parametrize(
    ("shell", "profile", "region", "expected"),
    [
        ({}, None, None, ("of-file", "eu-west-1", "")),
        ({"AWS_PROFILE": "own", "AWS_REGION": "us-east-1"}, None, None, ("own", "us-east-1", "")),
        ({"AWS_ACCESS_KEY_ID": "key"}, None, None, ("", "eu-west-1", "key")),
        ({"AWS_ACCESS_KEY_ID": "key", "AWS_PROFILE": "own"}, "typed", "sa-east-1", ("typed", "sa-east-1", "")),
        ({"AWS_DEFAULT_REGION": "us-east-1"}, None, None, ("of-file", "", "")),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_is_typed_wins_over_the_shell_and_that_over_the_file(
    monkeypatch: pytest.MonkeyPatch,
    shell: dict[str, str],
    profile: str | None,
    region: str | None,
    expected: tuple[str, str, str],
) -> None:
    """As with the AWS CLI: keys of the shell would hide a profile that is typed."""
    for name, value in shell.items():
        monkeypatch.setenv(name, value)

    use_account(profile, region, FILE)

    names = ("AWS_PROFILE", "AWS_REGION", "AWS_ACCESS_KEY_ID")
    assert tuple(os.environ.get(name, "") for name in names) == expected


def test_a_shell_that_names_a_queue_points_at_a_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its settings are never mixed with those of a stack."""
    assert not points_at_pipeline()

    monkeypatch.setenv("TRAILSINK_QUEUE_URL", "https://queue")

    assert points_at_pipeline()


@pytest.mark.parametrize("name", ["deploy", "destroy", "doctor", "env", "permissions"])
@pytest.mark.usefixtures("folder")
def test_a_stack_before_the_command_is_that_of_the_command(name: str) -> None:
    """Whoever types it there, as with git -C, means the same."""
    context = main.make_context("trailsink", ["--stack", "audit", name, "run"])
    assert main.callback is not None
    with context:
        context.invoke(main.callback, **context.params)
    command = main.get_command(context, name)
    assert command is not None

    inner = command.make_context(name, ["run"] if name == "permissions" else [], parent=context)

    assert inner.params["name"] == "audit"


class FailingGroup(LazyGroup):
    """Whatever is asked for, it fails and says what to do."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:  # noqa: ARG002
        def fail() -> None:
            raise SetupError("The cluster has no index template: run `trailsink setup` first.")

        return click.Command(cmd_name, callback=fail)


@pytest.mark.parametrize(("stack", "command"), [("audit", "setup --stack audit"), ("", "setup")])
def test_what_an_error_advises_acts_on_the_stack(stack: str, command: str) -> None:
    """Typed as it is, in a shell that points at another pipeline."""
    context = FailingGroup(name="trailsink").make_context("trailsink", ["run"])
    context.meta[STACK_NAME] = stack

    with context, pytest.raises(click.ClickException) as raised:
        context.command.invoke(context)

    assert raised.value.message == f"The cluster has no index template: run `trailsink {command}` first."


def test_every_command_with_settings_takes_a_stack() -> None:
    """Ten variables in the shell are ten that may be another pipeline's."""
    context = click.Context(main)
    commands = [(name, main.get_command(context, name)) for name in main.list_commands(context)]
    inner = [
        (f"{name} {word}", command.get_command(context, word))
        for name, command in commands
        if isinstance(command, click.Group)
        for word in command.list_commands(context)
    ]

    without = {
        name
        for name, command in [*commands, *inner]
        if command and not isinstance(command, click.Group) and not any("--stack" in one.opts for one in command.params)
    }

    local = {f"local {word}" for word in ("up", "down", "status", "load")}
    assert without == {"package", "template", "verify keys"} | local


def test_the_shell_wins_over_the_file_and_it_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in a folder must not turn a command to another pipeline in silence."""
    (folder / ".trailsink.toml").write_text('stack = "audit"\n')
    monkeypatch.setenv("TRAILSINK_QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com/123456789012/other")

    printed = CliRunner().invoke(main, ["search"])

    assert "names the stack audit, but this shell has settings; they win." in printed.stderr
    assert "TRAILSINK_OPENSEARCH_URL" in printed.stderr


def test_doctor_and_status_look_at_the_same_pipeline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One looked at the file's stack, the other at what the shell points at."""
    (folder / ".trailsink.toml").write_text('stack = "audit"\n')
    monkeypatch.setenv("TRAILSINK_QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com/123456789012/other")

    context = main.make_context("trailsink", ["doctor"], resilient_parsing=True)
    context.invoked_subcommand = "doctor"
    with context:
        _apply(context, None, None, None)

    assert context.default_map is not None
    assert "doctor" not in context.default_map
    assert context.default_map["deploy"] == {"name": "audit"}
