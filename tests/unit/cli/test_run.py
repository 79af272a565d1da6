"""Promises about the command line of `trailsink run`, before anything is consumed."""

from __future__ import annotations

from click.testing import CliRunner

from worker.cli.main import main


def test_a_timeout_without_an_end_is_refused() -> None:
    """`run --timeout 5` ended after 5 s with exit code 0, as if the queue were empty."""
    result = CliRunner().invoke(main, ["run", "--timeout", "5"])

    assert result.exit_code == 2
    assert "--timeout is for --until-idle" in result.stderr


def test_all_missing_settings_are_named_at_once() -> None:
    """Four runs told four of them; the region is read from the queue's address."""
    result = CliRunner().invoke(main, ["run"])

    assert result.exit_code == 1
    assert result.stderr == (
        "Error: TRAILSINK_QUEUE_URL, TRAILSINK_DEAD_LETTER_QUEUE_URL, TRAILSINK_OPENSEARCH_URL are not set.\n"
    )
