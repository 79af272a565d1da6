"""A server that misbehaves on a real socket, and what the client makes of it."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.support.http_server import Reply, Service, listening
from worker.cloudtrail.records import Record
from worker.opensearch.client import Client
from worker.opensearch.sender import BulkSender
from worker.pipeline.bulk import DeliveryResult, Outcome, Verdict
from worker.pipeline.documents import Action, IndexNaming, Provenance, to_actions
from worker.pipeline.limits import Partition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ORIGIN = Provenance("s3://b/k", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z")
ROUTING = IndexNaming("cloudtrail", Partition.DAY, "2013-11", "2030", 100)
INDEXED = Outcome(Verdict.INDEXED)


def some_actions(count: int, size: int = 1) -> list[Action]:
    raw = b'{"eventID":"%s"}' % (b"x" * size)
    return list(
        to_actions([Record(at, b"%d" % at, "2026-01-01T00:00:00Z", raw) for at in range(count)], 0, ORIGIN, ROUTING)
    )


def http(status: str, body: bytes | str, kind: str = "application/json", *, length: int | None = None) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    size = len(content) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n".encode() + content


def bulk(*statuses: int) -> bytes:
    kinds = {400: "mapper_parsing_exception", 403: "security_exception", 429: "rejected_execution_exception"}
    items = [
        {"create": {"status": status} | ({"error": {"type": kinds[status]}} if status in kinds else {})}
        for status in statuses
    ]
    return http("200 OK", json.dumps({"errors": any(status > 201 for status in statuses), "items": items}))


RESET = b"RESET"
SILENCE = b"SILENCE"
TAKES = b"TAKES"  # whatever comes


class Server:
    """Answers each request with the next of its answers, the last one for ever."""

    def __init__(self, answers: Sequence[bytes]) -> None:
        self._answers = list(answers)
        self.requests = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        with peer, peer.makefile("rb") as lines:
            while (body := self._read(lines.readline, lines.read)) is not None:
                answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                self.requests += 1
                if answer == RESET:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                if answer == SILENCE:
                    time.sleep(5)
                    return
                if answer == TAKES:
                    answer = bulk(*[201] * (gzip.decompress(body).count(b"\n") // 2))
                peer.sendall(answer)
                if answer.endswith(b"..."):  # less than was promised
                    return

    @staticmethod
    def _read(line: Callable[[], bytes], read: Callable[[int], bytes]) -> bytes | None:
        size = 0
        if not line():
            return None
        while (header := line()) not in (b"\r\n", b""):
            name, _, value = header.partition(b":")
            size = int(value) if name.lower() == b"content-length" else size
        return read(size)

    def close(self) -> None:
        self._socket.close()


@contextmanager
def served(*answers: bytes) -> Iterator[Server]:
    server = Server(answers)
    try:
        yield server
    finally:
        server.close()


def cluster_at(
    url: str, *, seconds: float = 10, patience: float, in_flight: int, sleep: Callable[[float], None] = lambda _: None
) -> BulkSender:
    """A cluster that is waited for so many seconds a request; by default waits between them take no time."""
    client = Client(url, sign_in=lambda: None, ca_file=None, seconds=seconds)
    return BulkSender(
        client, request_seconds=seconds, retry_seconds=patience, max_bytes=1 << 20, in_flight=in_flight, sleep=sleep
    )


def deliver(server: Server, count: int, *, size: int = 1, patience: float = 10.0, left: float = 60.0) -> DeliveryResult:
    """Deliver with waits that take no time; only the patience is real."""
    cluster = cluster_at(server.url, seconds=1, patience=patience, in_flight=2)
    until = time.monotonic() + left
    return cluster.deliver(some_actions(count, size), lambda: until - time.monotonic())


PASSING = {
    "a reset connection": RESET,
    "an answer that breaks off": http("200 OK", '{"items":[...', length=500),
    "no answer in time": SILENCE,
    "an answer of too few items": bulk(201),
    "an answer of too many items": bulk(201, 201, 201, 201),
    "a page of HTML with 200": http("200 OK", "<html>sign in</html>", "text/html"),
    "JSON that is none": http("200 OK", '{"items":['),
    "500": http("500 Internal Server Error", ""),
    "502 from a balancer": http("502 Bad Gateway", "<html>", "text/html"),
    "503": http("503 Service Unavailable", '{"error":{"type":"master_not_discovered_exception"}}'),
    "504": http("504 Gateway Timeout", ""),
    "402 while Serverless scales": http(
        "402 Payment Required", '{"error":{"type":"service_quota_exceeded_exception"}}'
    ),
    "429 of AWS": http("429 Too Many Requests", "429 Too Many Requests /_bulk", "text/plain"),
    "429 circuit breaker": http("429 Too Many Requests", '{"error":{"type":"circuit_breaking_exception"}}'),
    "429 with JSON that is a list": http("429 Too Many Requests", "[]"),
    "429 with JSON that is a text": http("429 Too Many Requests", '"slow down"'),
    "429 with JSON too deep to read": http("429 Too Many Requests", "[" * 100_000),
    "403 throttled by AWS": http("403 Forbidden", '{"Message":"Request throttled due to too many requests"}'),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_what_passes_is_asked_again_until_every_document_is_in(fault: bytes) -> None:
    """A neighbour's bad moment is nobody's loss."""
    with served(fault, fault, TAKES) as server:
        receipt = deliver(server, 3)

        assert receipt.outcomes == [INDEXED] * 3
        assert receipt.stop_reason == ""
        assert receipt.requests >= 3


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_what_does_not_pass_ends_unavailable_and_never_rejected(fault: bytes) -> None:
    """After a whole day of it there must still be no dead letter."""
    with served(fault) as server:
        receipt = deliver(server, 3, patience=0.2)

        assert {outcome.verdict for outcome in receipt.outcomes} == {Verdict.UNAVAILABLE}
        assert receipt.stop_reason


PARKED = {
    "401 in plain text": http("401 Unauthorized", "Unauthorized", "text/plain"),
    "403 without the permission": http("403 Forbidden", '{"error":{"type":"security_exception"}}'),
    "403 by policy": http("403 Forbidden", '{"Message":"User: anonymous is not authorized to perform: es:ESHttpPost"}'),
    "403 cluster block": http("403 Forbidden", '{"error":{"type":"cluster_block_exception"}}'),
    "404": http("404 Not Found", ""),
    "a redirect": http("302 Found", "", "text/html"),
    "400 of something else": http("400 Bad Request", "<html>plain HTTP sent to HTTPS port</html>", "text/html"),
    "400 because bulk requests may name no index": http(
        "400 Bad Request",
        '{"error":{"type":"illegal_argument_exception","reason":"explicit index in bulk is not allowed"},"status":400}',
    ),
    "items refused by permission": bulk(403, 403, 403),
}


@pytest.mark.parametrize("fault", PARKED.values(), ids=PARKED.keys())
def test_a_fault_of_the_set_up_is_not_hammered_and_no_record_is_blamed(fault: bytes) -> None:
    """Asking again cannot help; an operator can."""
    with served(fault) as server:
        receipt = deliver(server, 3)

        assert {outcome.verdict for outcome in receipt.outcomes} == {Verdict.UNAVAILABLE}
        assert server.requests <= 2


def test_only_throttled_items_are_sent_again() -> None:
    """What is in is in; sending it again would cost the cluster that asks for mercy."""
    with served(bulk(201, 429, 409), bulk(429), bulk(201)) as server:
        receipt = deliver(server, 3)

        assert receipt.outcomes == [INDEXED, INDEXED, Outcome(Verdict.DUPLICATE)]
        assert (receipt.requests, receipt.retries, receipt.throttled) == (3, 2, 2)


def refusal(said: str) -> bytes:
    error = {"type": "rejected_execution_exception", "reason": f"rejected execution of coordinating operation {said}"}
    return http("429 Too Many Requests", json.dumps({"error": error, "status": 429}))


# As quoted in github.com/wazuh/wazuh-indexer/issues/1547; with shard-level pressure, in
# github.com/exercism/website/issues/7223, and as OpenSearch 3's ShardIndexingPressure.java writes it.
NODE = (
    "[coordinating_and_primary_bytes=105705671, replica_bytes=0, all_bytes=105705671, "
    "coordinating_operation_bytes=12321625, max_coordinating_and_primary_bytes={}]"
)
SHARD = (
    "[shard_detail=[trail][2][C], shard_coordinating_and_primary_bytes=29490684, shard_operation_bytes=434882, "
    "shard_max_coordinating_and_primary_bytes={}] OR [node_coordinating_and_primary_bytes=106861195, "
    "node_replica_bytes=105782531, node_all_bytes=212643726, node_operation_bytes=434882, "
    "node_max_coordinating_and_primary_bytes=213005107]"
)
NEWER_SHARD = (
    "[shard_detail=[trail][2], shard_total_bytes=29490684, shard_operation_bytes=434882, "
    "shard_max_coordinating_and_primary_bytes={}, shard_max_replica_bytes=52042383] OR [node_total_bytes=212643726, "
    "node_operation_bytes=434882, node_max_coordinating_and_primary_bytes=213005107, node_max_replica_bytes=319507660]"
)


@pytest.mark.parametrize(
    ("said", "requests"),
    [
        (NODE.format(107374182), 2),
        (NODE.format(3_000_000), 3),
        (NODE.format(700_000), 3),
        (SHARD.format(34694922), 2),
        (SHARD.format(1694922), 3),
        (NEWER_SHARD.format(34694922), 2),
        (NEWER_SHARD.format(1694922), 3),
        (NODE.format("1" * 400), 3),
        (NODE.format("1" * 5_000), 3),
        (NODE.format("none"), 3),
        ("", 3),
    ],
    ids=[
        "a small part of the node's memory",
        "a large part",
        "more than it has",
        "a small part of a shard's",
        "a large part of a shard's",
        "a small part of a shard's, newer",
        "a large part of a shard's, newer",
        "a number without end",
        "a number that no int takes",
        "no number",
        "nothing",
    ],
)
def test_only_what_is_large_beside_the_nodes_memory_comes_again_in_halves(said: str, requests: int) -> None:
    """A refusal tells what it is refused for: for its own size, or for all that others have under way."""
    taken = bulk(201, 201) if requests == 2 else bulk(201)
    with served(refusal(said), taken) as server:
        receipt = deliver(server, 2, size=400_000)

        assert (receipt.outcomes, receipt.requests, receipt.throttled) == ([INDEXED, INDEXED], requests, 1)


def test_what_waits_for_others_is_asked_less_often() -> None:
    """After an answer of half a second pauses are that, then three and seven times that, more or less by a half."""
    taken = (200, bulk(201, 201).partition(b"\r\n\r\n")[2])

    def slowly() -> Reply:
        time.sleep(0.5)
        return taken

    refused = 429, refusal(NODE.format(107374182)).partition(b"\r\n\r\n")[2]
    with listening(Service(replies=[slowly, *[refused] * 3, taken])) as crowded:
        cluster = cluster_at(crowded.url, patience=30, in_flight=8)
        assert cluster.deliver(some_actions(2), lambda: 60.0).outcomes == [INDEXED, INDEXED]
        began = time.monotonic()
        receipt = cluster.deliver(some_actions(2, 400_000), lambda: 60.0)
        seconds = time.monotonic() - began

    assert (receipt.outcomes, receipt.requests) == ([INDEXED, INDEXED], 4)
    assert seconds > 2.7


def test_a_silent_server_is_not_waited_for_beyond_the_time_that_is_left() -> None:
    """An invocation must end before Lambda ends it."""
    with served(SILENCE) as server:
        began = time.monotonic()

        receipt = deliver(server, 3, left=2.0)

        assert time.monotonic() - began < 8.0  # the retries would go on for 10
        assert {outcome.verdict for outcome in receipt.outcomes} == {Verdict.UNAVAILABLE}


def test_nothing_is_sent_when_no_time_is_left() -> None:
    """A request without time for its answer is a request too many."""
    with served(bulk(201)) as server:
        receipt = deliver(server, 3, left=0.0)

        assert server.requests == 0
        assert receipt.stop_reason == "deadline"


def test_who_waits_for_a_turn_does_not_wait_beyond_the_time_that_is_left() -> None:
    """One request hangs and holds the only place; the other one's messages go back in time."""
    with served(SILENCE) as server:
        client = Client(server.url, sign_in=lambda: None, ca_file=None, seconds=9)
        cluster = BulkSender(client, request_seconds=9, retry_seconds=9, max_bytes=1 << 20, in_flight=1)
        until = time.monotonic() + 1.0
        with ThreadPoolExecutor(2) as threads:
            began = time.monotonic()
            hanging = threads.submit(cluster.deliver, some_actions(1), lambda: 9.0)
            while not server.requests:
                time.sleep(0.01)
            receipt = cluster.deliver(some_actions(1), lambda: until - time.monotonic())
            seconds = time.monotonic() - began

            assert (receipt.stop_reason, receipt.outcomes[0].verdict) == ("deadline", Verdict.UNAVAILABLE)
            assert seconds < 8.0  # the other request hangs for 9
            assert hanging.result().outcomes[0].verdict is Verdict.UNAVAILABLE


def test_to_wait_for_a_turn_costs_no_patience() -> None:
    """A request that was never sent has not been refused: its file would go back to the queue for nothing."""
    taken, refused = (200, b'{"errors":false,"items":[{"create":{"status":201}}]}'), (429, b'{"status":429}')

    def slowly() -> Reply:
        time.sleep(1.5)
        return taken

    with listening(Service(replies=[slowly, refused, taken])) as slow:
        cluster = cluster_at(slow.url, patience=1, in_flight=1)
        with ThreadPoolExecutor(1) as threads:
            first = threads.submit(cluster.deliver, some_actions(1), lambda: 30.0)
            while len(slow.replies) == 3:
                time.sleep(0.01)
            second = cluster.deliver(some_actions(1), lambda: 30.0)

    assert first.result().outcomes == [INDEXED]
    assert (second.outcomes, second.requests) == ([INDEXED], 2)


def bit_by_bit(count: int) -> list[bytes]:
    """Answers of a cluster that takes one document of each request."""
    return [bulk(201, *[429] * left) for left in reversed(range(count))]


def test_a_request_that_is_taken_bit_by_bit_is_not_given_up() -> None:
    """Its file would go back to the queue, and all of it come again, to the cluster that could not take it at once."""
    with served(*bit_by_bit(10)) as strained:
        cluster = cluster_at(strained.url, patience=0.5, in_flight=1, sleep=lambda _: time.sleep(0.2))
        receipt = cluster.deliver(some_actions(10), lambda: 60.0)

    assert (receipt.outcomes, receipt.requests, receipt.stop_reason) == ([INDEXED] * 10, 10, "")


def test_patience_ends_when_no_more_is_taken() -> None:
    """What was taken at first is no reason to wait for the rest until Lambda ends the invocation."""
    with served(*bit_by_bit(10)[:4], bulk(*[429] * 6)) as strained:
        cluster = cluster_at(strained.url, patience=0.5, in_flight=1, sleep=lambda _: time.sleep(0.2))
        began = time.monotonic()
        receipt = cluster.deliver(some_actions(10), lambda: began + 60.0 - time.monotonic())
        seconds = time.monotonic() - began

    assert [outcome.verdict for outcome in receipt.outcomes] == [Verdict.INDEXED] * 4 + [Verdict.UNAVAILABLE] * 6
    assert seconds < 30  # 60 is the time that is left


@dataclass
class Grudging(Service):
    """Takes every other request, and has no room for the rest; each answer takes a while."""

    heard: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:  # noqa: ARG002
        time.sleep(0.06)
        with self.lock:
            self.heard += 1
            taken = self.heard % 2 == 1
        if taken:
            return 200, b'{"errors":false,"items":[{"create":{"status":201}}]}'
        return 429, refusal(NODE.format(107374182)).partition(b"\r\n\r\n")[2]


def test_requests_that_take_turns_are_not_given_up() -> None:
    """Many share one place, so each comes to its turn seldom, and is refused by chance: that is no outage."""
    with listening(Grudging()) as grudging:
        cluster = cluster_at(
            grudging.url, patience=3, in_flight=12, sleep=lambda seconds: time.sleep(min(seconds, 0.1))
        )
        until = time.monotonic() + 60.0

        def deliver_one(_: int) -> DeliveryResult:
            return cluster.deliver(some_actions(1, 600_000), lambda: until - time.monotonic())

        with ThreadPoolExecutor(12) as threads:
            receipts = list(threads.map(deliver_one, range(12)))

    assert [receipt.outcomes for receipt in receipts] == [[INDEXED]] * 12


def test_requests_that_one_outage_refuses_end_together() -> None:
    """Each would else wait for its turn, with a pause before it, and be tried as long as the first: for minutes."""
    away = (503, b'{"error":{"type":"no_master"},"status":503}')

    def slowly() -> Reply:
        time.sleep(0.5)
        return 200, b'{"errors":false,"items":[{"create":{"status":201}}]}'

    with listening(Service(replies=[slowly, *[away] * 500])) as ill:
        cluster = cluster_at(ill.url, patience=2, in_flight=8, sleep=lambda seconds: time.sleep(min(seconds, 0.1)))
        assert cluster.deliver(some_actions(1), lambda: 60.0).outcomes == [INDEXED]
        began = time.monotonic()
        with ThreadPoolExecutor(8) as threads:
            receipts = list(threads.map(lambda _: cluster.deliver(some_actions(1), lambda: 60.0), range(8)))
        seconds = time.monotonic() - began
        later = cluster.deliver(some_actions(1), lambda: 60.0)

    assert seconds < 25  # some 30 else, on a quiet machine
    assert {receipt.stop_reason for receipt in receipts} == {"no_master"}
    assert {receipt.outcomes[0] for receipt in receipts} == {Outcome(Verdict.UNAVAILABLE, "no_master")}
    assert later.requests > 0  # what comes after is tried anew


# A cluster that takes only so much at once


@dataclass
class Crowded(Service):
    """Takes `room` requests at a time, each for a while, and refuses more with 429 as indexing pressure does."""

    room: int = 1
    taken: int = 0
    refused: int = 0
    inside: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:  # noqa: ARG002
        with self.lock:
            if self.inside == self.room:
                self.refused += 1
                return 429, b'{"error":{"type":"rejected_execution_exception"},"status":429}'
            self.inside += 1
        time.sleep(0.01)
        with self.lock:
            self.inside -= 1
            self.taken += 1
        count = gzip.decompress(body).count(b"\n") // 2
        return 200, json.dumps({"errors": False, "items": [{"create": {"status": 201}}] * count}).encode()


@pytest.mark.parametrize("room", [1, 3])
def test_a_crowded_cluster_is_not_pressed(room: int) -> None:
    """Sixteen threads have something to send: most requests are taken at the first try, and all of them in the end."""
    with listening(Crowded(room=room)) as crowded:
        assert isinstance(crowded, Crowded)
        cluster = cluster_at(
            crowded.url, patience=60, in_flight=16, sleep=lambda seconds: time.sleep(min(seconds, 0.02))
        )
        with ThreadPoolExecutor(16) as threads:
            receipts = list(threads.map(lambda _: cluster.deliver(some_actions(2), lambda: 60.0), range(200)))

    assert all(set(receipt.outcomes) == {INDEXED} for receipt in receipts)
    assert crowded.taken == 200
    assert crowded.refused < 60  # with sixteen at once, whatever the answers: some 500 in the small room
