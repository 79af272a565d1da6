"""Promises about files of letters: a line restores its letter, and a file is complete or absent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_dlq import SENT_AT, letter
from worker.dlq.export import create_export, decode_line, encode_line, open_export, sent_attributes
from worker.dlq.letters import Attribute, Letter
from worker.dlq.reasons import REASONS
from worker.errors import SetupError

if TYPE_CHECKING:
    from pathlib import Path

# Lines

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)
attributes = st.dictionaries(texts, st.builds(Attribute, st.sampled_from(["String", "Number"]), texts), max_size=9)


@given(body=texts, carried=attributes, reason=st.sampled_from(REASONS))
def test_an_exported_letter_is_restored_as_it_was(body: str, carried: dict[str, Attribute], reason: str) -> None:
    """One line holds whatever SQS can hold."""
    original = Letter("id", "r", body, {**carried, "reason": Attribute("String", reason)}, SENT_AT)
    line = encode_line(original)

    exported = decode_line(line, 1)

    assert (exported.body, exported.attributes) == (body, original.attributes)
    assert line.count(b"\n") == 1


def test_a_line_keeps_its_members() -> None:
    """A file that an earlier version wrote must be readable by a later one."""
    assert encode_line(letter(1, "empty", "x", source="arn:q", receives=41)) == (
        b'{"body":"x","attributes":{"reason":{"type":"String","value":"empty"},'
        b'"attempts":{"type":"String","value":"2"}},"id":"id-1","reason":"max_receives",'
        b'"sent_at":"2027-01-15T08:00:00Z","receives":41,"source":"arn:q"}\n'
    )


def test_binary_attributes_are_kept_in_base64() -> None:
    """They are rare, and a backup still must hold them."""
    exported = decode_line(b'{"body":"x","attributes":{"b":{"type":"Binary","value":"AP8="}}}', 1)

    assert exported.attributes["b"].value == "AP8="


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"[]",
        b"{}",
        b'{"body":1}',
        b'{"body":""}',
        b"\xff",
        b'{"body":"x","attributes":{"a":"plain"}}',
        b'{"body":"x","attributes":{"b":{"type":"Binary","value":"!"}}}',
        b'{"body":"x","attributes":{%s}}'
        % b",".join(b'"%d":{"type":"String","value":"v"}' % number for number in range(11)),
    ],
)
def test_a_line_that_is_no_letter_is_named_by_its_number(line: bytes) -> None:
    """The operator finds it in an editor."""
    with pytest.raises(SetupError, match="Line 7 is not"):
        decode_line(line, 7)


def test_a_letter_that_sqs_moved_is_imported_with_that_reason() -> None:
    """Nobody can send SQS's own mark, so an attribute takes its place and replaces an old reason."""
    exported = decode_line(encode_line(letter(1, "empty", source="arn:q", receives=41)), 1)

    carried = sent_attributes(exported)

    assert (carried["reason"].value, carried["attempts"].value) == ("max_receives", "41")
    assert sent_attributes(decode_line(encode_line(letter(1)), 1)) == letter(1).attributes


# Files

LINES = b'{"body":"one"}\n\n{"body":"two"}\n'


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_file_is_complete_and_for_its_owner_only(tmp_path: Path) -> None:
    """Letters name accounts and buckets."""
    with create_export(tmp_path / "a.jsonl") as write:
        write(LINES)
        assert not (tmp_path / "a.jsonl").exists()

    assert (tmp_path / "a.jsonl").read_bytes() == LINES
    assert (tmp_path / "a.jsonl").stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == ["a.jsonl"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SetupError, ValueError])
def test_a_file_that_was_not_finished_does_not_exist(tmp_path: Path, error: type[BaseException]) -> None:
    """Half an export must not be taken for a whole one."""

    def fail() -> None:
        with create_export(tmp_path / "a.jsonl") as write:
            write(LINES)
            raise error

    with pytest.raises(error):
        fail()

    assert names(tmp_path) == []


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    """It may be the only copy of letters that were discarded."""
    (tmp_path / "a.jsonl").write_bytes(b"precious")

    with pytest.raises(SetupError, match="already exists"), create_export(tmp_path / "a.jsonl"):
        pass

    assert (tmp_path / "a.jsonl").read_bytes() == b"precious"


def test_a_file_that_cannot_be_written_or_read_is_one_sentence(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(SetupError, match="cannot be written: No such file"), create_export(tmp_path / "no" / "a.jsonl"):
        pass
    with pytest.raises(SetupError, match="cannot be read: No such file"), open_export(tmp_path / "no.jsonl"):
        pass


def test_a_file_can_be_read_more_than_once(tmp_path: Path) -> None:
    """All lines are checked before the first is sent; empty lines are skipped."""
    (tmp_path / "a.jsonl").write_bytes(LINES)

    with open_export(tmp_path / "a.jsonl") as read_letters:
        first, second = ([letter.body for letter in read_letters()] for _ in range(2))

    assert first == second == ["one", "two"]


def test_an_export_writes_to_no_link(tmp_path: Path) -> None:
    """Neither to one that points to a file, nor to one that points nowhere yet."""
    victim = tmp_path / "victim"
    path = tmp_path / "letters.jsonl"
    path.symlink_to(victim)

    with pytest.raises(SetupError, match="already exists"), create_export(path):
        pass

    assert not victim.exists()
