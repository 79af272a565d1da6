"""Files of exported letters: whole or not there, on the disk before anything is deleted, and read as a stream."""

from __future__ import annotations

import base64
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from worker.atomicfile import write_atomically
from worker.dlq.letters import Attribute, Letter, iso
from worker.dlq.reasons import MAX_RECEIVES
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


STREAM = Path("-")  # standard input or output

# Standard input is read twice, checked first: what is larger than this goes through a file.
_IN_MEMORY = 16 << 20


@contextmanager
def writing(path: Path) -> Iterator[Callable[[bytes], object]]:
    """Give what writes to a new file; afterwards all of it is on the disk, or after a failure none of it is there.

    Raises SetupError when the file is there already or cannot be written.
    """
    if path == STREAM:
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    if path.exists():
        raise SetupError(f"The file {path} exists already; give the name of a new one.")
    try:
        with write_atomically(path) as file:
            yield file.write
    except OSError as error:
        raise SetupError(f"The file {path} cannot be written: {error.strerror}.") from error


@contextmanager
def reading(path: Path) -> Iterator[Callable[[], Iterator[ExportedLetter]]]:
    """Give what reads the letters of a file from its beginning, as often as it is asked; raises SetupError."""
    with _opened(path) as file:

        def lines() -> Iterator[ExportedLetter]:
            file.seek(0)
            return (decode_line(text, number) for number, text in enumerate(file, 1) if text.strip())

        yield lines


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    if path == STREAM:
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spooled:
            shutil.copyfileobj(sys.stdin.buffer, spooled)
            yield spooled
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise SetupError(f"The file {path} cannot be read: {error.strerror}.") from error
    with file:
        yield file


# docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
_MAX_ATTRIBUTES = 10


class ExportedLetter(msgspec.Struct, frozen=True):
    """A letter as one line of an exported file: body and attributes are the letter, the rest is for people."""

    body: str
    attributes: dict[str, Attribute] = {}
    id: str = ""
    reason: str = ""
    sent_at: str = ""
    receives: int = 0
    source: str = ""


def encode_line(letter: Letter) -> bytes:
    """Write a letter as one line of JSON."""
    line = ExportedLetter(
        letter.body,
        dict(letter.attributes),
        letter.id,
        letter.reason,
        iso(letter.sent_at),
        letter.receives,
        letter.source,
    )
    return msgspec.json.encode(line) + b"\n"


_LINE = msgspec.json.Decoder(ExportedLetter)


def decode_line(text: bytes, number: int) -> ExportedLetter:
    """Read line `number` of an exported file; raises SetupError that names it."""
    try:
        line = _LINE.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as cause:
        raise SetupError(f"Line {number} is no exported letter: {cause}.") from cause
    if not line.body or len(line.attributes) > _MAX_ATTRIBUTES:
        wrong = "its body is empty" if not line.body else f"it has more than {_MAX_ATTRIBUTES} attributes"
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


def sent_attributes(line: ExportedLetter) -> dict[str, Attribute]:
    """Return the attributes with which a line is sent to the dead-letter queue.

    That SQS had moved a letter itself is in no attribute, and nobody can send it; so it becomes one.
    """
    if not line.source or line.reason != MAX_RECEIVES:
        return line.attributes
    moved = {"reason": Attribute("String", MAX_RECEIVES), "attempts": Attribute("String", str(line.receives))}
    together = line.attributes | moved
    return together if len(together) <= _MAX_ATTRIBUTES else line.attributes
