"""What `trailsink status` collects: every part, whatever the others do, with as few requests as possible."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.unit.health.fake_pipeline import (
    NOW,
    Denied,
    FakeCloudWatch,
    FakeCluster,
    FakeEvent,
    FakeLambda,
    FakePipeline,
    FakeS3,
    client_error,
    make_mapping,
    make_sqs,
    refusal,
)
from worker.errors import QueueUnavailable

CLUSTER_PARTS = ("lag", "disk", "template", "retention", "indices")
AWS_PARTS = ("queue", "dead letters", "consumer", "trail")


def key(minute: int, region: str = "eu-west-1") -> str:
    return f"AWSLogs/123456789012/CloudTrail/{region}/2026/03/01/a_{minute:02}.json.gz"


def test_a_cluster_that_does_not_answer_is_asked_once() -> None:
    """Eight questions must not make a glance last for minutes."""
    pipeline = FakePipeline(cluster=FakeCluster({"/": (0, "")}))

    parts = pipeline.parts()

    assert (parts["cluster"].status, parts["cluster"].text) == ("fault", "no connection")
    assert {parts[name].text for name in CLUSTER_PARTS} == {"the cluster cannot be checked"}
    assert {parts[name].status for name in CLUSTER_PARTS} == {"unknown"}
    assert len(pipeline.cluster.requests) == 1
    assert {parts[name].status for name in AWS_PARTS} == {"ok"}


def test_a_cluster_that_is_silent_about_its_health_is_asked_no_more() -> None:
    """It answers greetings and hangs over everything else when its manager node is lost."""
    pipeline = FakePipeline(cluster=FakeCluster({"/_cluster/health": (0, "")}))

    parts = pipeline.parts()

    assert parts["cluster"].status == "fault"
    assert {parts[name].text for name in CLUSTER_PARTS} == {"the cluster cannot be checked"}
    assert [path for _, path in pipeline.cluster.requests] == ["/", "/_cluster/health"]


def test_a_part_that_is_refused_harms_no_other() -> None:
    """A role may read events and not templates."""
    pipeline = FakePipeline(cluster=FakeCluster({"/_index_template": refusal("indices:admin/index_template/get")}))

    parts = pipeline.parts()

    assert {name: part.status for name, part in parts.items() if part.status != "ok"} == {"template": "unknown"}


def test_without_credentials_the_cluster_is_observed() -> None:
    """The parts of AWS say why, each in the same words; nothing is asked of AWS."""
    pipeline = FakePipeline()
    pipeline.session.has_credentials = False

    parts = pipeline.parts()

    assert {parts[name].text for name in AWS_PARTS} == {
        "no AWS credentials were found",
        "the source queue cannot be checked",
    }
    assert {parts[name].status for name in ("queue", "dead letters")} == {"fault"}
    assert {parts[name].status for name in ("consumer", "trail")} == {"unknown"}
    assert parts["lag"].text.endswith("; bucket: no AWS credentials were found")
    assert parts["template"].status == parts["cluster"].status == "ok"
    assert pipeline.session.created == []


def test_nothing_is_read_twice() -> None:
    """A look costs a request per fact, which matters with --watch."""
    sqs, function, cloudwatch = make_sqs(), FakeLambda(), FakeCloudWatch()
    pipeline = FakePipeline({"sqs": sqs, "lambda": function, "cloudwatch": cloudwatch})

    pipeline.status()

    assert len(sqs.requests) == 2
    assert function.requests == ["mappings", "concurrency"]
    assert len(cloudwatch.requests) == 1


def test_the_throughput_is_cloudwatchs_or_else_counted_in_the_index() -> None:
    """Without EMF metrics there is still the index."""
    figures = {
        ("FilesIndexed", "trailsink"): [(1, 30.0), (14, 60.0), (16, 9000.0)],
        ("RecordsRead", "trailsink"): [(2, 4500.0)],
    }

    by_cloudwatch = FakePipeline({"cloudwatch": FakeCloudWatch(figures)}).parts()["throughput"]
    by_index = FakePipeline({"cloudwatch": Denied()}).parts()["throughput"]

    assert by_cloudwatch.facts == {"files_per_minute": 6.0, "records_per_minute": 300.0, "source": "CloudWatch"}
    assert by_index.facts == {"files_per_minute": 0.1, "records_per_minute": 0.1, "source": "the index"}


def test_without_cloudwatch_the_consumer_has_no_figures() -> None:
    """Zero errors would be a claim."""
    with_figures = {("Errors", "loader"): [(1, 2.0), (59, 1.0), (61, 7.0)], ("Throttles", "loader"): []}

    known = FakePipeline({"cloudwatch": FakeCloudWatch(with_figures)}).parts()["consumer"]
    unknown = FakePipeline({"cloudwatch": Denied()}).parts()["consumer"]

    assert (known.status, known.facts["errors"], known.facts["throttles"]) == ("warning", 3, 0)
    assert (unknown.status, unknown.facts["errors"], unknown.facts["throttles"]) == ("ok", None, None)
    assert "errors" not in unknown.text


def test_a_disabled_mapping_is_a_fault_whatever_else_is_refused() -> None:
    """Nothing is consumed; that a limit could not be read does not hide it."""
    function = FakeLambda([make_mapping("Disabled")], client_error("AccessDenied"))

    assert FakePipeline({"lambda": function}).parts()["consumer"].status == "fault"


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ({}, {"newest_file": "2026-03-01T11:59:00+00:00", "files_since": 0}),
        ({key(1): 5}, {"newest_file": "2026-03-01T11:55:00+00:00", "files_since": 0}),
        ({key(0): 9, key(1): 5, key(2): 4, key(3): 3}, {"newest_file": "2026-03-01T11:57:00+00:00", "files_since": 2}),
        ({key(9, "us-east-1"): 1}, {"newest_file": "2026-03-01T11:59:00+00:00", "files_since": 1}),
    ],
)
def test_files_after_the_last_indexed_one_are_counted_folder_by_folder(
    objects: dict[str, float], expected: dict[str, Any]
) -> None:
    """Names begin with the time; the bucket's folders count, also one that nothing was ever indexed from."""
    uploads = {name: NOW - timedelta(minutes=age) for name, age in objects.items()}
    pipeline = FakePipeline(
        {"s3": FakeS3(objects=uploads)}, cluster=FakeCluster(events=[FakeEvent(key=key(0)), FakeEvent(key=key(1))])
    )

    facts = pipeline.parts()["lag"].facts

    assert {name: facts[name] for name in expected} == expected


def test_files_that_wait_for_long_are_a_lag() -> None:
    """The oldest of them counts, not the newest."""
    uploads = {key(1): NOW - timedelta(hours=1), key(2): NOW - timedelta(minutes=40), key(3): NOW}
    pipeline = FakePipeline({"s3": FakeS3(objects=uploads)}, cluster=FakeCluster(events=[FakeEvent(key=key(1))]))

    part = pipeline.parts()["lag"]

    command = " trailsink backfill --missing --since 2026-02-28"
    assert (part.status, part.text) == (
        "warning",
        "newest event 6m old, indexed 1m ago; file 0s old, 2 not in the index;" + command,
    )


def test_a_bucket_that_may_not_be_listed_is_named_in_the_lag() -> None:
    """The index still shows how fresh it is, and not whether it lacks a file."""
    part = FakePipeline({"s3": Denied()}).parts()["lag"]

    assert (part.status, part.text.partition("; ")[2]) == ("unknown", "bucket: AccessDenied: may not list_objects_v2")


@pytest.mark.parametrize("events", [[], [FakeEvent(key="elsewhere.json")]])
def test_without_a_folder_of_a_trail_there_is_no_lag_of_the_bucket(events: list[FakeEvent]) -> None:
    """An empty index, or files that somebody put where no trail writes."""
    facts = FakePipeline(cluster=FakeCluster(events=events)).parts()["lag"].facts

    assert "newest_file" not in facts


def test_letters_are_counted_by_reason_only_when_asked() -> None:
    """It receives all of them."""
    pipeline = FakePipeline({"sqs": make_sqs(None, {"ApproximateNumberOfMessages": "3"})})

    by_number, by_reason = pipeline.parts(), pipeline.parts(lambda: {"truncated": 2, "corrupt": 1})

    assert by_number["dead letters"].facts["by_reason"] is None
    assert by_reason["dead letters"].text == "3, oldest 0s: corrupt 1, truncated 2"


def test_letters_that_cannot_be_counted_are_a_fault_with_the_reason() -> None:
    """The number alone would look complete."""

    def denied() -> dict[str, int]:
        raise QueueUnavailable("The queue cannot be used: AccessDenied")

    part = FakePipeline().parts(denied)["dead letters"]

    assert (part.status, part.text) == ("fault", "The queue cannot be used: AccessDenied")
