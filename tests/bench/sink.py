"""A server that takes every bulk request and says 201 for each action; prints its address, serves until killed."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from zlib import decompress

_GZIP = 31


class Sink(BaseHTTPRequestHandler):
    """Answers as OpenSearch does when all is well."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Count the actions of a body, and accept them."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = decompress(body, _GZIP)
        item = (
            '{"create":{"status":201}}'
            if "filter_path" in self.path
            else '{"create":{"_index":"i","_id":"1","status":201}}'
        )
        items = ",".join([item] * (body.count(b"\n") // 2))
        answer = f'{{"took":1,"errors":false,"items":[{items}]}}'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's own name
        """Say nothing."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)  # noqa: T201
    server.serve_forever()
