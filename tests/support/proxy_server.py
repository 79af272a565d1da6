"""A forward proxy that records what it is asked for: it tunnels CONNECT, and forwards requests in absolute form."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import urllib3

from tests.support.http_server import QuietHandler, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class ForwardProxy:
    """What a proxy was asked for, and the credentials that it accepts ("" for anybody)."""

    credentials: str = ""
    url: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)  # method and target
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def forward_proxy(credentials: str = "") -> Iterator[ForwardProxy]:
    """Run a proxy on a free port."""
    proxy = ForwardProxy(credentials)

    class Handler(QuietHandler):
        def _is_refused(self) -> bool:
            proxy.requests.append((self.command, self.path))
            proxy.headers.append({name.lower(): value for name, value in self.headers.items()})
            if not proxy.credentials or self.headers.get("Proxy-Authorization") == proxy.credentials:
                return False
            self.send_response(407)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return True

        def do_CONNECT(self) -> None:  # noqa: N802 - http.server's own name
            if self._is_refused():
                return
            host, _, port = self.path.rpartition(":")
            with socket.create_connection((host, int(port))) as upstream:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=_pump, args=(upstream, self.connection))
                back.start()
                _pump(self.connection, upstream)
                back.join()
            self.close_connection = True

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self._is_refused():
                return
            headers = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
            answer = urllib3.request(self.command, self.path, headers=headers, body=body, redirect=False, retries=False)
            self.send_response(answer.status)
            for name in ("Content-Type", "Location"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(answer.data)))
            self.end_headers()
            self.wfile.write(answer.data)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _forward  # noqa: N815 - http.server's own names

    with running(Handler) as proxy.url:
        yield proxy


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Copy bytes until either side ends."""
    with suppress(OSError):
        while chunk := source.recv(65_536):
            target.sendall(chunk)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
