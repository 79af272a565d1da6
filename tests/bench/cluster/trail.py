"""A trail's files as CloudTrail delivers them: most under 20 records, a few of thousands; real events, fresh ids.

`python -m tests.bench.cluster.trail 1 600000` serves the files of a seed as S3 would, until it is ended.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import re
import sys
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from isal import igzip_lib

from tests.bench.support.workloads import real_records
from worker.pipeline.notifications import s3_notification
from worker.pipeline.objects import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Iterator

# Records in a file, log-normal: half of the files have 8 or fewer, two thirds fewer than 20, one in 350 more than
# 2,000; the mean is 57. The 55 real files of tests/data have 1 to 394, and a mean of 53.
MEDIAN_RECORDS = 8
SIGMA = 2.0
MOST_RECORDS = 20_000

BUCKET = "trail"
_FOLDER = "AWSLogs/218007301253/CloudTrail/us-east-1/2023/07/10"
_ID = re.compile(rb'"eventID":"([^"]+)"')


def size(chance: random.Random) -> int:
    """Draw the number of records of one file."""
    return max(1, min(MOST_RECORDS, round(chance.lognormvariate(math.log(MEDIAN_RECORDS), SIGMA))))


def sizes(seed: int, records: int) -> list[int]:
    """Draw files until they hold so many records; the last is cut to fit."""
    chance, drawn, left = random.Random(seed), [], records
    while left > 0:
        drawn.append(min(left, size(chance)))
        left -= drawn[-1]
    return drawn


def key(number: int) -> str:
    """Name a file as CloudTrail does."""
    return f"{_FOLDER}/218007301253_CloudTrail_us-east-1_20230710T1200Z_{number:016d}.json.gz"


@dataclass(frozen=True, slots=True)
class File:
    """One delivered file, and how many records it holds."""

    key: str
    content: bytes
    records: int


def files(seed: int, records: int) -> Iterator[File]:
    """Build the files of a seed, every event with an id that no other has."""
    chance = random.Random(seed)
    events = _events(chance)
    for number, count in enumerate(sizes(seed, records)):
        text = b'{"Records":[' + b",".join(itertools.islice(events, count)) + b"]}"
        content: bytes = igzip_lib.compress(text, level=1, flag=igzip_lib.COMP_GZIP)
        yield File(key(number), content, count)


def notice(file: File) -> str:
    """Announce a file as S3 does."""
    return s3_notification(ObjectRef(BUCKET, file.key, size=len(file.content)))


def _events(chance: random.Random) -> Iterator[bytes]:
    """Real events for ever; ids are put in as text, because a file is to be had in milliseconds."""
    parts = []
    for raw in real_records():
        event = json.dumps(json.loads(raw), separators=(",", ":")).encode()
        found = _ID.search(event)
        if found:
            parts.append((event[: found.start(1)], event[found.end(1) :]))
    for head, tail in itertools.cycle(parts):
        bits = f"{chance.getrandbits(128):032x}"
        yield b"%b%b%b" % (head, f"{bits[:8]}-{bits[8:12]}-{bits[12:16]}-{bits[16:20]}-{bits[20:]}".encode(), tail)


class _S3(BaseHTTPRequestHandler):
    """GetObject, and nothing else. `X-Gets` counts what was asked for, in the answer to HEAD."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]
    gets = itertools.count()

    def do_GET(self) -> None:
        """Send an object."""
        next(self.gets)
        content = self.objects.get(self.path.partition("?")[0])
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.send_header("Last-Modified", "Mon, 10 Jul 2023 12:05:00 GMT")
        self.send_header("ETag", '"0"')
        self.end_headers()
        self.wfile.write(content or b"")

    def do_HEAD(self) -> None:
        """Say how many objects were asked for."""
        self.send_response(200)
        self.send_header("X-Gets", str(next(self.gets)))
        self.send_header("Content-Length", "0")
        self.end_headers()
        type(self).gets = itertools.count()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's own name
        """Say nothing."""


def _serve(seed: int, records: int) -> None:
    _S3.objects = {f"/{BUCKET}/{file.key}": file.content for file in files(seed, records)}
    ThreadingHTTPServer.request_queue_size = 256
    server = ThreadingHTTPServer(("127.0.0.1", 0), _S3)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)  # noqa: T201
    server.serve_forever()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]))
