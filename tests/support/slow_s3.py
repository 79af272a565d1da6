"""An S3 bucket on a real socket that is silent, drips, or lies about objects, as a test says, until it is healed."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from hashlib import md5
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MODIFIED = "Mon, 23 Nov 2026 10:00:00 GMT"


class Fault(Enum):
    """How a GET of an object is answered."""

    SILENT = auto()  # not at all
    DRIP = auto()  # the body, at two bytes a second
    DRIP_HEAD = auto()  # the headers, likewise
    SHORT = auto()  # half of the body, and a Content-Length that agrees
    PARTIAL = auto()  # 206 with half of it
    IMPOSTOR = auto()  # another body under S3's own headers
    EMPTY = auto()
    NO_HEADERS = auto()  # 200 without Last-Modified


@dataclass
class SlowS3:
    """Objects by key, and how their GETs go wrong; `boto_too` says whether boto3's GETs do, too."""

    objects: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    times: dict[str, int] = field(default_factory=dict)  # how often; without an entry for ever
    url: str = ""
    gets: list[str] = field(default_factory=list)
    open_connections: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, change: int) -> None:
        with self._lock:
            self.open_connections += change

    def heal(self) -> None:
        """Answer new requests as S3 does; what drips goes on to drip."""
        self.faults.clear()

    def fault(self, key: str) -> Fault | None:
        with self._lock:
            self.gets.append(key)
            if key in self.times:
                self.times[key] -= 1
                if self.times[key] < 0:
                    return None
            return self.faults.get(key)

    def talk(self, peer: socket.socket) -> None:
        self.count(1)
        try:
            with peer, peer.makefile("rb") as lines, suppress(OSError):
                while line := lines.readline():
                    while lines.readline() not in (b"\r\n", b""):
                        pass
                    method, target, _ = line.decode().split(" ", 2)
                    self.answer(peer, method, target.partition("?")[0].split("/", 2)[2])
        finally:
            self.count(-1)

    def answer(self, peer: socket.socket, method: str, key: str) -> None:
        content = self.objects.get(key)
        if content is None:
            body = b"<Error><Code>NoSuchKey</Code></Error>" if method == "GET" else b""
            peer.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            return
        if method == "HEAD":
            peer.sendall(_head(200, len(content), content))
            return
        fault = self.fault(key)
        if fault is Fault.SILENT:
            _wait_for_end(peer)
        elif fault is Fault.DRIP:
            peer.sendall(_head(200, len(content), content))
            _drip(peer, content)
        elif fault is Fault.DRIP_HEAD:
            _drip(peer, _head(200, len(content), content) + content)
        else:
            peer.sendall(_whole_answer(fault, content))


def _whole_answer(fault: Fault | None, content: bytes) -> bytes:
    half, error = content[: len(content) // 2], b"<Error><Code>InternalError</Code></Error>"
    answers = {
        Fault.SHORT: _head(200, len(half), content) + half,
        Fault.PARTIAL: _head(206, len(half), content) + half,
        Fault.IMPOSTOR: _head(200, len(error), content) + error,
        Fault.EMPTY: _head(200, 0, content),
        Fault.NO_HEADERS: b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        None: _head(200, len(content), content) + content,
    }
    return answers[fault]


def _head(status: int, length: int, content: bytes) -> bytes:
    etag = md5(content, usedforsecurity=False).hexdigest()
    return (
        f"HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nContent-Type: application/json\r\n"
        f'ETag: "{etag}"\r\nLast-Modified: {MODIFIED}\r\n\r\n'
    ).encode()


def _drip(peer: socket.socket, text: bytes) -> None:
    for byte in text:
        peer.sendall(bytes([byte]))
        time.sleep(0.5)


def _wait_for_end(peer: socket.socket) -> None:
    with suppress(OSError):
        peer.recv(1)


@contextmanager
def listening_s3(bucket: SlowS3) -> Iterator[SlowS3]:
    """Serve a bucket; its `url` says where."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    bucket.url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=bucket.talk, args=(peer,), daemon=True).start()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield bucket
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
