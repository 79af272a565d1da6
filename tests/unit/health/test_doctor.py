"""The doctor as a whole: it works with whatever part can be reached, reads each fact once, and changes nothing."""

from __future__ import annotations

from collections import Counter

from tests.unit.health.fake_pipeline import (
    DEAD_LETTER_URL,
    QUEUE_URL,
    Denied,
    FakeCloudWatch,
    FakeLambda,
    FakePipeline,
    make_sqs,
)
from worker.health.findings import CheckStatus

DENIED = {name: Denied() for name in ("lambda", "cloudwatch", "cloudtrail", "s3")}

CHECKS = [
    "source queue",
    "dead-letter queue",
    "redrive policy",
    "redrive allow policy",
    "queue encryption",
    "queue policy",
    "queue access",
    "retention of the queues",
    "dead letters",
    "age of the oldest message",
    "clock",
    "event source mapping",
    "ReportBatchItemFailures",
    "visibility timeout",
    "reserved concurrency",
    "way to the endpoint",
    "bucket notification",
    "prefix",
    "trail",
    "cluster",
    "health",
    "disk",
    "shards",
    "bulk requests",
    "loader's rights",
    "index template",
    "mapping",
    "mapping of each index",
    "unsearchable members",
    "overwritten events",
    "write blocks",
    "retention",
    "retention of each index",
    "daily indices",
    "newest event",
    "files in the bucket",
    "ledger template",
    "ledger",
]


def test_every_check_has_a_name_that_scripts_can_rely_on() -> None:
    """They are values of `trailsink doctor --json`, in the order of the report."""
    assert list(FakePipeline().findings()) == CHECKS


def test_each_side_is_checked_though_the_others_refuse() -> None:
    """Half of the permissions is what most operators have."""
    found = FakePipeline(DENIED).findings()

    assert found["redrive policy"].status is found["clock"].status is CheckStatus.OK
    assert found["index template"].status is CheckStatus.OK
    for check in ("event source mapping", "bucket notification", "trail", "age of the oldest message"):
        assert found[check].status is CheckStatus.NOT_CHECKED
        assert "AccessDenied" in found[check].evidence


def test_nothing_is_read_twice() -> None:
    """Several checks need the same fact; and what is refused is not asked for again."""
    sqs, function, cloudwatch = make_sqs(), FakeLambda(), FakeCloudWatch()
    pipeline = FakePipeline({"sqs": sqs, "lambda": function, "cloudwatch": cloudwatch})

    pipeline.findings()

    assert sqs.requests == [QUEUE_URL, DEAD_LETTER_URL]
    assert Counter(function.requests) == {"mappings": 1, "configuration": 1, "concurrency": 1}
    assert cloudwatch.requests == [
        ["oldest_message", "oldest_letter", "files", "records", "filtered", "errors", "throttles"]
    ]
    assert max(Counter(pipeline.session.created).values()) == 1
    repeated = {request for request, times in Counter(pipeline.cluster.requests).items() if times > 1}
    # Once to see that it answers, once for the mapping that it needs; each search asks another question.
    assert repeated == {("GET", "/"), ("POST", "/cloudtrail-*/_search")}


def test_without_credentials_the_cluster_is_checked() -> None:
    """And nothing is asked of AWS, which would search for credentials with each request."""
    pipeline = FakePipeline()
    pipeline.session.has_credentials = False

    found = pipeline.findings()

    assert found["source queue"].evidence == "no AWS credentials were found"
    assert found["index template"].status is CheckStatus.OK
    assert pipeline.session.created == []


def test_a_fault_has_a_fix() -> None:
    """An engineer at night reads the fix first."""
    sqs = make_sqs({"RedrivePolicy": "", "VisibilityTimeout": "1"}, {"ApproximateNumberOfMessages": "1"})

    found = FakePipeline({"sqs": sqs, "lambda": FakeLambda([])}).findings()

    assert {finding.check for finding in found.values() if finding.status in ("fault", "warning")} == {
        "redrive policy",
        "dead letters",
    }
    assert all(finding.fix for finding in found.values() if finding.status in ("fault", "warning"))
