"""Promises about searches: what is asked, what is read out of an event, and what cannot reach a terminal or a sheet."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opensearchpy import OpenSearch
from opensearchpy.exceptions import RequestError, TransportError

from worker.cli.output import escape_control_characters
from worker.cli.search import _print_csv
from worker.errors import SetupError
from worker.opensearch.search import Hit, Search, complete, patiently, unknown_fields

EVENT: dict[str, Any] = {
    "eventName": "PutObject",
    "readOnly": False,
    "userIdentity": {"arn": "arn:aws:iam::123456789012:user/ada", "sessionContext": None},
    "resources": [{"ARN": "arn:aws:s3:::b", "type": "AWS::S3::Bucket"}, {"ARN": "arn:aws:s3:::b/k"}],
    "requestParameters": {"x.y": {"z": 1}, "x": {"w": 2}, "bytes": 7},
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("eventName", "PutObject"),
        ("readOnly", False),
        ("userIdentity.arn", "arn:aws:iam::123456789012:user/ada"),
        ("userIdentity.sessionContext.sourceIdentity", None),
        ("resources.ARN", ["arn:aws:s3:::b", "arn:aws:s3:::b/k"]),
        ("resources.type", ["AWS::S3::Bucket"]),
        ("requestParameters.x.y.z", 1),
        ("requestParameters.x.w", 2),
        ("requestParameters.bytes.more", None),
        ("nothing", None),
        ("_id", "an-id"),
        ("_index", "cloudtrail-2026-03-01"),
    ],
)
def test_a_dotted_path_finds_what_stands_there(path: str, value: object) -> None:
    """Lists of objects are looked into, keys may hold dots themselves, and what is missing is None."""
    assert Hit("cloudtrail-2026-03-01", "an-id", EVENT).value(path) == value


def test_the_order_of_a_search_has_no_ties() -> None:
    """A page begins after the last event of the one before: two events that compare equal would lose one."""
    body = Search("cloudtrail", "*", since=datetime(2026, 3, 1, tzinfo=UTC), oldest_first=True).body()

    assert [next(iter(one)) for one in body["sort"]] == ["@timestamp", "trailsink.object", "trailsink.position"]
    assert body["query"]["bool"]["filter"][1] == {"range": {"@timestamp": {"gte": "2026-03-01T00:00:00+00:00"}}}


@given(st.text())
def test_no_text_makes_a_terminal_do_anything(text: str) -> None:
    """Callers choose what stands in their events; whoever looks must not have the screen cleared or turned around."""
    shown = escape_control_characters(text)

    assert shown.isprintable()
    assert not any("\u202a" <= one <= "\u202e" or "\u2066" <= one <= "\u2069" for one in shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("caf\u00e9 \u65e5\u672c", "caf\u00e9 \u65e5\u672c"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb", r"a\nb"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202eexe", r"\u202eexe"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_is_no_text_is_shown_as_an_escape(text: str, shown: str) -> None:
    """It can still be told from another, and read."""
    assert escape_control_characters(text) == shown


def test_a_sheet_runs_nothing_of_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    """Spreadsheets run what begins with =, +, - or @; a number is no such text, and each event stays one row."""
    values = {
        "a": '=HYPERLINK("http://x")',
        "b": "@SUM(1)",
        "c": -5,
        "d": "-x",
        "e": "two\nlines, and a comma",
        "f": [],
    }

    _print_csv([Hit("i", "1", values)], (*values, "g"), True)

    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows == [
        [*"abcdefg"],
        ['\'=HYPERLINK("http://x")', "'@SUM(1)", "-5", "'-x", r"two\nlines, and a comma", "", ""],
    ]


def test_half_an_answer_is_no_answer() -> None:
    """An auditor who is shown the events of nine indices out of ten concludes the wrong thing."""
    part = {"_shards": {"total": 10, "failed": 1, "failures": [{"reason": {"type": "circuit_breaking_exception"}}]}}

    with pytest.raises(SetupError, match=r"1 of 10 shards did not answer \(circuit_breaking_exception\)"):
        complete(part)
    with pytest.raises(SetupError, match="ran out of time"):
        complete({"_shards": {"total": 1, "failed": 0}, "timed_out": True})


def test_a_busy_cluster_is_asked_again_and_a_bad_query_is_not() -> None:
    """An export of millions must not end with one refused page."""
    answers: list[Any] = [TransportError(429, "busy"), {"hits": 1}]

    def ask() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert patiently(ask) == {"hits": 1}

    answers = [RequestError(400, "parsing_exception", {}), {"hits": 1}]
    with pytest.raises(SetupError, match="The cluster refuses the query: parsing_exception"):
        patiently(ask)
    assert len(answers) == 1


class Forbidding(OpenSearch):
    """A cluster whose user may search, and may not ask for fields."""

    def field_caps(self, **_: Any) -> Any:
        raise TransportError(403, "security_exception", {})


def test_a_hint_that_may_not_be_given_costs_no_search() -> None:
    """A role that may only search finds nothing, and that is an answer."""
    assert unknown_fields(Forbidding(), "cloudtrail", "eventNam:x") == []


def test_only_names_of_fields_are_looked_up() -> None:
    """Times, addresses and quoted values have colons, too."""
    asked: list[str] = []

    class Telling(OpenSearch):
        """A cluster that knows the time only."""

        def field_caps(self, **given: Any) -> Any:
            asked.append(given["params"]["fields"])
            return {"fields": {"@timestamp": {}}}

    text = 'eventNam:x AND "a:b" AND eventTime:[2026-01-01T10:00:00Z TO *] AND (user.x:1 OR _exists_:y) AND n:2001:db8'

    assert unknown_fields(Telling(), "cloudtrail", text) == ["eventNam", "eventTime", "n", "user.x"]
    assert asked == ["@timestamp,eventNam,eventTime,n,user.x"]
