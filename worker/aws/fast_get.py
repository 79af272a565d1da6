"""A short way to objects of S3: what boto3 does for a GetObject that goes well, in an eighth of its CPU.

boto3 spends most of a GetObject on finding out, for each object anew, where and how a bucket is asked. Here that is
learned from the first GetObject of a bucket that boto3 itself has brought to a good end: its address (virtual host or
path, dual-stack, FIPS, private endpoint) and its region, even after a redirect. The next ones are signed by botocore
and sent over connections that are kept. Anything but a whole, plain 200 is not judged here: it is left to boto3, which
knows retries, redirects and the names of errors.

A small object can also be asked for by the one thread that will read it, and taken later: its answer waits in the
socket's buffer. A thread that waits for it costs more than the rest of it, in hand-overs of Python's lock.
"""

from __future__ import annotations

import math
import os
import re
import socket
import ssl
import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from botocore.auth import EMPTY_SHA256_HASH, S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError
from botocore.httpsession import get_cert_path
from botocore.session import get_session
from botocore.utils import get_environ_proxies
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from urllib3.util import parse_url, wait_for_read

from worker.pipeline.consumer import Stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.awsrequest import AWSPreparedRequest
    from botocore.credentials import Credentials
    from types_boto3_s3 import S3Client

    from worker.pipeline.notifications import ObjectRef

# Keys and versions that stand in an address as they are, so that there is one way only to write and to sign them.
# CloudTrail's own always do; a bucket's prefix may hold anything.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")

_SCOPE: Final = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/,]+/\d{8}/(?P<region>[a-z0-9-]+)/s3/aws4_request,")

# What every signed request has; one with more was made so by somebody's configuration, and is left to boto3.
_OURS: Final = frozenset({"x-amz-content-sha256", "x-amz-date", "x-amz-security-token"})

# So often in a row may boto3 succeed where the short way did not; then it is not the same way, for the time being: a
# minute without network, or one of S3's "SlowDown", looks the same.
_MOST_MISSES: Final = 5
_BARRED_SECONDS: Final = 600.0

_CONNECT_SECONDS: Final = 5.0
_PORTS: Final = {"http": 80, "https": 443}
_CHUNK_BYTES: Final = 64 << 10
_MOST_HEAD_BYTES: Final = 64 << 10

# A function that was frozen between two invocations holds connections that were closed without its noticing.
_RESTS_SECONDS: Final = 5.0

# For an answer that should have come while something else was done.
_LAST_LOOK_SECONDS: Final = 0.05

# How a connection fails that was closed meanwhile: nothing is wrong but that another has to be opened.
_STALE = (ConnectionError, ssl.SSLError)
# A year of twenty digits in Last-Modified is an OverflowError, and what asks for another protocol no HttpParserError.
_FAILURES = (OSError, HttpParserError, HttpParserUpgrade, BotoCoreError, ValueError, OverflowError)


T = TypeVar("T", int, bytes)


class ShortGet:
    """Reads objects of buckets that it has seen `client` read. Safe between threads.

    `credentials` are those of the client, `connections` how many are kept to one bucket, `seconds` the longest wait for
    bytes. Authorities are botocore's, or the bundle that its configuration or environment names.
    """

    def __init__(self, client: S3Client, credentials: Credentials, *, connections: int, seconds: float = 30.0) -> None:
        self._credentials, self._connections, self._seconds = credentials, connections, seconds
        self._buckets: dict[str, _Bucket] = {}
        self._misses: dict[str, int] = {}
        self._barred: dict[str, float] = {}  # until then, monotonic, boto3 reads alone
        self._mine = threading.local()
        client.meta.events.register("before-send.s3.GetObject", self._note)
        weakref.finalize(self, _close_all, self._buckets)

    def read(self, ref: ObjectRef, limit: int, otherwise: Callable[[], Stored]) -> Stored:
        """Read an object of at most `limit` bytes, by `otherwise`, which is boto3's way, where this one will not do."""
        bucket = self._bucket(ref)
        stored = None
        if bucket:
            with suppress(*_FAILURES):
                stored = self._read(bucket, ref, limit)
        return stored or self._read_otherwise(ref, otherwise, missed=bucket is not None)

    def ask(self, ref: ObjectRef, limit: int, otherwise: Callable[[], Stored]) -> Asked | None:
        """Ask for an object on a connection that is there, without a wait; None where `read` has to do it."""
        bucket = self._bucket(ref)
        # Within some minutes of their end, credentials are fetched anew by whoever asks: that is a wait.
        if bucket is None or (
            isinstance(self._credentials, RefreshableCredentials) and self._credentials.refresh_needed()
        ):
            return None
        if not bucket.resting:
            return None  # and nothing signed in vain
        with suppress(*_FAILURES):
            question = self._question(bucket, ref)
            if line := bucket.rested():
                line.send(question)
                return Asked(
                    take=partial(self._answer, bucket, line, ref, limit),
                    again=partial(self.read, ref, limit, otherwise),
                    otherwise=partial(self._read_otherwise, ref, otherwise, missed=True),
                    leave=line.close,
                )
        return None

    def _bucket(self, ref: ObjectRef) -> _Bucket | None:
        return self._buckets.get(ref.bucket) if _is_plain(ref) else None

    def _read(self, bucket: _Bucket, ref: ObjectRef, limit: int) -> Stored | None:
        question = self._question(bucket, ref)
        if line := bucket.rested():
            with suppress(*_STALE):
                return self._exchange(bucket, line, question, ref, limit)
        return self._exchange(bucket, bucket.open(self._seconds), question, ref, limit)

    def _exchange(self, bucket: _Bucket, line: _Line, question: bytes, ref: ObjectRef, limit: int) -> Stored | None:
        line.send(question)
        return self._answer(bucket, line, ref, limit)

    def _question(self, bucket: _Bucket, ref: ObjectRef) -> bytes:
        target, place = bucket.path + _target(ref), bucket.place
        address = f"{bucket.scheme}://{place}{target}"
        request = AWSRequest("GET", address, headers={"host": place})  # which botocore would take apart twice
        _SignedGet(self._credentials.get_frozen_credentials(), "s3", bucket.region).add_auth(request)
        headers = [f"{name}: {value}" for name, value in request.headers.items()]
        lines = [f"GET {target} HTTP/1.1", *headers, f"User-Agent: {bucket.agent}", "", ""]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a line break in a header")  # such a token is no token
        return "\r\n".join(lines).encode("latin-1")

    def _answer(
        self, bucket: _Bucket, line: _Line, ref: ObjectRef, limit: int, seconds: float = math.inf
    ) -> Stored | None:
        stored = None
        try:
            stored = line.answer(limit, seconds)
        finally:
            if stored:
                bucket.rest(line, self._connections)
                self._misses[ref.bucket] = 0
            else:
                line.close()
        return stored

    def _read_otherwise(self, ref: ObjectRef, otherwise: Callable[[], Stored], *, missed: bool) -> Stored:
        """Read by boto3, and take note of how it did that."""
        self._mine.sent = None
        stored = otherwise()
        misses = self._misses.get(ref.bucket, 0) + missed
        self._misses[ref.bucket] = misses
        now = time.monotonic()
        if misses >= _MOST_MISSES:
            self._misses[ref.bucket], self._barred[ref.bucket] = 0, now + _BARRED_SECONDS
            if bucket := self._buckets.pop(ref.bucket, None):
                bucket.close()
        elif ref.bucket not in self._buckets and _is_plain(ref) and now >= self._barred.get(ref.bucket, now):
            learned = _bucket_of(self._mine.sent, ref) if self._mine.sent else None
            if learned:
                self._buckets.setdefault(ref.bucket, learned)
        return stored

    def _note(self, request: AWSPreparedRequest, **_: Any) -> None:  # noqa: ANN401 - botocore's events carry more
        self._mine.sent = request


class Asked:
    """A question that is sent, and its answer not yet read. Not for two threads at a time."""

    def __init__(
        self,
        take: Callable[[float], Stored | None],
        again: Callable[[], Stored],
        otherwise: Callable[[], Stored],
        leave: Callable[[], None],
    ) -> None:
        self._take, self._again, self._otherwise, self._leave = take, again, otherwise, leave
        self._stale = False

    def take(self, seconds: float) -> Stored | None:
        """Wait at most so long for the whole object; None when it has to be fetched."""
        try:
            return self._take(seconds)
        except _STALE:
            self._stale = True
        except _FAILURES:
            pass
        return None

    def fetch(self) -> Stored:
        """Read the object after all; raises as boto3's way does."""
        return self._again() if self._stale else self._otherwise()

    def cancel(self) -> None:
        """Leave the answer unread."""
        self._leave()


class _SignedGet(S3SigV4Auth):
    """botocore's signature for a request without a body, whose hash need not be computed each time."""

    def payload(self, request: AWSRequest) -> str:  # noqa: ARG002
        """Return the hash of nothing."""
        return EMPTY_SHA256_HASH


class _Bucket(msgspec.Struct, frozen=True):
    """Where a bucket is asked: `path` stands before the key; `resting` are connections that nobody uses.

    `authorities` is the file of those whose certificates are trusted.
    """

    scheme: str
    host: str
    port: int
    path: str
    region: str
    agent: str
    authorities: str
    resting: deque[_Line] = msgspec.field(default_factory=deque)

    @property
    def place(self) -> str:
        """The host as it is asked and signed for: with the port, where that is not the scheme's own."""
        return self.host if self.port == _PORTS[self.scheme] else f"{self.host}:{self.port}"

    def open(self, seconds: float) -> _Line:
        """Open a connection."""
        host = self.host.strip("[]")
        made = socket.create_connection((host, self.port), _CONNECT_SECONDS)
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.scheme == "https":
                made = _trusting(self.authorities).wrap_socket(made, server_hostname=host)
        except (OSError, ValueError):
            made.close()
            raise
        return _Line(made, seconds)

    def rested(self) -> _Line | None:
        """Take a connection that is still good, as far as can be seen; None when there is none."""
        while self.resting:
            try:
                line = self.resting.pop()
            except IndexError:  # another thread has it
                return None
            if line.is_good:
                return line
            line.close()
        return None

    def rest(self, line: _Line, most: int) -> None:
        """Keep a connection for the next, up to `most`."""
        if len(self.resting) < most and not line.is_ending:
            self.resting.append(line)
        else:
            line.close()

    def close(self) -> None:
        """Close what rests."""
        with suppress(IndexError):  # another thread takes, too
            while self.resting:
                self.resting.pop().close()


class _Line:
    """One connection: a question, then its answer, and again. `seconds` is the longest wait for bytes."""

    def __init__(self, made: socket.socket, seconds: float) -> None:
        self._socket, self._seconds = made, seconds
        self._until = math.inf  # monotonic, for the whole of an answer
        self._due = 0.0  # monotonic, for the next of it
        self._used_at = 0.0  # of the day, which goes on while a function is frozen
        self.is_ending = False  # the other side says so

    @property
    def is_good(self) -> bool:
        """Whether it was used just now, and the other side has neither closed it nor said anything unasked."""
        if not 0 <= time.time() - self._used_at < _RESTS_SECONDS or wait_for_read(self._socket, 0):
            return False
        return not (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending())

    def send(self, question: bytes) -> None:
        """Send a question; closed when that fails."""
        try:
            self._socket.settimeout(self._seconds)
            self._socket.sendall(question)
        except OSError:
            self.close()
            raise
        self._due = time.monotonic() + self._seconds

    def answer(self, limit: int, seconds: float) -> Stored | None:
        """Read the answer within so many seconds; None when it is anything but a whole object of at most `limit` bytes.

        Raises ConnectionError when there is none, and HttpParserError or ValueError when it is not one.
        """
        self._until = time.monotonic() + seconds
        head, begun = self._head()
        size = int(head.fields.get(b"content-length", -1))
        if head.status != HTTPStatus.OK or not len(begun) <= size <= limit:
            return None
        modified_at = parsedate_to_datetime(head.fields.get(b"last-modified", b"").decode("latin-1"))
        content = self._body(begun, size)
        self._used_at, self.is_ending = time.time(), not head.goes_on
        return Stored(content, modified_at) if modified_at.tzinfo else None

    def _head(self) -> tuple[_Head, bytes]:
        """Read as far as the end of the headers; returns also what came of the body."""
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            if len(received) > _MOST_HEAD_BYTES:
                raise ValueError("headers without an end")
            some = self._look().recv(_CHUNK_BYTES)
            if not some and not received:
                raise ConnectionResetError("closed without a word")
            received += self._received(some)
        end += 4
        return _Head(received[:end]), received[end:]

    def _body(self, begun: bytes, size: int) -> bytes | bytearray:
        if len(begun) == size:
            return begun
        content = bytearray(size)
        content[: len(begun)] = begun
        at, rest = len(begun), memoryview(content)
        while at < size:
            at += self._received(self._look().recv_into(rest[at:]))
        return content

    def _look(self) -> socket.socket:
        """Return the socket, ready for one more wait: its own time-out would begin anew with each byte."""
        now = time.monotonic()
        if now >= self._until:
            raise TimeoutError
        self._socket.settimeout(min(max(self._due - now, _LAST_LOOK_SECONDS), self._until - now))
        return self._socket

    def _received(self, some: T) -> T:
        if not some:
            raise ValueError("closed before the end of the answer")
        self._due = time.monotonic() + self._seconds
        return some

    def close(self) -> None:
        """Close it, whatever is under way."""
        self._socket.close()


class _Head:
    """Status and headers of an answer, their names in lower case, read by llhttp; raises HttpParserError.

    `goes_on` says whether the connection can be used again.
    """

    def __init__(self, text: bytes) -> None:
        self.fields: dict[bytes, bytes] = {}
        parser = HttpResponseParser(self)
        parser.feed_data(text)
        self.status, self.goes_on = parser.get_status_code(), parser.should_keep_alive()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header; what is there twice is none that matters here, or llhttp refuses it."""
        self.fields[name.lower()] = value


def _close_all(buckets: dict[str, _Bucket]) -> None:
    for bucket in buckets.values():
        bucket.close()


def _bucket_of(sent: AWSPreparedRequest, ref: ObjectRef) -> _Bucket | None:
    headers = {name.lower(): _text(value) for name, value in sent.headers.items()}
    scope = _SCOPE.match(headers.get("authorization", ""))
    address = parse_url(sent.url)
    path, _, end = (address.request_uri or "").rpartition(_target(ref))
    more = {name for name in headers if name.startswith("x-amz-")} - _OURS
    if not scope or end or not path.endswith("/") or more or get_environ_proxies(sent.url):
        return None
    scheme, host, agent = address.scheme or "http", address.host or "", headers.get("user-agent", "")
    port = address.port or _PORTS[scheme]
    return _Bucket(scheme, host, port, path, scope["region"], agent, _authorities())


@lru_cache(maxsize=1)
def _trusting(authorities: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authorities)  # some milliseconds
    context.hostname_checks_common_name = False  # as urllib3 does it
    return context


def _authorities() -> str:
    own = get_session().get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")  # botocore asks both
    return str(own or get_cert_path(verify=True))


def _is_plain(ref: ObjectRef) -> bool:
    return bool(_PLAIN.fullmatch(ref.key) and (not ref.version_id or _PLAIN.fullmatch(ref.version_id)))


def _target(ref: ObjectRef) -> str:
    return f"{ref.key}?versionId={ref.version_id}" if ref.version_id else ref.key


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
