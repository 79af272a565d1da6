"""A bucket of any number of keys, and a queue that takes all messages: as much of S3 and SQS as a backfill needs.

MiniStack would need minutes to store 100,000 objects. As a script (keys, port), it serves until it is ended.
"""

from __future__ import annotations

import json
import sys
import threading
from bisect import bisect_left, bisect_right
from contextlib import contextmanager
from datetime import date, timedelta
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNTS = ("111111111111", "222222222222", "333333333333")
REGIONS = ("ap-southeast-2", "eu-west-1", "us-east-1", "us-east-2", "us-west-2")
START = date(2025, 1, 1)
DAYS = 60


def many_keys(count: int) -> list[str]:
    """The keys of `count` log files over 3 accounts, 5 regions and 60 days, in order, with digests in between."""
    keys = []
    for number in range(count):
        account, region = ACCOUNTS[number % 3], REGIONS[number // 3 % 5]
        day = START + timedelta(days=number // 15 % DAYS)
        folder = f"AWSLogs/{account}/CloudTrail/{region}/{day:%Y/%m/%d}"
        keys.append(f"{folder}/{account}_CloudTrail_{region}_{day:%Y%m%d}T1200Z_{number:016d}.json.gz")
    digests = [f"AWSLogs/{account}/CloudTrail-Digest/eu-west-1/2025/01/01/{account}.json.gz" for account in ACCOUNTS]
    return sorted(keys + digests)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, keys: list[str], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.keys, self.sent, self.lock = keys, 0, threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        self._respond(_list_objects(self.server.keys, query).encode(), "application/xml")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        response: dict[str, Any] = {"Attributes": {"QueueArn": "arn:aws:sqs:eu-central-1:000000000000:q"}}
        if self.headers["x-amz-target"].endswith("SendMessageBatch"):
            with self.server.lock:
                self.server.sent += len(body["Entries"])
            response = {"Failed": [], "Successful": [_sent(entry) for entry in body["Entries"]]}
        self._respond(json.dumps(response).encode(), "application/x-amz-json-1.0")

    def _respond(self, body: bytes, content_type: str) -> None:
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Log nothing."""


def _sent(entry: dict[str, str]) -> dict[str, str]:
    digest = md5(entry["MessageBody"].encode(), usedforsecurity=False).hexdigest()
    return {"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": digest}


def _list_objects(keys: list[str], query: dict[str, str]) -> str:
    """ListObjectsV2: a page of at most 1,000 keys or folders."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after = query.get("continuation-token") or query.get("start-after", "")
    index = bisect_left(keys, prefix) if prefix > after else bisect_right(keys, after)
    entries: list[str] = []
    while len(entries) < 1_000 and index < len(keys) and keys[index].startswith(prefix):
        end = keys[index].find(delimiter, len(prefix)) if delimiter else -1
        if end < 0:
            entries.append(f"<Contents><Key>{quote(keys[index])}</Key><Size>1000</Size></Contents>")
            index += 1
        else:
            folder = keys[index][: end + 1]
            entries.append(f"<CommonPrefixes><Prefix>{quote(folder)}</Prefix></CommonPrefixes>")
            index = bisect_left(keys, folder[:-1] + "0")  # the first key that can follow the folder
    truncated = index < len(keys) and keys[index].startswith(prefix)
    token = f"<NextContinuationToken>{quote(keys[index - 1])}</NextContinuationToken>" if truncated else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<EncodingType>url</EncodingType><IsTruncated>{str(truncated).lower()}</IsTruncated>{token}{''.join(entries)}"
        "</ListBucketResult>"
    )


@contextmanager
def serve_keys(count: int) -> Iterator[dict[str, str]]:
    """Serve that many keys; yields the environment that points a command to this server."""
    server = _Server(many_keys(count))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield environment(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def environment(port: int) -> dict[str, str]:
    """The variables of a command that calls this server."""
    url = f"http://127.0.0.1:{port}"
    return {
        "AWS_ENDPOINT_URL": url,
        "TRAILSINK_BUCKET": "many",
        "TRAILSINK_QUEUE_URL": f"{url}/000000000000/q",
        "TRAILSINK_DEAD_LETTER_QUEUE_URL": f"{url}/000000000000/d",
    }


if __name__ == "__main__":
    _Server(many_keys(int(sys.argv[1])), int(sys.argv[2])).serve_forever()
