"""Ends network operations at a given time, whatever arrives: a socket's own timeout starts again with each byte."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

    class _Urllib3Connection:
        """What WatchedConnection needs of the connections of urllib3's kind that it is mixed into."""

        sock: socket.socket | None

        def _new_conn(self) -> socket.socket: ...
        def putrequest(self, *words: Any, **options: Any) -> None: ...  # noqa: ANN401
else:
    _Urllib3Connection = object

_current = threading.local()


class Cutoff:
    """The time by which one operation must end. When it is over, or by `cut`, the watched sockets are shut down.

    That ends any read or write on them at once, in whichever thread. `with cutoff` makes it the cutoff of this thread:
    connections that call `watch_socket` are ended by it. It also starts a timer, which costs a thread. `timed=False`
    leaves the timer out: whoever waits for the operation calls `cut`.
    """

    def __init__(self, seconds: float, *, timed: bool = True) -> None:
        self._timed = timed
        self._ends_at = time.monotonic() + seconds
        self._is_cut = False
        self._duplicates: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._outer: Cutoff | None = None

    @property
    def is_over(self) -> bool:
        """Whether the time is over, or the operation was cut."""
        return self._is_cut or time.monotonic() >= self._ends_at

    def remaining(self) -> float:
        """Return the remaining seconds, 0 once it is over."""
        return 0.0 if self._is_cut else max(0.0, self._ends_at - time.monotonic())

    def __enter__(self) -> Self:
        self._outer, _current.cutoff = getattr(_current, "cutoff", None), self
        if self._timed:
            self._timer = threading.Timer(self.remaining(), self.cut)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer:
            self._timer.cancel()
        _current.cutoff = self._outer
        self.release()

    def watch(self, opened: socket.socket) -> None:
        """Shut a connected socket down when the time is over; raises TimeoutError when it is over already."""
        # A duplicate of the descriptor: shutdown acts on the connection, and the number may be another file's by then.
        duplicate = socket.socket(fileno=os.dup(opened.fileno()))
        with self._lock:
            if not self._is_cut:
                self._duplicates.append(duplicate)
                return
        duplicate.close()
        raise TimeoutError("cut off")

    def release(self) -> None:
        """Watch no socket any more: its connection may serve another request."""
        with self._lock:
            duplicates, self._duplicates = self._duplicates, []
        for duplicate in duplicates:
            duplicate.close()

    def cut(self) -> None:
        """End the operation now."""
        with self._lock:
            self._is_cut = True
            for duplicate in self._duplicates:
                with suppress(OSError):  # the other side was faster
                    duplicate.shutdown(socket.SHUT_RDWR)


def active_cutoff() -> Cutoff | None:
    """Return the cutoff of this thread, None outside of every `with`."""
    cutoff: Cutoff | None = getattr(_current, "cutoff", None)
    return cutoff


def watch_socket(opened: socket.socket) -> None:
    """Put a connected socket under the cutoff of this thread; raises TimeoutError when that is over."""
    if cutoff := active_cutoff():
        cutoff.watch(opened)


class WatchedConnection(_Urllib3Connection):
    """Mixed into a connection of urllib3's kind: its socket is under the cutoff of the thread that uses it."""

    def _new_conn(self) -> socket.socket:
        opened = super()._new_conn()
        try:
            watch_socket(opened)  # a TLS handshake follows, and is watched, too
        except TimeoutError:
            opened.close()
            raise
        return opened

    def putrequest(self, *words: Any, **options: Any) -> None:  # noqa: ANN401 - passed through
        """Start a request, perhaps on a socket that is kept from an earlier one."""
        if self.sock is not None:
            watch_socket(self.sock)
        super().putrequest(*words, **options)
