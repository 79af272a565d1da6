"""Promises about a printed explanation: every known fact on its own line, and nothing that a terminal would obey."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tests.support.fake_ledger import entry
from worker.cli.explain import _document, _ledger_lines, _lines, _note, _recorded
from worker.cli.main import main
from worker.opensearch.explain import EventLocation, Explanation

EVENT_TIME = datetime(2026, 3, 1, 10, tzinfo=UTC)


def location(**changes: Any) -> EventLocation:
    facts: dict[str, Any] = {
        "event_id": "e1",
        "document_id": "d1",
        "index": "trail-2026-03-01",
        "object": "s3://b/k.json.gz",
        "position": 3,
        "event_time": EVENT_TIME,
        "delivered_at": EVENT_TIME.replace(minute=5),
        "indexed_at": EVENT_TIME.replace(minute=6),
        "lag_seconds": 360.0,
        "degraded": "",
        "event": "s3.amazonaws.com GetObject",
        "record": {"eventName": "GetObject"},
    }
    return EventLocation(**facts | changes)


def lines(**changes: Any) -> list[str]:
    return [click.unstyle(line) for line in _lines(location(**changes))]


def test_a_document_of_ours_is_shown_with_the_way_to_its_record() -> None:
    """An auditor follows it back to the file in the bucket."""
    assert lines() == [
        "e1",
        "  event      s3.amazonaws.com GetObject",
        "  index      trail-2026-03-01",
        "  document   d1",
        "  file       s3://b/k.json.gz",
        "  position   3, counted from 0",
        "  happened   2026-03-01 10:00:00 UTC",
        "  delivered  2026-03-01 10:05 UTC",
        "  indexed    2026-03-01 10:06:00 UTC, 6m after the event",
        "  degraded   no",
        "  read it    aws s3 cp s3://b/k.json.gz - | gunzip | jq '.Records[3]'",
    ]


def test_unknown_facts_are_called_unknown() -> None:
    """Another tool may have written the document."""
    shown = lines(object="", position=None, event_time=None, delivered_at=None, indexed_at=None, lag_seconds=None)

    assert shown[4:] == [
        "  file       unknown: trailsink did not write this document",
        "  happened   unknown",
        "  degraded   no",
    ]
    assert "  delivered  unknown: the file's name contains no time" in lines(delivered_at=None)


def test_a_degraded_record_is_shown_with_its_cause() -> None:
    """Our own causes are explained; any other code is OpenSearch's."""
    assert lines(degraded="too_deep")[9] == "  degraded   too_deep: nested deeper than TRAILSINK_MAX_DEPTH"
    assert (
        "mapper_parsing_exception: the cluster refused the original record"
        in lines(degraded="mapper_parsing_exception")[9]
    )


def test_values_that_no_search_finds_are_named() -> None:
    """The record has them, so its file does."""
    (line,) = [line for line in lines(unsearchable=("userAgent", "requestParameters.a")) if "not found" in line]

    assert line == "  not found  by a search for userAgent, requestParameters.a: read the record for these"


def test_a_record_of_an_unchecked_file_is_shown_as_such() -> None:
    """An analyst weighs it differently."""
    assert any(line.startswith("  unchecked  yes: the file ends before its checksum") for line in lines(unchecked=True))
    assert not any("unchecked" in line for line in lines())


@pytest.mark.parametrize(
    ("conflicting", "total", "note"),
    [
        ((False,), 1, ""),
        ((False, False), 2, "The event is indexed 2 times with the same content."),
        ((True, True), 2, "2 records have this id, and their contents differ."),
        ((True, True), 1_200, "1,200 records have this id, and their contents differ."),
    ],
)
def test_several_records_of_one_id_are_compared(conflicting: tuple[bool, ...], total: int, note: str) -> None:
    """Whoever writes to the bucket chooses ids; an analyst must not take the first for the true one."""
    locations = [location(conflicting=differs) for differs in conflicting]

    shown = _note(Explanation(locations, total))

    assert shown.startswith(note)
    assert bool(shown) is bool(note)
    assert ("The first 2 are shown." in shown) is (total > 2)


def test_an_event_from_the_future_has_a_negative_lag() -> None:
    """A wrong clock is named, not hidden."""
    assert lines(lag_seconds=-90.0)[8].endswith(", 1m before the event's own time")


def test_no_fact_reaches_the_terminals_controls() -> None:
    """Whoever writes to the bucket chooses keys, and a command that is copied must be safe in a shell."""
    shown = "".join(lines(event="\x1b[2J", object="s3://b/a'; rm -rf ~\x1b", degraded="\x9b"))

    assert not {"\x1b", "\x9b"} & set(shown)
    assert r"""aws s3 cp 's3://b/a'"'"'; rm -rf ~\x1b' -""" in shown


def test_the_record_is_printed_only_on_request() -> None:
    """It can be large, and holds what callers wrote."""
    assert "record" not in _document(location(), with_record=False)
    document = _document(location(), with_record=True)
    assert document["record"] == {"eventName": "GetObject"}
    assert document["event_time"] == "2026-03-01T10:00:00Z"


def test_a_missing_cluster_address_is_named() -> None:
    """The first setting that a newcomer forgets."""
    result = CliRunner().invoke(main, ["explain", "x"])

    assert (result.exit_code, result.stderr) == (1, "Error: TRAILSINK_OPENSEARCH_URL is not set.\n")


def test_what_the_ledger_says_of_the_file_is_shown() -> None:
    """Whether the file is wholly in, and the hash by which CloudTrail signed it."""
    recorded = entry("k", read=5, indexed=3, duplicate=2, recorded_at="2026-03-01T10:06:01Z")

    assert [click.unstyle(line) for line in _ledger_lines(recorded)] == [
        "  in ledger  2026-03-01 10:06:01 UTC: 5 read, 3 indexed, 2 duplicate",
        f"  sha256     {'0' * 64}, of the file's inflated bytes",
    ]
    assert list(_ledger_lines(None)) == []
    assert _recorded(recorded) == {"recorded_at": "2026-03-01T10:06:01Z", "sha256": "0" * 64}
    assert _recorded(None) == {"recorded_at": None, "sha256": None}
