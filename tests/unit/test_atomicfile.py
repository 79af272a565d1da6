"""Promises about files that are whole or not there."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from worker.atomicfile import make_private_folders, open_private, write_atomically

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


def test_nothing_that_somebody_put_there_is_written_to(tmp_path: Path) -> None:
    """In a shared folder anybody can plant a link, and then read or choose what it points to."""
    victim, path = tmp_path / "victim", tmp_path / "file"
    victim.write_bytes(b"theirs")
    for name in ("file", "file.part", "other"):
        (tmp_path / name).symlink_to(victim)

    with write_atomically(path) as file:
        file.write(b"ours")
        (partial,) = (entry for entry in tmp_path.iterdir() if entry.name.startswith(".trailsink-"))
        assert stat.S_IMODE(partial.stat().st_mode) == 0o600
    with pytest.raises(OSError, match="symbolic links"):
        open_private(tmp_path / "other", os.O_APPEND)

    assert victim.read_bytes() == b"theirs"
    assert (path.is_symlink(), path.read_bytes()) == (False, b"ours")


def test_the_name_of_a_partial_file_cannot_be_known(tmp_path: Path) -> None:
    """Whoever knows it can be there first, and keep a run from saving its state."""
    names = set()
    for _ in range(3):
        with write_atomically(tmp_path / "file"):
            names |= {entry.name for entry in tmp_path.iterdir() if entry.suffix == ".part"}

    assert len(names) == 3


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_folders_and_files_are_their_owners(tmp_path: Path, umask: int) -> None:
    """Whatever the umask allows; a folder that was there keeps its mode."""
    tmp_path.chmod(0o755)
    previous = os.umask(umask)
    try:
        make_private_folders(tmp_path / "a" / "b")
        make_private_folders(tmp_path / "a" / "b")
        with open_private(tmp_path / "a" / "b" / "file", os.O_CREAT) as file:
            file.write(b"x")
    finally:
        os.umask(previous)

    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("", "a", "a/b", "a/b/file")]
    assert modes == [0o755, 0o700, 0o700, 0o600]
