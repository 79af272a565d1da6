"""Promises about files that are whole or not there."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from worker.atomicfile import write_atomically

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_there_with_all_its_content_and_for_nobody_else(tmp_path: Path) -> None:
    """Letters and checkpoints name accounts and buckets."""
    path = tmp_path / "a file"

    with write_atomically(path) as file:
        file.write(b"content")
        assert not path.exists()

    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def write_half(path: Path) -> None:
    with write_atomically(path) as file:
        file.write(b"half")
        raise ZeroDivisionError


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    """Half a checkpoint would be worse than the old one."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    with pytest.raises(ZeroDivisionError):
        write_half(path)

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Whoever calls it turns the error into a sentence."""
    path = tmp_path / "missing" / "file"

    with pytest.raises(FileNotFoundError) as error, write_atomically(path) as file:
        file.write(b"x")

    assert str(path.parent) in str(error.value)
