"""A fast path to S3 objects: what boto3 does for a GetObject that goes well, in an eighth of its CPU.

boto3 spends most of a GetObject on finding out, for each object again, where and how a bucket is reached. Here that is
learned from the first GetObject of a bucket that boto3 itself has completed: its address (virtual host or path,
dual-stack, FIPS, private endpoint) and its region, even after a redirect. The next ones are signed by botocore and sent
over kept connections. Anything but a whole, plain 200 is not judged here. It is left to boto3, which knows retries,
redirects and the names of errors.

The GET for a small object can also be sent by the one thread that will read the object, and its response read later: it
waits in the socket's buffer. A thread that waits for it costs more than the rest of it, in switches of Python's lock.
"""

from __future__ import annotations

import os
import re
import ssl
import threading
import time
import weakref
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from botocore.auth import EMPTY_SHA256_HASH, S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import get_cert_path
from botocore.session import get_session
from botocore.utils import get_environ_proxies
from httptools import HttpParserError, HttpParserUpgrade
from urllib3.util import parse_url

from worker.aws.http1 import ConnectionPool, Endpoint
from worker.aws.session import OWNER_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.awsrequest import AWSPreparedRequest
    from botocore.credentials import Credentials
    from types_boto3_s3 import S3Client

    from worker.aws.http1 import Connection
    from worker.cutoff import Cutoff
    from worker.pipeline.objects import FetchedObject, ObjectRef

# Keys and versions that appear in an address unchanged, so that there is only one way to write and to sign them.
# CloudTrail's own always do; a bucket's prefix may hold anything.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")

_SCOPE: Final = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/,]+/\d{8}/(?P<region>[a-z0-9-]+)/s3/aws4_request,")

# What every signed request has. One with more was changed by somebody's configuration, and is left to boto3.
_REQUEST_PAYER: Final = "x-amz-request-payer"
_SIGNED_HEADERS: Final = frozenset({"x-amz-content-sha256", "x-amz-date", "x-amz-security-token", _REQUEST_PAYER})

# After this many consecutive fallbacks the fast path is disabled for ten minutes: a network outage or SlowDown looks
# the same.
_MAX_FAILURES: Final = 5
_DISABLED_SECONDS: Final = 600.0

# How a connection fails that was closed meanwhile: nothing is wrong, but another one has to be opened.
_STALE = (ConnectionError, ssl.SSLError)
# A year of twenty digits in Last-Modified is an OverflowError, and a request for another protocol no HttpParserError.
# A ClientError comes from STS, where the credentials of a role are refreshed.
_FAILURES = (OSError, HttpParserError, HttpParserUpgrade, BotoCoreError, ClientError, ValueError, OverflowError)


class FastGetObject:
    """Reads objects of buckets that it has seen `client` read. Thread-safe.

    `credentials` are those of the client, `connections` how many are kept to one bucket, `seconds` the longest wait for
    bytes: after it, boto3 tries. The CA bundle is botocore's, or the one that its configuration or environment names.
    `owner` is the account that must own the buckets, "" for any, as in the client's own requests.
    """

    def __init__(
        self, client: S3Client, credentials: Credentials, *, connections: int, seconds: float = 5.0, owner: str = ""
    ) -> None:
        self._credentials, self._connections, self._seconds = credentials, connections, seconds
        self._owner = {OWNER_HEADER: owner} if owner else {}
        self._pools: dict[str, ConnectionPool] = {}  # by bucket
        self._failures: dict[str, int] = {}
        self._disabled_until: dict[str, float] = {}  # monotonic
        self._thread = threading.local()
        client.meta.events.register("before-send.s3.GetObject", self._capture_request)
        weakref.finalize(self, _close_all, self._pools)

    def read(
        self, ref: ObjectRef, limit: int, fallback: Callable[[Cutoff], FetchedObject], cutoff: Cutoff
    ) -> FetchedObject:
        """Read an object of at most `limit` bytes, by `fallback`, which is boto3, where the fast path fails."""
        pool = self._pool(ref)
        fetched = None
        if pool:
            try:
                with suppress(*_FAILURES):
                    fetched = self._read(pool, ref, limit, cutoff)
            finally:
                cutoff.release()
        return fetched or self._fall_back(ref, fallback, cutoff, failed=pool is not None)

    def start(self, ref: ObjectRef, limit: int, fallback: Callable[[Cutoff], FetchedObject]) -> SentGet | None:
        """Send a GET on an idle connection, without a wait; None where `read` has to be used."""
        pool = self._pool(ref)
        # Some minutes before their end, credentials are fetched again by whoever needs them: that is a wait.
        if pool is None or (
            isinstance(self._credentials, RefreshableCredentials) and self._credentials.refresh_needed()
        ):
            return None
        if not pool.has_idle:
            return None  # and nothing is signed in vain
        with suppress(*_FAILURES):
            request = self._request_bytes(pool.endpoint, ref)
            if connection := pool.checkout():
                connection.send(request)
                return SentGet(
                    connection,
                    wait=partial(self._receive, pool, connection, ref, limit),
                    read=partial(self.read, ref, limit, fallback),
                    fallback=partial(self._fall_back, ref, fallback, failed=True),
                )
        return None

    def _pool(self, ref: ObjectRef) -> ConnectionPool | None:
        return self._pools.get(ref.bucket) if _is_plain(ref) else None

    def _read(self, pool: ConnectionPool, ref: ObjectRef, limit: int, cutoff: Cutoff) -> FetchedObject | None:
        request = self._request_bytes(pool.endpoint, ref)
        if connection := pool.checkout():
            with suppress(*_STALE):
                connection.watch(cutoff)
                return self._exchange(pool, connection, request, ref, limit, cutoff)
        connection = pool.endpoint.connect(self._seconds, cutoff)
        return self._exchange(pool, connection, request, ref, limit, cutoff)

    def _exchange(  # noqa: PLR0913, PLR0917 - one request on one connection
        self, pool: ConnectionPool, connection: Connection, request: bytes, ref: ObjectRef, limit: int, cutoff: Cutoff
    ) -> FetchedObject | None:
        connection.send(request)
        return self._receive(pool, connection, ref, limit, cutoff.remaining())

    def _request_bytes(self, endpoint: Endpoint, ref: ObjectRef) -> bytes:
        target, authority = endpoint.path + _target(ref), endpoint.authority
        url = f"{endpoint.scheme}://{authority}{target}"
        # Without the host, botocore would parse the URL twice.
        request = AWSRequest("GET", url, headers={"host": authority} | self._owner)
        if endpoint.request_payer:
            request.headers[_REQUEST_PAYER] = endpoint.request_payer
        _SignedGet(self._credentials.get_frozen_credentials(), "s3", endpoint.region).add_auth(request)
        headers = [f"{name}: {value}" for name, value in request.headers.items()]
        lines = [f"GET {target} HTTP/1.1", *headers, f"User-Agent: {endpoint.user_agent}", "", ""]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a line break in a header")  # no valid token has one
        return "\r\n".join(lines).encode("latin-1")

    def _receive(
        self, pool: ConnectionPool, connection: Connection, ref: ObjectRef, limit: int, seconds: float
    ) -> FetchedObject | None:
        fetched = None
        try:
            fetched = connection.read_object(limit, seconds)
        finally:
            if fetched:
                pool.checkin(connection)
                self._failures[ref.bucket] = 0
            else:
                connection.close()
        return fetched

    def _fall_back(
        self, ref: ObjectRef, fallback: Callable[[Cutoff], FetchedObject], cutoff: Cutoff, *, failed: bool
    ) -> FetchedObject:
        """Read with boto3, and learn from how it did that."""
        self._thread.sent = None
        fetched = fallback(cutoff)
        failures = self._failures.get(ref.bucket, 0) + failed
        self._failures[ref.bucket] = failures
        now = time.monotonic()
        if failures >= _MAX_FAILURES:
            self._failures[ref.bucket], self._disabled_until[ref.bucket] = 0, now + _DISABLED_SECONDS
            if pool := self._pools.pop(ref.bucket, None):
                pool.close()
        elif ref.bucket not in self._pools and _is_plain(ref) and now >= self._disabled_until.get(ref.bucket, now):
            endpoint = _learn_endpoint(self._thread.sent, ref, self._owner) if self._thread.sent else None
            if endpoint:
                self._pools.setdefault(ref.bucket, ConnectionPool(endpoint, self._connections))
        return fetched

    def _capture_request(self, request: AWSPreparedRequest, **_: Any) -> None:  # noqa: ANN401 - botocore's events carry more
        self._thread.sent = request


class SentGet:
    """A GET that was sent on `connection`, and its response not yet read. Not for two threads at a time."""

    def __init__(
        self,
        connection: Connection,
        *,
        wait: Callable[[float], FetchedObject | None],
        read: Callable[[Cutoff], FetchedObject],
        fallback: Callable[[Cutoff], FetchedObject],
    ) -> None:
        self._connection = connection
        self._wait, self._read, self._fallback = wait, read, fallback
        self._stale = False

    @property
    def is_ready(self) -> bool:
        """Whether a response begins, or the connection was closed."""
        try:
            return self._connection.has_response
        except (OSError, ValueError):  # closed here
            return True

    def fileno(self) -> int:
        """Return the descriptor of its connection, -1 when it is closed."""
        return self._connection.fileno()

    def wait(self, seconds: float) -> FetchedObject | None:
        """Wait at most `seconds` for the whole object; None when it has to be fetched."""
        try:
            return self._wait(seconds)
        except _STALE:
            self._stale = True
        except _FAILURES:
            pass
        return None

    def fetch(self, cutoff: Cutoff) -> FetchedObject:
        """Read the object after all; raises as boto3's way does."""
        return self._read(cutoff) if self._stale else self._fallback(cutoff)

    def cancel(self) -> None:
        """Leave the response unread."""
        self._connection.close()


class _SignedGet(S3SigV4Auth):
    """botocore's signature for a request without a body, whose hash need not be computed each time."""

    def payload(self, request: AWSRequest) -> str:  # noqa: ARG002
        """Return the hash of an empty body."""
        return EMPTY_SHA256_HASH


def _close_all(pools: dict[str, ConnectionPool]) -> None:
    for pool in pools.values():
        pool.close()


def _learn_endpoint(sent: AWSPreparedRequest, ref: ObjectRef, own_headers: Mapping[str, str]) -> Endpoint | None:
    """Return where boto3 sent a GetObject; None where the fast path could not send the same."""
    headers = {name.lower(): _text(value) for name, value in sent.headers.items()}
    scope = _SCOPE.match(headers.get("authorization", ""))
    url = parse_url(sent.url)
    path, _, end = (url.request_uri or "").rpartition(_target(ref))
    others = {name for name in headers if name.startswith("x-amz-")} - _SIGNED_HEADERS - set(own_headers)
    if any(headers.get(name) != value for name, value in own_headers.items()):
        return None
    if not scope or end or not path.endswith("/") or others or get_environ_proxies(sent.url):
        return None
    return Endpoint.of(
        url.scheme or "http",
        url.host or "",
        url.port,
        path=path,
        region=scope["region"],
        user_agent=headers.get("user-agent", ""),
        request_payer=headers.get(_REQUEST_PAYER, ""),
        ca_bundle=_ca_bundle(),
    )


def _ca_bundle() -> str:
    configured = get_session().get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    return str(configured or get_cert_path(verify=True))  # botocore looks in both, too


def _is_plain(ref: ObjectRef) -> bool:
    return bool(_PLAIN.fullmatch(ref.key) and (not ref.version_id or _PLAIN.fullmatch(ref.version_id)))


def _target(ref: ObjectRef) -> str:
    return f"{ref.key}?versionId={ref.version_id}" if ref.version_id else ref.key


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
