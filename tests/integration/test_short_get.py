"""Promises about the short way to objects: the bytes that boto3 brings, signed as S3 asks, and boto3 for all else."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.credentials import Credentials

from tests.integration.test_signatures import REGION, Judge, Key
from worker.aws import S3Store, config
from worker.errors import Reason, StoreUnavailable, UnreadableObject
from worker.messages import ObjectRef
from worker.short_get import ShortGet

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "AWSLogs/111122223333/CloudTrail/eu-central-1/2026/11/23/111122223333_CloudTrail_x_20261123T1000Z_a-b_c.json.gz"
CONTENT = b"\x1f\x8bnot really gzip"
MODIFIED = "Mon, 23 Nov 2026 10:00:00 GMT"


@dataclass
class Asked:
    """One request as the bucket saw it."""

    target: str
    status: int
    by_boto3: bool


@dataclass
class Bucket:
    """A bucket over HTTP that lets in whom its judge lets in; `odd` are answers that it gives first, in raw HTTP."""

    judge: Judge
    odd: list[bytes] = field(default_factory=list)
    only_short: bool = False  # the odd answers are for requests that boto3 did not make
    seen: list[Asked] = field(default_factory=list)
    url: str = ""

    def answer(self, target: str, headers: dict[str, str]) -> tuple[int, bytes]:
        by_boto3 = "amz-sdk-invocation-id" in headers
        status, text = 200, http(200, CONTENT)
        if refusal := self.judge.look("GET", target, headers, b""):
            status, text = 403, http(403, f"<Error><Code>SignatureDoesNotMatch</Code>{refusal}</Error>".encode())
        elif self.odd and not (self.only_short and by_boto3):
            text = self.odd.pop(0)
            status = int(text[9:12]) if text.startswith(b"HTTP") else 0
        self.seen.append(Asked(target, status, by_boto3))
        return status, text

    @property
    def short(self) -> list[Asked]:
        return [one for one in self.seen if not one.by_boto3]


def http(status: int, content: bytes, *, length: int | None = None, modified: str = MODIFIED) -> bytes:
    head = (
        f"HTTP/1.1 {status} X\r\nContent-Length: {len(content) if length is None else length}\r\n"
        f'Content-Type: application/json\r\nContent-Encoding: gzip\r\nETag: "x"\r\n'
    )
    return f"{head}Last-Modified: {modified}\r\n\r\n".encode() + content


def error(status: int, code: str) -> bytes:
    return http(status, f"<Error><Code>{code}</Code></Error>".encode())


@contextmanager
def served(bucket: Bucket) -> Iterator[Bucket]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, text = bucket.answer(self.path, {name.lower(): value for name, value in self.headers.items()})
            self.wfile.write(text)
            self.close_connection = not status or len(text.partition(b"\r\n\r\n")[2]) != _promised(text)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    bucket.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _promised(text: bytes) -> int:
    return int(text.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or 0)


def ref(key: str = NAME, version: str | None = None) -> ObjectRef:
    return ObjectRef("trail-bucket", key, version, None, None)


def store_of(bucket: Bucket, key: Key, **more: Any) -> S3Store:
    made = boto3.Session(key.id, key.secret, key.token or None, region_name=REGION)
    own = config(connections=4, read_seconds=2).merge(Config(s3={"addressing_style": "path"}, **more))
    client = made.client("s3", endpoint_url=bucket.url, config=own)
    credentials = made.get_credentials()
    assert isinstance(credentials, Credentials)
    return S3Store(client, ShortGet(client, credentials, connections=4, seconds=2))


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with served(Bucket(Judge("s3", [Key()]))) as made:
        yield made


def taught(bucket: Bucket, **more: Any) -> S3Store:
    """A store that has read from this bucket once."""
    store = store_of(bucket, bucket.judge.keys[0], **more)
    store.fetch(ref(), 1_000)
    assert not bucket.short
    return store


@pytest.mark.parametrize("version", [None, "3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY_MTRCxf3vjVBH40Nrjf"])
@pytest.mark.parametrize("token", ["", "FwoGZXIvYXdzEXAMPLETOKEN//=="])
def test_what_boto3_has_done_once_is_done_the_short_way(version: str | None, token: str) -> None:
    """The same object, unpacked by nobody, and asked for with a signature that a server finds right."""
    with served(Bucket(Judge("s3", [Key(token=token)]))) as bucket:
        store = taught(bucket)
        by_boto3 = S3Store(store._s3).fetch(ref(version=version), 1_000)  # noqa: SLF001

        assert store.fetch(ref(version=version), 1_000) == by_boto3

        assert bucket.seen[-1].target == f"/trail-bucket/{NAME}" + (f"?versionId={version}" if version else "")
        assert bucket.seen[-1].target == bucket.seen[-2].target
        assert [one.status for one in bucket.short] == [200]
        assert not bucket.judge.refusals


ODD = {
    "gone": (error(404, "NoSuchKey"), UnreadableObject, "S3 says NoSuchKey"),
    "archived": (error(403, "InvalidObjectState"), UnreadableObject, "the object is archived"),
    "refused": (error(403, "AccessDenied"), StoreUnavailable, "s3:AccessDenied"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_goes_wrong_is_named_by_boto3(bucket: Bucket, name: str) -> None:
    """One place knows S3's errors; the short way only notices that something is odd."""
    answer, kind, text = ODD[name]
    store = taught(bucket)
    bucket.odd = [answer, answer]

    with pytest.raises(kind, match=text):
        store.fetch(ref(), 1_000)

    assert [one.by_boto3 for one in bucket.seen] == [True, False, True]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(error(503, "SlowDown"), id="slow down"),
        pytest.param(error(500, "InternalError"), id="internal error"),
        pytest.param(b"", id="connection closed"),
        pytest.param(http(200, CONTENT[:5], length=len(CONTENT)), id="body breaks off"),
        pytest.param(http(206, CONTENT), id="partial content"),
        pytest.param(http(200, CONTENT, modified="yesterday"), id="no time"),
        pytest.param(http(200, CONTENT, modified="Mon, 23 Nov 2026 10:00:00 -0000"), id="a time of no zone"),
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + CONTENT, id="no length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n" + CONTENT, id="a length that is none"),
        pytest.param(b"no HTTP at all\r\n\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 302 X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", id="redirect"),
    ],
)
def test_what_passes_costs_nothing(bucket: Bucket, answer: bytes) -> None:
    """boto3 reads the object after all, whole."""
    store = taught(bucket)
    bucket.odd, bucket.only_short = [answer], True

    assert store.fetch(ref(), 1_000).content == CONTENT

    assert [one.by_boto3 for one in bucket.seen] == [True, False, True]
    assert store.fetch(ref(), 1_000).content == CONTENT
    assert not bucket.seen[-1].by_boto3


def test_a_larger_object_than_allowed_is_not_read(bucket: Bucket) -> None:
    """Memory is bounded whichever way the object comes."""
    store = taught(bucket)

    with pytest.raises(UnreadableObject) as caught:
        store.fetch(ref(), len(CONTENT) - 1)

    assert caught.value.reason is Reason.TOO_LARGE
    assert store.fetch(ref(), len(CONTENT)).content == CONTENT


@pytest.mark.parametrize(
    "key",
    ["a b", "a+b", "ünï/x", "a//b", "a/../b", "./a", "a/.", "a%2Fb", "a?b", "a#b", "a/", "~a", "a&b", "a=b", "a\nb"],
)
def test_a_key_that_must_be_encoded_is_left_to_boto3(bucket: Bucket, key: str) -> None:
    """There are several ways to write it, and one only that is signed right."""
    store = taught(bucket)
    bucket.judge.refusals.clear()

    with contextlib.suppress(StoreUnavailable):  # the judge knows how plain keys are signed, and no others
        store.fetch(ref(key), 1_000)

    assert not bucket.short


def test_a_rotated_credential_is_signed_with_at_once(bucket: Bucket) -> None:
    """A role's credentials change every few hours; the client's own are asked each time."""
    store = taught(bucket)
    store.fetch(ref(), 1_000)
    bucket.judge.keys = [Key("AKIDSECOND", "another secret")]
    credentials = store._short._credentials  # type: ignore[union-attr]  # noqa: SLF001
    credentials.access_key, credentials.secret_key = "AKIDSECOND", "another secret"

    store.fetch(ref(), 1_000)

    assert bucket.judge.accepted[-1] == "AKIDSECOND"
    assert not bucket.seen[-1].by_boto3


def test_a_way_that_does_not_work_is_given_up(bucket: Bucket) -> None:
    """Where boto3 gets through and the short way never does, asking twice for ever would double the requests."""
    store = taught(bucket)
    bucket.odd, bucket.only_short = [error(403, "AccessDenied")] * 50, True

    for _ in range(20):
        assert store.fetch(ref(), 1_000).content == CONTENT

    assert len(bucket.short) == 5


def test_a_day_without_s3_does_not_end_the_short_way(bucket: Bucket) -> None:
    """What boto3 cannot read either says nothing about the way."""
    store = taught(bucket)
    bucket.odd = [error(403, "AccessDenied")] * 40
    for _ in range(20):
        with pytest.raises(StoreUnavailable):
            store.fetch(ref(), 1_000)

    store.fetch(ref(), 1_000)

    assert not bucket.seen[-1].by_boto3


def test_a_proxy_is_left_to_boto3(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows which hosts go through it, and how."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    store = taught(bucket)

    store.fetch(ref(), 1_000)

    assert not bucket.short


def test_many_threads_share_the_way(bucket: Bucket) -> None:
    """Each gets its own object."""
    store = taught(bucket)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda at: store.fetch(ref(f"a/{at}"), 1_000).content, range(200)))

    assert found == [CONTENT] * 200
    assert sorted(one.target for one in bucket.short) == sorted(f"/trail-bucket/a/{at}" for at in range(200))
