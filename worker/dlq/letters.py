"""Dead letters: what each of them holds, and which of them an operator selects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from worker.dlq.reasons import MAX_RECEIVES, UNDELIVERED, UNKNOWN
from worker.errors import MalformedMessage
from worker.pipeline.notifications import parse_notification

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.pipeline.objects import ObjectRef


# The attributes with which a service explains why it could not deliver a message.
# docs.aws.amazon.com/eventbridge/latest/userguide/rule-dlq.html
# docs.aws.amazon.com/sns/latest/dg/sns-dead-letter-queues.html
_UNDELIVERED_ATTRIBUTES = (("EventBridge", "ERROR_CODE", "ERROR_MESSAGE"), ("SNS", "ErrorCode", "ErrorMessage"))
_DETAIL_CHARACTERS = 1_000


class Attribute(msgspec.Struct, frozen=True):
    """A message attribute as SQS types it: `String`, `Number` or `Binary`, the last in base64."""

    type: str
    value: str


@dataclass(frozen=True, slots=True)
class Letter:
    """A message of the dead-letter queue.

    `sent_at` is in epoch seconds. For a letter that SQS moved itself, it is when its message was first sent. `source`
    is the ARN of the queue that SQS moved it from, "" for a letter that was sent. `receives` counts every receive,
    this one included.
    """

    id: str
    receipt_handle: str
    body: str
    attributes: Mapping[str, Attribute]
    sent_at: float
    source: str = ""
    receives: int = 1

    @property
    def reason(self) -> str:
        """The reason code.

        SQS's own mark overrides the attribute. A letter that was moved back, and that SQS then gave up, still carries
        the reason of its first failure.
        """
        if self.source:
            return MAX_RECEIVES
        return self.attribute("reason") or (UNDELIVERED if self._delivery_error else UNKNOWN)

    @property
    def detail(self) -> str:
        """One line on what happened."""
        if self.source:
            return f"moved here by SQS after too many receives: {self.receives} so far, reads by operators included"
        return self.attribute("detail") or self._delivery_error or "no detail is known"

    @property
    def _delivery_error(self) -> str:
        """Why EventBridge or SNS could not deliver the message, in one line; "" for a letter of another sender."""
        for sender, code, message in _UNDELIVERED_ATTRIBUTES:
            if error := self.attribute(code):
                text = " ".join(f"{error}: {self.attribute(message)}".split())
                return f"{sender} could not deliver it: {text}"[:_DETAIL_CHARACTERS].rstrip(": ")
        return ""

    @property
    def attempts(self) -> int | None:
        """How often it was tried: the consumer's count, or SQS's receive count, which every read raises by one."""
        if self.source:
            return self.receives
        attempts = self.attribute("attempts")
        return int(attempts) if attempts.isdecimal() else None

    @property
    def rejected(self) -> tuple[tuple[int, str], ...]:
        """The rejected records that the letter names, by position and reason."""
        if self.source:
            return ()
        try:
            return tuple(msgspec.json.decode(self.attribute("rejected") or "[]", type=list[tuple[int, str]]))
        except msgspec.DecodeError:
            return ()

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        """The objects that the body announces; () when the body is not a notification."""
        try:
            return parse_notification(self.body).objects
        except MalformedMessage:
            return ()

    def attribute(self, name: str) -> str:
        """Return the text of an attribute, "" when the letter does not have it."""
        attribute = self.attributes.get(name)
        return attribute.value if attribute else ""


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Selects the letters that meet every condition that is set; times are in epoch seconds."""

    ids: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    prefix: str = ""
    sent_before: float | None = None
    sent_after: float | None = None

    @property
    def selects_all(self) -> bool:
        """Whether no condition is set."""
        return self == LetterFilter()

    def matches(self, letter: Letter) -> bool:
        """Return whether a letter is selected."""
        return (
            (not self.ids or letter.id in self.ids)
            and (not self.reasons or letter.reason in self.reasons)
            and (self.sent_before is None or letter.sent_at <= self.sent_before)
            and (self.sent_after is None or letter.sent_at >= self.sent_after)
            and (not self.prefix or any(self._has_prefix(ref) for ref in letter.objects))
        )

    def _has_prefix(self, ref: ObjectRef) -> bool:
        name = ref.uri if self.prefix.startswith("s3://") else ref.key
        return name.startswith(self.prefix)
