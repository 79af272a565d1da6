"""A cluster on a real socket that takes bulk requests, and drips, closes or refuses as a test says."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import urllib3

from tests.support.http_server import QuietHandler, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class SlowCluster:
    """Takes documents by index and id. Without a `target`, it is the cluster; with one, it stands before a real one.

    The ledger's documents are apart from the events, in `files`.

    `drips` answers bulk requests at two bytes a second. `kills` closes the connection for a body that holds it, and
    `refuses` answers 400 to a document that holds it.
    """

    target: str = ""
    drips: bool = False
    kills: Callable[[bytes], bool] = lambda _: False
    refuses: bytes = b""
    url: str = ""
    documents: dict[tuple[str, str], bytes] = field(default_factory=dict)
    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    requests: int = 0
    killed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes] | None:
        is_bulk = path.startswith("/_bulk")
        if is_bulk:
            text = gzip.decompress(body)
            with self.lock:
                self.requests += 1
                if self.kills(text):
                    self.killed += 1
                    return None
        if self.target:
            reply = urllib3.request(method, self.target + path, headers=headers, body=body, retries=False, timeout=240)
            return reply.status, reply.data
        return 200, json.dumps(self.take(text)).encode() if is_bulk else b"{}"

    def take(self, text: bytes) -> dict[str, Any]:
        lines = text.split(b"\n")[:-1]
        items: list[dict[str, Any]] = []
        for action, document in zip(lines[::2], lines[1::2], strict=True):
            address = json.loads(action)["create"]
            place = address["_index"], address["_id"]
            if self.refuses and self.refuses in document:
                items.append({"create": {"status": 400, "error": {"type": "mapper_parsing_exception"}}})
                continue
            with self.lock:
                documents = self.files if place[0].startswith("trailsink-files-") else self.documents
                items.append({"create": {"status": 409 if place in documents else 201}})
                documents.setdefault(place, document)
        return {"errors": False, "items": items}

    @property
    def ids(self) -> set[str]:
        return {id_ for _, id_ in self.documents}


@contextmanager
def listening_cluster(cluster: SlowCluster) -> Iterator[SlowCluster]:
    """Serve a cluster; its `url` says where."""

    class Handler(QuietHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            reply = cluster.answer(self.command, self.path, dict(self.headers), body)
            if reply is None:
                self.close_connection = True
                return
            status, text = reply
            head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
            whole = head.encode() + (text if self.command != "HEAD" else b"")
            with contextlib.suppress(OSError):
                if not (cluster.drips and self.path.startswith("/_bulk")):
                    self.wfile.write(whole)
                    return
                for byte in whole:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.5)
            self.close_connection = True

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815 - http.server's own names

    with running(Handler) as cluster.url:
        yield cluster
