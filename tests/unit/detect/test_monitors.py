"""Promises about monitors of the Alerting plugin, which is on no registry: a server that answers as documented."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.support.opensearch_server import connected, missing
from worker.detect.monitors import DELAY_MINUTES, monitor, put_monitors
from worker.detect.rules import Correlation, DetectionRule, RuleInfo
from worker.errors import SetupError

CLAUSE = {"term": {"eventName": {"value": "StopLogging", "case_insensitive": True}}}


def rule(level: str = "high") -> DetectionRule:
    return DetectionRule(RuleInfo("r1", "Trail stopped", level, (), "rule.yml"), CLAUSE)


def test_a_monitor_asks_what_the_rule_asks_of_each_event_once() -> None:
    """Its intervals touch each other, and end before events are still on their way."""
    body = monitor(rule(), "cloudtrail", 5, "channel-1")

    search = body["inputs"][0]["search"]
    clause, times = search["query"]["query"]["bool"]["filter"]
    assert (search["indices"], clause) == (["cloudtrail-*"], CLAUSE)
    assert times["range"]["trailsink.indexed_at"] == {
        "gte": f"{{{{period_end}}}}||-{5 + DELAY_MINUTES}m",
        "lt": f"{{{{period_end}}}}||-{DELAY_MINUTES}m",
        "format": "epoch_millis",
    }
    assert body["schedule"] == {"period": {"interval": 5, "unit": "MINUTES"}}
    trigger = body["triggers"][0]["query_level_trigger"]
    assert (trigger["severity"], trigger["actions"][0]["destination_id"]) == ("2", "channel-1")


def test_a_monitor_without_a_channel_only_alerts() -> None:
    """A rule without a level is of medium severity."""
    trigger = monitor(rule(""), "cloudtrail", 5)["triggers"][0]["query_level_trigger"]

    assert (trigger["severity"], trigger["actions"]) == ("3", [])


def test_monitors_are_replaced_by_name() -> None:
    """A second run must not double the alerts."""
    stored: dict[str, Any] = {}

    def answer(method: str, path: str, _query: object, body: Any) -> tuple[int, Any]:
        if path.endswith("_search"):
            name = body["query"]["term"]["monitor.name.keyword"]
            if not stored:
                return missing("index_not_found_exception")
            return 200, {"hits": {"hits": [{"_id": id_} for id_, monitor in stored.items() if monitor["name"] == name]}}
        id_ = path.rpartition("/")[2] if method == "PUT" else f"m{len(stored)}"
        stored[id_] = body
        return 200, {"_id": id_}

    with connected(answer) as client:
        first = list(put_monitors(client, [monitor(rule(), "cloudtrail", 5)]))
        second = list(put_monitors(client, [monitor(rule(), "cloudtrail", 15)]))

    assert (first, second) == (
        ["Monitor trailsink cloudtrail r1 created."],
        ["Monitor trailsink cloudtrail r1 replaced."],
    )
    assert [body["schedule"]["period"]["interval"] for body in stored.values()] == [15]


def test_a_server_without_the_plugin_is_named() -> None:
    """The distribution without plugins has none."""
    no_handler = {"error": "no handler found for uri [/_plugins/_alerting/monitors/_search] and method [POST]"}
    with connected(lambda *_: (400, no_handler)) as client, pytest.raises(SetupError, match="no Alerting plugin"):
        list(put_monitors(client, [monitor(rule(), "cloudtrail", 5)]))


def test_a_correlation_has_a_span() -> None:
    """The command leaves correlations out by that."""
    assert DetectionRule(rule().info, CLAUSE, Correlation((), timedelta(minutes=1), 2)).correlation
