"""Neighbours that drip, fall silent or lie: what arrived is indexed in time, and nothing of a batch outlives it."""

from __future__ import annotations

import gc
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from msgspec.structs import replace

from tests.support.factories import BUCKET, event, key, log_file, message, s3_entry, s3_notice
from tests.support.fakes import MemoryQueue
from tests.support.slow_cluster import SlowCluster, listening_cluster
from tests.support.slow_s3 import Fault, SlowS3, listening_s3
from worker.aws.fast_get import FastGetObject
from worker.aws.s3 import S3Store
from worker.aws.session import config
from worker.opensearch.client import Client
from worker.opensearch.sender import BulkSender
from worker.pipeline.consumer import Consumer
from worker.pipeline.limits import Limits
from worker.wiring import now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.pipeline.accounting import BatchResult
    from worker.pipeline.ports import Message

pytestmark = [
    pytest.mark.timeout(360),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]

BATCH_SECONDS = 18.0


@dataclass
class Pipeline:
    """A consumer between a bucket, a cluster and a queue; `fast` lets it learn the fast path first."""

    bucket: SlowS3
    cluster: SlowCluster
    consumer: Consumer
    queue: MemoryQueue
    seconds: float = 0.0
    sizes: bool = True
    messages: dict[str, Message] = field(default_factory=dict)

    def put(self, number: int, *records: dict[str, Any], fault: Fault | None = None) -> Message:
        """Store a file and return the message that announces it."""
        name = key(f"file-{number}")
        content = log_file(*(records or (event(number),)))
        self.bucket.objects[name] = content
        if fault:
            self.bucket.faults[name] = fault
        entry = s3_entry(name)
        entry["s3"]["object"]["size"] = len(content) if self.sizes else 100_000
        self.messages[f"message-{number}"] = message(s3_notice(entry), number)
        return self.messages[f"message-{number}"]

    def consume(self, *messages: Message, seconds: float = BATCH_SECONDS) -> BatchResult:
        """Process one batch as a poller does, and measure it."""
        started = time.monotonic()
        result = self.consumer.consume(messages, lambda: started + seconds - time.monotonic())
        self.seconds = time.monotonic() - started
        return result

    def causes(self, result: BatchResult) -> dict[str, str]:
        return {file.ref.key.rpartition("_")[2].removesuffix(".json.gz"): file.unavailable for file in result.files}


@contextmanager
def running(*, fast: bool, request_seconds: float = 5.0, longest_wait: float = 30.0) -> Iterator[Pipeline]:
    with listening_s3(SlowS3()) as bucket, listening_cluster(SlowCluster()) as cluster:
        session = boto3.Session("AKID", "secret", region_name="eu-central-1")
        client = session.client("s3", endpoint_url=bucket.url, config=config(connections=8))
        credentials = session.get_credentials()
        assert credentials
        store = S3Store(client, FastGetObject(client, credentials, connections=8) if fast else None)
        sender = BulkSender(
            Client(cluster.url, sign_in=lambda: None, ca_file=None, seconds=30),
            request_seconds=request_seconds,
            retry_seconds=5,
            max_bytes=1 << 20,
            in_flight=4,
            sleep=lambda seconds: time.sleep(min(seconds, longest_wait)),
        )
        queue = MemoryQueue()
        bounds = replace(Limits(), reserve_seconds=4.0)
        consumer = Consumer(store, sender, queue, bounds, now=now, monotonic=time.monotonic, jitter=lambda: 1.0)
        pipeline = Pipeline(bucket, cluster, consumer, queue)
        try:
            if fast:  # several connections, as after an earlier batch
                for batch in range(2):
                    pipeline.consume(*(pipeline.put(900 + 10 * batch + n) for n in range(8)))
            cluster.documents.clear()
            yield pipeline
        finally:
            consumer.close()
            client.close()
            # What was given up while it dripped may be open until here on a busy machine: close it now, in this module.
            gc.collect()


WAYS = pytest.mark.parametrize("fast", [False, True], ids=["boto3", "fast"])


@WAYS
def test_one_slow_object_costs_only_itself(*, fast: bool) -> None:
    """Ten objects: one is silent, one drips its body, one drips its headers. The others are in within the batch."""
    with running(fast=fast) as pipeline:
        faults = {0: Fault.SILENT, 4: Fault.DRIP, 7: Fault.DRIP_HEAD}

        result = pipeline.consume(*(pipeline.put(n, fault=faults.get(n)) for n in range(10)))

        assert pipeline.seconds < BATCH_SECONDS
        assert set(result.failed) == {"message-0", "message-4", "message-7"}
        assert {cause for cause in pipeline.causes(result).values() if cause} == {"s3:slow"}
        assert len(pipeline.cluster.documents) == 7
        assert result.crashes == ()


@WAYS
@pytest.mark.parametrize("sizes", [True, False], ids=["small", "large"])
def test_nine_dripping_objects_do_not_stop_ten_good_ones(*, fast: bool, sizes: bool) -> None:
    """More than there are threads: and when the store heals, nothing has to be restarted."""
    with running(fast=fast) as pipeline:
        pipeline.sizes = sizes
        slow = [pipeline.put(n, fault=Fault.DRIP) for n in range(9)]
        good = [pipeline.put(n) for n in range(10, 20)]

        result = pipeline.consume(*slow, *good)

        assert pipeline.seconds < BATCH_SECONDS
        assert set(result.failed) == {each.id for each in slow}
        assert len(pipeline.cluster.documents) == 10

        pipeline.bucket.heal()
        again = pipeline.consume(*slow)

        assert (again.failed, len(pipeline.cluster.documents)) == ((), 19)
        assert pipeline.seconds < BATCH_SECONDS / 2  # a file that drips takes a third, and then some


@WAYS
def test_no_thread_and_no_connection_of_a_batch_outlives_it(*, fast: bool) -> None:
    """What drips for ever must not hold a thread of the next batch, nor a socket."""
    with running(fast=fast) as pipeline:
        before = pipeline.bucket.open_connections
        pipeline.consume(*(pipeline.put(n, fault=Fault.DRIP) for n in range(8)), seconds=12.0)

        assert pipeline.seconds < 12.0
        wait_until(lambda: pipeline.bucket.open_connections <= before, 15.0)
        pipeline.consumer.fetchers.submit(lambda: None).result(15.0)
        assert pipeline.consumer.fetchers._work_queue.qsize() == 0  # noqa: SLF001 - no thread is busy


def test_what_was_read_is_sent_while_a_slow_object_is_waited_for() -> None:
    """Not only at the end of the batch: an operator sees the events of the others within seconds."""
    with running(fast=False) as pipeline:
        batch = [pipeline.put(0, fault=Fault.SILENT), *(pipeline.put(n) for n in range(1, 4))]
        thread = threading.Thread(target=pipeline.consume, args=batch)
        thread.start()

        wait_until(lambda: len(pipeline.cluster.documents) == 3, BATCH_SECONDS)
        assert thread.is_alive()  # the silent one is still waited for
        thread.join()


def test_a_stop_ends_a_batch_whatever_drips() -> None:
    """SIGTERM sets the remaining time to 0: fetches end at once, a bulk response at its own deadline."""
    with running(fast=False, request_seconds=3.0) as pipeline:
        pipeline.cluster.drips = True
        stopped = threading.Event()
        batch = [pipeline.put(1), pipeline.put(2, fault=Fault.DRIP)]
        thread = threading.Thread(
            target=pipeline.consumer.consume, args=(batch, lambda: 0.0 if stopped.is_set() else 60.0)
        )
        thread.start()
        wait_until(lambda: pipeline.cluster.requests > 0, 30.0)
        stopped.set()
        started = time.monotonic()

        thread.join(30)

        assert not thread.is_alive()
        assert time.monotonic() - started < 20.0  # 60 is what the batch had left


def test_a_bulk_response_that_drips_ends_at_its_time() -> None:
    """The client's own timeout starts again with each byte; the request is sent again, and its documents are there."""
    with running(fast=False, request_seconds=2.0) as pipeline:
        pipeline.cluster.drips = True
        threading.Timer(3.0, lambda: setattr(pipeline.cluster, "drips", False)).start()

        result = pipeline.consume(pipeline.put(1), pipeline.put(2))

        assert (result.failed, len(pipeline.cluster.documents)) == ((), 2)
        assert pipeline.seconds < BATCH_SECONDS


LIES = [Fault.SHORT, Fault.PARTIAL, Fault.IMPOSTOR, Fault.EMPTY, Fault.NO_HEADERS]


@WAYS
@pytest.mark.parametrize("fault", LIES)
def test_a_wrong_body_is_read_again_before_a_letter(fault: Fault, *, fast: bool) -> None:
    """A proxy answered for S3 once: the object in the bucket is whole, and so is what is indexed."""
    with running(fast=fast) as pipeline:
        announcement = pipeline.put(1, *(event(n) for n in range(20)), fault=fault)
        pipeline.bucket.times[key("file-1")] = 1

        result = pipeline.consume(announcement)

        assert (result.failed, result.dead_letters, result.crashes) == ((), 0, ())
        assert len(pipeline.cluster.documents) == 20


@WAYS
@pytest.mark.parametrize("fault", LIES)
def test_a_body_that_s3_itself_contradicts_is_no_dead_letter(fault: Fault, *, fast: bool) -> None:
    """As long as body and description disagree, nobody knows what the object holds: the message goes back."""
    with running(fast=fast) as pipeline:
        result = pipeline.consume(pipeline.put(1, *(event(n) for n in range(20)), fault=fault))

        assert (result.failed, result.dead_letters, result.crashes) == (("message-1",), 0, ())
        assert pipeline.causes(result)["file-1"] in ("s3:mismatch", "s3:status_206", "s3:missing_headers")
        assert pipeline.cluster.documents == {}


def test_a_file_that_is_damaged_in_the_bucket_is_a_letter() -> None:
    """Both looks and S3's description agree: waiting cannot help."""
    with running(fast=True) as pipeline:
        whole = log_file(*(event(n) for n in range(20)))
        announcement = pipeline.put(1)
        pipeline.bucket.objects[key("file-1")] = whole[: len(whole) // 2]

        result = pipeline.consume(announcement)

        assert (result.failed, result.dead_letters) == ((), 1)
        assert pipeline.queue.letters[0].reason == "truncated"
        assert BUCKET in pipeline.queue.letters[0].body


# A record that costs the connection


def marked(number: int) -> dict[str, Any]:
    return event(number, userAgent="KILLS-THE-NODE")


def test_a_record_that_kills_the_connection_is_a_letter_and_everything_else_is_indexed() -> None:
    """Otherwise it would come back, and close the road for every request that it is in, for a day."""
    with running(fast=False, longest_wait=0.2) as pipeline:
        pipeline.cluster.kills = lambda text: b"KILLS-THE-NODE" in text
        bad = pipeline.put(0, event(0), marked(1), event(2))
        good = [pipeline.put(n, event(10 * n), event(10 * n + 1)) for n in range(1, 5)]

        result = pipeline.consume(bad, *good, seconds=100.0)

        assert (result.failed, result.dead_letters) == ((), 1)
        assert len(pipeline.cluster.documents) == 2 + 8
        letter = pipeline.queue.letters[0]
        assert (letter.reason, letter.rejected) == ("unindexable", ((1, "unindexable"),))
        assert {file.reason for file in result.files} == {"", "unindexable"}
        assert pipeline.cluster.killed <= 12


def test_a_record_that_only_kills_in_its_full_form_is_degraded() -> None:
    """A record of half a million members is harmless as one string."""
    with running(fast=False, longest_wait=0.2) as pipeline:
        pipeline.cluster.kills = lambda text: b'"agent":{"KILLS"' in text
        bad = pipeline.put(0, event(0), event(1, additionalEventData={"agent": {"KILLS": 1}}), event(2))

        result = pipeline.consume(bad, seconds=60.0)

        assert (result.failed, result.dead_letters, result.files[0].degraded) == ((), 0, 1)
        assert len(pipeline.cluster.documents) == 3


def test_a_cluster_that_loses_every_connection_blames_no_record() -> None:
    """A load balancer without a node behind it looks the same for each document alone."""
    with running(fast=False, longest_wait=0.2) as pipeline:
        pipeline.cluster.kills = lambda _: True

        result = pipeline.consume(pipeline.put(0, *(event(n) for n in range(4))), seconds=30.0)

        assert (result.failed, result.dead_letters) == (("message-0",), 0)
        assert pipeline.causes(result) == {"file-0": "no_connection"}

        pipeline.cluster.kills = lambda _: False
        again = pipeline.consume(pipeline.messages["message-0"])

        assert (again.failed, again.files[0].indexed) == ((), 4)


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
