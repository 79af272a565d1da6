"""The entry point outside Lambda: what Lambda's event source mapping does, as a loop that runs anywhere.

Batches are received by long polling and given to a consumer, and only what is done is deleted. A message is hidden for
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
    from worker.pipeline.accounting import BatchResult
    from worker.pipeline.consumer import Consumer
    from worker.pipeline.ports import Message

_LONG_POLL_SECONDS = 20

# How long a message stays hidden beyond its batch's time, whose last seconds are the reserve: for the delete calls.
_MARGIN_SECONDS = 15

# SQS counts approximately, and some seconds late: a queue is empty when it says so several times.
_EMPTY_RECEIVES = 3


@dataclass(slots=True)
class Polling:
    """How to poll: at most `batch_size` messages in a batch of `batch_seconds`; `until_idle` ends on an empty queue."""

    batch_size: int = 10
    batch_seconds: float = 300.0
    until_idle: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    progress: Callable[[], None] = lambda: None  # called after each receive
    problem: Callable[[str], None] = lambda _: None  # called when the queue does not answer

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the stop."""
        self.stop.wait(seconds)


class Poller:
    """One loop of receive, consume, delete. Run one per thread; each has its own consumer."""

    def __init__(
        self, queue: SqsQueue, consumer: Consumer, polling: Polling, report: Callable[[BatchResult], None]
    ) -> None:
        self._queue, self._consumer, self._polling, self._report = queue, consumer, polling, report
        self._empty_receives = 0

    def run(self) -> None:
        """Loop until stopped, or until the queue is empty."""
        polling = self._polling
        while not polling.stop.is_set():
            messages = self._receive()
            polling.progress()
            if messages:
                self._empty_receives = 0
                self._consume(messages)
            elif polling.until_idle and self._is_idle():
                return

    def _receive(self) -> list[Message]:
        visibility_seconds = int(self._polling.batch_seconds) + _MARGIN_SECONDS
        messages: list[Message] = []
        wait = 1 if self._polling.until_idle else _LONG_POLL_SECONDS
        while len(messages) < self._polling.batch_size and not self._polling.stop.is_set():
            try:
                received = self._queue.receive(
                    maximum=self._polling.batch_size - len(messages),
                    wait_seconds=0 if messages else wait,
                    visibility_seconds=visibility_seconds,
                )
            except QueueUnavailable:
                if messages:
                    break
                raise
            if not received:
                break
            messages += received
        return messages

    def _consume(self, messages: Sequence[Message]) -> None:
        polling, deadline = self._polling, time.monotonic() + self._polling.batch_seconds

        def remaining() -> float:
            return 0.0 if polling.stop.is_set() else deadline - time.monotonic()

        result = self._consumer.consume(messages, remaining)
        failed = set(result.failed)
        self._queue.delete([message for message in messages if message.id not in failed])
        self._report(result)

    def _is_idle(self) -> bool:
        visible, in_flight = self._queue.depth()
        self._empty_receives = self._empty_receives + 1 if visible + in_flight == 0 else 0
        return self._empty_receives >= _EMPTY_RECEIVES
