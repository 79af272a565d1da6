"""Neighbours that stop, die, throttle or refuse, and a consumer that is killed: real processes, real signals.

After each, every record is there exactly once and the dead-letter queue is empty.
"""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import OpenSearchException

from infra.local.stack import SERVER_VARIABLE, Stack, program_environment
from tests.conftest import VERSION
from tests.support.cli import TRAILSINK
from tests.support.event_files import fresh_files
from worker.opensearch.client import Client
from worker.opensearch.sender import BulkSender
from worker.opensearch.setup import SetupOptions, install

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.pipeline.bulk import BulkResponse

pytestmark = [
    pytest.mark.skipif(SERVER_VARIABLE in os.environ, reason=f"{SERVER_VARIABLE}: a server of others is not stopped"),
    pytest.mark.timeout(720),
]

FILES, RECORDS = 60, 100

# Short waits, so that a test sees in seconds what takes minutes in earnest; what is tested does not depend on them.
IMPATIENT = {
    "TRAILSINK_BACKOFF_SECONDS": "1",
    "TRAILSINK_BACKOFF_MAX_SECONDS": "4",
    "TRAILSINK_REQUEST_SECONDS": "3",
    "TRAILSINK_RETRY_SECONDS": "3",
    "TRAILSINK_BATCH_SECONDS": "20",
    "TRAILSINK_RESERVE_SECONDS": "2",
}


def wait_for(what: Callable[[], object], seconds: float = 300) -> None:
    """Ask until it is true; fail when it never is."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


class Consumer:
    """A running `trailsink run`, and what it prints."""

    def __init__(self, environment: dict[str, str], *words: str) -> None:
        self._process = subprocess.Popen(
            [TRAILSINK, "run", *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self.lines.append(json.loads(line) if line.startswith("{") else {"message": line})

    def batches(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("message") == "batch"]

    def sum(self, name: str) -> float:
        return sum(float(line[name]) for line in self.batches())

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, seconds: float = 600) -> int:
        """Wait for it, and for the last of its lines."""
        code = self._process.wait(seconds)
        self._reader.join(60)
        return code

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(60)
        self._reader.join(60)
        if self._process.stdout:
            self._process.stdout.close()


class Scene:
    """A stack of its own, with files in the bucket."""

    def __init__(self, stack: Stack) -> None:
        assert stack.node is not None
        self.node = stack.node
        self.environment = program_environment(stack.environment | IMPATIENT)
        options: dict[str, Any] = {
            "endpoint_url": stack.aws.url,
            "region_name": "us-east-1",
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
        }
        self.s3, self.sqs = boto3.client("s3", **options), boto3.client("sqs", **options)
        self.resources = stack.resources
        self.opensearch_url = stack.opensearch_url
        self.opensearch = OpenSearch([stack.opensearch_url], timeout=60)
        list(install(self.opensearch, SetupOptions("cloudtrail", replicas=0)))
        self.ids: set[str] = set()
        self.uris: list[str] = []

    def upload(self, files: int = FILES, records: int = RECORDS) -> None:
        for key, body, ids in fresh_files(files, records):
            self.uris.append(f"s3://{self.resources.bucket}/{len(self.ids)}/{key}")
            self.s3.put_object(Bucket=self.resources.bucket, Key=f"{len(self.ids)}/{key}", Body=body)
            self.ids |= ids

    def refused(self, body: bytes) -> BulkResponse:
        """Send a bulk request; returns what the road makes of the answer."""
        client = Client(self.opensearch_url, sign_in=lambda: None, ca_file=None, seconds=30)
        cluster = BulkSender(client, request_seconds=30, retry_seconds=1, max_bytes=len(body), in_flight=1)
        posted = cluster.post(gzip.compress(body), lambda: 30.0, lambda _: False)
        assert posted
        return posted.response

    @contextmanager
    def consumer(self, *words: str) -> Iterator[Consumer]:
        running = Consumer(self.environment, *(words or ("--until-idle", "--timeout", "420")))
        try:
            yield running
        finally:
            running.kill()

    def count(self) -> int:
        try:
            self.opensearch.indices.refresh(index="cloudtrail-*")
            return int(self.opensearch.count(index="cloudtrail-*")["count"])
        except OpenSearchException:
            return 0

    def ledger(self) -> list[dict[str, Any]]:
        """The documents of files, each of which balances, and none of which is ahead of its file's records."""
        self.opensearch.indices.refresh(index="cloudtrail-*,trailsink-files-cloudtrail-*")
        response = self.opensearch.search(index="trailsink-files-cloudtrail-*", body={"size": 10_000})
        entries = [hit["_source"] for hit in response["hits"]["hits"]]
        by_file = {"size": 0, "aggs": {"files": {"terms": {"field": "trailsink.object", "size": 10_000}}}}
        buckets = self.opensearch.search(index="cloudtrail-*", body=by_file)["aggregations"]["files"]["buckets"]
        documents = {bucket["key"]: bucket["doc_count"] for bucket in buckets}
        for entry in entries:
            assert entry["read"] == entry["indexed"] + entry["duplicate"] + entry["degraded"]
            assert documents[entry["object"]] == entry["read"]  # no two files of these tests hold the same record
        return entries

    def assert_all_is_well(self) -> None:
        """Every record once, every file once in the ledger, no dead letter, an empty queue."""
        assert sorted(entry["object"] for entry in self.ledger()) == sorted(self.uris)
        found: list[str] = []
        self.opensearch.indices.refresh(index="cloudtrail-*")
        for hit in _scan(self.opensearch):
            found.append(hit)  # noqa: PERF402 - a list, to see what is there twice
        assert len(found) == len(set(found))
        assert set(found) == self.ids
        for url in (self.resources.dead_letter_queue_url, self.resources.queue_url):
            depth = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            assert depth["ApproximateNumberOfMessages"] == depth["ApproximateNumberOfMessagesNotVisible"] == "0"


def _scan(client: OpenSearch) -> Iterator[str]:
    after: list[Any] | None = None
    while True:
        body: dict[str, Any] = {"size": 5_000, "_source": ["eventID"], "sort": [{"_id": "asc"}]}
        if after:
            body["search_after"] = after
        hits = client.search(index="cloudtrail-*", body=body)["hits"]["hits"]
        if not hits:
            return
        yield from (hit["_source"]["eventID"] for hit in hits)
        after = hits[-1]["sort"]


@contextmanager
def scene(**settings: str | int) -> Iterator[Scene]:
    with Stack(version=VERSION, settings={name.replace("__", "."): value for name, value in settings.items()}) as stack:
        yield Scene(stack)


def test_a_node_that_freezes_and_one_that_is_killed_lose_and_double_nothing() -> None:
    """Requests in flight end unknown: the documents may be in or not, and a resend must not matter."""
    with scene() as it:
        it.upload()
        with it.consumer() as consumer:
            wait_for(lambda: it.count() > 0)
            it.node.pause()
            wait_for(lambda: consumer.sum("FilesHandedBack") > 0)
            it.node.resume()
            frozen = consumer.sum("FilesHandedBack")
            it.upload()
            wait_for(lambda: it.count() > FILES * RECORDS // 2)
            it.node.kill()
            wait_for(lambda: consumer.sum("FilesHandedBack") > frozen)
            it.node.start()

            assert consumer.end() == 0

        it.assert_all_is_well()


def test_a_node_that_throttles_takes_everything_in_the_end() -> None:
    """With an indexing pressure limit below one request, only smaller requests can ever pass."""
    with scene(indexing_pressure__memory__limit="1mb") as it:
        it.upload(files=12, records=600)
        with it.consumer("--until-idle", "--timeout", "420", "--batch-size", "12") as consumer:
            assert consumer.end() == 0

            assert consumer.sum("BulkThrottled") > 0

        it.assert_all_is_well()
        assert it.refused(b'{"create":{"_index":"other"}}\n{"text":"%s"}\n' % (b"x" * 1_500_000)).memory == 1 << 20


def test_a_request_that_is_too_large_is_sent_in_parts() -> None:
    """Small managed nodes refuse bodies that larger ones take."""
    with scene(http__max_content_length="1mb") as it:
        it.upload(files=12, records=600)
        with it.consumer("--until-idle", "--timeout", "420", "--batch-size", "12") as consumer:
            assert consumer.end() == 0

            assert consumer.sum("BulkRequests") > 2 * len(consumer.batches())

        it.assert_all_is_well()


def test_a_write_block_sends_messages_back_and_no_dead_letters() -> None:
    """A full disk or a snapshot blocks writes for hours; no record is to blame."""
    with scene() as it:
        it.upload(files=3)
        with it.consumer() as consumer:
            assert consumer.end() == 0
        it.opensearch.indices.put_settings(index="cloudtrail-2023-07-10", body={"index.blocks.write": True})
        it.upload(files=10)
        with it.consumer() as consumer:
            wait_for(lambda: consumer.sum("FilesHandedBack") >= 10)
            it.opensearch.indices.put_settings(index="cloudtrail-2023-07-10", body={"index.blocks.write": None})

            assert consumer.end() == 0

            assert consumer.sum("DeadLetters") == 0

        it.assert_all_is_well()


def test_a_consumer_that_is_killed_and_one_that_is_stopped_leave_nothing_behind() -> None:
    """SIGKILL takes all it knows with it; SIGTERM lets it hand back what it holds."""
    with scene() as it:
        it.upload()
        with it.consumer() as killed:
            wait_for(lambda: it.count() > 0)
            killed.kill()
        it.ledger()
        with it.consumer("--concurrency", "2") as stopped:
            wait_for(stopped.batches)
            stopped.signal(signal.SIGTERM)

            assert stopped.end(30) == 0

        it.upload()
        with it.consumer() as last:
            assert last.end() == 0

        it.assert_all_is_well()
