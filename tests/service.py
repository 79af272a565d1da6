"""A server over HTTP that remembers what it was asked, and answers, fails, hangs or hands on as a test tells it."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import urllib3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Reply = tuple[int, bytes]


@dataclass
class Service:
    """A server over HTTP that answers, fails, hangs, or hands on to a real one, as it is told."""

    target: str = ""
    replies: list[Reply | Callable[[], Reply | None]] = field(default_factory=list)  # (0, b"") closes the connection
    only: str = ""  # which method the replies are for
    after_put: list[Callable[[], object]] = field(default_factory=list)
    seen: list[tuple[str, str, dict[str, str], bytes, int]] = field(default_factory=list)
    url: str = ""

    def serve(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        reply: Reply | None = None
        if self.replies and self.only in ("", method):
            planned = self.replies.pop(0)
            reply = planned() if callable(planned) else planned
        if reply is None:
            reply = self._hand_on(method, path, headers, body)
        self.seen.append((method, path, headers, body, reply[0]))
        if method == "PUT" and self.after_put and reply[0] == 200:
            self.after_put.pop(0)()
        return reply

    def _hand_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        if not self.target:
            return 200, b""
        given = urllib3.request(method, self.target + path, headers=headers, body=body, retries=False)
        return given.status, given.data

    def asked(self, method: str) -> int:
        return sum(one[0] == method for one in self.seen)

    @property
    def answers(self) -> list[dict[str, Any]]:
        """What CloudFormation took, when this is where it waits."""
        return [json.loads(body) for _, _, _, body, status in self.seen if status == 200]


@contextmanager
def listening(service: Service) -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, text = service.serve(self.command, self.path, dict(self.headers), body)
            if status == 0:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if text.startswith(b"{") else "application/xml")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text if self.command != "HEAD" else b"")

        do_GET = do_PUT = do_POST = do_HEAD = _serve  # noqa: N815 - http.server's own names

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
