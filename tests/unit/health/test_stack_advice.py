"""Promises about advice for a stack: what is typed acts on that stack."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from worker.cli.main import main
from worker.health.stack_advice import for_stack

# Of these, nobody is advised to type more than the name, or they know no stack.
WITHOUT_STACK = {"package", "status"}
HEALTH = Path(__file__).parents[3] / "worker" / "health"


@pytest.mark.parametrize(
    ("advice", "expected"),
    [
        ("trailsink setup --existing", "trailsink setup --stack audit --existing"),
        ("trailsink setup", "trailsink setup --stack audit"),
        (
            "trailsink reindex, if one was interrupted: it goes on; otherwise PUT /c/_settings {}",
            "trailsink reindex --stack audit, if one was interrupted: it goes on; otherwise PUT /c/_settings {}",
        ),
        ("add a notification; `trailsink deploy` does", "add a notification; `trailsink deploy --stack audit` does"),
        ("trailsink deploy --stack other", "trailsink deploy --stack other"),
        ("export TRAILSINK_INDEX_PARTITION=month", "trailsink deploy --stack audit --set IndexPartition=month"),
        (
            "delete old indices yourself, or set TRAILSINK_RETENTION_DAYS to 0",
            "delete old indices yourself, or trailsink deploy --stack audit --set RetentionDays=0",
        ),
        ("2 letters; trailsink dlq list names them", "2 letters; trailsink dlq list --stack audit names them"),
        ("`trailsink hold release` ends a hold", "`trailsink hold release --stack audit` ends a hold"),
        ("trailsink verify has recorded no verdict", "trailsink verify has recorded no verdict"),
        ("", ""),
    ],
)  # fmt: skip
def test_commands_name_the_stack(advice: str, expected: str) -> None:
    """A shell may point at another pipeline, which they would change."""
    assert for_stack(advice, "audit") == expected
    assert for_stack(advice, "") == advice


def test_every_command_that_is_advised_is_known() -> None:
    """A new one in a check must not be forgotten here."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in HEALTH.glob("*.py"))
    context = click.Context(main)
    advised = {name for name in re.findall(r"\btrailsink ([a-z]+)\b", text) if main.get_command(context, name)}
    groups = {"dlq": "dlq list", "hold": "hold apply", "ledger": "ledger rebuild"}

    typed = {f"trailsink {groups.get(name, name)}" for name in advised - WITHOUT_STACK}

    assert len(typed) > 8
    assert {command for command in typed if for_stack(command, "audit") == command} == set()
