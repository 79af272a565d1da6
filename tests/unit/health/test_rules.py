"""The thresholds, just below and just at each; and that whoever is warned learns what to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.unit.health.fake_pipeline import NOW
from worker.health.findings import CheckStatus, Judgement
from worker.health.flow_snapshot import BucketLag
from worker.health.retention_rules import judge_retention
from worker.health.retention_snapshot import RetentionState
from worker.health.rules import (
    first_names,
    judge_bucket_lag,
    judge_disk,
    judge_freshness,
    judge_function_errors,
    judge_health,
    judge_letters,
    judge_mappings,
    judge_oldest_letter,
    judge_oldest_message,
    judge_reserved_concurrency,
    judge_shards,
    judge_trail,
    judge_trails,
)
from worker.health.snapshot import (
    ClusterState,
    DiskUsage,
    EventSourceMapping,
    IndexFreshness,
    ShardUsage,
    TemplateState,
    TrailState,
)
from worker.health.template_rules import judge_template

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = 86_400
MAPPING = EventSourceMapping("u", "Enabled", "arn:aws:lambda:eu-west-1:123456789012:function:loader", 10)
TRAIL = TrailState("main", "acme-trail", True, NOW - timedelta(minutes=3), "")


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def indexed(age: timedelta) -> Judgement:
    return judge_freshness(IndexFreshness(NOW - age, NOW - age), NOW)


def waiting(age: timedelta | None) -> Judgement:
    return judge_bucket_lag(BucketLag(NOW, 1, None if age is None else NOW - age), NOW)


def reserved(maximum: int | None, number: int | None) -> Judgement:
    return judge_reserved_concurrency(replace(MAPPING, max_concurrency=maximum), number)


@pytest.mark.parametrize(
    ("judge", "status"),
    [
        (lambda: judge_oldest_message(0), "ok"),
        (lambda: judge_oldest_message(15 * 60 - 1), "ok"),
        (lambda: judge_oldest_message(15 * 60), "warning"),
        (lambda: judge_oldest_message(3_600 - 1), "warning"),
        (lambda: judge_oldest_message(3_600), "fault"),
        (lambda: judge_letters(0), "ok"),
        (lambda: judge_letters(1), "warning"),
        (lambda: judge_oldest_letter(0, 60), "ok"),
        (lambda: judge_oldest_letter(11 * DAY, 14 * DAY), "ok"),
        (lambda: judge_oldest_letter(11 * DAY + 1, 14 * DAY), "warning"),
        (lambda: judge_mappings([MAPPING]), "ok"),
        (lambda: judge_mappings([]), "not checked"),
        (lambda: judge_mappings([MAPPING, MAPPING]), "warning"),
        (lambda: judge_mappings([replace(MAPPING, state="Disabled")]), "fault"),
        (lambda: reserved(10, None), "ok"),
        (lambda: reserved(None, None), "ok"),
        (lambda: reserved(10, 10), "ok"),
        (lambda: reserved(10, 9), "fault"),
        (lambda: reserved(None, 1000), "fault"),
        (lambda: judge_function_errors(None, None), "ok"),
        (lambda: judge_function_errors(0, 0), "ok"),
        (lambda: judge_function_errors(1, 0), "warning"),
        (lambda: judge_function_errors(0, 1), "warning"),
        (lambda: judge_trail(TRAIL, NOW), "ok"),
        (lambda: judge_trail(replace(TRAIL, logging=False), NOW), "fault"),
        (lambda: judge_trail(replace(TRAIL, delivery_error="NoSuchBucket"), NOW), "fault"),
        (lambda: judge_trails([], NOW)[0], "not checked"),
        (lambda: judge_freshness(IndexFreshness(None, None), NOW), "warning"),
        (lambda: indexed(minutes(119.9)), "ok"),
        (lambda: indexed(minutes(120)), "warning"),
        (lambda: waiting(None), "ok"),
        (lambda: waiting(minutes(15)), "ok"),
        (lambda: waiting(minutes(15.1)), "warning"),
        (lambda: judge_health(ClusterState("s", None, None, None)), "ok"),
        (lambda: judge_health(ClusterState("s", "green", 1, 0)), "ok"),
        (lambda: judge_health(ClusterState("s", "yellow", 1, 1)), "warning"),
        (lambda: judge_health(ClusterState("s", "red", 1, 1)), "fault"),
        (lambda: judge_health(ClusterState("s", "purple", 1, 1)), "fault"),
        (lambda: judge_disk(None), "not checked"),
        (lambda: judge_disk(DiskUsage(74.9, 1)), "ok"),
        (lambda: judge_disk(DiskUsage(75, 1)), "warning"),
        (lambda: judge_disk(DiskUsage(89.9, 1)), "warning"),
        (lambda: judge_disk(DiskUsage(90, 1)), "fault"),
        (lambda: judge_shards(None), "not checked"),
        (lambda: judge_shards(ShardUsage(799, 1_000)), "ok"),
        (lambda: judge_shards(ShardUsage(800, 1_000)), "warning"),
        (lambda: judge_shards(ShardUsage(999, 1_000, 2, 0.5)), "warning"),
        (lambda: judge_shards(ShardUsage(1_000, 1_000, 2, 0)), "fault"),
        (lambda: judge_template(TemplateState("t", None, 1)), "fault"),
        (lambda: judge_template(TemplateState("t", 0, 1)), "warning"),
        (lambda: judge_template(TemplateState("t", 1, 1)), "ok"),
        (lambda: judge_template(TemplateState("t", 1, 1, ["a"])), "warning"),
        (lambda: judge_template(TemplateState("t", 2, 1)), "warning"),
        (lambda: judge_retention(None), "not checked"),
        (lambda: judge_retention(RetentionState(0, "")), "ok"),
        (lambda: judge_retention(RetentionState(0, "p", has_ism=False)), "fault"),
        (lambda: judge_retention(RetentionState(0, "p", is_set=False)), "warning"),
        (lambda: judge_retention(RetentionState(9, "", "p")), "fault"),
        (lambda: judge_retention(RetentionState(0, "", "p", read_only_days=7)), "fault"),
        (lambda: judge_retention(RetentionState(0, "p", "p", read_only_days=7)), "ok"),
        (lambda: judge_retention(RetentionState(9, "q", "p")), "fault"),
        (lambda: judge_retention(RetentionState(9, "p", "p")), "ok"),
        (lambda: judge_retention(RetentionState(9, "", "p", has_ism=False)), "warning"),
    ],
)
def test_a_fact_is_judged_by_one_threshold(judge: Callable[[], Judgement], status: str) -> None:
    """What is wrong has a fix; what is well needs none."""
    judgement = judge()

    assert judgement.status == status, judgement
    assert judgement.evidence
    assert bool(judgement.fix) == (status in ("warning", "fault"))


@pytest.mark.parametrize("state", ["Enabled", "Enabling", "Updating", "Creating"])
def test_a_mapping_that_is_changed_still_consumes(state: str) -> None:
    """Lambda applies an update while it goes on, or in a moment."""
    assert judge_mappings([replace(MAPPING, state=state)]).status is CheckStatus.OK


@pytest.mark.parametrize(
    ("judgement", "fix"),
    [
        (judge_template(TemplateState("t", 2, 1)), "use the trailsink that made it"),
        (judge_template(TemplateState("t", 1, 2)), "trailsink setup"),
        (
            judge_template(TemplateState("t", 1, 1, ["a"])),
            "trailsink setup",
        ),
        (judge_retention(RetentionState(90, "30 days", "90 days")), "trailsink setup --retention-days 90 --existing"),
        (
            judge_retention(RetentionState(90, "30 days", "90 days", read_only_days=7)),
            "trailsink setup --retention-days 90 --read-only-after 7 --existing",
        ),
        (reserved(10, 2), "aws lambda delete-function-concurrency --function-name loader"),
        (
            judge_mappings([replace(MAPPING, state="Disabled")]),
            "aws lambda update-event-source-mapping --uuid u --enabled",
        ),
        (judge_trail(replace(TRAIL, logging=False), NOW), "aws cloudtrail start-logging --name main"),
    ],
)  # fmt: skip
def test_a_fix_is_exact(judgement: Judgement, fix: str) -> None:
    """It can be pasted into a shell."""
    assert judgement.fix == fix


def test_a_stopped_trail_is_started_before_its_delivery_is_repaired() -> None:
    """With both wrong, the first step comes first; and the bucket of a delivery is named."""
    both = judge_trail(replace(TRAIL, logging=False, delivery_error="AccessDenied"), NOW)
    delivery = judge_trail(replace(TRAIL, delivery_error="AccessDenied", delivered=None), NOW)

    assert both.evidence == "main is not logging, delivered 3m ago"
    assert delivery.evidence == "main cannot deliver: AccessDenied, delivered nothing yet"
    assert "s3://acme-trail" in delivery.fix


@pytest.mark.parametrize(
    ("names", "expected"),
    [([], ""), (["a"], "a"), (["a", "b", "c"], "a, b, c"), (["a", "b", "c", "d", "e"], "a, b, c and 2 more")],
)
def test_a_sentence_has_room_for_a_few_names(names: list[str], expected: str) -> None:
    """A year of days is a number."""
    assert first_names(names) == expected
