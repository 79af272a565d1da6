"""Promises about loaders: each file is announced alone and never into a full queue, or loaded with its own outcome."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
from botocore.stub import ANY, Stubber

from tests.support.factories import event, log_file, packed
from tests.support.fake_backfill import backfill_run, selected_file
from tests.support.fakes import FakePipeline, make_pipeline
from worker.aws.session import config
from worker.aws.sqs import SqsQueue
from worker.backfill.loaders import DirectLoader, QueueLoader
from worker.backfill.progress import Finished, LoadOutcome, RetryLater
from worker.backfill.retry import RateLimiter
from worker.errors import Reason, StoreUnavailable, UnreadableObject
from worker.pipeline.consumer import Consumer
from worker.pipeline.notifications import parse_notification
from worker.pipeline.objects import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.backfill.loaders import InMemoryDeadLetters

QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/trail"


@dataclass
class MemoryAnnouncements:
    """A queue: `messages` is its depth, `refuse` returns why a body is refused, and `bodies` are those it took."""

    messages: int = 0
    refuse: Callable[[str], str] = lambda _: ""
    bodies: list[str] = field(default_factory=list)

    def announce(self, bodies: Sequence[str]) -> list[str]:
        causes = [self.refuse(body) for body in bodies]
        self.bodies += [body for body, cause in zip(bodies, causes, strict=True) if not cause]
        return causes

    def depth(self) -> tuple[int, int]:
        return self.messages, 0


def fast_loader(queue: MemoryAnnouncements) -> QueueLoader:
    return QueueLoader(queue, "trail", RateLimiter(1_000_000, 10), max_depth=1_000_000)


def test_each_file_is_announced_in_a_message_of_its_own() -> None:
    """One that is handed back does not bring other files back."""
    queue = MemoryAnnouncements()

    list(backfill_run(fast_loader(queue), 25).execute())

    announced = [parse_notification(body).objects for body in queue.bodies]
    assert set(announced) == {(ObjectRef("trail", selected_file(number).key),) for number in range(25)}
    assert len(announced) == 25
    assert {objects[0].size for objects in announced} == {100}


def test_nothing_is_announced_to_a_full_queue() -> None:
    """Live files come first: their notifications must not wait behind a million others."""
    queue, now = MemoryAnnouncements(messages=990), [0.0]
    loader = QueueLoader(queue, "trail", RateLimiter(1_000, 10), max_depth=1_000, monotonic=lambda: now[0])
    now[0] = 100.0

    room = loader.capacity()
    loader.record_started(room)
    after = loader.capacity()
    queue.messages = 0
    now[0] += 6.0

    assert (room, after) == (10, 0)
    assert loader.capacity() == 1_000


def test_a_loader_tells_how_long_the_queue_has_been_full() -> None:
    """After a minute the operator should know why nothing happens."""
    queue, now = MemoryAnnouncements(messages=1_000), [100.0]
    loader = QueueLoader(queue, "trail", RateLimiter(1_000, 10), max_depth=1_000, monotonic=lambda: now[0])

    loader.capacity()
    now[0] += 61.0
    loader.capacity()
    full = loader.full_seconds
    queue.messages = 0
    now[0] += 6.0
    loader.capacity()

    assert (full, loader.full_seconds) == (61.0, 0.0)


def test_a_message_that_sqs_refuses_is_sent_again() -> None:
    """SendMessageBatch can take nine of ten."""
    causes = iter(["sqs:InternalError"] * 3)
    queue = MemoryAnnouncements(refuse=lambda body: next(causes, "") if "000007" in body else "")
    run = backfill_run(fast_loader(queue), 20)

    list(run.execute())

    assert len(queue.bodies) == 20
    assert run.progress.tally.outcomes == {LoadOutcome.ANNOUNCED: 20}


def announce_three(*responses: dict[str, Any] | str) -> list[list[str]]:
    """What `announce` makes of each response to three messages; a text is an error's code."""
    client = boto3.client("sqs", config=config(connections=1))
    with Stubber(client) as stub:
        for response in responses:
            if isinstance(response, str):
                stub.add_client_error("send_message_batch", response, http_status_code=400)
            else:
                stub.add_response("send_message_batch", response, {"QueueUrl": QUEUE, "Entries": ANY})
        return [SqsQueue(client, QUEUE, "").announce(["a", "b", "c"]) for _ in responses]


def test_each_message_is_reported_as_taken_or_refused() -> None:
    """One of three that was refused must not be lost with the two that were taken, nor send those again."""

    def sent(number: int) -> dict[str, str]:
        return {"Id": str(number), "MessageId": "m", "MD5OfMessageBody": "d"}

    failed = {"Id": "1", "SenderFault": False, "Code": "InternalError"}

    assert announce_three(
        {"Successful": [sent(0), sent(2)], "Failed": [failed]},
        {"Successful": [sent(0), sent(1), sent(2)], "Failed": []},
        {"Successful": [sent(0)], "Failed": []},
        "RequestThrottled",
    ) == [
        ["", "sqs:InternalError", ""],
        ["", "", ""],
        ["", "sqs:NoResult", "sqs:NoResult"],
        ["sqs:RequestThrottled"] * 3,
    ]


def direct_loader(parts: FakePipeline, stop: threading.Event | None = None) -> DirectLoader:
    def make(letters: InMemoryDeadLetters) -> Consumer:
        return Consumer(
            parts.store,
            parts.index,
            letters,
            parts.limits,
            now=parts.clock.now,
            monotonic=parts.clock.tick,
            jitter=lambda: 1.0,
        )

    return DirectLoader(make, "trail", workers=2, batch_seconds=300, stop=stop or threading.Event())


def test_every_end_of_a_file_is_distinguished() -> None:
    """Loaded, duplicate, empty, broken, or to be retried: the table and the report are made of these."""
    with make_pipeline() as parts:
        body = log_file(event(1), event(2))
        contents: list[bytes | Exception] = [
            body,
            body,
            log_file(),
            b"no gzip",
            StoreUnavailable("s3:SlowDown"),
            UnreadableObject(Reason.ARCHIVED, "it is archived"),
        ]
        for number, content in enumerate(contents):
            parts.store.put(selected_file(number).key, content, bucket="trail")
        digest = packed(b'{"digestS3Object":"k","logFiles":[]}')
        parts.store.put(selected_file(7).key, digest, bucket="trail")
        loader = direct_loader(parts)

        first = loader.load([selected_file(0)])
        outcomes = loader.load([selected_file(number) for number in range(1, 7)])
        ignored = loader.load([selected_file(7)])
        loader.close()

    assert first == [Finished(LoadOutcome.LOADED, (2, 2, 0, 0, 0, 0))]
    assert outcomes[0] == Finished(LoadOutcome.DUPLICATE, (2, 0, 2, 0, 0, 0))
    assert outcomes[1] == Finished(LoadOutcome.EMPTY, (0, 0, 0, 0, 0, 0))
    assert ignored == [Finished(LoadOutcome.EMPTY, detail="ignored: digest")]
    assert [outcome.reason for outcome in outcomes if isinstance(outcome, Finished)][2:] == [
        "not_json",
        "archived",
        "not_found",
    ]
    assert outcomes[3] == RetryLater("s3:SlowDown")
