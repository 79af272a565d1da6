"""A small HTTP/1.1 client for GET over kept connections; responses are read by llhttp, Node's parser."""

from __future__ import annotations

import math
import select
import socket
import ssl
import time
from collections import deque
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from httptools import HttpResponseParser
from urllib3.util import wait_for_read

from worker.pipeline.objects import FetchedObject

if TYPE_CHECKING:
    from worker.cutoff import Cutoff

_CONNECT_SECONDS: Final = 5.0
_PORTS: Final = {"http": 80, "https": 443}
_CHUNK_BYTES: Final = 64 << 10
_MAX_HEAD_BYTES: Final = 64 << 10

# A function that was frozen between two invocations holds connections that were closed without its noticing.
_IDLE_SECONDS: Final = 5.0

# For a response that should have arrived while something else was done.
_LAST_READ_SECONDS: Final = 0.05

T = TypeVar("T", int, bytes)


class Endpoint(msgspec.Struct, frozen=True):
    """Where a bucket is reached. `path` goes before the key; `ca_bundle` is the file of trusted authorities.

    `request_payer` is who pays, "" for the bucket's owner.
    """

    scheme: str
    host: str
    port: int
    path: str
    region: str
    user_agent: str
    ca_bundle: str
    request_payer: str = ""

    @classmethod
    def of(cls, scheme: str, host: str, port: int | None, **others: str) -> Endpoint:
        """Return an endpoint; a `port` of None is the scheme's own."""
        return cls(scheme, host, port or _PORTS[scheme], **others)

    @property
    def authority(self) -> str:
        """The host as it is requested and signed for: with the port, where that is not the scheme's own."""
        return self.host if self.port == _PORTS[self.scheme] else f"{self.host}:{self.port}"

    def connect(self, seconds: float, cutoff: Cutoff) -> Connection:
        """Open a connection, watched by `cutoff`; `seconds` is the longest wait for bytes."""
        host = self.host.strip("[]")
        opened = socket.create_connection((host, self.port), min(_CONNECT_SECONDS, cutoff.remaining()) or 0.001)
        try:
            cutoff.watch(opened)  # the handshake, too
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.scheme == "https":
                opened = _tls_context(self.ca_bundle).wrap_socket(opened, server_hostname=host)
        except (OSError, ValueError):
            opened.close()
            raise
        return Connection(opened, seconds)


class ConnectionPool:
    """Idle connections to one endpoint, at most `maximum`. Thread-safe."""

    def __init__(self, endpoint: Endpoint, maximum: int) -> None:
        self.endpoint, self._maximum = endpoint, maximum
        self._idle: deque[Connection] = deque()

    @property
    def has_idle(self) -> bool:
        """Whether a connection is idle."""
        return bool(self._idle)

    def checkout(self) -> Connection | None:
        """Take a connection that still looks good; None when there is none."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread has it
                return None
            if connection.is_reusable:
                return connection
            connection.close()
        return None

    def checkin(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        if len(self._idle) < self._maximum and not connection.will_close:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close what is idle."""
        with suppress(IndexError):  # another thread takes, too
            while self._idle:
                self._idle.pop().close()


class Connection:
    """One connection: a request, then its response, and again. `seconds` is the longest wait for bytes."""

    def __init__(self, opened: socket.socket, seconds: float) -> None:
        self._socket, self._seconds = opened, seconds
        self._poll = select.poll()
        self._poll.register(opened, select.POLLIN)
        self._deadline = math.inf  # monotonic, for the whole of a response
        self._next_bytes_due = 0.0  # monotonic
        self._used_at = 0.0  # time of day, which goes on while a function is frozen
        self.will_close = False  # the other side says so

    @property
    def is_reusable(self) -> bool:
        """Whether it was used recently, and the other side has neither closed it nor sent anything unasked."""
        if not 0 <= time.time() - self._used_at < _IDLE_SECONDS or wait_for_read(self._socket, 0):
            return False
        return not (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending())

    @property
    def has_response(self) -> bool:
        """Whether a response begins, or the connection was closed."""
        return bool(self._poll.poll(0))

    def fileno(self) -> int:
        """Return the descriptor, for `select.poll`; -1 once it is closed."""
        return self._socket.fileno()

    def watch(self, cutoff: Cutoff) -> None:
        """End what is done on it when `cutoff` is over; raises TimeoutError when it is."""
        try:
            cutoff.watch(self._socket)
        except OSError:
            self.close()
            raise

    def send(self, request: bytes) -> None:
        """Send a request; the connection is closed when that fails."""
        try:
            self._socket.settimeout(self._seconds)
            self._socket.sendall(request)
        except OSError:
            self.close()
            raise
        self._next_bytes_due = time.monotonic() + self._seconds

    def read_object(self, limit: int, seconds: float) -> FetchedObject | None:
        """Read the response within `seconds`; None when it is anything but a whole object of at most `limit` bytes.

        Raises ConnectionError when there is no response, and HttpParserError or ValueError when it is not one.
        """
        self._deadline = time.monotonic() + seconds
        head, begun = self._read_head()
        size = int(head.fields.get(b"content-length", -1))
        if head.status != HTTPStatus.OK or not len(begun) <= size <= limit:
            return None
        modified_at = parsedate_to_datetime(head.fields.get(b"last-modified", b"").decode("latin-1"))
        content = self._read_body(begun, size)
        self._used_at, self.will_close = time.time(), not head.keep_alive
        return FetchedObject(content, modified_at) if modified_at.tzinfo else None

    def _read_head(self) -> tuple[ResponseHead, bytes]:
        """Read to the end of the headers; returns also what arrived of the body."""
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            if len(received) > _MAX_HEAD_BYTES:
                raise ValueError("headers without an end")
            chunk = self._ready_socket().recv(_CHUNK_BYTES)
            if not chunk and not received:
                raise ConnectionResetError("closed without a response")
            received += self._checked(chunk)
        end += 4
        return ResponseHead(received[:end]), received[end:]

    def _read_body(self, begun: bytes, size: int) -> bytes | bytearray:
        if len(begun) == size:
            return begun
        content = bytearray(size)
        content[: len(begun)] = begun
        offset, view = len(begun), memoryview(content)
        while offset < size:
            offset += self._checked(self._ready_socket().recv_into(view[offset:]))
        return content

    def _ready_socket(self) -> socket.socket:
        """Return the socket with a timeout for one more read: its own would start again with each byte."""
        now = time.monotonic()
        if now >= self._deadline:
            raise TimeoutError
        self._socket.settimeout(min(max(self._next_bytes_due - now, _LAST_READ_SECONDS), self._deadline - now))
        return self._socket

    def _checked(self, chunk: T) -> T:
        if not chunk:
            raise ValueError("closed before the end of the response")
        self._next_bytes_due = time.monotonic() + self._seconds
        return chunk

    def close(self) -> None:
        """Close it, whatever is in progress."""
        self._socket.close()


class ResponseHead:
    """Status and headers of a response, their names in lower case; raises HttpParserError.

    `keep_alive` says whether the connection can be used again.
    """

    def __init__(self, text: bytes) -> None:
        self.fields: dict[bytes, bytes] = {}
        parser = HttpResponseParser(self)
        parser.feed_data(text)
        self.status, self.keep_alive = parser.get_status_code(), parser.should_keep_alive()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store one header; one that is repeated does not matter here, or llhttp refuses it."""
        self.fields[name.lower()] = value


@lru_cache(maxsize=1)
def _tls_context(ca_bundle: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_bundle)  # some milliseconds
    context.hostname_checks_common_name = False  # as urllib3 does it
    return context
