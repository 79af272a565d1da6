"""Loads files into the copy of one index: reads them as the pipeline does, and passes over what other indices have."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from worker.pipeline.bulk import ACCEPTED, DUPLICATE, DeliveryResult
from worker.pipeline.documents import Action
from worker.pipeline.notifications import s3_notification
from worker.pipeline.ports import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.pipeline.bulk import Outcome
    from worker.pipeline.consumer import Consumer
    from worker.pipeline.objects import ObjectRef
    from worker.pipeline.ports import Index

# The time of one batch: the lease is renewed between two.
_BATCH_SECONDS = 75.0


class RedirectedIndex:
    """Delivers the actions of one index to the alias of its copy, and passes over all others. Thread-safe.

    It counts what the copy accepted of each file of a batch, by the file's number.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._head = self._new_head = b""
        self._lock = threading.Lock()
        self.accepted = Counter[int]()

    def redirect(self, name: str, alias: str) -> None:
        """Deliver what belongs to one index to an alias, from now on."""
        self._head = b'{"create":{"_index":%b,' % msgspec.json.encode(name)
        # A copy that was deleted meanwhile must not come back without its mapping.
        self._new_head = b'{"create":{"_index":%b,"require_alias":true,' % msgspec.json.encode(alias)

    def deliver(self, request: Sequence[Action], remaining: Callable[[], float]) -> DeliveryResult:
        """Send the actions of the index, as another index does; the others count as duplicates."""
        outcomes: list[Outcome] = [DUPLICATE] * len(request)
        places = [place for place, action in enumerate(request) if action.lines.startswith(self._head)]
        if not places:
            return DeliveryResult(outcomes, requests=0)
        result = self._index.deliver([self._redirected(request[place]) for place in places], remaining)
        for place, outcome in zip(places, result.outcomes, strict=True):
            outcomes[place] = outcome
        accepted = Counter(request[place].file for place in places if outcomes[place].verdict in ACCEPTED)
        with self._lock:
            self.accepted += accepted
        return result._replace(outcomes=outcomes, refused=[places[place] for place in result.refused])

    def _redirected(self, action: Action) -> Action:
        longer = len(self._new_head) - len(self._head)
        return Action(
            action.file,
            action.position,
            self._new_head + action.lines[len(self._head) :],
            action.raw_start + longer,
            action.raw_end + longer,
            action.tail_end + longer,
            action.degraded,
            action.form,
        )


class CopiedFile(NamedTuple):
    """How many events the copy accepted of a file, and why not all, if so; one that was handed back comes again."""

    accepted: int
    reason: str
    is_handed_back: bool


class CopyLoader:
    """Loads files into the copy of an index, with a consumer like the pipeline's own.

    `make_consumer` gets a function through which the consumer's index has to go.
    """

    def __init__(self, make_consumer: Callable[[Callable[[Index], Index]], Consumer]) -> None:
        self._index: RedirectedIndex
        self._consumer = make_consumer(self._wrap)

    def _wrap(self, index: Index) -> RedirectedIndex:
        self._index = RedirectedIndex(index)
        return self._index

    def redirect(self, name: str, alias: str) -> None:
        """Load the events of one index into the copy behind an alias, from now on."""
        self._index.redirect(name, alias)

    def load(self, refs: Sequence[ObjectRef]) -> list[CopiedFile]:
        """Load files, and return what became of each."""
        self._index.accepted.clear()
        messages = [Message(str(number), "", s3_notification(ref)) for number, ref in enumerate(refs)]
        end = time.monotonic() + _BATCH_SECONDS
        result = self._consumer.consume(messages, lambda: end - time.monotonic())
        ends = {tally.ref: (self._index.accepted[number], tally.reason) for number, tally in enumerate(result.files)}
        return [
            CopiedFile(*ends.get(ref, (0, "")), message.id in result.failed)
            for message, ref in zip(messages, refs, strict=True)
        ]

    def close(self) -> None:
        """End the consumer's threads."""
        self._consumer.close()
