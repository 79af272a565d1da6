"""From the stored bytes of an object to its text: gunzip with a limit, and only what can be trusted."""

from __future__ import annotations

import codecs
from hashlib import sha256
from typing import cast

import msgspec
from isal import isal_zlib

from worker.errors import Reason, UnreadableObject

_GzipError = cast("type[Exception]", isal_zlib.error)  # its stub is less precise than the class

_GZIP = b"\x1f\x8b"
_GZIP_WRAPPER = 31  # zlib's wbits for "gzip header and trailer, checked"

# Bytes in and bytes out of one step. Nearly every CloudTrail file is one step, and the buffers of a step are small
# beside a file that takes many.
_STEP = 4 << 20
# The rest of a member's last chunk is copied, so a file of a thousand tiny members starts each with a small step.
_FIRST_STEP = 16 << 10


class Inflated(msgspec.Struct, frozen=True):
    """An object's text.

    `truncated` means that the gzip stream ended early: the content is in order, but no checksum covers it. `note` is
    one line about something odd that costs nothing. `sha256` is of all bytes after one inflation, in hexadecimal, as a
    CloudTrail digest holds it; bytes after the gzip stream count, since CloudTrail writes none.
    """

    content: bytes | bytearray
    truncated: bool = False
    note: str = ""
    sha256: str = ""


def inflate(stored: bytes | bytearray, limit: int) -> Inflated:
    """Return the text of stored bytes, at most `limit` bytes long.

    gzip is recognised by its magic bytes: names and headers lie (S3 serves `Content-Encoding: gzip` for both). Raises
    UnreadableObject `empty`, `corrupt` (nothing of it may be indexed: an altered record under a true id would shut the
    true one out) or `too_large`.
    """
    if not stored:
        raise UnreadableObject(Reason.EMPTY, "the object has 0 bytes")
    text = _gunzip(stored, limit)
    if text.content[:2] == _GZIP:  # gzip in gzip: uploaded by hand through a tool that compressed once more
        inner = _gunzip(text.content, limit)
        text = Inflated(inner.content, inner.truncated or text.truncated, text.note or inner.note, text.sha256)
    if text.content[:3] == codecs.BOM_UTF8:
        text = Inflated(text.content[3:], text.truncated, text.note, text.sha256)
    return text


def _gunzip(stored: bytes | bytearray, limit: int) -> Inflated:
    if stored[:2] != _GZIP:
        if len(stored) > limit:
            raise UnreadableObject(Reason.TOO_LARGE, f"{len(stored)} bytes, more than the limit of {limit}")
        return Inflated(stored, sha256=sha256(stored).hexdigest())
    view, offset = memoryview(stored), 0
    content: bytes | bytearray = b""
    hexdigest = ""
    while view[offset : offset + 2] == _GZIP:  # several members are one file (RFC 1952, 2.2)
        content, consumed, complete = _inflate_member(view[offset:], content, limit)
        offset += consumed
        if not hexdigest:
            digest = sha256(content)
            digest.update(view[offset:])  # CloudTrail writes one member, and nothing after it
            hexdigest = digest.hexdigest()
        if not complete:
            return Inflated(content, truncated=True, sha256=hexdigest)
    trailing = len(view) - offset
    note = f"{trailing} bytes after the gzip stream were ignored" if trailing else ""
    return Inflated(content, note=note, sha256=hexdigest)


def _inflate_member(stored: memoryview, content: bytes | bytearray, limit: int) -> tuple[bytes | bytearray, int, bool]:
    """Inflate one gzip member after `content`: all content, the bytes consumed, and whether the member was complete."""
    stream = isal_zlib.decompressobj(wbits=_GZIP_WRAPPER)
    offset, step = 0, _FIRST_STEP
    try:
        while offset < len(stored) and not stream.eof:
            chunk: memoryview | bytes = stored[offset : offset + step]
            offset, step = offset + len(chunk), min(8 * step, _STEP)
            while chunk and not stream.eof:
                content = _append(content, stream.decompress(chunk, _STEP))
                if len(content) > limit:
                    raise UnreadableObject(Reason.TOO_LARGE, f"more than {limit} bytes when inflated")
                chunk = stream.unconsumed_tail
    except _GzipError as cause:
        raise UnreadableObject(Reason.CORRUPT, f"gzip: {cause}") from cause
    return content, offset - len(stream.unused_data), bool(stream.eof)


def _append(content: bytes | bytearray, chunk: bytes) -> bytes | bytearray:
    """Append without a copy where there is nothing to append to, and in place where there is."""
    if not content:
        return chunk
    if isinstance(content, bytes):
        content = bytearray(content)
    content += chunk
    return content
