"""Dead letters: what one of them says, which ones an operator means, and how they are written to a file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from worker.dlq.reasons import MAX_RECEIVES, UNKNOWN
from worker.errors import MalformedMessage
from worker.pipeline.notifications import parse_notification

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.pipeline.objects import ObjectRef


class Attribute(msgspec.Struct, frozen=True):
    """A message attribute as SQS types it: `String`, `Number` or `Binary`, the last in base64."""

    type: str
    value: str


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter found in the dead-letter queue.

    `sent_at` is in epoch seconds: for a letter that SQS moved itself, when its message was first sent. `source` is the
    ARN of the queue that SQS moved it from, "" for one that was sent. `receives` counts every receive, this look too.
    """

    id: str
    receipt: str
    body: str
    attributes: Mapping[str, Attribute]
    sent_at: float
    source: str = ""
    receives: int = 1

    @property
    def reason(self) -> str:
        """The reason code.

        SQS's word goes before the attribute: a letter that was moved back and was then given up by SQS still carries
        the reason of its first time.
        """
        return MAX_RECEIVES if self.source else self.said("reason") or UNKNOWN

    @property
    def detail(self) -> str:
        """One line on what happened."""
        if self.source:
            return f"moved here by SQS after too many receives: {self.receives} by now, looks included"
        return self.said("detail") or "no detail is known"

    @property
    def attempts(self) -> int | None:
        """How often it was tried: what the consumer counted, else SQS's count, in which each look is one more."""
        told = self.said("attempts")
        return self.receives if self.source else int(told) if told.isdecimal() else None

    @property
    def rejected(self) -> tuple[tuple[int, str], ...]:
        """The rejected records that the letter names, by position and reason."""
        if self.source:
            return ()
        try:
            return tuple(msgspec.json.decode(self.said("rejected") or "[]", type=list[tuple[int, str]]))
        except msgspec.DecodeError:
            return ()

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        """What the body announces; () where it is no notice."""
        try:
            return parse_notification(self.body).objects
        except MalformedMessage:
            return ()

    def said(self, name: str) -> str:
        """Return an attribute's text, "" where there is none."""
        found = self.attributes.get(name)
        return found.value if found else ""


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters are meant: those that meet every condition that is given; moments in epoch seconds."""

    ids: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    prefix: str = ""
    sent_before: float | None = None
    sent_after: float | None = None

    @property
    def is_everything(self) -> bool:
        """Whether no condition is given."""
        return self == LetterFilter()

    def takes(self, letter: Letter) -> bool:
        """Say whether a letter is meant."""
        return (
            (not self.ids or letter.id in self.ids)
            and (not self.reasons or letter.reason in self.reasons)
            and (self.sent_before is None or letter.sent_at <= self.sent_before)
            and (self.sent_after is None or letter.sent_at >= self.sent_after)
            and (not self.prefix or any(self._begins(ref) for ref in letter.objects))
        )

    def _begins(self, ref: ObjectRef) -> bool:
        name = f"s3://{ref.bucket}/{ref.key}" if self.prefix.startswith("s3://") else ref.key
        return name.startswith(self.prefix)


def counted(number: int) -> str:
    """Say how many letters: "1 letter", "2 letters"."""
    return f"{number:,} letter{'' if number == 1 else 's'}"


def iso(moment: float) -> str:
    """Write an epoch second as ISO 8601 in UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
