"""A short way to objects of S3: what boto3 does for a GetObject that goes well, in a fifth of its CPU.

boto3 spends most of a GetObject on finding out, for each object anew, where and how a bucket is asked. Here that is
learned from the first GetObject of a bucket that boto3 itself has brought to a good end: its address (virtual host or
path, dual-stack, FIPS, private endpoint) and its region, even after a redirect. The next ones are signed by botocore
and sent over connections that are kept. Anything but a whole, plain 200 is not judged here: it is left to boto3, which
knows retries, redirects and the names of errors.

A small object can also be asked for by the one thread that will read it, and taken later: its answer waits in the
socket's buffer. A thread that waits for it costs more than the rest of it, in hand-overs of Python's lock.
"""

from __future__ import annotations

import io
import math
import os
import re
import ssl
import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, Any, Final

import msgspec
from botocore.auth import EMPTY_SHA256_HASH, S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError
from botocore.httpsession import get_cert_path
from botocore.session import get_session
from botocore.utils import get_environ_proxies
from urllib3.util import parse_url, wait_for_read

from worker.pipeline import Stored

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from botocore.awsrequest import AWSPreparedRequest
    from botocore.credentials import Credentials
    from types_boto3_s3 import S3Client

    from worker.messages import ObjectRef

# Keys and versions that stand in an address as they are, so that there is one way only to write and to sign them.
# CloudTrail's own always do; a bucket's prefix may hold anything.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")

_SCOPE: Final = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/,]+/\d{8}/(?P<region>[a-z0-9-]+)/s3/aws4_request,")

# What every signed request has; one with more was made so by somebody's configuration, and is left to boto3.
_OURS: Final = frozenset({"x-amz-content-sha256", "x-amz-date", "x-amz-security-token"})

# So often in a row may boto3 succeed where the short way did not; then it is not the same way.
_MOST_MISSES: Final = 5

_CONNECT_SECONDS: Final = 5.0

# A function that was frozen between two invocations holds connections that were closed without its noticing.
_RESTS_SECONDS: Final = 5.0

# How a connection fails that was closed meanwhile: nothing is wrong but that another has to be opened.
_STALE = (ConnectionError, ssl.SSLError)
_FAILURES = (OSError, HTTPException, BotoCoreError, ValueError)


class ShortGet:
    """Reads objects of buckets that it has seen `client` read. Safe between threads.

    `credentials` are those of the client, `connections` how many are kept to one bucket, `seconds` the longest wait for
    bytes. Authorities are botocore's, or the bundle that its configuration or environment names.
    """

    def __init__(self, client: S3Client, credentials: Credentials, *, connections: int, seconds: float = 30.0) -> None:
        self._credentials, self._connections, self._seconds = credentials, connections, seconds
        self._buckets: dict[str, _Bucket] = {}
        self._misses: dict[str, int] = {}
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
        line = bucket.rested()
        if line is None:
            return None
        try:
            line.send(*self._question(bucket, ref))
        except _FAILURES:
            line.close()
            return None
        return Asked(
            take=partial(self._answer, bucket, line, ref, limit),
            again=partial(self.read, ref, limit, otherwise),
            otherwise=partial(self._read_otherwise, ref, otherwise, missed=True),
            leave=line.close,
        )

    def _bucket(self, ref: ObjectRef) -> _Bucket | None:
        return self._buckets.get(ref.bucket) if _is_plain(ref) else None

    def _read(self, bucket: _Bucket, ref: ObjectRef, limit: int) -> Stored | None:
        question = self._question(bucket, ref)
        if line := bucket.rested():
            with suppress(*_STALE):
                line.send(*question)
                return self._answer(bucket, line, ref, limit)
        line = bucket.open(self._seconds)
        line.send(*question)
        return self._answer(bucket, line, ref, limit)

    def _question(self, bucket: _Bucket, ref: ObjectRef) -> tuple[str, dict[str, str]]:
        """Return target and headers."""
        target = bucket.path + _target(ref)
        address = f"{bucket.scheme}://{bucket.host}{target}"
        request = AWSRequest("GET", address, headers={"host": bucket.host})  # which botocore would take apart twice
        _SignedGet(self._credentials.get_frozen_credentials(), "s3", bucket.region).add_auth(request)
        return target, {name: str(value) for name, value in request.headers.items()} | {"User-Agent": bucket.agent}

    def _answer(
        self, bucket: _Bucket, line: _Line, ref: ObjectRef, limit: int, seconds: float = math.inf
    ) -> Stored | None:
        stored = line.answer(limit, seconds)
        if stored:
            self._misses[ref.bucket] = 0
            bucket.rest(line, self._connections)
        return stored

    def _read_otherwise(self, ref: ObjectRef, otherwise: Callable[[], Stored], *, missed: bool) -> Stored:
        """Read by boto3, and take note of how it did that."""
        self._mine.sent = None
        stored = otherwise()
        misses = self._misses.get(ref.bucket, 0) + missed
        self._misses[ref.bucket] = misses
        if misses >= _MOST_MISSES:
            if bucket := self._buckets.pop(ref.bucket, None):
                bucket.close()
        elif ref.bucket not in self._buckets and _is_plain(ref) and self._mine.sent:
            learned = _bucket_of(self._mine.sent, ref)
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
    host: str  # with the port, where that is not the scheme's own
    path: str
    region: str
    agent: str
    authorities: str
    resting: deque[_Line] = msgspec.field(default_factory=deque)

    def open(self, seconds: float) -> _Line:
        """Open a connection."""
        if self.scheme == "https":
            trusting = _trusting(self.authorities)
            return _Line(HTTPSConnection(self.host, timeout=_CONNECT_SECONDS, context=trusting), seconds)
        return _Line(HTTPConnection(self.host, timeout=_CONNECT_SECONDS), seconds)

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
        if len(self.resting) < most and line.is_open:
            self.resting.append(line)
        else:
            line.close()

    def close(self) -> None:
        """Close what rests."""
        while self.resting:
            self.resting.pop().close()


class _Line:
    """One connection: a question, then its answer, and again."""

    def __init__(self, connection: HTTPConnection, seconds: float) -> None:
        self._connection, self._seconds = connection, seconds
        self._until = math.inf  # monotonic, for the whole of an answer
        self._used_at = 0.0  # of the day, which goes on while a function is frozen
        connection.response_class = self._response  # type: ignore[assignment] # called, and never asked for its type

    @property
    def is_open(self) -> bool:
        """Whether another question can be sent."""
        return self._connection.sock is not None

    @property
    def is_good(self) -> bool:
        """Whether it was used just now, and the other side has neither closed it nor said anything unasked."""
        sock = self._connection.sock
        return 0 <= time.time() - self._used_at < _RESTS_SECONDS and not wait_for_read(sock, 0)

    def send(self, target: str, headers: dict[str, str]) -> None:
        """Send a question; closed when that fails."""
        sent = False
        try:
            if not self.is_open:
                self._connection.connect()
            self._connection.sock.settimeout(self._seconds)
            self._connection.request("GET", target, headers=headers)
            sent = True
        finally:
            if not sent:
                self.close()

    def answer(self, limit: int, seconds: float) -> Stored | None:
        """Read the answer; None, and closed, when it is anything but a whole object of at most `limit` bytes."""
        self._until = time.monotonic() + seconds
        stored = None
        try:
            answer = self._connection.getresponse()
            size = answer.length
            if answer.status == HTTPStatus.OK and size is not None and size <= limit:
                content = answer.read()
                modified_at = parsedate_to_datetime(answer.headers.get("Last-Modified", ""))
                stored = Stored(content, modified_at) if modified_at.tzinfo else None
        finally:
            self._used_at = time.time()
            if stored is None:
                self.close()
        return stored

    def close(self) -> None:
        """Close it, whatever is under way."""
        self._connection.close()

    def _response(self, sock: socket.socket, *options: Any, **more: Any) -> HTTPResponse:  # noqa: ANN401
        response = HTTPResponse(sock, *options, **more)
        response.fp = io.BufferedReader(_Clocked(response.fp.detach(), sock, self._wait))
        return response

    def _wait(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, self._seconds)


class _Clocked(io.RawIOBase):
    """What comes in on a socket, where `wait` says before each look how many seconds that may take.

    A socket's own time-out begins anew with each byte.
    """

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, wait: Callable[[], float]) -> None:
        self._raw, self._sock, self._wait = raw, sock, wait

    def readable(self) -> bool:
        """Say so."""
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - whatever holds bytes
        """Read what is there."""
        self._sock.settimeout(self._wait())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Let the socket go, if the connection has done so."""
        self._raw.close()
        super().close()


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
    agent = headers.get("user-agent", "")
    return _Bucket(address.scheme or "", address.netloc or "", path, scope["region"], agent, _authorities())


@lru_cache(maxsize=1)
def _trusting(authorities: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authorities)  # some milliseconds


def _authorities() -> str:
    own = get_session().get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")  # botocore asks both
    return str(own or get_cert_path(verify=True))


def _is_plain(ref: ObjectRef) -> bool:
    return bool(_PLAIN.fullmatch(ref.key) and (not ref.version_id or _PLAIN.fullmatch(ref.version_id)))


def _target(ref: ObjectRef) -> str:
    return f"{ref.key}?versionId={ref.version_id}" if ref.version_id else ref.key


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
