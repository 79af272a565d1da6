"""Promises about the command line of `trailsink run` and `setup`, and what a run prints."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tests.support.factories import event, log_file
from tests.support.fakes import make_pipeline
from worker.cli.main import main
from worker.cli.run import _reporting, _Totals
from worker.settings import load_settings


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


def test_the_role_to_map_is_an_arn() -> None:
    """On a server without roles, any word was accepted."""
    result = CliRunner().invoke(main, ["setup", "--loader-role", "nonsense"])

    assert result.exit_code == 2
    assert "--loader-role takes the ARN of an IAM role, not nonsense" in result.stderr


@pytest.mark.parametrize(("emf", "kinds"), [(None, ["batch"]), ("true", ["batch", "metrics"])])
def test_metrics_for_cloudwatch_are_printed_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], emf: str | None, kinds: list[str]
) -> None:
    """Only Lambda and CloudWatch's agent read these two kilobytes a batch."""
    if emf:
        monkeypatch.setenv("TRAILSINK_EMF", emf)
    with make_pipeline() as pipeline, _reporting(load_settings(), _Totals(), live=False) as report:
        report(pipeline.consume(pipeline.announce("a", log_file(event(1)), 1)))

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted({"metrics" if "_aws" in line else line["message"] for line in lines}) == kinds
