"""Promises about ending network operations at a time: at once, in whichever thread, and nothing else with them."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing

import pytest

from worker.cutoff import Cutoff, active_cutoff, watch_socket


def test_a_read_ends_when_the_time_is_over() -> None:
    """However often a byte arrives in between: a socket's own timeout starts again with each."""
    near, far = socket.socketpair()
    with closing(near), closing(far):
        near.settimeout(30)
        started = time.monotonic()

        with Cutoff(0.3) as cutoff:
            watch_socket(near)
            far.sendall(b"x")
            while near.recv(1):
                pass

        assert 0.25 < time.monotonic() - started < 20  # 30 without it, and more with each byte
        assert cutoff.is_over
        assert cutoff.remaining() == 0.0


def test_another_thread_can_cut_an_operation_short() -> None:
    """The end of a batch does not wait for what its threads wait for."""
    near, far = socket.socketpair()
    with closing(near), closing(far):
        cutoff = Cutoff(60)
        cutoff.watch(near)
        threading.Timer(0.1, cutoff.cut).start()

        assert near.recv(1) == b""
        assert cutoff.is_over
        cutoff.release()


def test_a_released_connection_is_left_alone() -> None:
    """It goes back to its pool, and serves another request."""
    near, far = socket.socketpair()
    with closing(near), closing(far):
        with Cutoff(60) as cutoff:
            watch_socket(near)

        cutoff.cut()

        far.sendall(b"x")
        assert near.recv(1) == b"x"


def test_nothing_is_begun_after_the_cut() -> None:
    """A connection that was opened meanwhile is no exception."""
    near, far = socket.socketpair()
    with closing(near), closing(far), Cutoff(60) as cutoff:
        cutoff.cut()

        with pytest.raises(TimeoutError):
            watch_socket(near)


def test_each_thread_has_its_own_cutoff_and_an_inner_one_ends_first() -> None:
    """Two operations of two threads must not end each other."""
    elsewhere: list[Cutoff | None] = []
    with Cutoff(60) as outer:
        with Cutoff(60) as inner:
            thread = threading.Thread(target=lambda: elsewhere.append(active_cutoff()))
            thread.start()
            thread.join()
            assert active_cutoff() is inner
        assert active_cutoff() is outer

    assert active_cutoff() is None
    assert elsewhere == [None]
