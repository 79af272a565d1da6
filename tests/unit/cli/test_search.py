"""Promises about `trailsink search`: wrong options are refused, and printed events are safe and counted."""

from __future__ import annotations

import csv
import io

import pytest
from click.testing import CliRunner
from opensearchpy import OpenSearch

from worker.cli.main import main
from worker.cli.search import _print_csv, _summary
from worker.opensearch.search import Hit, Search, SearchSession


def test_a_spreadsheet_runs_nothing_from_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    """Spreadsheets run a text that starts with =, +, - or @, some in full width. Each event is one row."""
    values = {
        "a": '=HYPERLINK("http://x")',
        "b": "@SUM(1)",
        "c": -5,
        "d": "-x",
        "e": "two\nlines, and a comma",
        "f": [],
        "\uff1dg": "\uff1dSUM(1)",
        "h": "\uff0b1",
        "i": "\uff0d1",
        "j": "\uff20x",
    }

    _print_csv([Hit("i", "1", values)], (*values, "k"), True)

    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows == [
        [*"abcdef", "'\uff1dg", *"hijk"],
        [
            '\'=HYPERLINK("http://x")',
            "'@SUM(1)",
            "-5",
            "'-x",
            r"two\nlines, and a comma",
            "",
            "'\uff1dSUM(1)",
            "'\uff0b1",
            "'\uff0d1",
            "'\uff20x",
            "",
        ],
    ]


@pytest.mark.parametrize(
    ("limit", "shown", "total", "capped", "sentence"),
    [
        (None, 1, 1, False, "1 event."),
        (None, 20_300, 10_000, True, "20,300 events."),
        (100, 100, 100, False, "100 events."),
        (2, 2, 3, False, "2 of 3 events; --limit or --all shows more."),
        (100, 100, 10_000, True, "100 of more than 10,000 events; --limit or --all shows more."),
        (100, 0, 0, False, "No events found."),
    ],
)
def test_the_summary_counts_the_events(
    *, limit: int | None, shown: int, total: int, capped: bool, sentence: str
) -> None:
    """Nobody may take the first hundred for all of them."""
    session = SearchSession(OpenSearch(), Search("trail", limit=limit), total=total, is_total_capped=capped)

    assert _summary(session, shown) == sentence


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--last", "2h", "--since", "2026-01-01"), "--last and --since both set the start; pass only one"),
        (("--limit", "5", "--all"), "--limit and --all exclude each other"),
        (("--fields", "eventName,"), "separate names by commas"),
        (("--fields", "user*"), "separate names by commas"),
        (("--last", "soon"), "is not a duration"),
        (("--limit", "-1"), "-1 is not in the range"),
        (("--limit", "0", "--all"), "--limit and --all exclude each other"),
        (("--since", "2026-02-01", "--until", "2026-01-01"), "--since must be earlier than --until"),
    ],
)
def test_wrong_options_are_refused_before_any_request(words: tuple[str, ...], text: str) -> None:
    """Exit code 2 is for a wrong command line."""
    result = CliRunner().invoke(main, ["search", *words])

    assert result.exit_code == 2
    assert text in result.stderr


@pytest.mark.parametrize(
    ("query", "ignore_case", "hint"),
    [("eventName:assumerole", False, True), ("eventName:assumerole", True, False), ("*", False, False)],
)
def test_a_query_without_events_says_that_letters_count(*, query: str, ignore_case: bool, hint: bool) -> None:
    """`assumerole` finds nothing, and looks as if nobody had assumed a role."""
    session = SearchSession(OpenSearch(), Search("trail", query, ignore_case=ignore_case))

    assert ("--ignore-case" in _summary(session, 0)) is hint


def test_a_missing_cluster_address_is_named() -> None:
    """The first setting that a newcomer forgets."""
    result = CliRunner().invoke(main, ["search"])

    assert (result.exit_code, result.stderr) == (1, "Error: TRAILSINK_OPENSEARCH_URL is not set.\n")
