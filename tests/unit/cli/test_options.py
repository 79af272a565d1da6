"""Promises about what the commands share: tables, spans, moments and ages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest
from click.testing import CliRunner

from worker.cli.options import DURATION, TIMESTAMP
from worker.cli.output import confirm, print_table, style


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("2h", timedelta(hours=2)),
        ("30d", timedelta(days=30)),
        ("4w", timedelta(weeks=4)),
    ],
)
def test_a_span_is_a_number_and_a_unit(told: str, meant: timedelta) -> None:
    """The form that log tools have in common."""
    assert DURATION.convert(told, None, None) == meant


@pytest.mark.parametrize("told", ["", "30", "d", "-1d", "1.5h", "2 months", "0d", "99999999w"])
def test_what_is_no_span_is_refused_with_an_example(told: str) -> None:
    """The sentence says what to type instead."""
    with pytest.raises(click.BadParameter, match=r"30d|36500d"):
        DURATION.convert(told, None, None)


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("2025-01-31", datetime(2025, 1, 31, tzinfo=UTC)),
        ("2025-01-31T10:00:00Z", datetime(2025, 1, 31, 10, tzinfo=UTC)),
        ("2025-01-31T10:00:00+02:00", datetime(2025, 1, 31, 8, tzinfo=UTC)),
        ("2025-01-31T10:00", datetime(2025, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_a_moment_is_utc_unless_it_says_otherwise(told: str, meant: datetime) -> None:
    """CloudTrail's keys and times are UTC, so is what is asked of them."""
    assert TIMESTAMP.convert(told, None, None) == meant


@pytest.mark.parametrize("told", ["", "yesterday", "2025-13-01", "31.01.2025"])
def test_what_is_no_moment_is_refused_with_an_example(told: str) -> None:
    """The sentence says what to type instead."""
    with pytest.raises(click.BadParameter, match="2025-01-31"):
        TIMESTAMP.convert(told, None, None)


def test_a_piped_table_is_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """What goes into a file is read by scripts: one row, one line, whole."""
    long = "s3://" + "b" * 500

    print_table(["object", "bytes"], [[long, "7"], ["[x]", "1,234"]], right=["bytes"])

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["object", "bytes"]
    assert lines[1].split() == [long, "7"]
    assert lines[2].split() == ["[x]", "1,234"]
    assert lines[1].endswith("    7")


def test_a_long_table_goes_on_without_its_heading_and_a_file_gets_no_colours(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is shown page by page is one table; wide characters take two columns."""
    print_table(["name", "n"], [["\u65e5\u672c", style("1", fg="red")], ["long", "2"]], right=["n"], heading=False)

    assert capsys.readouterr().out == "\u65e5\u672c  1\nlong  2\n"


@pytest.mark.parametrize(("answer", "agreed"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_a_question_is_put_and_no_is_the_default(answer: str, agreed: bool) -> None:  # noqa: FBT001
    """Whoever only presses the return key changes nothing."""
    with CliRunner().isolation(input=answer):
        assert confirm("Go on?", yes=False) is agreed


def test_a_question_that_nobody_hears_is_a_sentence_that_names_the_option() -> None:
    """A script without a terminal; "Aborted!" would leave its author guessing."""
    with CliRunner().isolation(input=""), pytest.raises(click.UsageError, match="--yes"):
        confirm("Go on?", yes=False)
