"""Promises about rule files: what can be searched for is, and the rest is refused with one sentence each."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from worker.detect.rule_files import read_rules
from worker.errors import SetupError
from worker.opensearch.field_kinds import FieldKinds

if TYPE_CHECKING:
    from pathlib import Path

    from worker.detect.rules import RuleSet

KINDS = FieldKinds(
    {
        "@timestamp": "date",
        "eventTime": "date",
        "eventName": "keyword",
        "readOnly": "keyword",
        "errorMessage": "match_only_text",
        "errorMessage.keyword": "keyword",
        "userAgent": "text",
        "sourceIPAddress": "keyword",
        "sourceIPAddress.ip": "ip",
        "source.ip": "ip",
        "userIdentity": "object",
        "userIdentity.type": "keyword",
        "additionalEventData": "object",
        "additionalEventData.bytesTransferredIn": "long",
        "trailsink": "object",
        "trailsink.unchecked": "boolean",
        "requestParameters": "flat_object",
    },
    ("eventName", "errorMessage", "requestParameters"),
)
HEAD = "title: {title}\nlogsource: {{product: aws, service: cloudtrail}}\n"


def rule(detection: str, title: str = "A rule", extra: str = "") -> str:
    return HEAD.format(title=title) + dedent(extra) + f"detection:\n  s:\n    {detection}\n  condition: s\n"


def read(folder: Path, *texts: str) -> RuleSet:
    for number, text in enumerate(texts):
        (folder / f"{number}.yml").write_text(text, encoding="utf-8")
    return read_rules([folder], KINDS)


def clause(folder: Path, detection: str) -> object:
    rules = read(folder, rule(detection))
    assert rules.refused == ()
    return rules.rules[0].clause


@pytest.mark.parametrize(
    ("detection", "expected"),
    [
        ("eventName: StopLogging", {"term": {"eventName": {"value": "StopLogging", "case_insensitive": True}}}),
        ("eventName|cased: StopLogging", {"term": {"eventName": {"value": "StopLogging"}}}),
        ("eventName|startswith: List", {"wildcard": {"eventName": {"value": "List*", "case_insensitive": True}}}),
        (r"eventName: 'a\*b?'", {"wildcard": {"eventName": {"value": r"a\*b?", "case_insensitive": True}}}),
        ("eventName: '*'", {"exists": {"field": "eventName"}}),
        ("eventName: null", {"bool": {"must_not": [{"exists": {"field": "eventName"}}]}}),
        ("eventName|exists: true", {"exists": {"field": "eventName"}}),
        ("readOnly: true", {"term": {"readOnly": {"value": "true", "case_insensitive": True}}}),
        ("errorMessage: a b", {"term": {"errorMessage.keyword": {"value": "a b", "case_insensitive": True}}}),
        ("userIdentity: Root", {"term": {"userIdentity.type": {"value": "Root", "case_insensitive": True}}}),
        ("sourceIPAddress|cidr: 10.0.0.0/8", {"term": {"sourceIPAddress.ip": {"value": "10.0.0.0/8"}}}),
        ("source.ip|cidr: 10.0.0.0/8", {"term": {"source.ip": {"value": "10.0.0.0/8"}}}),
        ("source.ip: 10.0.0.1", {"term": {"source.ip": {"value": "10.0.0.1"}}}),
        ("trailsink.unchecked: true", {"term": {"trailsink.unchecked": {"value": True}}}),
        ("eventTime: '2026-01-31'", {"term": {"eventTime": {"value": "2026-01-31"}}}),
        (
            "additionalEventData.bytesTransferredIn|gte: 5",
            {"range": {"additionalEventData.bytesTransferredIn": {"gte": 5}}},
        ),
        (
            "additionalEventData.bytesTransferredIn: '5'",
            {"term": {"additionalEventData.bytesTransferredIn": {"value": 5}}},
        ),
        ("requestParameters.Acl: aB-1", {"regexp": {"requestParameters.Acl": {"value": r"[Aa][Bb]\-1"}}}),
        ("requestParameters.Acl|cased|contains: aB", {"wildcard": {"requestParameters.Acl": {"value": "*aB*"}}}),
        (
            "requestParameters|contains: x",
            {"wildcard": {"requestParameters": {"value": "*x*", "case_insensitive": True}}},
        ),
        ("requestParameters.a|re: '^x|y'", {"regexp": {"requestParameters.a": {"value": "((x.*|.*y.*))"}}}),
        (
            "requestParameters.ip|cidr: 10.1.0.0/15",
            {
                "regexp": {
                    "requestParameters.ip": {
                        "value": r"(10)\.([1-1])\.([0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
                    }
                }
            },
        ),
    ],
)
def test_a_value_is_asked_for_by_the_kind_of_its_field(tmp_path: Path, detection: str, expected: object) -> None:
    """Each kind answers other questions rightly."""
    if "cidr: 10.1" in detection:  # the octets are generated, so only their shape is held
        text = str(clause(tmp_path, detection.replace("10.1.0.0/15", "10.0.0.0/15")))
        assert text.startswith("{'regexp': {'requestParameters.ip': {'value': '(10)\\\\.([0-1])\\\\.(")
        return
    assert clause(tmp_path, detection) == expected


@pytest.mark.parametrize(
    ("detection", "reason"),
    [
        ("status: success", "No index has a field status; names are case-sensitive."),
        (
            "additionalEventData.x: 1",
            "additionalEventData.x is stored with each event, but not indexed on this server, so",
        ),
        ("eventName|fieldref: userIdentity.type", "eventName compares two fields of an event"),
        ("eventTime|hour: 3", "eventTime compares a part of a time"),
        ("eventTime|startswith: '2026'", "eventTime is a time, and can be compared with one only as a whole."),
        ("eventName|expand: '%names%'", "eventName has a placeholder, %names%, which needs a list of values of yours."),
        ("eventName|re: 'a(?=b)'", "The regular expression a(?=b) cannot be searched for"),
        ("eventName|re|m: '^a'", "The regular expression ^a looks at single lines of a value"),
        ("userAgent: x", "userAgent is indexed by its words only"),
        (
            "source.ip|startswith: '10.'",
            "source.ip is an address, and can be compared with an address or a network only.",
        ),
        ("additionalEventData.bytesTransferredIn|contains: x", "additionalEventData.bytesTransferredIn is a number"),
        ("trailsink.unchecked: maybe", "trailsink.unchecked is true or false."),
        ("requestParameters.n|gt: 1.5", "requestParameters.n is indexed as text, and is compared with whole numbers"),
        (
            "requestParameters.ip|cidr: 'fe80::/10'",
            "requestParameters.ip is indexed as text, in which a network of IPv6",
        ),
        (
            f"requestParameters.a: {'x' * 300}",
            "requestParameters.a is compared with a value or an expression that is too",
        ),
        ("eventName|nonsense: x", "Unknown modifier"),
    ],
)
def test_what_cannot_be_searched_for_is_refused_with_one_sentence(tmp_path: Path, detection: str, reason: str) -> None:
    """A rule that never fires, in silence, is a hole that nobody knows of."""
    rules = read(tmp_path, rule(detection))

    assert rules.rules == ()
    assert reason in rules.refused[0].reason
    assert rules.refused[0].reason.endswith(".")
    assert "\n" not in rules.refused[0].reason


CORRELATION = """\
title: Many of them
correlation:
  type: {type}
  rules: [{name}]
  group-by: [userIdentity.type]
  timespan: 5m
  condition: {condition}
"""


def test_a_correlation_counts_the_events_of_its_rule(tmp_path: Path) -> None:
    """Rule sets refer by id, by name and by title; the rule itself is then no finding."""
    rules = read(
        tmp_path,
        rule("eventName: ConsoleLogin", "Failed login"),
        CORRELATION.format(type="event_count", name="Failed login", condition="{gt: 9}"),
    )

    (many,) = rules.rules
    assert many.info.title == "Many of them"
    assert many.correlation
    assert (many.correlation.minimum, many.correlation.span.total_seconds()) == (10, 300)
    assert many.correlation.group_by == ("userIdentity.type",)


@pytest.mark.parametrize(
    ("type_", "condition", "reason"),
    [
        ("temporal_ordered", "{gte: 2}", "Correlations of the type temporal_ordered are not supported"),
        ("event_count", "{lt: 2}", "A correlation must have a minimum"),
        ("value_count", "{gte: 2}", "without field reference"),
    ],
)
def test_other_correlations_are_refused(tmp_path: Path, type_: str, condition: str, reason: str) -> None:
    """They would need an order, or the absence of events."""
    rules = read(
        tmp_path,
        rule("eventName: ConsoleLogin", "Base"),
        CORRELATION.format(type=type_, name="Base", condition=condition),
    )

    assert [reason in refused.reason for refused in rules.refused] == [True]


def test_a_correlation_of_a_missing_rule_is_refused(tmp_path: Path) -> None:
    """The folder may hold only a part of a rule set."""
    rules = read(tmp_path, CORRELATION.format(type="event_count", name="Missing", condition="{gte: 2}"))

    assert rules.refused[0].reason == "The rule counts events of the rule Missing, which was not found."


def test_rules_of_other_sources_and_equal_rules_are_only_counted(tmp_path: Path) -> None:
    """A checkout of a rule set holds thousands for other systems, and two rule sets share rules."""
    other = rule("EventID: 1").replace("product: aws, service: cloudtrail", "product: windows")
    identified = rule("eventName: x", extra="id: 5f0d0b1c-0b6a-4a36-8b0b-2c6a4a3d2c11\n")

    rules = read(tmp_path, other, identified, identified)

    assert (len(rules.rules), rules.others, rules.copies) == (1, 1, 1)


def test_a_correlation_of_rules_for_other_sources_is_only_counted(tmp_path: Path) -> None:
    """It is no rule that is missing."""
    other = rule("EventID: 1", "Logon").replace("product: aws, service: cloudtrail", "product: windows")

    rules = read(tmp_path, other, CORRELATION.format(type="event_count", name="Logon", condition="{gte: 2}"))

    assert (rules.rules, rules.refused, rules.others) == ((), (), 2)


def test_the_old_actions_are_understood(tmp_path: Path) -> None:
    """Older rule sets share a head between the documents of a file."""
    head = "action: global\n" + HEAD.format(title="Both")
    bodies = [f"detection:\n  s:\n    eventName: {name}\n  condition: s\n" for name in ("x", "y")]
    other = head.replace("aws, service: cloudtrail", "windows")

    rules = read(tmp_path, "---\n".join([head, *bodies]), "---\n".join([other, *bodies]))

    assert (len(rules.rules), rules.refused, rules.others) == (2, (), 2)


def test_two_rules_with_one_id_are_both_run(tmp_path: Path) -> None:
    """A copy that was changed must not hide the original."""
    identifier = "id: 5f0d0b1c-0b6a-4a36-8b0b-2c6a4a3d2c11\n"

    rules = read(tmp_path, rule("eventName: x", extra=identifier), rule("eventName: y", extra=identifier))

    assert len({item.info.key for item in rules.rules}) == 2


def test_a_wrong_description_does_not_cost_a_rule(tmp_path: Path) -> None:
    """What a rule finds does not depend on its date."""
    rules = read(tmp_path, rule("eventName: x", extra="date: yesterday\nlevel: awful\n"))

    assert [(item.info.level, item.info.title) for item in rules.rules] == [("", "A rule")]


@pytest.mark.parametrize("text", ["a: [b", "title: x\nlogsource: {product: aws, service: cloudtrail}\ndetection: 5\n"])
def test_a_broken_file_costs_only_itself(tmp_path: Path, text: str) -> None:
    """It is named, and the others run."""
    rules = read(tmp_path, text, rule("eventName: x"))

    assert len(rules.rules) == 1
    assert len(rules.refused) == 1


def test_files_that_are_no_rules_are_passed_over(tmp_path: Path) -> None:
    """A checkout has other YAML files, and hidden folders."""
    (tmp_path / ".github").mkdir()
    (tmp_path / ".github" / "workflow.yml").write_text(rule("eventName: hidden"), encoding="utf-8")
    (tmp_path / "config.yaml").write_text("version: 1\n", encoding="utf-8")

    assert len(read(tmp_path, rule("eventName: x")).rules) == 1


def test_a_folder_without_rules_is_an_error(tmp_path: Path) -> None:
    """A wrong path must not look like "nothing was found"."""
    with pytest.raises(SetupError, match="No Sigma rule was found in 0 files"):
        read_rules([tmp_path], KINDS)


def test_a_filter_applies_to_its_rules(tmp_path: Path) -> None:
    """Exceptions of one's own stand beside a rule set that is not edited."""
    identifier = "5f0d0b1c-0b6a-4a36-8b0b-2c6a4a3d2c11"
    filter_ = HEAD.format(title="Known") + (
        f"filter:\n  rules: [{identifier}]\n  selection:\n    userIdentity.type: Root\n  condition: not selection\n"
    )

    rules = read(tmp_path, rule("eventName: x", extra=f"id: {identifier}\n"), filter_)

    assert "must_not" in str(rules.rules[0].clause)
    assert "Root" in str(rules.rules[0].clause)
