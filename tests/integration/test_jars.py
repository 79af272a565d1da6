"""The jars of the local stack: each is the one that is locked, wherever it came from."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from infra.local.errors import LocalStackError
from infra.local.jars import LOCKS, fetch_files, read_lock
from tests.support.http_server import serving

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.support.http_server import Given

JAR = b"PK\x03\x04 a jar" * 100
COORDINATE = "org.example:thing:1.0"
PATH = "org/example/thing/1.0/thing-1.0.jar"


def write_lock(folder: Path, digest: str = "") -> Path:
    (folder / "locks").mkdir()
    line = f"lib/thing.jar {COORDINATE} {digest or sha256(JAR).hexdigest()} {len(JAR)}"
    (folder / "locks/thing-1.txt").write_text(f"# a lock\n{line}\n")
    return folder / "locks"


def fetch(folder: Path, locks: Path) -> tuple[bytes, list[str]]:
    """The file where it belongs, and the lines of progress."""
    lines: list[str] = []
    fetch_files("thing-1", folder / "home", lines.append, locks=locks, cache=folder / "cache")
    return (folder / "home/lib/thing.jar").read_bytes(), lines


def repository(content: bytes) -> AbstractContextManager[str]:
    """Maven's repository with one jar, and its SHA-1 beside it."""

    def answer(_method: str, path: str, _headers: object, _body: bytes) -> Given:
        if path == f"/{PATH}":
            return 200, content, {}
        return 404, b"", {}

    return serving(answer)


def test_a_jar_is_downloaded_once_and_put_where_it_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Maven on the machine; a second run asks nobody."""
    locks = write_lock(tmp_path)

    with repository(JAR) as url:
        monkeypatch.setenv("TRAILSINK_MAVEN_URL", url)
        first, lines = fetch(tmp_path, locks)
    second, quiet = fetch(tmp_path, locks)

    assert first == second == JAR
    assert lines[0] == "Downloading thing-1: 1 files, 0 MiB ..."
    assert quiet == []


@pytest.mark.parametrize("where", ["repository", "cache"])
def test_a_jar_with_one_flipped_byte_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Whoever can change a file on the way, or in a shared cache, would run code here."""
    locks, flipped = write_lock(tmp_path), JAR[:-1] + bytes([JAR[-1] ^ 1])
    if where == "cache":
        (tmp_path / "cache" / PATH).parent.mkdir(parents=True)
        (tmp_path / "cache" / PATH).write_bytes(flipped)

    with repository(flipped) as url:
        monkeypatch.setenv("TRAILSINK_MAVEN_URL", url)
        with pytest.raises(LocalStackError, match=r"thing-1\.0\.jar is not the file that is locked: its SHA-256 is"):
            fetch(tmp_path, locks)

    assert not (tmp_path / "home/lib/thing.jar").exists()


def test_a_repository_that_cannot_be_reached_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the file."""
    monkeypatch.setenv("TRAILSINK_MAVEN_URL", "http://127.0.0.1:9")

    with pytest.raises(LocalStackError, match=r"org\.example:thing:1\.0 cannot be downloaded: "):
        fetch(tmp_path, write_lock(tmp_path))


def test_a_version_without_a_lock_is_refused() -> None:
    """Nothing says which jars would be the right ones."""
    with pytest.raises(LocalStackError, match=r"no lock of the jars of opensearch-9\.9\.9: there are .*opensearch-3"):
        read_lock("opensearch-9.9.9")


@pytest.mark.parametrize("name", sorted(lock.stem for lock in LOCKS.glob("*.txt")))
def test_every_lock_can_be_read(name: str) -> None:
    """Each line names one place, once, and a whole digest."""
    files = read_lock(name)

    assert len({file.path for file in files}) == len(files) > 1
    assert all(len(file.sha256) == 64 and file.size > 0 for file in files)
