"""The container's door: what Lambda's event source mapping does, as a loop that runs anywhere.

Batches are received by long polling, handed to a consumer, and only what is done is deleted. A message is hidden for
longer than its batch may take, so that no other consumer gets it meanwhile.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.aws.sqs import SqsQueue
    from worker.pipeline.consumer import BatchResult, Consumer, Message

_LONG_POLL_SECONDS = 20

# What a message stays hidden beyond its batch's time, whose last seconds are the reserve: the calls that delete.
_MARGIN_SECONDS = 15

# SQS counts approximately, and for some seconds late: empty is what it says several times.
_EMPTY_ANSWERS = 3


@dataclass(slots=True)
class Polling:
    """How to poll: `batch_size` messages at most in a batch of `batch_seconds`; `until_idle` ends on an empty queue."""

    batch_size: int = 10
    batch_seconds: float = 300.0
    until_idle: bool = False
    stop: threading.Event = field(default_factory=threading.Event)

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the stop."""
        self.stop.wait(seconds)


class Poller:
    """One loop of receive, consume, delete. Run one per thread; each has its own consumer."""

    def __init__(
        self, queue: SqsQueue, consumer: Consumer, polling: Polling, report: Callable[[BatchResult], None]
    ) -> None:
        self._queue, self._consumer, self._polling, self._report = queue, consumer, polling, report
        self._empty = 0

    def run(self) -> None:
        """Loop until stopped, or until the queue is empty."""
        polling = self._polling
        while not polling.stop.is_set():
            messages = self._receive()
            if messages:
                self._empty = 0
                self._consume(messages)
            elif polling.until_idle and self._is_idle():
                return

    def _receive(self) -> list[Message]:
        hidden = int(self._polling.batch_seconds) + _MARGIN_SECONDS
        messages: list[Message] = []
        wait = 1 if self._polling.until_idle else _LONG_POLL_SECONDS
        while len(messages) < self._polling.batch_size and not self._polling.stop.is_set():
            try:
                more = self._queue.receive(
                    most=self._polling.batch_size - len(messages),
                    wait_seconds=0 if messages else wait,
                    hidden_seconds=hidden,
                )
            except QueueUnavailable:
                if messages:
                    break
                raise
            if not more:
                break
            messages += more
        return messages

    def _consume(self, messages: Sequence[Message]) -> None:
        polling, until = self._polling, time.monotonic() + self._polling.batch_seconds

        def left() -> float:
            return 0.0 if polling.stop.is_set() else until - time.monotonic()

        result = self._consumer.consume(messages, left)
        failed = set(result.failed)
        self._queue.delete([message for message in messages if message.id not in failed])
        self._report(result)

    def _is_idle(self) -> bool:
        deliverable, hidden = self._queue.depth()
        self._empty = self._empty + 1 if deliverable + hidden == 0 else 0
        return self._empty >= _EMPTY_ANSWERS
