"""Promises about what `trailsink dlq` refuses before it reads a queue, and about what it prints of letters."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from tests.support.fake_dlq import letter
from worker.cli.commands.dlq import dlq
from worker.cli.dlq.context import print_none, print_notes
from worker.cli.main import main
from worker.dlq.summary import LetterSummary


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
        ("redrive", "--cancel", "--dry-run"),
        ("redrive", "--attach", "--rate", "5"),
        ("redrive", "--attach", "--reason", "truncated"),
        ("discard", "--yes"),
        ("discard", "--all", "--to", "-"),
        ("import", "x", "--to", "nowhere"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_a_usage_error(words: tuple[str, ...]) -> None:
    """Refused before any queue is read."""
    result = CliRunner().invoke(main, ["dlq", *words])

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: " in result.stderr


def summary_of(selected: int = 0, *, others: int = 0, in_flight: int = 0, complete: bool = True) -> LetterSummary:
    summary = LetterSummary()
    for number in range(selected):
        summary.add(letter(number))
    summary.finish(received=selected + others, in_flight=in_flight, complete=complete)
    return summary


@pytest.mark.parametrize(
    ("summary", "line"),
    [
        (summary_of(), "No dead letters."),
        (summary_of(others=1), "No matching dead letters; the queue holds 1 other."),
        (summary_of(others=1_200), "No matching dead letters; the queue holds 1,200 others."),
    ],
)
def test_an_empty_result_names_the_letters_that_were_not_selected(
    capsys: pytest.CaptureFixture[str], summary: LetterSummary, line: str
) -> None:
    """A typing error in a filter must not look like an empty queue."""
    print_none(summary)

    assert capsys.readouterr().out == f"{line}\n"


@pytest.mark.parametrize(
    ("summary", "note"),
    [
        (summary_of(2, others=1), ""),
        (
            summary_of(in_flight=1),
            "1 more letter is in flight (received by another consumer); try again in a minute.\n",
        ),
        (
            summary_of(in_flight=3),
            "3 more letters are in flight (received by another consumer); try again in a minute.\n",
        ),
        (
            summary_of(2, others=1, complete=False),
            "Read 3 letters, and SQS lets no more be in flight at once; the queue holds more.\n",
        ),
    ],
)
def test_letters_that_could_not_be_read_are_noted_on_standard_error(
    capsys: pytest.CaptureFixture[str], summary: LetterSummary, note: str
) -> None:
    """Standard output is for programs, and `No dead letters.` must never be wrong."""
    print_notes(summary)

    output = capsys.readouterr()
    assert (output.out, output.err) == ("", note)
