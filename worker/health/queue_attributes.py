"""A queue as SQS describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class QueueAttributes:
    """A queue's attributes as SQS returns them, and how many seconds its clock is from this machine's."""

    url: str
    attributes: Mapping[str, str]
    clock_seconds: float | None = None

    @property
    def arn(self) -> str:
        """The queue's ARN."""
        return self.attributes["QueueArn"]

    @property
    def visibility_seconds(self) -> int:
        """The visibility timeout."""
        return self.number("VisibilityTimeout")

    @property
    def retention_seconds(self) -> int:
        """How long a message is kept."""
        return self.number("MessageRetentionPeriod")

    @property
    def waiting(self) -> int:
        """Approximate number of visible messages."""
        return self.number("ApproximateNumberOfMessages")

    @property
    def in_flight(self) -> int:
        """Approximate number of received messages, which stay hidden for now."""
        return self.number("ApproximateNumberOfMessagesNotVisible")

    @property
    def delayed(self) -> int:
        """Approximate number of messages that were sent with a delay."""
        return self.number("ApproximateNumberOfMessagesDelayed")

    @property
    def is_empty(self) -> bool:
        """Whether it holds no message, visible or not."""
        return not self.messages + self.delayed

    @property
    def messages(self) -> int:
        """Approximate number of visible and received messages."""
        return self.waiting + self.in_flight

    def number(self, name: str) -> int:
        """Return an attribute as a number, 0 where it is absent."""
        return int(self.attributes.get(name, 0))

    def policy(self, name: str) -> dict[str, Any]:
        """Return an attribute that is a JSON document, {} where it is absent."""
        document: dict[str, Any] = msgspec.json.decode(self.attributes.get(name) or "{}")
        return document
