"""Promises about files of letters: all of one or none, and never over another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker.dlq.export import reading, writing
from worker.errors import SetupError

if TYPE_CHECKING:
    from pathlib import Path

LINES = b'{"body":"one"}\n\n{"body":"two"}\n'


def names(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir()]


def test_a_file_is_there_whole_and_for_its_owner_only(tmp_path: Path) -> None:
    """Letters name accounts and buckets."""
    with writing(tmp_path / "a.jsonl") as write:
        write(LINES)
        assert not (tmp_path / "a.jsonl").exists()

    assert (tmp_path / "a.jsonl").read_bytes() == LINES
    assert (tmp_path / "a.jsonl").stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == ["a.jsonl"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SetupError, ValueError])
def test_a_file_that_was_not_finished_is_not_there(tmp_path: Path, error: type[BaseException]) -> None:
    """Half an export must not pass for one."""

    def fail() -> None:
        with writing(tmp_path / "a.jsonl") as write:
            write(LINES)
            raise error

    with pytest.raises(error):
        fail()

    assert names(tmp_path) == []


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    """It may be the only copy of letters that are discarded."""
    (tmp_path / "a.jsonl").write_bytes(b"precious")

    with pytest.raises(SetupError, match="exists already"), writing(tmp_path / "a.jsonl"):
        pass

    assert (tmp_path / "a.jsonl").read_bytes() == b"precious"


def test_a_file_that_cannot_be_written_or_read_is_one_sentence(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(SetupError, match="cannot be written: No such file"), writing(tmp_path / "no" / "a.jsonl"):
        pass
    with pytest.raises(SetupError, match="cannot be read: No such file"), reading(tmp_path / "no.jsonl"):
        pass


def test_a_file_is_read_as_often_as_it_is_asked_for(tmp_path: Path) -> None:
    """First all lines are checked, then they are sent; empty ones are nothing."""
    (tmp_path / "a.jsonl").write_bytes(LINES)

    with reading(tmp_path / "a.jsonl") as lines:
        first, second = ([line.body for line in lines()] for _ in range(2))

    assert first == second == ["one", "two"]
