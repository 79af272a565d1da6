"""Promises about turning stored bytes into text."""

from __future__ import annotations

import codecs
import gzip
import struct
import zlib
from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import event, file_text, packed
from worker.cloudtrail.inflate import inflate
from worker.cloudtrail.split import split_records
from worker.errors import Reason, UnreadableObject

LIMIT = 1 << 20
CONTENT = file_text(event(1), event(2))
STEP = 4 << 20
NAMED = packed(CONTENT)[:3] + b"\x08" + packed(CONTENT)[4:10] + b"log.json\0" + packed(CONTENT)[10:]


def refusal(stored: bytes, limit: int = LIMIT) -> Reason:
    with pytest.raises(UnreadableObject) as caught:
        inflate(stored, limit)
    return caught.value.reason


# Good files


@pytest.mark.parametrize(
    ("stored", "content"),
    [
        pytest.param(packed(CONTENT), CONTENT, id="gzip"),
        pytest.param(CONTENT, CONTENT, id="plain JSON named .gz"),
        pytest.param(packed(packed(CONTENT)), CONTENT, id="gzip in gzip"),
        pytest.param(packed(CONTENT[:40]) + packed(CONTENT[40:]), CONTENT, id="two members"),
        pytest.param(packed(CONTENT[:40]) + packed(b"") + packed(CONTENT[40:]), CONTENT, id="an empty member between"),
        pytest.param(b"".join(packed(CONTENT[at : at + 1]) for at in range(len(CONTENT))), CONTENT, id="many members"),
        pytest.param(packed(b""), b"", id="gzip of nothing"),
        pytest.param(packed(codecs.BOM_UTF8 + CONTENT), CONTENT, id="BOM"),
        pytest.param(codecs.BOM_UTF8 + CONTENT, CONTENT, id="plain with BOM"),
        pytest.param(gzip.compress(CONTENT, compresslevel=0), CONTENT, id="stored, not deflated"),
        pytest.param(NAMED, CONTENT, id="with a file name, as the gzip command writes it"),
    ],
)
def test_a_file_is_read_whatever_its_packing(stored: bytes, content: bytes) -> None:
    """Magic bytes decide: names and headers are wrong as soon as another tool has touched a file."""
    text = inflate(stored, LIMIT)

    assert bytes(text.content) == content
    assert not text.truncated
    assert text.note == ""


@given(content=st.binary(max_size=5_000), cuts=st.lists(st.integers(0, 5_000), max_size=5))
def test_however_a_file_is_cut_into_members_its_text_is_the_same(content: bytes, cuts: list[int]) -> None:
    """Several members are one file, by RFC 1952."""
    at = [0, *sorted(cuts), len(content)]
    stored = b"".join(packed(content[one:next_]) for one, next_ in pairwise(at))

    text = inflate(packed(b"x") + stored, LIMIT)

    assert bytes(text.content) == b"x" + content
    assert not text.truncated


@pytest.mark.parametrize("size", [STEP - 1, STEP, STEP + 1, 3 * STEP + 17])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_large_files_come_through_byte_for_byte(size: int, level: int) -> None:
    """Inflating goes in steps; their edges must not show."""
    content = (b'{"number":%d,"random":"' * 50_000 % tuple(range(50_000)) * 10)[:size]

    text = inflate(gzip.compress(content, level), 64 << 20)

    assert text.content == content


def test_bytes_after_the_stream_are_left_alone_and_noted() -> None:
    """The content is whole and checked; somebody should hear of the rest."""
    text = inflate(packed(CONTENT) + b"garbage", LIMIT)

    assert (text.content, text.note) == (CONTENT, "7 bytes after the gzip stream were ignored")


def test_the_hash_is_the_one_that_a_digest_names() -> None:
    """A digest names the SHA-256 of the inflated bytes: of all of them, a mark at their start included."""
    marked = codecs.BOM_UTF8 + CONTENT

    assert inflate(packed(CONTENT), LIMIT).sha256 == sha256(CONTENT).hexdigest()
    assert inflate(CONTENT, LIMIT).sha256 == sha256(CONTENT).hexdigest()
    assert inflate(packed(marked), LIMIT).sha256 == sha256(marked).hexdigest()
    assert inflate(packed(packed(CONTENT)), LIMIT).sha256 == sha256(packed(CONTENT)).hexdigest()


@pytest.mark.parametrize("rest", [b"garbage", b"\0", packed(b""), packed(b"{}")])
def test_a_file_with_something_after_its_stream_is_not_the_one_that_was_signed(rest: bytes) -> None:
    """CloudTrail writes one gzip member and nothing after it, so the rest is somebody else's."""
    assert inflate(packed(CONTENT) + rest, LIMIT).sha256 != sha256(CONTENT).hexdigest()


def test_padding_after_the_stream_costs_nothing() -> None:
    """Tape-minded tools fill files up with zeros."""
    text = inflate(packed(CONTENT) + bytes(512), LIMIT)

    assert text.content == CONTENT
    assert not text.truncated


# Refusals


def test_an_object_of_no_bytes_is_empty() -> None:
    """CloudTrail never writes one: something went wrong on the way."""
    assert refusal(b"") is Reason.EMPTY


def test_a_gzip_of_no_bytes_holds_no_records() -> None:
    """It inflates to nothing, and nothing is not a file of no records."""
    with pytest.raises(UnreadableObject) as caught:
        split_records(inflate(packed(b""), LIMIT))

    assert caught.value.reason is Reason.EMPTY


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(packed(CONTENT)[:-8] + struct.pack("<II", zlib.crc32(CONTENT) ^ 1, len(CONTENT)), id="CRC"),
        pytest.param(packed(CONTENT)[:-8] + struct.pack("<II", zlib.crc32(CONTENT), len(CONTENT) + 1), id="size"),
        pytest.param(packed(CONTENT)[:-8] + bytes(8), id="trailer of zeros"),
        pytest.param(packed(CONTENT) + packed(CONTENT)[:-1] + b"\xff", id="trailer of the second member"),
        pytest.param(packed(packed(CONTENT)[:-1] + b"\xff"), id="trailer inside gzip in gzip"),
        pytest.param(b"\x1f\x8b\x08\x00" + bytes(6) + b"\xff" * 40, id="no deflate stream"),
        pytest.param(b"\x1f\x8b\x07\x00" + packed(CONTENT)[4:], id="unknown method"),
    ],
)
def test_a_stream_that_contradicts_its_checksum_is_corrupt(stored: bytes) -> None:
    """An altered record under a true id would shut the true one out, so nothing of it may be indexed."""
    assert refusal(stored) is Reason.CORRUPT


@given(at=st.integers(10, len(packed(CONTENT)) - 1), bit=st.integers(0, 7))
def test_no_flipped_bit_goes_unnoticed(at: int, bit: int) -> None:
    """Corrupt, cut off at worst, but never another text that passes for whole."""
    stored = bytearray(packed(CONTENT))
    stored[at] ^= 1 << bit

    try:
        text = inflate(bytes(stored), LIMIT)
        found = "truncated" if text.truncated else bytes(text.content)
    except UnreadableObject as problem:
        found = problem.reason

    assert found in (Reason.CORRUPT, "truncated", CONTENT)


def test_a_bomb_is_refused_while_it_is_inflated() -> None:
    """A thousand bytes can be a million: the limit has to hold before the memory is taken."""
    bomb = packed(bytes(64 << 20))

    assert refusal(bomb, limit=1 << 20) is Reason.TOO_LARGE
    assert len(bomb) < 100_000


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(CONTENT, id="plain"),
        pytest.param(packed(CONTENT), id="gzip"),
        pytest.param(packed(CONTENT[:50]) + packed(CONTENT[50:]), id="the sum of members"),
        pytest.param(packed(packed(CONTENT)), id="gzip in gzip"),
    ],
)
def test_the_limit_is_the_largest_text_that_passes(stored: bytes) -> None:
    """It bounds what comes out, however it was packed."""
    assert inflate(stored, len(CONTENT)).content == CONTENT
    assert refusal(stored, len(CONTENT) - 1) is Reason.TOO_LARGE


def test_a_bomb_in_gzip_in_gzip_is_refused() -> None:
    """The inner stream is inflated under the same limit."""
    assert refusal(packed(packed(bytes(8 << 20))), limit=1 << 20) is Reason.TOO_LARGE


def test_utf_16_is_not_json() -> None:
    """No byte of it stands where a JSON object begins."""
    with pytest.raises(UnreadableObject) as caught:
        split_records(inflate(packed(CONTENT.decode().encode("utf-16")), LIMIT))

    assert caught.value.reason is Reason.NOT_JSON


# Files that just end


def test_a_stream_that_just_ends_gives_what_came_before() -> None:
    """An upload that broke off is not corrupt, wherever it broke: its complete records are true."""
    stored = packed(CONTENT)

    texts = [inflate(stored[:at], LIMIT) for at in range(2, len(stored))]

    assert all(text.truncated for text in texts)
    assert all(CONTENT.startswith(bytes(text.content)) for text in texts)
    assert bytes(texts[-1].content) == CONTENT


def test_a_single_magic_byte_is_no_json() -> None:
    """Cut off after one byte, the file does not even say that it is gzip."""
    with pytest.raises(UnreadableObject) as caught:
        split_records(inflate(packed(CONTENT)[:1], LIMIT))

    assert caught.value.reason is Reason.NOT_JSON


@pytest.mark.parametrize("outer", [2, 20, -9, -1])
def test_an_outer_stream_that_just_ends_is_truncated(outer: int) -> None:
    """Of gzip in gzip, either may be cut off."""
    text = inflate(packed(packed(CONTENT))[:outer], LIMIT)

    assert text.truncated
    assert CONTENT.startswith(bytes(text.content)) or packed(CONTENT).startswith(bytes(text.content))


def test_a_second_member_that_just_ends_leaves_the_first_whole() -> None:
    """What the first member gave was checked."""
    text = inflate(packed(CONTENT) + packed(b"more")[:-3], LIMIT)

    assert text.truncated
    assert bytes(text.content).startswith(CONTENT)


@pytest.mark.parametrize("lost", [1, 9, 100])
def test_a_large_stream_that_just_ends_gives_all_that_can_be_inflated(lost: int) -> None:
    """Text that waits in the inflater when a step is full must not be forgotten when the input ends there."""
    content = b'{"Records":[' + b",".join([b'{"eventID":"1"}'] * 600_000)
    stored = gzip.compress(content, 9)[:-lost]
    by_zlib = zlib.decompressobj(31).decompress(stored)

    text = inflate(stored, 64 << 20)

    assert text.truncated
    assert len(text.content) == len(by_zlib)
