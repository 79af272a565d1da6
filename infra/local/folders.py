"""Where the local stack keeps its files, so that nothing is written outside of them."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import LocalStackError

ROOT = Path(__file__).resolve().parents[2]


def _default_folder() -> Path:
    """Return `.local` in a clone; an installed package has no folder of its own, so there it is the user's.

    https://specifications.freedesktop.org/basedir-spec/latest/
    """
    if (ROOT / "pyproject.toml").is_file():
        return ROOT / ".local"
    share = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(share) / "trailsink"


LOCAL = _default_folder()

# A foreground run's logs outlive it by this long, for whoever looks into a failed test the next morning.
KEEP_LOGS_SECONDS = 86_400


def runs_as_root() -> bool:
    """Say whether this process is root, which OpenSearch refuses to be."""
    return os.geteuid() == 0


def lets_nobody_through(folder: Path) -> bool:
    """Say whether every existing folder down to this one can be entered by any user."""
    folder = folder.resolve()
    return all(parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents) if parent.exists())


def node_base() -> Path:
    """Return the folder for what a node reads and writes: `.local`, or one that the user nobody can reach."""
    if not runs_as_root() or lets_nobody_through(LOCAL):
        base = LOCAL
        base.mkdir(parents=True, exist_ok=True)
    else:
        base = _reachable_base()
    return base


def mark_of(folder: Path) -> str:
    """Return a short text that stands for a folder in a name."""
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]


def _reachable_base() -> Path:
    """Make a folder that lasts, in a place where every user may write: so check that it is really ours."""
    base = Path(tempfile.gettempdir()) / f"trailsink-{mark_of(ROOT)}"
    base.mkdir(mode=0o755, exist_ok=True)
    found = base.lstat()
    if base.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise LocalStackError(f"{base} belongs to somebody else: remove it, or set TMPDIR to another folder.")
    return base


def new_run_folder(name: str, *, outlives_us: bool = False) -> Path:
    """Make a folder for one run of one program, and sweep away those of runs that are over."""
    runs = node_base() / "run"
    runs.mkdir(exist_ok=True)
    sweep(runs)
    owner = "" if outlives_us else f"{os.getpid()}-"
    folder = Path(tempfile.mkdtemp(prefix=f"{owner}{name}-", dir=runs))
    folder.chmod(0o755)  # mkdtemp makes it 0700, and the node may be nobody
    return folder


def sweep(runs: Path) -> None:
    """Remove what runs left behind whose process was killed before it could clean up."""
    for folder in runs.iterdir():
        owner = folder.name.split("-")[0]
        if owner.isdecimal() and not _is_process(int(owner)):
            with contextlib.suppress(FileNotFoundError):  # another process sweeps at the same time
                empty_run_folder(folder)


def empty_run_folder(folder: Path) -> None:
    """Remove everything in a run's folder but its logs, and these, too, when they are old."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif not _is_worth_keeping(entry):
            entry.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the logs are still in it
        folder.rmdir()


def _is_worth_keeping(file: Path) -> bool:
    found = file.stat()
    return file.suffix == ".log" and found.st_size > 0 and time.time() - found.st_mtime < KEEP_LOGS_SECONDS


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Let one process at a time in; the system drops the lock of a process that dies."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
