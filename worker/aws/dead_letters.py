"""What goes beside the body of a dead letter: its attributes, cut to what SQS takes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from worker import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from types_boto3_sqs.type_defs import MessageAttributeValueTypeDef

    from worker.pipeline.ports import DeadLetter

# Everything of a message counts against 1 MiB, attributes too; a body of nearly that size leaves little.
_MESSAGE_BYTES = 1 << 20

_REJECTED_BYTES = 16 << 10
_DETAIL_CHARACTERS = 1_000

# What SQS does not take as text: all but the characters of XML 1.0. Compiled when first needed: it takes 6 ms.
_NOT_XML = "[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"


def attribute_sets(letter: DeadLetter) -> Iterator[dict[str, MessageAttributeValueTypeDef]]:
    """Yield ever fewer attributes: what is cut is the least needed, and the body is never touched."""
    short = {
        "reason": letter.reason,
        "attempts": str(letter.attempts),
        "source_message_id": letter.source_message_id,
        "trailsink_version": __version__,
    }
    full = short | {"detail": re.sub(_NOT_XML, "?", letter.detail)[:_DETAIL_CHARACTERS] or "-"}
    room = min(
        _REJECTED_BYTES,
        _MESSAGE_BYTES
        - len(letter.body.encode())
        - sum(len(name) + len(value.encode()) + len("String") for name, value in full.items()),
    )
    rejected = _encode_fitting(letter.rejected, room - len("rejectedString"))
    if rejected:
        yield string_attributes(full | {"rejected": rejected})
    yield string_attributes(full)
    yield string_attributes(short)
    yield string_attributes({"reason": letter.reason})
    yield {}


def _encode_fitting(rejected: Sequence[tuple[int, str]], room: int) -> str:
    """Return as many [position, reason] pairs as fit into `room` bytes, as JSON; "" when none does."""
    pairs: list[str] = []
    for pair in rejected:
        text = msgspec.json.encode(pair).decode()
        room -= len(text) + 1
        if room < 1:
            break
        pairs.append(text)
    return f"[{','.join(pairs)}]" if pairs else ""


def string_attributes(attributes: Mapping[str, str]) -> dict[str, MessageAttributeValueTypeDef]:
    """Return message attributes of the type String."""
    return {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
