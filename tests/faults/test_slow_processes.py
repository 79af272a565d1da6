"""A whole `trailsink run`, and the Lambda handler, between neighbours that drip: real processes, a node and a queue."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from infra.local.stack import SERVER_VARIABLE
from tests.faults.test_neighbours import Consumer, Scene, scene, wait_for
from tests.support.factories import BUCKET, event, key, log_file, s3_entry, s3_notice
from tests.support.http_server import serving
from tests.support.slow_cluster import SlowCluster, listening_cluster
from tests.support.slow_s3 import Fault, SlowS3, listening_s3
from worker import handler as door

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.skipif(SERVER_VARIABLE in os.environ, reason=f"{SERVER_VARIABLE}: a server of others is not used"),
    pytest.mark.timeout(720),
]


@dataclass
class Dripping:
    """A scene whose consumer reads from a bucket that drips, and reaches its node through a proxy that can drip."""

    scene: Scene
    bucket: SlowS3
    cluster: SlowCluster
    environment: dict[str, str] = field(default_factory=dict)

    def announce(self, number: int, fault: Fault | None = None) -> None:
        name, content = key(f"file-{number}"), log_file(event(number))
        self.bucket.objects[name] = content
        if fault:
            self.bucket.faults[name] = fault
        entry = s3_entry(name)
        entry["s3"]["object"]["size"] = len(content)
        self.scene.sqs.send_message(QueueUrl=self.scene.resources.queue_url, MessageBody=s3_notice(entry))

    @contextmanager
    def consumer(self, *words: str) -> Iterator[Consumer]:
        running = Consumer(self.environment, *words)
        try:
            yield running
        finally:
            running.kill()


@contextmanager
def dripping(**settings: str) -> Iterator[Dripping]:
    with scene() as it, listening_s3(SlowS3()) as bucket, listening_cluster(SlowCluster(it.opensearch_url)) as cluster:
        addresses = {"AWS_ENDPOINT_URL_S3": bucket.url, "TRAILSINK_OPENSEARCH_URL": cluster.url}
        own = addresses | {"TRAILSINK_BUCKETS": BUCKET} | settings
        yield Dripping(it, bucket, cluster, it.environment | own)


def test_run_indexes_what_arrives_stops_in_time_and_heals_without_a_restart() -> None:
    """Nine objects drip beside ten good ones: those are there within a batch, and the others when S3 has healed."""
    with dripping(TRAILSINK_REQUEST_SECONDS="15", TRAILSINK_RETRY_SECONDS="15") as it:
        for number in range(9):
            it.announce(number, Fault.DRIP)
        for number in range(10, 20):
            it.announce(number)
        with it.consumer("--batch-size", "20") as consumer:
            wait_for(lambda: it.scene.count() == 10, 60)
            it.bucket.heal()
            wait_for(lambda: it.scene.count() == 19, 60)

            assert consumer.sum("DeadLetters") == 0
            reasons = {line["reason"] for line in consumer.lines if line.get("message") == "object"}
            assert reasons <= {"s3:slow", "deadline"}
            consumer.signal(signal.SIGTERM)
            assert consumer.end(30) == 0


def test_sigterm_ends_a_process_whatever_drips() -> None:
    """Within TRAILSINK_REQUEST_SECONDS: a supervisor would kill it, and what it holds would stay hidden."""
    with dripping(TRAILSINK_REQUEST_SECONDS="4") as it:
        it.cluster.drips = True
        it.announce(1, Fault.DRIP)
        it.announce(2)
        with it.consumer("--batch-size", "2") as consumer:
            wait_for(lambda: it.cluster.requests > 0 and it.bucket.gets, 40)
            started = time.monotonic()
            consumer.signal(signal.SIGTERM)

            assert consumer.end(30) == 0
            assert time.monotonic() - started < 4 + 16  # the process itself takes a moment to end


class Context:
    """Lambda's context object, whose time runs."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int((self._until - time.monotonic()) * 1_000)


def invoke(bucket: SlowS3, names: list[str], seconds: float) -> set[str]:
    """Invoke the handler with a message for each object; returns the names that stay in the queue."""
    records = []
    for name in names:
        entry = s3_entry(name)
        entry["s3"]["object"]["size"] = len(bucket.objects[name])
        records.append({"messageId": name, "receiptHandle": name, "body": s3_notice(entry)})
    response = door.handler({"Records": records}, Context(seconds))
    return {failure["itemIdentifier"] for failure in response["batchItemFailures"]}


def test_the_handler_returns_in_time_and_a_warm_one_heals(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warm environment lives for hours: eight threads that hang in it would stop it for good."""

    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, dict[str, str]]:  # noqa: ARG001
        return (
            200,
            json.dumps({"Successful": [], "Failed": []}).encode(),
            {"Content-Type": "application/x-amz-json-1.0"},
        )

    slow, good = [key(f"slow-{n}") for n in range(9)], [key(f"good-{n}") for n in range(10)]
    with listening_s3(SlowS3()) as bucket, listening_cluster(SlowCluster()) as cluster, serving(answer) as queue:
        settings: dict[str, Any] = {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL_S3": bucket.url,
            "AWS_ENDPOINT_URL_SQS": queue,
            "TRAILSINK_OPENSEARCH_URL": cluster.url,
            "TRAILSINK_QUEUE_URL": f"{queue}/1/source",
            "TRAILSINK_DEAD_LETTER_QUEUE_URL": f"{queue}/1/letters",
            "TRAILSINK_RESERVE_SECONDS": "4",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        bucket.objects = {name: log_file(event(number)) for number, name in enumerate(slow + good)}
        bucket.faults = dict.fromkeys(slow, Fault.DRIP)
        door._consumer.cache_clear()  # noqa: SLF001 - a cold start
        try:
            started = time.monotonic()
            assert invoke(bucket, slow + good, 20.0) == set(slow)
            assert time.monotonic() - started < 20.0
            assert len(cluster.documents) == 10

            bucket.heal()
            assert invoke(bucket, slow, 20.0) == set()
            assert len(cluster.documents) == 19
        finally:
            door._consumer()[0].close()  # noqa: SLF001
            door._consumer.cache_clear()  # noqa: SLF001
