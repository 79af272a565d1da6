"""Promises about damaged files: a broken record costs only itself, and none of what it holds becomes a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import aggregated, as_json, event, insight, text
from tests.unit.cloudtrail.test_split import found, whole_file
from worker.cloudtrail.lenient_json import BrokenJson, root_members
from worker.cloudtrail.repair import repair_records
from worker.cloudtrail.split import split_records
from worker.errors import OutOfTime, Reason, UnreadableObject

if TYPE_CHECKING:
    from collections.abc import Callable

DAMAGED = [
    pytest.param(b'{"eventVersion":"1.11","a":{"b":1}', id="brace missing"),
    pytest.param(b'{"eventVersion":"1.11","a":[{"b":[1]', id="brackets and braces missing"),
    pytest.param(b'{"eventVersion":"1.11"}}', id="brace too many"),
    pytest.param(b'{"eventVersion":"1.11"]', id="bracket in place of a brace"),
    pytest.param(b'{"eventVersion":"1.11","a":[1,2}', id="bracket missing"),
    pytest.param(b'{"eventVersion":"1.11","a":[1,2]]}', id="bracket too many"),
    pytest.param(b'{"eventVersion" "1.11"}', id="colon missing"),
    pytest.param(b'{"eventVersion":"1.11" "a":1}', id="comma missing"),
    pytest.param(b'{"eventVersion":"1.11",}', id="comma too many"),
    pytest.param(b'{"eventVersion":"1.11","a":"b"c"}', id="quote too many"),
    pytest.param(b'{"eventVersion":"1.11","a":"b}', id="quote missing"),
    pytest.param(b'{"eventVersion":"1.11","a":"b\\"}', id="escape before the last quote"),
    pytest.param(b'{"eventVersion":1.11.2}', id="no number"),
    pytest.param(b'{"eventVersion":tru}', id="no literal"),
    pytest.param(b'{eventVersion:"1.11"}', id="name without quotes"),
    pytest.param(b"{'eventVersion':'1.11'}", id="single quotes"),
    pytest.param(b"garbage", id="garbage"),
    pytest.param(b"}", id="a brace alone"),
    pytest.param(b'"', id="a quote alone"),
    pytest.param(b"{", id="an open brace alone"),
]


@pytest.mark.parametrize("bad", DAMAGED)
@pytest.mark.parametrize("place", [0, 1, 2, 3], ids=["first", "second", "third", "last"])
def test_a_damaged_record_costs_only_itself(bad: bytes, place: int) -> None:
    """Whatever it does to quotes and brackets, its neighbours are there, byte for byte."""
    good = [as_json(event(1)), as_json(insight(2)), as_json(aggregated(3))]
    content = whole_file([*good[:place], bad, *good[place:]], b"")

    slices = split_records(text(content))

    assert [one for one in found(slices) if one in good] == good


@pytest.mark.parametrize("bad", [one for one in DAMAGED if one.id != "a quote alone"])  # these would pair up
def test_several_damaged_records_cost_only_themselves(bad: bytes) -> None:
    """A tool that breaks one record breaks many."""
    good = [as_json(event(number)) for number in range(4)]
    content = whole_file([bad, good[0], bad, good[1], good[2], bad, good[3], bad], b" ")

    slices = split_records(text(content))

    assert [one for one in found(slices) if one in good] == good


@pytest.mark.parametrize("bad", DAMAGED)
def test_a_damaged_record_is_never_silently_gone(bad: bytes) -> None:
    """Something stays in the account: a slice that is no JSON, or a problem of the file."""
    good = [as_json(event(1)), as_json(event(2))]

    slices = split_records(text(whole_file([good[0], bad, good[1]], b"")))

    others = [one for one in found(slices) if one not in good]
    assert others or slices.problem is not None


@pytest.mark.parametrize("end", [b"]", b'"', b"}"], ids=["list cut off", "quote too many", "object cut off"])
def test_what_a_damaged_record_holds_never_becomes_a_record(end: bytes) -> None:
    """An event that never was must not be indexed, whatever its true record has lost."""
    inner = as_json([{"eventName": f"inner-{number}", "eventID": f"inner-{number}"} for number in range(3)])
    bad = b'{"eventVersion":"1.11","requestParameters":{"events":' + inner + end
    good = [as_json(event(1)), as_json(event(2))]

    slices = split_records(text(whole_file([good[0], bad, good[1]], b"")))

    assert [one for one in found(slices) if one.startswith(b'{"eventName":"inner')] == []


@given(
    junk=st.text(st.sampled_from('{}[]",:\\x '), max_size=12).map(str.encode),
    place=st.integers(0, 2),
)
def test_no_junk_in_a_file_raises_anything_unexpected(junk: bytes, place: int) -> None:
    """Files come from outside: an error of another kind would be a crash, forty times."""
    good = [as_json(event(1)), as_json(event(2))]
    content = whole_file([*good[:place], junk, *good[place:]], b"")

    try:
        slices = split_records(text(content))
    except UnreadableObject:
        return

    assert all(isinstance(one, msgspec.Raw | bytes) for one in slices.records)
    assert not any(good_one in one for one in found(slices) for good_one in good if one != good_one and _is_json(one))


def _is_json(one: bytes) -> bool:
    try:
        root_members(one)
    except BrokenJson:
        return False
    return True


def test_a_hostile_file_is_cut_in_linear_time() -> None:
    """Strings that never end and escapes without number are what makes regular expressions explode."""
    for content in (
        b'{"Records":["' + b"\\" * 60_001,
        b'{"Records":[' + b'"' * 60_001,
        b'{"Records":[' + b"{" * 60_000,
        b'{"Records":[' + b"[" * 60_000 + b"]" * 59_999,
        b'{"Records":[{"a":' + b" " * 60_000,
        b'{"Records":[' + b'{"eventA":"},' * 5_000,
    ):
        assert split_records(text(content)).problem is not None


# Bounds


def repair(content: bytes, *, max_records: int = 1_000_000, keep_going: Callable[[], bool] = lambda: True) -> int:
    return len(repair_records(text(content), keep_going, max_records)[0])


def test_records_that_stick_to_a_broken_one_are_counted_too() -> None:
    """The bound is on what is in memory, whichever step of the repair brings it."""
    broken = b'{"Records":[{"a":"x",' + b',{"eventVersion":' * 500 + b"]}"

    with pytest.raises(UnreadableObject) as error:
        repair(broken, max_records=100)

    assert error.value.reason is Reason.TOO_LARGE


def test_a_text_of_open_brackets_takes_bounded_memory() -> None:
    """64 MiB of them took half a gigabyte, and a minute."""
    with pytest.raises(UnreadableObject) as error:
        repair(b'{"Records":[' + b"[" * (2 << 20))

    assert error.value.reason is Reason.TOO_LARGE


def test_the_clock_is_checked_by_bytes_between_pieces() -> None:
    """A few large damaged records take as long as thousands of small ones."""
    pieces = b",".join(b'{"a":NaN,"b":"%s"}' % (b"x" * 300_000) for _ in range(6))
    checks: list[int] = []

    def keep_going() -> bool:
        checks.append(1)
        return len(checks) < 4

    with pytest.raises(OutOfTime):
        repair(b'{"Records":[' + pieces + b"]}", keep_going=keep_going)

    assert len(checks) == 4


def test_a_piece_too_long_to_be_a_record_is_not_examined() -> None:
    """It takes a second a MiB, and cannot be sent in any form."""
    rest = b'{"a":"' + b"x" * (11 << 20) + b'"'

    records, problem = repair_records(text(b'{"Records":[{"b":1},' + rest), lambda: True, 100)

    assert [bytes(record) for record in records] == [b'{"b":1}']
    assert problem is not None
    assert problem.reason is Reason.TRUNCATED
