"""A server process of the local stack: started, watched, stopped, and known again by a later command."""

import contextlib
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import LocalStackError
from .polling import wait_until

GUARD = Path(__file__).with_name("guard.py")


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that no other can be mistaken for: systems give the ids of dead processes to new ones."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """Return who has this id now, or None if nobody alive has."""
        started = _started(pid)
        return cls(pid, started) if started else None

    def is_alive(self) -> bool:
        """Say whether that very process still runs; a zombie does not."""
        return _started(self.pid) == self.started

    def signal(self, number: signal.Signals) -> None:
        """Signal the process and what it started in its group, if it is still the one that we know."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def end(self, patience: float = 10) -> None:
        """Ask the process to end, and after that many seconds make it."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)  # a stopped process would not notice
        if not wait_until(lambda: not self.is_alive(), patience):
            self.signal(signal.SIGKILL)
            wait_until(lambda: not self.is_alive(), patience)


def _started(pid: int) -> str | None:
    """Return a mark of when the process began, or None if it is not alive."""
    if not Path("/proc/self/stat").exists():
        return _started_by_ps(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # proc_pid_stat(5): the command's name, field 2, may hold anything, even brackets; 3 is the state, 22 the start.
    fields = stat.rpartition(")")[2].split()
    state, started = fields[0], fields[19]
    return None if state in "ZX" else f"{started}@{_boot()}"


def _boot() -> str:
    """Return what tells this start of the machine from others, as process start times count from it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _started_by_ps(pid: int) -> str | None:
    listed = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = listed.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


class Child:
    """One server process with its log.

    A guarded child dies with this process, however this process ends. Any other outlives it, in a session of its
    own. Either way, an interrupt typed at the terminal does not reach it.
    """

    def __init__(self, name: str, *, log: Path, guarded: bool) -> None:
        self.name = name
        self.log = log
        self._guarded = guarded
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self.identity: Identity | None = None

    def launch(self, command: list[str], *, folder: Path, environment: dict[str, str], user: str | None = None) -> None:
        """Start the process in the folder and do not wait for it."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            if self._guarded:
                pid = self._launch_guarded(command, log.fileno(), folder, environment, user)
            else:
                pid = self._launch_free(command, log.fileno(), folder, environment, user)
        self.identity = Identity.of(pid)

    def _launch_guarded(
        self, command: list[str], log: int, folder: Path, environment: dict[str, str], user: str | None
    ) -> int:
        guard = [sys.executable, "-ISB", str(GUARD), *(["--user", user] if user else []), "--", *command]
        self._process = subprocess.Popen(
            guard,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        assert self._process.stdout  # noqa: S101 - for the type checker
        with self._process.stdout as said:
            pid = said.readline()
        if not pid:
            self._reap()
            raise LocalStackError(f"{self.name} could not be started:\n{self.tail()}")
        return int(pid)

    def _launch_free(
        self, command: list[str], log: int, folder: Path, environment: dict[str, str], user: str | None
    ) -> int:
        account = pwd.getpwnam(user) if user else None
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environment,
            start_new_session=True,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
        return self._process.pid

    @property
    def pid(self) -> int:
        """The id of the server process itself, not of its guard."""
        if self.identity is None:
            raise LocalStackError(f"{self.name} is not running.")
        return self.identity.pid

    def is_alive(self) -> bool:
        """Say whether the process runs."""
        return self.identity is not None and self.identity.is_alive()

    def signal(self, number: signal.Signals) -> None:
        """Signal the server and its group."""
        if self.identity:
            self.identity.signal(number)

    def stop(self) -> None:
        """End the process and wait for its end; nothing happens if it is not running."""
        if self.identity:
            self.identity.end()
        self._reap()

    def kill(self) -> None:
        """End the process without giving it a chance to put anything in order."""
        self.signal(signal.SIGKILL)
        self._reap()

    def _reap(self) -> None:
        if self._process:
            if not self.identity:  # interrupted half-way through the launch
                self._process.kill()
            if self._process.stdin:
                self._process.stdin.close()  # a guard whose child is dead, or should be, ends too
            self._process.wait(30)
        self._process = None
        self.identity = None

    def wait_until_it_answers(self, answers: Callable[[], bool], seconds: float) -> float:
        """Ask until the server answers; return the seconds it took. Its death is noticed at once."""
        began = time.monotonic()
        answered = wait_until(lambda: answers() or not self.is_alive(), seconds)
        if not self.is_alive():
            raise LocalStackError(f"{self.name} ended while it was starting; the end of {self.log}:\n{self.tail()}")
        if not answered:
            raise LocalStackError(
                f"{self.name} did not answer within {seconds:.0f} s; the end of {self.log}:\n{self.tail()}"
            )
        return time.monotonic() - began

    def tail(self, lines: int = 12) -> str:
        """Return the last lines that this start of the process wrote to its log."""
        with self.log.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - 20_000))
            written = log.read().decode(errors="replace")
        telling = [line for line in written.splitlines() if not line.startswith("\t")]  # Java's stack frames are not
        return "\n".join(telling[-lines:])
