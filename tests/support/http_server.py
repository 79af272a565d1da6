"""Servers over HTTP for tests: any answer at all, or one that remembers, answers, fails, hangs or hands on as told."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import urllib3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from ssl import SSLContext


Reply = tuple[int, bytes]

Given = tuple[int, bytes, dict[str, str]]  # status, body and headers


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
    """Serve what a service answers; its `url` says where."""

    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> Given:
        status, text = service.serve(method, path, headers, body)
        return (
            status,
            text,
            {"Content-Type": "application/json" if text.startswith((b"{", b"[")) else "application/xml"},
        )

    with serving(answer) as service.url:
        yield service


def told(status: int, content: Any) -> Given:
    """A text as it is, anything else as JSON."""
    if isinstance(content, str):
        return status, content.encode(), {"Content-Type": "text/plain"}
    return status, json.dumps(content).encode(), {"Content-Type": "application/json"}


class QuietHandler(BaseHTTPRequestHandler):
    """A handler that keeps connections, and logs nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def running(handler: type[BaseHTTPRequestHandler], tls: SSLContext | None = None) -> Iterator[str]:
    """Run a server with a thread for each connection, on a free port; gives the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving(answer: Callable[[str, str, dict[str, str], bytes], Given]) -> Iterator[str]:
    """Answer every request by its method, path, headers and body, on a free port; gives the address.

    Status 0 closes the connection without a word.
    """

    class Handler(QuietHandler):
        disable_nagle_algorithm = True  # headers and body are two writes: otherwise each response takes 40 ms

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, text, headers = answer(self.command, self.path, dict(self.headers), body)
            if status == 0:
                self.close_connection = True
                return
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text if self.command != "HEAD" else b"")
            except OSError:  # who asked is dead
                self.close_connection = True

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815 - http.server's own names

    with running(Handler) as url:
        yield url


@contextmanager
def server(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """An HTTP server that gives each connection the next answer, the last one again and again, and breaks off."""
    listening = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(65_536))
                connection.sendall(answers[min(len(asked), len(answers)) - 1])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()
