"""Documents cannot rot: what the README says is held against the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from worker.cli.main import main
from worker.errors import Reason
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def row(name: str, field: Any) -> str:
    default = getattr(field.default, "value", field.default)
    shown = "" if default in ("", None) else f"`{default}`"
    return f"| `TRAILSINK_{name.upper()}` | {shown} | {field.description} |"


def test_the_readme_lists_every_setting_as_it_is() -> None:
    """A setting that nobody can read about does not exist."""
    expected = [row(name, field) for name, field in Settings.model_fields.items()]

    found = [line for line in README.splitlines() if line.startswith("| `TRAILSINK_")]

    assert found == expected


def test_the_readme_explains_every_reason_of_a_dead_letter() -> None:
    """An operator meets the code first, and looks it up."""
    table = README[README.index("| reason of a letter") :]

    missing = [reason for reason in Reason if f"`{reason}`" not in table]

    assert missing == []


def commands(group: click.Group, prefix: str) -> set[str]:
    found: set[str] = set()
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        found |= {f"{prefix} {name}"}
        found |= commands(command, f"{prefix} {name}") if isinstance(command, click.Group) else set()
    return found


def test_the_readme_names_only_commands_that_exist() -> None:
    """A command in the README is one that a newcomer types."""
    known = commands(main, "trailsink")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    named = set(re.findall(r"`(trailsink (?:dlq )?[a-z]+)", README)) | {
        f"trailsink {words}" for words in re.findall(r"\.venv/bin/trailsink ((?:dlq )?[a-z]+)", README)
    }
    made = set(re.findall(r"\bmake ([a-z]+)", README)) - {"it"}

    assert named <= known
    assert made <= targets
