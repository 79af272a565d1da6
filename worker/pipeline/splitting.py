"""Announces the objects of a large notification again, in messages of their own: one message must not fill a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.cutoff import Cutoff
from worker.errors import QueueUnavailable
from worker.pipeline.deadline import DEADLINE
from worker.pipeline.notifications import s3_notification, s3_record, wrap_records
from worker.pipeline.ports import MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.pipeline.deadline import Deadline
    from worker.pipeline.objects import ObjectRef
    from worker.pipeline.ports import Queue

# S3 announces one object in a message, CloudTrail a few.
MAX_OBJECTS = 100

# Up to this many are announced one by one. More go in parts, which are split when they come: that takes a hundredth of
# the requests, and each consumer splits some of them.
_ONE_BY_ONE = 500
_PART = 200


class Splitter:
    """Splits the notifications of one batch that name too many objects, and knows which of them are done."""

    def __init__(self, queue: Queue, deadline: Deadline) -> None:
        self._queue, self._deadline = queue, deadline
        self._causes: dict[str, str] = {}

    def split(self, message_id: str, refs: Sequence[ObjectRef]) -> None:
        """Announce the objects of a message again; a failure sends the message back, and its objects come twice."""
        seconds = self._deadline.seconds()
        if seconds <= 0:
            self._causes[message_id] = DEADLINE
            return
        try:
            with Cutoff(seconds):
                self._queue.announce_again(list(split_bodies(refs)))
        except QueueUnavailable as cause:
            self._causes[message_id] = str(cause)

    def cause(self, message_id: str) -> str:
        """Return why a message could not be split, "" when it was, or need not be."""
        return self._causes.get(message_id, "")


def split_bodies(refs: Sequence[ObjectRef]) -> Iterator[str]:
    """Yield the messages that announce these objects: one by one, or in parts where there are very many."""
    if len(refs) <= _ONE_BY_ONE:
        yield from map(s3_notification, refs)
        return
    records: list[str] = []
    size = 0
    for ref in refs:
        record = s3_record(ref)
        if records and (len(records) == _PART or size + len(record) > MESSAGE_BYTES):
            yield wrap_records(records)
            records, size = [], 0
        records.append(record)
        size += len(record) + 1
    yield wrap_records(records)
