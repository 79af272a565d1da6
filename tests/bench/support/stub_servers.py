"""Stand-ins for S3 and OpenSearch that cost as little as Python lets them, each in a process of its own.

`python -m tests.bench.support.stub_servers bucket FOLDER` serves the files below a folder as objects of the bucket
`bench`; with `sink` it takes every bulk request and says 201 for each action. Each prints its address and serves
until it is killed; `--latency 0.1` has every answer come so many seconds late.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isal import igzip

from tests.bench.burst.cpu_share import cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUCKET = "bench"
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
_OBJECT = b'Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nETag: "bench"\r\nx-amz-request-id: BENCH\r\n'


@dataclass(frozen=True)
class StandIn:
    """A server in another process."""

    url: str
    pid: int

    @property
    def cpu_seconds(self) -> float:
        """The CPU time that it has used; 0 where there is no /proc."""
        try:
            return cpu_seconds(self.pid)
        except OSError:
            return 0.0


@contextmanager
def stand_in(*words: str, latency: float = 0.0) -> Iterator[StandIn]:
    """Start one, and end it."""
    command = [sys.executable, "-m", "tests.bench.support.stub_servers", *words, "--latency", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = (process.stdout.readline() if process.stdout else "").strip()
            if not url:
                raise SystemExit(f"{' '.join(command)} did not start.")
            yield StandIn(url, process.pid)
        finally:
            process.kill()


def _objects(folder: Path) -> Callable[[bytes, bytes], bytes]:
    objects = {
        f"/{BUCKET}/{path.relative_to(folder).as_posix()}".encode(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }

    def answer(target: bytes, _: bytes) -> bytes:
        content = objects[target]
        return _OK % len(content) + _OBJECT + b"\r\n" + content

    return answer


def _taken(target: bytes, body: bytes) -> bytes:
    text = igzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
    plain = b'{"create":{"status":201}}'
    item = plain if b"filter_path" in target else b'{"create":{"_index":"bench","_id":"1","_version":1,"status":201}}'
    items = b",".join([item] * (text.count(b"\n") // 2))
    content = b'{"took":1,"errors":false,"items":[' + items + b"]}"
    return _OK % len(content) + b"\r\n" + content


def _serve(peer: socket.socket, answer: Callable[[bytes, bytes], bytes], latency: float) -> None:
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with peer, peer.makefile("rb", buffering=1 << 20) as lines:
        while start := lines.readline():
            size = 0
            while (header := lines.readline()) not in (b"\r\n", b""):
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    size = int(value)
            body = lines.read(size) if size else b""
            if latency:
                time.sleep(latency)
            peer.sendall(answer(start.split(b" ")[1], body))


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["bucket", "sink"])
    parser.add_argument("folder", nargs="?", type=Path, default=Path())
    parser.add_argument("--latency", type=float, default=0.0)
    asked = parser.parse_args()
    answer = _objects(asked.folder) if asked.what == "bucket" else _taken
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)  # noqa: T201
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=_serve, args=(peer, answer, asked.latency), daemon=True).start()


if __name__ == "__main__":
    main()
