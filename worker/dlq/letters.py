"""Dead letters: what one of them says, which ones an operator means, and how they are written to a file."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from worker.errors import MalformedMessage, Reason, SetupError
from worker.pipeline.notifications import ObjectRef, read_message

if TYPE_CHECKING:
    from collections.abc import Mapping

# Two more than trailsink writes: SQS's own, and a letter that somebody else put there.
MAX_RECEIVES = "max_receives"
UNKNOWN = "unknown"
REASONS = (*(reason.value for reason in Reason), MAX_RECEIVES, UNKNOWN)

# What is wrong, in a line for people, and what to do.
MEANINGS = {
    Reason.MALFORMED_MESSAGE.value: "the message is no notice of any known kind; find out who sent it",
    Reason.NOT_FOUND.value: "the object is gone; restore it",
    Reason.EMPTY.value: "the object holds nothing; find out who wrote it",
    Reason.TRUNCATED.value: "the file ends early; its complete records are indexed; upload the whole file",
    Reason.CORRUPT.value: "gzip's checksum does not match; nothing of it is indexed; upload the true file",
    Reason.TOO_LARGE.value: "the file is over a limit (TRAILSINK_MAX_INFLATED_BYTES); raise it",
    Reason.NOT_JSON.value: "no CloudTrail file; find out who wrote it",
    Reason.NO_RECORDS.value: "no CloudTrail file; find out who wrote it",
    Reason.RECORDS_REJECTED.value: "some pieces of the file are no records; the others are indexed",
    Reason.TOO_SCATTERED.value: "its records are of too many days (TRAILSINK_MAX_DAYS_PER_FILE)",
    Reason.ARCHIVED.value: "the object is in an archive; restore it",
    MAX_RECEIVES: "SQS gave it up; look for `crash` or a lasting refusal in the consumer's log",
    UNKNOWN: "somebody else sent it here",
}

# docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
_MOST_ATTRIBUTES = 10


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
            return read_message(self.body).objects
        except MalformedMessage:
            return ()

    def said(self, name: str) -> str:
        """Return an attribute's text, "" where there is none."""
        found = self.attributes.get(name)
        return found.value if found else ""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters are meant: those that meet every condition that is given; moments in epoch seconds."""

    ids: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    prefix: str = ""
    sent_before: float | None = None
    sent_after: float | None = None

    @property
    def is_everything(self) -> bool:
        """Whether no condition is given."""
        return self == Choice()

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


class Line(msgspec.Struct, frozen=True):
    """A letter as one line of an exported file: body and attributes are the letter, the rest is for people."""

    body: str
    attributes: dict[str, Attribute] = {}
    id: str = ""
    reason: str = ""
    sent_at: str = ""
    receives: int = 0
    source: str = ""


def written(letter: Letter) -> bytes:
    """Write a letter as one line of JSON."""
    line = Line(
        letter.body,
        dict(letter.attributes),
        letter.id,
        letter.reason,
        iso(letter.sent_at),
        letter.receives,
        letter.source,
    )
    return msgspec.json.encode(line) + b"\n"


_LINE = msgspec.json.Decoder(Line)


def read_line(text: bytes, number: int) -> Line:
    """Read line `number` of an exported file; raises SetupError that names it."""
    try:
        line = _LINE.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as cause:
        raise SetupError(f"Line {number} is no exported letter: {cause}.") from cause
    if not line.body or len(line.attributes) > _MOST_ATTRIBUTES:
        wrong = "its body is empty" if not line.body else f"it has more than {_MOST_ATTRIBUTES} attributes"
        raise SetupError(f"Line {number} is no letter that SQS would take: {wrong}.")
    for one in line.attributes.values():
        if one.type.startswith("Binary") and not _is_base64(one.value):
            raise SetupError(f"Line {number} is no exported letter: an attribute of type Binary is not in base64.")
    return line


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True


def attributes_of(line: Line) -> dict[str, Attribute]:
    """Return the attributes with which a line is sent to the dead-letter queue.

    That SQS had moved a letter itself is in no attribute, and nobody can send it; so it becomes one.
    """
    if not line.source or line.reason != MAX_RECEIVES:
        return line.attributes
    moved = {"reason": Attribute("String", MAX_RECEIVES), "attempts": Attribute("String", str(line.receives))}
    together = line.attributes | moved
    return together if len(together) <= _MOST_ATTRIBUTES else line.attributes


class Shown(msgspec.Struct, frozen=True):
    """A letter as `list --json` prints it; `object` is null where none or several are announced."""

    id: str
    reason: str
    detail: str
    object: str | None
    objects: list[str]
    attempts: int | None
    receives: int
    sent_at: str
    age_seconds: int
    source_message_id: str | None
    rejected: list[tuple[int, str]]
    body: str | None  # only where it announces no object

    @classmethod
    def of(cls, letter: Letter, now: float) -> Shown:
        """Describe a letter as it is at `now`, in epoch seconds."""
        objects = [str(ref) for ref in letter.objects]
        return cls(
            letter.id,
            letter.reason,
            letter.detail,
            objects[0] if len(objects) == 1 else None,
            objects,
            letter.attempts,
            letter.receives,
            iso(letter.sent_at),
            max(0, int(now - letter.sent_at)),
            letter.said("source_message_id") or None,
            list(letter.rejected),
            None if objects else letter.body,
        )


class Group(msgspec.Struct):
    """All letters of one reason, as `list --summary --json` prints them; when they were sent in ISO 8601."""

    reason: str
    letters: int
    oldest: str
    newest: str


def counted(number: int) -> str:
    """Say how many letters: "1 letter", "2 letters"."""
    return f"{number:,} letter{'' if number == 1 else 's'}"


def iso(moment: float) -> str:
    """Write an epoch second as ISO 8601 in UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
