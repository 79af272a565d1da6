"""A queue that is watched: a server between the consumers and ElasticMQ that notes what becomes of each message.

It hands every call on, and reads receipts out of the answers, so nothing has to be asked of the consumers. It also
keeps a gate: until it is opened, each consumer receives one message and no more, so that all begin at once, and warm. A
consumer is known by its connection, which the client keeps.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import boto3
import urllib3

from infra.local.resources import ACCESS_KEY, MAX_RECEIVES, REGION, VISIBILITY_SECONDS
from tests.bench.cluster.trail import notice
from tests.support.elasticmq import elasticmq
from tests.support.http_server import QuietHandler, running
from worker.aws.sqs import SqsQueue
from worker.pipeline.notifications import parse_notification

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.bench.cluster.trail import File

# Less than botocore waits for an answer: a call that it has given up must not receive anything.
_HELD_SECONDS = 15

_BATCH = 10
_COUNT: Final = "ApproximateNumberOfMessages"


@dataclass(slots=True)
class Life:
    """What became of one message; moments are of the monotonic clock."""

    receives: int = 0
    waits: list[int] = field(default_factory=list)  # seconds for which it was handed back
    done: float | None = None


class Watched:
    """A source queue with its dead-letter queue, and the lives of its messages by the key that each announces."""

    def __init__(self, target: str) -> None:
        self.url = ""  # of the server between
        self.opened = 0.0
        self.lives: dict[str, Life] = {}
        self._target = target
        self._sqs = boto3.client(
            "sqs",
            endpoint_url=target,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=ACCESS_KEY,
        )
        self.letters_url = self._sqs.create_queue(QueueName="letters")["QueueUrl"]
        found = self._sqs.get_queue_attributes(QueueUrl=self.letters_url, AttributeNames=["QueueArn"])
        redrive = {"deadLetterTargetArn": found["Attributes"]["QueueArn"], "maxReceiveCount": MAX_RECEIVES}
        self.queue_url = self._sqs.create_queue(
            QueueName="source",
            Attributes={"VisibilityTimeout": str(VISIBILITY_SECONDS), "RedrivePolicy": json.dumps(redrive)},
        )["QueueUrl"]
        self._handles: dict[str, str] = {}
        self._gate = threading.Event()
        self._first: set[object] = set()  # that have received the one message before the gate is open
        self._came: set[object] = set()  # and are done with it
        self._lock = threading.Lock()
        self._pool = urllib3.PoolManager(maxsize=64, retries=False)

    def announce(self, files: Iterable[File]) -> None:
        """Send a notice of each file, in order."""
        queue, several = SqsQueue(self._sqs, self.queue_url, self.letters_url), iter(files)
        while some := list(itertools.islice(several, _BATCH)):
            if any(queue.announce([notice(file) for file in some])):
                raise SystemExit("The queue does not take all notices; the figures would be wrong.")
            self.lives |= {file.key: Life() for file in some}

    def letters(self) -> int:
        """Count the dead letters."""
        found = self._sqs.get_queue_attributes(QueueUrl=self.letters_url, AttributeNames=[_COUNT])
        return int(found["Attributes"][_COUNT])

    def open(self) -> None:
        """Let all in."""
        self.opened = time.monotonic()
        self._gate.set()

    @property
    def came(self) -> int:
        """How many consumers have come to the gate, after their first message."""
        return len(self._came)

    def serve(self, headers: dict[str, str], body: bytes, who: object) -> tuple[int, bytes]:
        """Hand a call on, and note what it says."""
        action = headers["X-Amz-Target"].rpartition(".")[2]
        if action == "ReceiveMessage" and not self._gate.is_set():
            asked = json.loads(body)
            if who not in self._first:
                body = json.dumps(asked | {"MaxNumberOfMessages": 1}).encode()
            elif not asked.get("WaitTimeSeconds"):  # the rest of a batch
                return 200, b"{}"
            else:
                self._came.add(who)
                if not self._gate.wait(_HELD_SECONDS):
                    return 200, b"{}"
        given = self._pool.request("POST", f"{self._target}/", headers=headers, body=body, timeout=60)
        if given.status == 200:
            with self._lock:
                self._note(action, json.loads(body), json.loads(given.data or b"{}"), who)
        return given.status, given.data

    def _note(self, action: str, asked: dict[str, Any], answer: dict[str, Any], who: object) -> None:
        match action:
            case "ReceiveMessage":
                for one in answer.get("Messages", ()):
                    self._first.add(who)
                    self._note_received(one)
            case "DeleteMessageBatch":
                for one in asked["Entries"]:
                    self._life(one).done = time.monotonic()
            case "ChangeMessageVisibilityBatch":
                for one in asked["Entries"]:
                    self._life(one).waits.append(one["VisibilityTimeout"])

    def _note_received(self, message: dict[str, Any]) -> None:
        (ref,) = parse_notification(message["Body"]).objects
        self._handles[message["ReceiptHandle"]] = ref.key
        self.lives[ref.key].receives = int(message["Attributes"]["ApproximateReceiveCount"])

    def _life(self, entry: dict[str, Any]) -> Life:
        return self.lives[self._handles[entry["ReceiptHandle"]]]


@contextmanager
def watching() -> Iterator[Watched]:
    """Run ElasticMQ with both queues, and the server before it."""
    with elasticmq() as target, _listening(Watched(target)) as watched:
        yield watched


@contextmanager
def _listening(watched: Watched) -> Iterator[Watched]:
    class Handler(QuietHandler):
        def do_POST(self) -> None:  # noqa: N802 - http.server's own name
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kept = {name: self.headers[name] for name in ("Content-Type", "X-Amz-Target")}
            status, text = watched.serve(kept, body, self.client_address)
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    with running(Handler) as watched.url:
        try:
            yield watched
        finally:
            watched.open()
