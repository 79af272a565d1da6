"""What the pipeline asks of its neighbours: a store of objects, an index and a queue, each as a small protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.cutoff import Cutoff
    from worker.errors import Reason
    from worker.pipeline.bulk import DeliveryResult
    from worker.pipeline.documents import Action
    from worker.pipeline.objects import FetchedObject, ObjectRef

# Causes of StoreUnavailable: an object that came too slowly, and one that S3 itself describes differently.
SLOW = "s3:slow"
MISMATCH = "s3:mismatch"

# What one message, or a batch of them, may have. Queues created before August 2025 may still allow 256 KiB only.
# docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
MESSAGE_BYTES = 200 << 10


class Message(msgspec.Struct, frozen=True):
    """One SQS message of a batch."""

    id: str
    receipt_handle: str
    body: str
    receive_count: int = 1


class DeadLetter(msgspec.Struct, frozen=True):
    """A message for the dead-letter queue: a body that can be moved back as it is, and why it is there.

    `rejected` holds (position, reason) of the rejected records of a file.
    """

    body: str
    reason: Reason
    detail: str
    source_message_id: str
    attempts: int
    rejected: tuple[tuple[int, str], ...] = ()


class HandBack(msgspec.Struct, frozen=True):
    """A message that stays in the queue, and the seconds until it may be received again."""

    message: Message
    seconds: int


class Store(Protocol):
    """Where objects are kept."""

    def fetch(self, ref: ObjectRef, limit: int, cutoff: Cutoff | None = None) -> FetchedObject:
        """Read an object of at most `limit` bytes before `cutoff` is over; raises UnreadableObject, StoreUnavailable.

        Without a cutoff, the time is the adapter's own.
        """

    def fetch_verified(self, ref: ObjectRef, limit: int, cutoff: Cutoff | None = None) -> FetchedObject:
        """Read it in the most careful way, and compare it with what the store says about its length and content.

        Raises as `fetch` does, StoreUnavailable when they disagree.
        """

    def start_get(self, ref: ObjectRef, limit: int) -> PendingGet | None:
        """Send the GET for a small object, without waiting; None where `fetch` has to be used. Never raises."""

    def wait_any(self, pending: Sequence[PendingGet], seconds: float) -> Sequence[int]:
        """Wait at most `seconds` until a response begins to arrive; returns the descriptors of those that do."""


class PendingGet(Protocol):
    """A GET that was sent: its response is read later by the same thread, or the object is fetched after all."""

    @property
    def is_ready(self) -> bool:
        """Whether `wait` would find something: a response begins, or the connection was closed."""

    def fileno(self) -> int:
        """Return the descriptor of its connection, -1 when it is closed."""

    def wait(self, seconds: float) -> FetchedObject | None:
        """Wait at most `seconds` for the object; None when it has to be fetched. Never raises."""

    def fetch(self, cutoff: Cutoff) -> FetchedObject:
        """Read the object, as `Store.fetch` does."""

    def cancel(self) -> None:
        """Abandon the request."""


class Index(Protocol):
    """Where documents go."""

    def deliver(self, request: Sequence[Action], remaining: Callable[[], float]) -> DeliveryResult:
        """Send one bulk request, retrying while `remaining()` is above 0 seconds; never raises for a response."""


class Queue(Protocol):
    """Where messages come from and dead letters go."""

    def send_dead_letter(self, letter: DeadLetter) -> None:
        """Send to the dead-letter queue; raises QueueUnavailable."""

    def announce_again(self, bodies: Sequence[str]) -> None:
        """Send messages to the source queue; raises QueueUnavailable unless all of them are sent."""

    def hand_back(self, messages: Sequence[HandBack]) -> None:
        """Set when messages may be received again; a failure only changes that time, so none is raised."""
