"""Promises about what the commands that look take."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from worker.cli.main import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--last", "2h", "--since", "2026-01-01"), "--last and --since both set the start"),
        (("--limit", "5", "--all"), "--limit and --all exclude each other"),
        (("--fields", "eventName,"), "separate names by commas"),
        (("--fields", "user*"), "separate names by commas"),
        (("--last", "soon"), "is not a duration"),
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
