"""A short way to objects of S3: what boto3 does for a GetObject that goes well, in a quarter of its CPU.

boto3 spends most of a GetObject on finding out, for each object anew, where and how a bucket is asked. Here that is
learned from the first GetObject of a bucket that boto3 itself has brought to a good end: its address (virtual host or
path, dual-stack, FIPS, private endpoint) and its region, even after a redirect. The next ones are signed by botocore
and sent by urllib3, as boto3 does it. Anything but a whole, plain 200 is not judged here: the caller asks boto3, which
knows retries, redirects and the names of errors.
"""

from __future__ import annotations

import os
import re
import threading
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec
import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from botocore.httpsession import get_cert_path
from botocore.session import get_session
from botocore.utils import get_environ_proxies

from worker.pipeline import Stored

if TYPE_CHECKING:
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


class _Bucket(msgspec.Struct, frozen=True):
    """Where a bucket is asked: `path` stands before the key."""

    pool: urllib3.HTTPConnectionPool
    host: str
    path: str
    region: str
    agent: str


class ShortGet:
    """Reads objects of buckets that it has seen `client` read. Safe between threads.

    `credentials` are those of the client, `connections` how many are kept to one bucket, `seconds` the longest wait for
    bytes. Authorities are botocore's, or the bundle that its configuration or environment names.
    """

    def __init__(self, client: S3Client, credentials: Credentials, *, connections: int, seconds: float = 30.0) -> None:
        self._credentials, self._connections = credentials, connections
        self._timeout = urllib3.Timeout(connect=5, read=seconds)
        self._buckets: dict[str, _Bucket] = {}
        self._misses: dict[str, int] = {}
        self._mine = threading.local()
        client.meta.events.register("before-send.s3.GetObject", self._note)

    def read(self, ref: ObjectRef, limit: int) -> Stored | None:
        """Read an object of at most `limit` bytes; None when boto3 has to be asked."""
        self._mine.sent, self._mine.missed = None, False
        bucket = self._buckets.get(ref.bucket)
        if bucket is None or not _is_plain(ref):
            return None
        try:
            stored = self._read(bucket, ref, limit)
        except (urllib3.exceptions.HTTPError, BotoCoreError, ValueError):
            stored = None
        if stored:
            self._misses[ref.bucket] = 0
        self._mine.missed = stored is None
        return stored

    def learn(self, ref: ObjectRef) -> None:
        """Take note of how boto3, in this thread, has just read an object with success."""
        misses = self._misses.get(ref.bucket, 0) + self._mine.missed
        self._misses[ref.bucket] = misses
        if misses >= _MOST_MISSES:
            self._buckets.pop(ref.bucket, None)
        elif ref.bucket not in self._buckets and _is_plain(ref) and (sent := self._mine.sent):
            bucket = self._bucket_of(sent, ref)
            if bucket:
                self._buckets[ref.bucket] = bucket

    def _note(self, request: AWSPreparedRequest, **_: Any) -> None:  # noqa: ANN401 - botocore's events carry more
        self._mine.sent = request

    def _bucket_of(self, sent: AWSPreparedRequest, ref: ObjectRef) -> _Bucket | None:
        headers = {name.lower(): _text(value) for name, value in sent.headers.items()}
        scope = _SCOPE.match(headers.get("authorization", ""))
        address = urllib3.util.parse_url(sent.url)
        path, _, end = (address.request_uri or "").rpartition(_target(ref))
        more = {name for name in headers if name.startswith("x-amz-")} - _OURS
        if not scope or end or not path.endswith("/") or more or get_environ_proxies(sent.url):
            return None
        return _Bucket(self._pool(address), address.netloc or "", path, scope["region"], headers.get("user-agent", ""))

    def _pool(self, address: urllib3.util.Url) -> urllib3.HTTPConnectionPool:
        options: dict[str, Any] = {"maxsize": self._connections, "timeout": self._timeout, "retries": False}
        if address.scheme == "https":
            options |= {"cert_reqs": "CERT_REQUIRED", "ca_certs": _authorities()}
        return urllib3.connection_from_url(f"{address.scheme}://{address.netloc}", **options)

    def _read(self, bucket: _Bucket, ref: ObjectRef, limit: int) -> Stored | None:
        target = bucket.path + _target(ref)
        address = f"{bucket.pool.scheme}://{bucket.host}{target}"
        request = AWSRequest("GET", address, headers={"host": bucket.host})  # which botocore would take apart twice
        S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", bucket.region).add_auth(request)
        headers = {name: str(value) for name, value in request.headers.items()} | {"User-Agent": bucket.agent}
        answer = bucket.pool.urlopen(
            "GET",
            target,
            headers=headers,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,  # CloudTrail's files are stored with Content-Encoding: gzip, and read as they are
        )
        try:
            size = int(answer.headers.get("Content-Length", -1))
            if answer.status != HTTPStatus.OK or not 0 <= size <= limit:
                answer.close()
                return None
            content = answer.read()
        finally:
            answer.release_conn()
        if len(content) != size:
            return None
        modified_at = parsedate_to_datetime(answer.headers.get("Last-Modified", ""))
        return Stored(content, modified_at) if modified_at.tzinfo else None


def _authorities() -> str:
    own = get_session().get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")  # botocore asks both
    return str(own or get_cert_path(verify=True))


def _is_plain(ref: ObjectRef) -> bool:
    return bool(_PLAIN.fullmatch(ref.key) and (not ref.version_id or _PLAIN.fullmatch(ref.version_id)))


def _target(ref: ObjectRef) -> str:
    return f"{ref.key}?versionId={ref.version_id}" if ref.version_id else ref.key


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
