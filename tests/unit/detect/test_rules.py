"""Promises about a set of rules."""

from __future__ import annotations

import pytest

from worker.detect.rules import DetectionRule, RefusedRule, RuleInfo, RuleSet


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("", ["low", "high", "none"]),
        ("low", ["low", "high", "none"]),
        ("high", ["high", "none"]),
        ("critical", ["none"]),
    ],
)
def test_rules_are_chosen_by_their_level(level: str, expected: list[str]) -> None:
    """A rule without a level may be important, so that it is never left out."""
    rules = tuple(
        DetectionRule(RuleInfo(name, name, name if name != "none" else "", (), "f"), {"match_all": {}})
        for name in ("low", "high", "none")
    )
    refused = (RefusedRule(RuleInfo("r", "r", "low", (), "f"), "Why."),)

    chosen = RuleSet(rules, refused, others=3).from_level(level)

    assert [rule.info.key for rule in chosen.rules] == expected
    assert bool(chosen.refused) == (level in ("", "low"))
    assert chosen.others == 3
