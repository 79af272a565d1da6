"""One question, one answer: `trailsink status` and `trailsink doctor` judge the same fact alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.health.fake_pipeline import (
    DEAD_LETTER_URL,
    EXPLAIN,
    INDEX,
    ISM,
    NOW,
    QUEUE_URL,
    Denied,
    FakeCloudTrail,
    FakeCluster,
    FakeEvent,
    FakeLambda,
    FakePipeline,
    client_error,
    make_ages,
    make_health,
    make_ledger,
    make_mapping,
    make_node_settings,
    make_policy,
    make_sqs,
    make_template,
    make_trail,
    refusal,
)
from worker.health.findings import CheckStatus
from worker.opensearch.schema import VERSION, index_template

POLICY = f"{ISM}/policies/trailsink-cloudtrail"
NO_POLICY = (404, {"error": {"type": "status_exception"}})
NO_HANDLER = (400, {"error": "no handler found for uri [x] and method [GET]"})
WAITING = {"ApproximateNumberOfMessages": "9"}
THIRTY_DAYS = "Delete indices of trailsink after 30 days"
NO_TEMPLATE: tuple[int, Any] = (200, {"index_templates": []})


def with_services(**services: Any) -> FakePipeline:
    return FakePipeline({name.rstrip("_"): service for name, service in services.items()})


def with_oldest(minutes: float) -> FakePipeline:
    return with_services(sqs=make_sqs(WAITING), cloudwatch=make_ages(minutes * 60))


def with_cluster(path: str, answer: tuple[int, Any], **settings: Any) -> FakePipeline:
    return FakePipeline(cluster=FakeCluster({path: answer}), settings=settings)


def following(name: str | None) -> tuple[int, Any]:
    """What ISM explains of the index that exists."""
    return 200, {INDEX: {"index.plugins.index_state_management.policy_id": name}, "total_managed_indices": 1}


def without_policy(answer: tuple[int, Any]) -> FakePipeline:
    """None was asked for, and the index follows none."""
    cluster = FakeCluster({POLICY: answer, EXPLAIN: following(None)})
    return FakePipeline(cluster=cluster, settings={"retention_days": 0})


def with_shards(used: int, limit_per_node: int) -> FakePipeline:
    """A cluster with two data nodes."""
    health = make_health("green", active=used)
    settings = make_node_settings(limit_per_node)
    return FakePipeline(cluster=FakeCluster({"/_cluster/health": (200, health), "/_cluster/settings": (200, settings)}))


def with_disk(free: int) -> FakePipeline:
    """A share of 100 GiB."""
    return with_cluster("/_cat/allocation", (200, [{"disk.avail": str(free << 30), "disk.total": str(100 << 30)}]))


def with_template(**changes: Any) -> FakePipeline:
    return with_cluster("/_index_template", (200, make_template(**changes)))


def with_ledger(**newest: timedelta) -> FakePipeline:
    return with_cluster(LEDGER, (200, make_ledger(**newest)))


def with_events(*events: FakeEvent) -> FakePipeline:
    return FakePipeline(cluster=FakeCluster(events=list(events)))


def with_mapping(state: str, maximum: int | None = 10, reserved: Any = None) -> FakePipeline:
    return with_services(lambda_=FakeLambda([make_mapping(state, maximum)], reserved))


def without_queue(url: str) -> FakePipeline:
    sqs = make_sqs()
    del sqs.queues[url]
    return with_services(sqs=sqs)


def indexed(hours: float) -> FakeEvent:
    return FakeEvent(indexed_at=NOW - timedelta(hours=hours))


def trails(*trails: tuple[dict[str, Any], dict[str, Any]]) -> FakePipeline:
    return with_services(cloudtrail=FakeCloudTrail(list(trails)))


def statuses(pipeline: FakePipeline, part: str, check: str) -> tuple[CheckStatus, CheckStatus]:
    """The status of a part and of a check; what the doctor could not check is unknown to `status`."""
    status, finding = pipeline.parts()[part].status, pipeline.findings()[check]
    return status, CheckStatus.UNKNOWN if finding.status is CheckStatus.NOT_CHECKED else finding.status


LEDGER = "/trailsink-files-cloudtrail-*/_search"
NEWER = {"owner": "trailsink", "version": VERSION + 1}
OLDER = {"owner": "trailsink", "version": VERSION - 1}
UNDATED = FakeEvent("cloudtrail-undated", datetime(2099, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("pipeline", "part", "check", "expected", "advice"),
    [
        (
            with_template(_meta=NEWER), "template", "index template", "warning",
            "this trailsink has 2; use the trailsink that made it",
        ),
        (
            with_cluster(POLICY, (200, make_policy(30))), "retention", "retention", "fault",
            f"90 days asked for, the policy says: {THIRTY_DAYS}; trailsink setup --retention-days 90 --existing",
        ),
        (
            with_mapping("Enabled", maximum=10, reserved=2), "consumer", "reserved concurrency", "fault",
            "2, less than the mapping may use: throttled receives fill the dead-letter queue",
        ),
        (with_mapping("Updating"), "consumer", "event source mapping", "ok", "Updating"),
        (with_oldest(20), "queue", "age of the oldest message", "warning", "20m"),
        (with_oldest(59), "queue", "age of the oldest message", "warning", "59m"),
        (with_oldest(61), "queue", "age of the oldest message", "fault", "1h 1m"),
        (with_events(FakeEvent(), UNDATED), "lag", "newest event", "ok", "newest event 6m old, indexed 1m ago"),
    ],
    ids=[
        "newer template", "other retention", "too little reserved", "mapping is updated", "message of 20 minutes",
        "message of 59 minutes", "message of over an hour", "undated event",
    ],
)  # fmt: skip
def test_the_two_commands_no_longer_contradict_each_other(
    pipeline: FakePipeline, part: str, check: str, expected: str, advice: str
) -> None:
    """Each of these once had two answers; this is the right one, and both commands give it with the same words."""
    line, finding = pipeline.parts()[part], pipeline.findings()[check]

    assert (line.status, finding.status) == (expected, expected)
    assert advice in line.text
    assert advice in f"{finding.evidence}; {finding.fix}"


def test_a_newer_template_is_never_a_reason_for_setup() -> None:
    """`trailsink setup` refuses to replace it: the advice would end in an error."""
    pipeline = with_template(_meta=NEWER)

    assert "trailsink setup" not in pipeline.parts()["template"].text
    assert "trailsink setup" not in pipeline.findings()["index template"].fix


def test_an_undated_event_is_never_the_newest() -> None:
    """Its time is absurd, which is why it has an index of its own."""
    pipeline = with_events(FakeEvent(), UNDATED)

    assert "2099" not in pipeline.findings()["newest event"].evidence
    assert pipeline.parts()["lag"].facts["newest_event"] == "2026-03-01T11:54:00+00:00"


SERVERLESS = {"opensearch_service": "aoss"}
FACTS: list[tuple[str, FakePipeline, str, str, str]] = [
    # queues
    ("queue well", FakePipeline(), "queue", "source queue", "ok"),
    ("no queue", without_queue(QUEUE_URL), "queue", "source queue", "fault"),
    ("no dead-letter queue", without_queue(DEAD_LETTER_URL), "dead letters", "dead-letter queue", "fault"),
    ("young message", with_oldest(14), "queue", "age of the oldest message", "ok"),
    ("message of 15 minutes", with_oldest(15), "queue", "age of the oldest message", "warning"),
    ("message of an hour", with_oldest(60), "queue", "age of the oldest message", "fault"),
    ("empty queue", with_services(cloudwatch=make_ages(7200, 0)), "queue", "age of the oldest message", "ok"),
    ("no letters", FakePipeline(), "dead letters", "dead letters", "ok"),
    ("letters", with_services(sqs=make_sqs(None, WAITING)), "dead letters", "dead letters", "warning"),
    (
        "letters in flight", with_services(sqs=make_sqs(None, {"ApproximateNumberOfMessagesNotVisible": "2"})),
        "dead letters", "dead letters", "warning",
    ),
    # consumer
    ("enabled", with_mapping("Enabled"), "consumer", "event source mapping", "ok"),
    ("enabling", with_mapping("Enabling"), "consumer", "event source mapping", "ok"),
    ("creating", with_mapping("Creating"), "consumer", "event source mapping", "ok"),
    ("disabling", with_mapping("Disabling"), "consumer", "event source mapping", "fault"),
    ("disabled", with_mapping("Disabled"), "consumer", "event source mapping", "fault"),
    ("deleting", with_mapping("Deleting"), "consumer", "event source mapping", "fault"),
    ("no state", with_mapping(""), "consumer", "event source mapping", "fault"),
    ("no mapping", with_services(lambda_=FakeLambda([])), "consumer", "event source mapping", "unknown"),
    (
        "two mappings", with_services(lambda_=FakeLambda([make_mapping(), make_mapping(UUID="u-2")])),
        "consumer", "event source mapping", "warning",
    ),
    ("mapping denied", with_services(lambda_=Denied()), "consumer", "event source mapping", "unknown"),
    ("mapping of no queue", without_queue(QUEUE_URL), "consumer", "event source mapping", "unknown"),
    ("nothing reserved", with_mapping("Enabled"), "consumer", "reserved concurrency", "ok"),
    ("enough reserved", with_mapping("Enabled", 10, 10), "consumer", "reserved concurrency", "ok"),
    ("none left", with_mapping("Enabled", 10, 0), "consumer", "reserved concurrency", "fault"),
    ("reserved, no maximum", with_mapping("Enabled", None, 50), "consumer", "reserved concurrency", "fault"),
    (
        "reserved denied", with_mapping("Enabled", 10, client_error("AccessDenied")),
        "consumer", "reserved concurrency", "unknown",
    ),
    (
        "disabled, reserved denied", with_mapping("Disabled", 10, client_error("AccessDenied")),
        "consumer", "event source mapping", "fault",
    ),
    # trail
    ("logging", FakePipeline(), "trail", "trail", "ok"),
    ("logging, nothing delivered", trails(make_trail(LatestDeliveryTime=None)), "trail", "trail", "ok"),
    ("stopped", trails(make_trail(IsLogging=False)), "trail", "trail", "fault"),
    ("not delivering", trails(make_trail(LatestDeliveryError="NoSuchBucket")), "trail", "trail", "fault"),
    ("second stopped", trails(make_trail("b", IsLogging=False)), "trail", "trail", "fault"),
    ("no trail", trails(), "trail", "trail", "unknown"),
    ("trail denied", with_services(cloudtrail=Denied()), "trail", "trail", "unknown"),
    ("no bucket set", FakePipeline(settings={"bucket": ""}), "trail", "trail", "unknown"),
    # cluster
    ("answers", FakePipeline(), "cluster", "cluster", "ok"),
    ("refuses the sign-in", with_cluster("/", (401, "Unauthorized")), "cluster", "cluster", "fault"),
    ("hangs up", with_cluster("/", (0, "")), "cluster", "cluster", "fault"),
    ("green", FakePipeline(), "cluster", "health", "ok"),
    ("yellow", with_cluster("/_cluster/health", (200, make_health("yellow", 5))), "cluster", "health", "warning"),
    ("red", with_cluster("/_cluster/health", (200, make_health("red", 5))), "cluster", "health", "fault"),
    ("Serverless", FakePipeline(settings=SERVERLESS), "cluster", "health", "ok"),
    # shards
    ("room for shards", with_shards(400, 500), "shards", "shards", "ok"),
    ("shards at 80 %", with_shards(800, 500), "shards", "shards", "warning"),
    ("no room for a shard", with_shards(1_000, 500), "shards", "shards", "fault"),
    ("shard limit denied", with_cluster("/_cluster/settings", refusal("monitor/state")), "shards", "shards", "unknown"),
    # template
    ("current", FakePipeline(), "template", "index template", "ok"),
    ("missing", with_cluster("/_index_template", NO_TEMPLATE), "template", "index template", "fault"),
    ("somebody's", with_template(_meta={"owner": "ops"}), "template", "index template", "fault"),
    ("older", with_template(_meta=OLDER), "template", "index template", "warning"),
    ("without version", with_template(_meta={"owner": "trailsink"}), "template", "index template", "warning"),
    ("changed", with_template(template={"mappings": {}}), "template", "index template", "warning"),
    (
        "template denied", with_cluster("/_index_template", refusal("indices:admin/index_template/get")),
        "template", "index template", "unknown",
    ),
    # disk
    ("room", FakePipeline(), "disk", "disk", "ok"),
    ("80 % used", with_disk(20), "disk", "disk", "warning"),
    ("95 % used", with_disk(5), "disk", "disk", "fault"),
    ("disk denied", with_cluster("/_cat/allocation", refusal("nodes/stats")), "disk", "disk", "unknown"),
    # ledger
    ("ledger as it should be", FakePipeline(), "ledger", "ledger", "ok"),
    ("silent account", with_ledger(a1=timedelta(minutes=5), a2=timedelta(days=2)), "ledger", "ledger", "warning"),
    ("ledger denied", with_cluster(LEDGER, refusal("indices:data/read/search")), "ledger", "ledger", "unknown"),
    # retention
    ("as asked", FakePipeline(), "retention", "retention", "ok"),
    ("no policy", with_cluster(POLICY, NO_POLICY), "retention", "retention", "fault"),
    ("no plugin", with_cluster(POLICY, NO_HANDLER), "retention", "retention", "warning"),
    ("none asked, no policy", without_policy(NO_POLICY), "retention", "retention", "ok"),
    ("none asked, no plugin", with_cluster(POLICY, NO_HANDLER, retention_days=0), "retention", "retention", "ok"),
    ("none asked, a policy", FakePipeline(settings={"retention_days": 0}), "retention", "retention", "fault"),
    ("policy denied", with_cluster(POLICY, refusal("ism/policy/get")), "retention", "retention", "unknown"),
    (
        "none asked, policy denied", without_policy(refusal("ism/policy/get")),
        "retention", "retention", "ok",
    ),
    ("no ISM on Serverless", FakePipeline(settings=SERVERLESS), "retention", "retention", "unknown"),
    ("all follow it", FakePipeline(), "retention", "retention of each index", "ok"),
    ("one detached", with_cluster(EXPLAIN, following(None)), "retention", "retention of each index", "fault"),
    ("one follows another", with_cluster(EXPLAIN, following("corp")), "retention", "retention of each index", "fault"),
    # events
    ("fresh", FakePipeline(), "lag", "newest event", "ok"),
    ("empty", with_events(), "lag", "newest event", "warning"),
    ("only an undated event", with_events(UNDATED), "lag", "newest event", "warning"),
    ("indexed 1.9 h ago", with_events(indexed(1.9)), "lag", "newest event", "ok"),
    ("indexed 2 h ago", with_events(indexed(2)), "lag", "newest event", "warning"),
    (
        "search denied", with_cluster("/cloudtrail-*,-cloudtrail-undated*/_search", refusal("data/read/search")),
        "lag", "newest event", "unknown",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "pipeline", "part", "check", "expected"), FACTS, ids=[fact[0] for fact in FACTS])
def test_both_commands_judge_the_same_fact_alike(
    name: str, pipeline: FakePipeline, part: str, check: str, expected: str
) -> None:
    """Whoever sees a fault in one command looks it up in the other."""
    assert statuses(pipeline, part, check) == (expected, expected), name


@pytest.mark.parametrize("setting", ["queue_url", "dead_letter_queue_url", "opensearch_url"])
def test_a_vital_part_that_cannot_be_checked_is_a_fault_to_status_and_not_checked_to_the_doctor(setting: str) -> None:
    """The one difference that is documented: both commands end with exit code 1."""
    part, check = {
        "queue_url": ("queue", "source queue"),
        "dead_letter_queue_url": ("dead letters", "dead-letter queue"),
        "opensearch_url": ("cluster", "cluster"),
    }[setting]
    pipeline = FakePipeline(settings={setting: ""}) if setting != "opensearch_url" else with_cluster("/", (503, "busy"))

    assert statuses(pipeline, part, check) == ("fault", "unknown")


def test_the_pipeline_of_these_tests_is_well() -> None:
    """A fact that is wrong from the start would hide the one that a test changes."""
    pipeline = FakePipeline()

    assert {part.status for part in pipeline.parts().values()} == {"ok"}
    # Whether this machine's loopback address is in a VPC is no question.
    assert {name for name, finding in pipeline.findings().items() if finding.status != "ok"} == {"way to the endpoint"}


def test_the_fields_that_are_the_users_own_are_no_change() -> None:
    """A template may have more than trailsink's fields."""
    template = index_template("cloudtrail")["template"]
    template["mappings"]["properties"]["team"] = {"type": "keyword"}

    assert statuses(with_template(template=template), "template", "index template") == ("ok", "ok")
