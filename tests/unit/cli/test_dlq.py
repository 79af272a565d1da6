"""Promises about what `trailsink dlq` tells its user before anything is done."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from worker.cli.commands.dlq import dlq
from worker.cli.main import main


def test_the_group_has_what_an_operator_does() -> None:
    """One word each."""
    assert sorted(dlq.commands) == ["discard", "export", "import", "list", "redrive", "show"]


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
