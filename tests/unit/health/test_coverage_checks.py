"""Promises about what the doctor says of members that records hold and no search finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.health.fake_pipeline import FakeCluster, FakeEvent, FakePipeline
from worker.health.coverage_checks import member_paths

if TYPE_CHECKING:
    from worker.health.findings import Finding

KNOWN = {
    "@timestamp": "2026-03-01T10:00:00Z",
    "trailsink": {"object": "s3://b/k", "raw": "text"},
    "eventName": "GetObject",
    "requestParameters": {"anything": {"at": ["all"]}},
    "resources": [{"ARN": "arn:a"}, {"ARN": "arn:b"}],
    "userIdentity": None,
}


def finding(*sources: dict[str, Any], **answers: Any) -> Finding:
    cluster = FakeCluster(answers, events=[FakeEvent(source=source) for source in sources])
    return FakePipeline(cluster=cluster).findings()["unsearchable members"]


def test_members_that_the_mapping_knows_are_well() -> None:
    """Free-form members take anything; a list has no path of its own; null is no value."""
    found = finding(KNOWN, KNOWN)

    assert (found.status, found.evidence) == ("ok", "none in the last 2 events of a day")


def test_a_new_member_is_named_with_how_often_it_occurs() -> None:
    """CloudTrail adds some without notice, and nobody would search for what they cannot see."""
    new = KNOWN | {"somethingNew": {"in": 2030}, "additionalEventData": {"UserName": "a", "unheardOf": [1, 2]}}

    found = finding(new, KNOWN | {"somethingNew": {"in": 2031}})

    assert found.status == "warning"
    assert found.evidence == (
        "in the last 2 events of a day, not searchable: somethingNew.in (2), additionalEventData.unheardOf (1)"
    )
    assert found.fix.endswith("trailsink search --last 1d --count-by somethingNew.in")


def test_many_new_members_are_counted() -> None:
    """One file of another tool could have a thousand."""
    assert finding({f"new{number}": 1 for number in range(30)}).evidence.endswith(" and 25 more")


@pytest.mark.parametrize(
    ("event", "paths"),
    [
        ({"a": {"b": [{"c": 1}, {"d": [2]}]}}, {"a.b.c", "a.b.d"}),
        ({"trailsink": {"a": 1}, "@timestamp": "x"}, set()),
        ({"a": None, "b": {}, "c": []}, set()),
        ({"n" * 300: 1}, set()),
    ],
)
def test_the_paths_of_an_event_are_those_of_its_values(event: dict[str, Any], paths: set[str]) -> None:
    """A name of any length can stand in a record, and the report must stay readable."""
    assert member_paths(event) == paths
