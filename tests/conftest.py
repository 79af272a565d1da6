"""Fixtures of all suites: the local stack once a session, and everything that is made from it fresh for each test."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from opensearchpy import OpenSearch
from xdist.scheduler import LoadScopeScheduling

from infra.local.errors import LocalStackError
from infra.local.node import DEFAULT_VERSION
from infra.local.stack import MISLEADING, Stack
from worker.opensearch.setup import SetupOptions, install
from worker.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient

# A shell without job control starts what is in its background with interrupts ignored, and every child of the tests
# would inherit that. What an interrupt does is tested, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

DATA = Path(__file__).parent / "data"
CORPUS = Path(__file__).parents[2] / "shared" / "corpus"
VERSION = os.environ.get("TRAILSINK_TEST_OPENSEARCH_VERSION", DEFAULT_VERSION)


# These look at the machine's own ports and at the checkout's .local folder, so never two of them at a time.
MACHINE = ("test_local_stack.py", "test_documented_commands.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long tests first and the many short ones last, so that no process is left alone with a long one."""
    items.sort(key=lambda item: (item.path.parent.name not in ("integration", "faults"), item.path.name not in MACHINE))


class ByFile(LoadScopeScheduling):  # type: ignore[misc] # pytest-xdist's schedulers are not typed
    """Keeps the tests of a file in one process: they share what is dear to start."""

    def _split_scope(self, nodeid: str) -> str:
        """Return the name of a test's group: its file, or that of all files that look at the machine."""
        path = nodeid.partition("::")[0]
        return "machine" if path.rpartition("/")[2] in MACHINE else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    """Spread the tests over processes by file. Groups by mark are broken with pytest 9.2 and pytest-xdist 3.8."""
    return ByFile(config, log)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A real OpenSearch node, and S3 and SQS over HTTP."""
    try:
        running = Stack(version=VERSION).start()
    except LocalStackError as error:
        pytest.exit(f"The local stack does not start: {error}", returncode=1)
    yield running
    running.close()


@pytest.fixture
def environment(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a process that talks to the stack, set for this one; bucket and queues are empty."""
    stack.reset()
    for name in MISLEADING:
        monkeypatch.delenv(name, raising=False)
    variables = stack.environment | {
        "TRAILSINK_INDEX_PREFIX": f"t{uuid.uuid4().hex[:8]}",
        "TRAILSINK_BACKOFF_SECONDS": "1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@dataclass(frozen=True)
class Bench:
    """What an integration test works with: clients of the real parts, and a few words for what they are asked."""

    settings: Settings
    s3: S3Client
    sqs: SQSClient
    opensearch: OpenSearch

    @property
    def prefix(self) -> str:
        return self.settings.index_prefix

    def put(self, key: str, body: bytes, bucket: str = "") -> None:
        """Upload an object; the bucket announces it to the queue."""
        self.s3.put_object(Bucket=bucket or self.settings.bucket, Key=key, Body=body)

    def hits(self) -> list[dict[str, Any]]:
        """All documents of this test's indices, at most 10,000: `_index`, `_id` and `_source`."""
        self._refresh()
        found = self.opensearch.search(index=f"{self.prefix}-*", body={"size": 10_000, "query": {"match_all": {}}})
        hits: list[dict[str, Any]] = found["hits"]["hits"]
        return hits

    def documents(self) -> dict[str, dict[str, Any]]:
        """The same by event id, of which none may be there twice; by document id where a record has none."""
        hits = self.hits()
        documents = {hit["_source"].get("eventID", hit["_id"]): hit for hit in hits}
        assert len(documents) == len(hits)
        return documents

    def count(self) -> int:
        """The number of documents in this test's indices."""
        self._refresh()
        return int(self.opensearch.count(index=f"{self.prefix}-*")["count"])

    def _refresh(self) -> None:
        """Make all documents searchable; an index that has just been made answers 503 until its shard has started."""
        self.opensearch.cluster.health(index=f"{self.prefix}-*", wait_for_no_initializing_shards=True, timeout=120)
        self.opensearch.indices.refresh(index=f"{self.prefix}-*")

    def letters(self) -> list[dict[str, Any]]:
        """The dead letters: `Body`, and `MessageAttributes` as plain text by name. They stay hidden for 30 s."""
        found: list[dict[str, Any]] = []
        while True:
            answer = self.sqs.receive_message(
                QueueUrl=self.settings.dead_letter_queue_url,
                MaxNumberOfMessages=10,
                MessageAttributeNames=["All"],
                VisibilityTimeout=30,
            )
            if not answer.get("Messages"):
                return found
            for one in answer["Messages"]:
                attributes = {name: value["StringValue"] for name, value in one.get("MessageAttributes", {}).items()}
                found.append({"Body": one["Body"], "MessageAttributes": attributes})


@pytest.fixture
def bench(environment: dict[str, str]) -> Iterator[Bench]:  # noqa: ARG001 - it is set while this is used
    """The real parts with an empty bucket and empty queues, and our index template for this test's prefix."""
    settings = load_settings()
    client = OpenSearch([settings.opensearch_url], timeout=150)
    list(install(client, SetupOptions(settings.index_prefix, replicas=0)))
    yield Bench(settings, boto3.client("s3"), boto3.client("sqs"), client)
    client.indices.delete(index=f"{settings.index_prefix}-*", ignore_unavailable=True)
    client.indices.delete(index=f"trailsink-files-{settings.index_prefix}-*", ignore_unavailable=True)
    for name in (f"trailsink-{settings.index_prefix}", f"trailsink-files-{settings.index_prefix}"):
        client.indices.delete_index_template(name=name, params={"ignore": 404})


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real CloudTrail data beside the checkout, which only its developers have."""
    if not CORPUS.is_dir():
        pytest.skip("../shared/corpus is not here: real CloudTrail data that only the project's developers have")
    return CORPUS
