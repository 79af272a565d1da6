"""Fetches jars from Maven's repository in pure Python, each held against the SHA-256 of a lock file of ours.

A lock names where each file goes, its Maven coordinate, its digest and its size. So no POM decides what is fetched, and
a jar with another byte is refused, wherever it came from. `python -m infra.local.lock_jars` writes the locks.
"""

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

from .errors import LocalStackError

LOCKS = Path(__file__).parent / "locks"

# Files are small, and most of the time of one is waiting.
THREADS = 8
TIMEOUT_SECONDS = 60
ATTEMPTS = 3
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class LockedFile:
    """One file: its path below the target folder, its coordinate, and what it is.

    A coordinate is `group:artifact:version[:packaging[:classifier]]`.
    """

    path: str
    coordinate: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """The name of the file in Maven's repository."""
        _, artifact, version, packaging, classifier = split_coordinate(self.coordinate)
        return f"{artifact}-{version}{classifier and '-'}{classifier}.{packaging}"

    @property
    def repository_path(self) -> Path:
        """The path of the file in Maven's repository."""
        group, artifact, version, *_ = split_coordinate(self.coordinate)
        return Path(*group.split("."), artifact, version, self.name)


def split_coordinate(coordinate: str) -> tuple[str, str, str, str, str]:
    """Return group, artifact, version, packaging and classifier of a coordinate."""
    group, artifact, version, *rest = coordinate.split(":")
    packaging, classifier = [*rest, *("jar", "")[len(rest) :]]
    return group, artifact, version, packaging, classifier


def resolve_file(context: Any, coordinate: str) -> Path:  # noqa: ANN401 - jgo's types are not for checkers
    """Return the path of a file in jgo's cache, which downloads it first where it is not there."""
    group, artifact, version, packaging, classifier = split_coordinate(coordinate)
    component = context.project(group, artifact).at_version(version)
    path: Path = component.artifact(classifier=classifier, packaging=packaging).resolve()
    return path


def read_lock(name: str, locks: Path = LOCKS) -> list[LockedFile]:
    """Read a lock; raises LocalStackError when there is none of that name."""
    file = locks / f"{name}.txt"
    if not file.is_file():
        names = ", ".join(sorted(lock.stem for lock in locks.glob("*.txt")))
        raise LocalStackError(
            f"There is no lock of the jars of {name}: there are {names}. `python -m infra.local.lock_jars {name}`"
            " writes one, or set TRAILSINK_TEST_OPENSEARCH_URL to use a server that is already there."
        )
    lines = [line.split() for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return [LockedFile(path, coordinate, digest, int(size)) for path, coordinate, digest, size in lines]


def fetch_files(
    name: str, folder: Path, report: Callable[[str], None], *, locks: Path = LOCKS, cache: Path | None = None
) -> None:
    """Put the files of a lock into a folder; `report` takes a line of progress now and then.

    Downloads go into `cache`, the user's own Maven repository by default, and what is there already is used.
    """
    files = read_lock(name, locks)
    repository = _Repository(cache)
    missing = [file for file in files if not repository.has(file)]
    progress = _Progress(name, missing, report)
    with ThreadPoolExecutor(THREADS) as pool:
        for file, source in zip(files, pool.map(lambda file: _fetch(repository, file, progress), files), strict=True):
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
            # What was copied counts: the cache is shared, and may have changed since.
            _verify(target, file, f"Delete {source}, and try again.")


def _fetch(repository: "_Repository", file: LockedFile, progress: "_Progress") -> Path:
    source = repository.find(file)
    if source is None:
        source = repository.download(file)
        progress.add(file)
    _verify(source, file, f"Delete {source}, and try again.")
    return source


def _verify(path: Path, file: LockedFile, advice: str) -> None:
    with path.open("rb") as content:
        digest = file_digest(content, "sha256").hexdigest()
    if digest != file.sha256:
        raise LocalStackError(
            f"{file.name} is not the file that is locked: its SHA-256 is {digest}, and should be {file.sha256}."
            f" {advice}"
        )


class _Progress:
    """Prints how much of what has to be downloaded is here."""

    def __init__(self, name: str, files: list[LockedFile], report: Callable[[str], None]) -> None:
        self._report, self._lock = report, threading.Lock()
        self._total, self._bytes, self._shown = sum(file.size for file in files), 0, 0.0
        if files:
            report(f"Downloading {name}: {len(files)} files, {self._total / MIB:.0f} MiB ...")

    def add(self, file: LockedFile) -> None:
        with self._lock:
            self._bytes += file.size
            share = self._bytes / self._total
            if share >= self._shown + 0.1:
                self._shown = share
                self._report(f"  {self._bytes / MIB:.0f} of {self._total / MIB:.0f} MiB")


class _Repository:
    """Maven's repository, and the folder that keeps what came from it. Thread-safe: each download has a folder."""

    def __init__(self, cache: Path | None) -> None:
        # Imported here: whoever has the server already needs no resolver.
        from jgo.maven import MavenContext  # noqa: PLC0415

        self._open: Callable[..., Any] = MavenContext
        self._cache: Path = cache or MavenContext().repo_cache
        # A company's mirror in place of the public repository.
        mirror = os.environ.get("TRAILSINK_MAVEN_URL", "").rstrip("/")
        self._remotes = {"mirror": mirror} if mirror else None

    def has(self, file: LockedFile) -> bool:
        """Say whether the cache has a file of that name."""
        return (self._cache / file.repository_path).is_file()

    def find(self, file: LockedFile) -> Path | None:
        """Return a file of the cache, None where it has none."""
        return self._cache / file.repository_path if self.has(file) else None

    def download(self, file: LockedFile) -> Path:
        """Download a file into the cache, whole or not at all."""
        target = self._cache / file.repository_path
        target.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, ATTEMPTS + 1):
            with tempfile.TemporaryDirectory(prefix=".trailsink-", dir=target.parent) as scratch:
                try:
                    path = self._download(file, Path(scratch))
                except Exception as error:
                    if attempt == ATTEMPTS:
                        text = " ".join(str(error).split())[:300]
                        raise LocalStackError(f"{file.coordinate} cannot be downloaded: {text}") from error
                else:
                    _verify(path, file, "The repository, or something on the way to it, has replaced it.")
                    with contextlib.suppress(FileExistsError):
                        path.rename(target)
                    return target
        raise AssertionError("the last attempt raises")

    def _download(self, file: LockedFile, scratch: Path) -> Path:
        context = self._open(repo_cache=scratch, timeout=TIMEOUT_SECONDS, remote_repos=self._remotes)
        return resolve_file(context, file.coordinate)
