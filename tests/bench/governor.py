"""Gives a process a fixed share of a processor, so that it works at the same pace whatever else the machine does.

As a container's CPU quota does: the process is stopped whenever it has had more than its share, and goes on when time
has made up for it. What it does not use is lost, but for a moment's worth.
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
    from collections.abc import Iterator

_LOOK_SECONDS = 0.01
_KEPT_SECONDS = 0.05  # of CPU time, that an idle process may save up

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, all its threads; Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS  # man 5 proc: utime, stime


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
    credit, at, used, stopped = 0.0, time.monotonic(), cpu_seconds(pid), False
    while not over.wait(_LOOK_SECONDS):
        now, spent = time.monotonic(), cpu_seconds(pid)
        credit = min(_KEPT_SECONDS, credit + share * (now - at) - (spent - used))
        at, used = now, spent
        if stopped != (credit < 0):
            stopped = credit < 0
            os.kill(pid, signal.SIGSTOP if stopped else signal.SIGCONT)
