"""Files of exported letters: complete or absent, on the disk before anything is deleted, and read as a stream."""

from __future__ import annotations

import base64
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from worker.atomicfile import write_atomically
from worker.dlq.letters import Attribute, Letter
from worker.dlq.reasons import MAX_RECEIVES
from worker.errors import SetupError
from worker.humanize import ascii_json, iso_epoch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STREAM = Path("-")  # standard input or output

# Standard input is read twice, because all lines are checked before the first is sent. More than this goes to a file.
_BYTES_IN_MEMORY = 16 << 20

# docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
_MAX_ATTRIBUTES = 10


class ExportedLetter(msgspec.Struct, frozen=True):
    """A letter as one line of an exported file: body and attributes are imported, the rest is for people."""

    body: str
    attributes: dict[str, Attribute] = {}
    id: str = ""
    reason: str = ""
    sent_at: str = ""
    receives: int = 0
    source: str = ""


_DECODER = msgspec.json.Decoder(ExportedLetter)


def encode_line(letter: Letter) -> bytes:
    """Return a letter as one line of JSON, which is ASCII: the file may be shown on a terminal."""
    exported = ExportedLetter(
        letter.body,
        dict(letter.attributes),
        letter.id,
        letter.reason,
        iso_epoch(letter.sent_at),
        letter.receives,
        letter.source,
    )
    return f"{ascii_json(msgspec.json.encode(exported).decode())}\n".encode()


def decode_line(line: bytes, number: int) -> ExportedLetter:
    """Parse line `number` of an exported file; raises SetupError that names the line."""
    try:
        exported = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as cause:
        raise SetupError(f"Line {number} is not an exported letter: {cause}.") from cause
    if not exported.body:
        raise SetupError(f"Line {number} is not a letter that SQS accepts: its body is empty.")
    if len(exported.attributes) > _MAX_ATTRIBUTES:
        raise SetupError(
            f"Line {number} is not a letter that SQS accepts: it has more than {_MAX_ATTRIBUTES} attributes."
        )
    for attribute in exported.attributes.values():
        if attribute.type.startswith("Binary") and not _is_base64(attribute.value):
            raise SetupError(f"Line {number} is not an exported letter: an attribute of type Binary is not in base64.")
    return exported


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True


def sent_attributes(exported: ExportedLetter) -> dict[str, Attribute]:
    """Return the attributes with which a letter is sent to the dead-letter queue.

    SQS marks a letter that it moved itself, and nobody else can set that mark. An attribute takes its place.
    """
    if not exported.source or exported.reason != MAX_RECEIVES:
        return exported.attributes
    attributes = exported.attributes | {
        "reason": Attribute("String", MAX_RECEIVES),
        "attempts": Attribute("String", str(exported.receives)),
    }
    return attributes if len(attributes) <= _MAX_ATTRIBUTES else exported.attributes


@contextmanager
def create_export(path: Path) -> Iterator[Callable[[bytes], object]]:
    """Yield a function that writes to a new file, which is complete on the disk at the end, or absent after a failure.

    Raises SetupError when the file exists or cannot be written.
    """
    if path == STREAM:
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    if os.path.lexists(path):
        raise SetupError(f"The file {path} already exists; give the name of a new one.")
    try:
        with write_atomically(path) as file:
            yield file.write
    except OSError as error:
        raise SetupError(f"The file {path} cannot be written: {error.strerror}.") from error


@contextmanager
def open_export(path: Path) -> Iterator[Callable[[], Iterator[ExportedLetter]]]:
    """Yield a function that reads the letters of a file from its beginning, on each call; raises SetupError."""
    with _open(path) as file:

        def read_letters() -> Iterator[ExportedLetter]:
            file.seek(0)
            return (decode_line(line, number) for number, line in enumerate(file, 1) if line.strip())

        yield read_letters


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    if path == STREAM:
        with tempfile.SpooledTemporaryFile(_BYTES_IN_MEMORY) as spooled:
            shutil.copyfileobj(sys.stdin.buffer, spooled)
            yield spooled
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise SetupError(f"The file {path} cannot be read: {error.strerror}.") from error
    with file:
        yield file
