"""Gives a JVM a fixed share of a processor, so that it works at the same pace whatever else the machine does.

As a container's CPU quota does: the process is stopped whenever it has had more than its share, and goes on when time
has made up for it. What it does not use is lost, but for a moment's worth. What its compilers spend is not counted: a
node that has run for a day has that behind it, and here it would be from a third of the work down to a twentieth.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOOK_SECONDS = 0.01
_KEPT_SECONDS = 0.05  # of CPU time, that an idle process may save up

_TICKS = os.sysconf("SC_CLK_TCK")

_COMPILERS = ("C1 Comp", "C2 Comp")  # the first of each lives as long as the JVM, and two processors have no second


def cpu_seconds(pid: int, task: int | None = None) -> float:
    """CPU time of a process so far, all its threads or one; Linux only."""
    told = Path(f"/proc/{pid}/stat" if task is None else f"/proc/{pid}/task/{task}/stat")
    fields = told.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS  # man 5 proc: utime, stime


def compiling_seconds(pid: int) -> Callable[[], float]:
    """Return what tells the CPU time of a JVM's compilers so far; Linux only."""
    compilers = [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir() if _name(task).startswith(_COMPILERS)]
    return lambda: sum(cpu_seconds(pid, task) for task in compilers)


def _name(task: Path) -> str:
    try:
        return (task / "comm").read_text()
    except OSError:  # it has ended
        return ""


def working_seconds(pid: int) -> Callable[[], float]:
    """Return what tells the CPU time of a JVM so far, without that of its compilers; Linux only."""
    compiling = compiling_seconds(pid)
    return lambda: cpu_seconds(pid) - compiling()


@contextmanager
def governed(pid: int, share: float) -> Iterator[None]:
    """Hold a process to its share for a while."""
    over = threading.Event()
    thread = threading.Thread(target=_govern, args=(pid, share, over))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        os.kill(pid, signal.SIGCONT)


def _govern(pid: int, share: float, over: threading.Event) -> None:
    seconds = working_seconds(pid)
    credit, at, used, stopped = 0.0, time.monotonic(), seconds(), False
    while not over.wait(_LOOK_SECONDS):
        now, spent = time.monotonic(), seconds()
        credit = min(_KEPT_SECONDS, credit + share * (now - at) - (spent - used))
        at, used = now, spent
        if stopped != (credit < 0):
            stopped = credit < 0
            os.kill(pid, signal.SIGSTOP if stopped else signal.SIGCONT)
