"""From the bytes of an object to its text: gunzip with a bound, and only what can be trusted."""

from __future__ import annotations

import codecs
from typing import cast

import msgspec
from isal import isal_zlib

from worker.errors import Reason, UnreadableObject

_GzipError = cast("type[Exception]", isal_zlib.error)  # its stub says less than it is

_GZIP = b"\x1f\x8b"
_GZIP_WRAPPER = 31  # zlib's wbits for "gzip header and trailer, checked"

# Bytes in and bytes out of one step: nearly every CloudTrail file is one step, and the buffers of a step do not matter
# beside a file that is many.
_STEP = 4 << 20
# What a member leaves over of its last chunk is copied, so a file of a thousand tiny members begins each with little.
_FIRST_STEP = 16 << 10


class Text(msgspec.Struct, frozen=True):
    """An object's text.

    `truncated` says that the gzip stream just ended: what is there came out of it in order, but was never
    checksummed. `note` is one line about something odd that costs nothing.
    """

    content: bytes | bytearray
    truncated: bool = False
    note: str = ""


def read_text(stored: bytes | bytearray, limit: int) -> Text:
    """Turn stored bytes into text of at most `limit` bytes.

    gzip is told by its magic bytes: names and headers lie (S3 serves `Content-Encoding: gzip` for both). Raises
    UnreadableObject `empty`, `corrupt` (nothing of it may be indexed: an altered record under a true id would shut the
    true one out) or `too_large`.
    """
    if not stored:
        raise UnreadableObject(Reason.EMPTY, "the object has 0 bytes")
    text = _unzipped(stored, limit)
    if text.content[:2] == _GZIP:  # gzip in gzip: uploaded by hand through a tool that compressed once more
        inner = _unzipped(text.content, limit)
        text = Text(inner.content, inner.truncated or text.truncated, text.note or inner.note)
    if text.content[:3] == codecs.BOM_UTF8:
        text = Text(text.content[3:], text.truncated, text.note)
    return text


def _unzipped(stored: bytes | bytearray, limit: int) -> Text:
    if stored[:2] != _GZIP:
        if len(stored) > limit:
            raise UnreadableObject(Reason.TOO_LARGE, f"{len(stored)} bytes, more than the limit of {limit}")
        return Text(stored)
    whole, at = memoryview(stored), 0
    content: bytes | bytearray = b""
    while whole[at : at + 2] == _GZIP:  # several members are one file (RFC 1952, 2.2)
        content, read, complete = _member(whole[at:], content, limit)
        if not complete:
            return Text(content, truncated=True)
        at += read
    return Text(
        content, note=f"{len(whole) - at} bytes after the gzip stream were left alone" if at < len(whole) else ""
    )


def _member(stored: memoryview, content: bytes | bytearray, limit: int) -> tuple[bytes | bytearray, int, bool]:
    """Inflate one gzip member behind `content`: all content, the bytes read, and whether the member was complete."""
    stream = isal_zlib.decompressobj(wbits=_GZIP_WRAPPER)
    at, step = 0, _FIRST_STEP
    try:
        while at < len(stored) and not stream.eof:
            chunk: memoryview | bytes = stored[at : at + step]
            at, step = at + len(chunk), min(8 * step, _STEP)
            while chunk and not stream.eof:
                content = _joined(content, stream.decompress(chunk, _STEP))
                if len(content) > limit:
                    raise UnreadableObject(Reason.TOO_LARGE, f"more than {limit} bytes when inflated")
                chunk = stream.unconsumed_tail
    except _GzipError as cause:
        raise UnreadableObject(Reason.CORRUPT, f"gzip: {cause}") from cause
    return content, at - len(stream.unused_data), bool(stream.eof)


def _joined(content: bytes | bytearray, more: bytes) -> bytes | bytearray:
    """Join without copying where there is nothing to join, and growing in place where there is."""
    if not content:
        return more
    if isinstance(content, bytes):
        content = bytearray(content)
    content += more
    return content
