"""Promises about what a filter would leave out, as people and as programs read it."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from infra.generate.json_documents import FilterTested, read
from tests.support.factories import NOW, as_json
from worker.cli.filter_report import TrialReport
from worker.cloudtrail.filters.selectors import parse_selectors
from worker.cloudtrail.filters.trial import SelectorCounts, TrialCounts

if TYPE_CHECKING:
    import pytest

NAMES = Counter({("ec2.amazonaws.com", f"Describe{number}"): 30 - number for number in range(24)})
SELECTORS = parse_selectors(
    as_json(
        [
            {"Name": "loud", "FieldSelectors": [{"Field": "eventSource", "Equals": ["ec2.amazonaws.com"]}]},
            {"Name": "by agent", "FieldSelectors": [{"Field": "userAgent", "Equals": ["tool"]}]},
        ]
    ),
    "noise.json",
)


def report(*, days: float | None = 10, retention_days: int = 90) -> TrialReport:
    number = NAMES.total()
    counts = TrialCounts({"loud": SelectorCounts(number, 2_000.0 * number, NAMES), "by agent": SelectorCounts()})
    counts.events, counts.bytes = 2 * number, 2_000.0 * number * 1.5
    since = None if days is None else NOW - timedelta(days=days)
    return TrialReport("noise.json", SELECTORS, counts, "trail-*", since, NOW, retention_days, replicas=1, price=0.122)


def test_people_see_what_goes_what_it_costs_and_what_is_rare(capsys: pytest.CaptureFixture[str]) -> None:
    """What is rare is seldom noise, so it is shown beside what is common."""
    report().print_text([("Logins without MFA", 3, 5)], has_rules=True)

    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[:2] == [f"noise.json (digest {SELECTORS.digest})", "on trail-* from 2026-11-13 12:00 UTC"]
    assert "444 of 888 events would go." in lines
    assert "3 hits of `Logins without MFA` would go, of 5." in lines
    assert "Warning: 'by agent' names only what callers choose: they can hide in it." in lines
    assert [line.split() for line in lines if line.startswith("Describe0 ")] == [["Describe0", "ec2", "30"]]
    assert [line.split() for line in lines if line.startswith("Describe23 ")] == [["Describe23", "ec2", "7"]]


def test_without_rules_and_without_a_time_there_is_less_to_say(capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of unknown age has no costs a month."""
    report(days=None).print_text([], has_rules=False)
    report().print_text([], has_rules=True)

    first, _, second = capsys.readouterr().out.split("noise.json (digest", 1)[1].partition("noise.json (digest")
    assert "a month" not in first
    assert "No rule would lose a hit." not in first
    assert "No rule would lose a hit." in second


def test_programs_get_every_event_and_the_same_figures() -> None:
    """One document a line, each of its documented shape."""
    lines = list(report().documents([("Logins without MFA", 3, 5)]))

    read("\n".join(lines), FilterTested)
    first, second, *rest = map(json.loads, lines)
    assert (first["name"], first["events"], first["share"]) == ("loud", 444, 0.5)
    assert (second["events"], second["dollars_a_month"]) == (0, 0.0)
    assert [line["kind"] for line in rest] == ["event"] * 24 + ["rule", "end"]
    assert rest[-1]["left_out"]["events"] == 444
    assert rest[-1]["chosen_by_callers"] == ["by agent"]


def test_the_cost_follows_the_formula_of_the_sizing() -> None:
    """44.4 events a day for 90 days, a third larger than the mean, twice, with AWS's overhead."""
    first = json.loads(next(report().documents([])))
    kept = json.loads(next(report(retention_days=0).documents([])))

    gigabytes = 44.4 * 90 * 2 * 577 * (2_000 / 1_500) * 1.45 / 1e9
    assert first["dollars_a_month"] == round(gigabytes * 0.122, 4)
    assert kept["dollars_a_month"] == round(gigabytes * 365 / 90 * 0.122, 4)
