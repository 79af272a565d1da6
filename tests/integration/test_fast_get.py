"""Promises about the short way to objects: the bytes that boto3 brings, signed as S3 asks, and boto3 for all else."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.credentials import Credentials, RefreshableCredentials

from tests.integration.test_signatures import REGION, Judge, Key
from tests.support.certificates import make_authority
from tests.support.http_server import QuietHandler, running
from worker.aws.fast_get import FastGetObject
from worker.aws.s3 import S3Store
from worker.aws.session import OWNER_HEADER, config, expect_bucket_owner
from worker.cutoff import Cutoff
from worker.errors import Reason, StoreUnavailable, UnreadableObject
from worker.pipeline.objects import ObjectRef

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

    from worker.aws.fast_get import SentGet as Question

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
    contents: dict[str, bytes] = field(default_factory=dict)  # by key, of others than the one
    seconds_per_byte: float = 0.0
    hangs_up: bool = False  # after each answer, without a word
    silent: bool = False
    pieces: tuple[int, ...] = ()  # at which bytes an answer is cut; a moment passes between two pieces
    after: bytes = b""  # follows each answer, unasked
    seen: list[Asked] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)  # the account that each request expects as the bucket's owner
    opened: int = 0
    url: str = ""

    def answer(self, target: str, headers: dict[str, str]) -> tuple[int, bytes]:
        by_boto3 = "amz-sdk-invocation-id" in headers
        status, text = 200, http(200, self.contents.get(target.removeprefix("/trail-bucket/"), CONTENT))
        if refusal := self.judge.look("GET", target, headers, b""):
            status, text = 403, http(403, f"<Error><Code>SignatureDoesNotMatch</Code>{refusal}</Error>".encode())
        elif self.odd and not (self.only_short and by_boto3):
            text = self.odd.pop(0)
            status = int(text[9:12]) if text.startswith(b"HTTP") else 0
        self.seen.append(Asked(target, status, by_boto3))
        self.owners.append(headers.get(OWNER_HEADER, ""))
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
def served(bucket: Bucket, tls: ssl.SSLContext | None = None) -> Iterator[Bucket]:
    class Handler(QuietHandler):
        def setup(self) -> None:
            bucket.opened += 1
            super().setup()

        def handle(self) -> None:
            with contextlib.suppress(OSError):  # who does not trust the certificate, or has waited enough, hangs up
                super().handle()

        def do_GET(self) -> None:  # noqa: N802 - http.server's own name
            status, text = bucket.answer(self.path, {name.lower(): value for name, value in self.headers.items()})
            if bucket.silent:
                time.sleep(5)
                return
            whole = len(text.partition(b"\r\n\r\n")[2]) == _promised(text)
            sent = text + bucket.after
            places = [*bucket.pieces, len(sent)] if not bucket.seconds_per_byte else list(range(1, len(sent) + 1))
            for start, end in zip([0, *places], places, strict=False):
                self.wfile.write(sent[start:end])
                time.sleep(bucket.seconds_per_byte or (0.05 if bucket.pieces else 0))
            self.close_connection = bucket.hangs_up or not status or not whole or b"Connection: close" in text

    with running(Handler, tls) as bucket.url:
        yield bucket


def _promised(text: bytes) -> int:
    length = text.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
    return int(length) if length.isdigit() else 0


def ref(key: str = NAME, version: str | None = None) -> ObjectRef:
    return ObjectRef("trail-bucket", key, version, None, None)


def store_of(
    bucket: Bucket, key: Key, credentials: Credentials | None = None, *, owner: str = "", seconds: int = 30, **more: Any
) -> S3Store:
    made = boto3.Session(key.id, key.secret, key.token or None, region_name=REGION)
    own = config(connections=4, read_seconds=seconds).merge(Config(s3={"addressing_style": "path"}, **more))
    client = made.client("s3", endpoint_url=bucket.url, config=own)
    credentials = credentials or made.get_credentials()
    assert isinstance(credentials, Credentials)
    expect_bucket_owner(client, owner)
    return S3Store(client, FastGetObject(client, credentials, connections=4, seconds=seconds, owner=owner))


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


@pytest.mark.parametrize("owner", ["111122223333", ""])
def test_the_short_way_expects_the_same_owner_of_the_bucket_as_boto3(bucket: Bucket, owner: str) -> None:
    """A bucket that somebody else took over would otherwise be refused by the slow way only."""
    store = store_of(bucket, bucket.judge.keys[0], owner=owner)

    contents = [store.fetch(ref(), 1_000).content for _ in range(3)]

    assert contents == [CONTENT] * 3
    assert [one.by_boto3 for one in bucket.seen] == [True, False, False]
    assert bucket.owners == [owner] * 3


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


def connected(bucket: Bucket, connections: int = 1, seconds: int = 30) -> S3Store:
    """A store that has so many connections to ask on."""
    store = taught(bucket, seconds=seconds)
    met = threading.Barrier(connections)
    bucket.judge.on_look = lambda: met.wait(60)
    with ThreadPoolExecutor(connections) as threads:
        list(threads.map(lambda _: store.fetch(ref(), 1_000), range(connections)))
    bucket.judge.on_look = lambda: None
    bucket.seen.clear()
    return store


def ask(store: S3Store, key: str = NAME, limit: int = 1_000) -> Question:
    asked = store.start_get(ref(key), limit)
    assert asked
    return asked


def taken(asked: Question) -> bytes | bytearray:
    stored = asked.wait(60)
    assert stored
    return stored.content


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


PASSING = [
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
    pytest.param(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", id="another protocol"),
    pytest.param(http(200, CONTENT, modified="Mon, 23 Nov 20260000000000000000 10:00:00 GMT"), id="no such year"),
    pytest.param(b"HTTP/1.1 302 X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", id="redirect"),
]


@pytest.mark.parametrize("answer", PASSING)
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
    credentials = store._fast_get._credentials  # type: ignore[union-attr]  # noqa: SLF001
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


def test_a_way_that_was_given_up_is_tried_again(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute of trouble must not cost a process that runs for months its short way."""
    monkeypatch.setattr("worker.aws.fast_get._DISABLED_SECONDS", 0.5)
    store = taught(bucket)
    bucket.odd, bucket.only_short = [error(503, "SlowDown")] * 5, True
    for _ in range(6):
        store.fetch(ref(), 1_000)
    bucket.seen.clear()
    time.sleep(0.6)

    for _ in range(3):
        assert store.fetch(ref(), 1_000).content == CONTENT

    assert [one.by_boto3 for one in bucket.seen] == [True, False, False]


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


# Asked now, taken later


def test_objects_are_asked_for_ahead_without_a_thread(bucket: Bucket) -> None:
    """Each answer waits on its own connection until it is taken, in whatever order."""
    bucket.contents = {f"a/{at}": b"%d" % at for at in range(40)}
    store = connected(bucket, 4)
    opened = bucket.opened

    for first in range(0, 40, 4):
        asked = [ask(store, f"a/{at}") for at in range(first, first + 4)]
        assert store.start_get(ref(), 1_000) is None  # without another connection
        for at in (3, 0, 2, 1):
            assert taken(asked[at]) == b"%d" % (first + at)

    assert [one.status for one in bucket.short] == [200] * 40
    assert bucket.opened == opened
    assert not bucket.judge.refusals


def test_an_unknown_bucket_and_an_odd_key_are_not_asked(bucket: Bucket) -> None:
    """boto3 has to go first, and alone where there are several ways to write a key."""
    assert store_of(bucket, bucket.judge.keys[0]).start_get(ref(), 1_000) is None
    assert connected(bucket).start_get(ref("a b"), 1_000) is None


@pytest.mark.parametrize("answer", [*PASSING, *(pytest.param(ODD[name][0], id=name) for name in ODD)])
def test_an_odd_answer_to_what_was_asked_is_left_to_boto3(bucket: Bucket, answer: bytes) -> None:
    """It is not taken, and the connection that brought it is not used again."""
    store = connected(bucket)
    bucket.odd, bucket.only_short = [answer], True
    asked, opened = ask(store), bucket.opened

    assert asked.wait(60) is None
    assert asked.fetch(Cutoff(60)).content == CONTENT

    assert store.fetch(ref(), 1_000).content == CONTENT
    assert bucket.opened == opened + 1
    # One that was closed without a word is old, and no more: the short way is gone once more, on a new one.
    assert [one.by_boto3 for one in bucket.seen] == [False, answer != b"", False]


def test_connections_that_were_closed_do_not_end_the_short_way(bucket: Bucket) -> None:
    """A function that was frozen for minutes finds all of them closed."""
    store = connected(bucket, 4)
    bucket.odd, bucket.only_short = [b""] * 4, True
    asked = [ask(store) for _ in range(4)]

    assert [one.wait(60) for one in asked] == [None] * 4
    assert [one.fetch(Cutoff(60)).content for one in asked] == [CONTENT] * 4

    bucket.odd = [b""]
    assert store.fetch(ref(), 1_000).content == CONTENT
    assert not any(one.by_boto3 for one in bucket.seen)


def test_a_connection_that_is_seen_to_be_closed_is_not_asked_on(bucket: Bucket) -> None:
    """The other side has hung up while nobody looked."""
    bucket.hangs_up = True
    store = connected(bucket, 2)
    time.sleep(0.3)

    assert store.start_get(ref(), 1_000) is None


def test_a_connection_that_is_to_be_closed_brings_its_last_object(bucket: Bucket) -> None:
    """S3 ends a connection after so many requests, in this way."""
    store = connected(bucket)
    bucket.odd = [http(200, CONTENT).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)]

    stored = ask(store).wait(60)

    assert stored
    assert stored.content == CONTENT
    assert store.start_get(ref(), 1_000) is None


def test_a_connection_that_has_rested_for_long_is_not_used(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something on the way may have forgotten it."""
    store = connected(bucket)
    monkeypatch.setattr("worker.aws.http1._IDLE_SECONDS", 0.05)
    opened = bucket.opened
    time.sleep(0.1)

    assert store.start_get(ref(), 1_000) is None
    store.fetch(ref(), 1_000)

    assert bucket.opened == opened + 1


def test_silence_is_waited_for_once(bucket: Bucket) -> None:
    """Since it was asked: connections that all fell silent must not cost their longest wait one after the other."""
    seconds = 2
    store = connected(bucket, 4, seconds)
    bucket.silent = True
    asked = [ask(store) for _ in range(4)]
    began = time.monotonic()

    assert [one.wait(60) for one in asked] == [None] * 4

    assert time.monotonic() - began < 4 * seconds  # one after the other would be that at least


def test_an_answer_in_pieces_is_read_whole(bucket: Bucket) -> None:
    """However the network cuts it; the second piece of this one brings the rest of the head and much of the body."""
    content = CONTENT * 20_000
    bucket.contents = {"a/large": content}
    store = connected(bucket)
    bucket.pieces = (17,)

    assert store.fetch(ref("a/large"), 1 << 20).content == content
    assert [one.by_boto3 for one in bucket.seen] == [False]


@pytest.mark.parametrize("over_tls", [False, True])
def test_what_nobody_asked_for_is_not_the_next_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, over_tls: bool
) -> None:
    """Not even what lies deciphered in memory, where the socket does not show it."""
    authority = make_authority(tmp_path / "private")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.ca))
    with served(Bucket(Judge("s3", [Key()])), authority.context() if over_tls else None) as bucket:
        store = connected(bucket)
        bucket.after, bucket.pieces = http(200, b"unasked"), (len(http(200, CONTENT)) - len(CONTENT),)
        assert taken(ask(store)) == CONTENT
        time.sleep(0.1)

        assert store.start_get(ref(), 1_000) is None


def test_an_answer_that_trickles_is_waited_for_as_a_whole(bucket: Bucket) -> None:
    """Byte by byte, each in time, it must not take the reader beyond the end of its invocation."""
    store = connected(bucket)
    bucket.seconds_per_byte = 0.05
    began = time.monotonic()

    assert ask(store).wait(0.5) is None

    whole_answer = len(http(200, CONTENT)) * bucket.seconds_per_byte
    assert 0.4 < time.monotonic() - began < whole_answer


def test_an_answer_that_is_left_is_nobody_elses(bucket: Bucket) -> None:
    """The next object must not be what was asked for before."""
    bucket.contents = {"a/other": b"other"}
    store = connected(bucket)

    ask(store).cancel()

    assert store.start_get(ref("a/other"), 1_000) is None
    assert store.fetch(ref("a/other"), 1_000).content == b"other"
    assert taken(ask(store)) == CONTENT


def test_a_larger_object_than_allowed_is_not_taken(bucket: Bucket) -> None:
    """Memory is bounded whichever way the object comes."""
    asked = ask(connected(bucket), limit=len(CONTENT) - 1)

    assert asked.wait(60) is None
    with pytest.raises(UnreadableObject):
        asked.fetch(Cutoff(60))


def test_no_more_connections_are_kept_than_are_allowed(bucket: Bucket) -> None:
    """Others are closed when they have brought their object."""
    store = connected(bucket, 8)

    asked = [asked for _ in range(8) if (asked := store.start_get(ref(), 1_000))]
    for one in asked:
        one.cancel()

    assert len(asked) == 4


def test_credentials_about_to_end_are_not_renewed_by_the_reader(bucket: Bucket) -> None:
    """That asks a server; the threads that fetch have the time."""
    key = bucket.judge.keys[0]
    fresh = {"access_key": key.id, "secret_key": key.secret, "token": "", "expiry_time": _later(3_600)}
    credentials = RefreshableCredentials(key.id, key.secret, "", _moment(60), lambda: fresh, "test")
    store = store_of(bucket, key, credentials)
    store.fetch(ref(), 1_000)
    renewed = store.start_get(ref(), 1_000)
    store.fetch(ref(), 1_000)

    assert renewed is None
    ask(store).cancel()


# Whom to trust


def test_the_short_way_is_as_private_as_boto3s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same authorities, and no word to a server that they do not know."""
    private, another = make_authority(tmp_path / "private"), make_authority(tmp_path / "another")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(private.ca))
    context = private.context()
    with served(Bucket(Judge("s3", [Key()])), context) as bucket:
        store = connected(bucket)
        assert taken(ask(store)) == CONTENT
        bucket.seen.clear()

        # Whoever comes anew is shown another's certificate; boto3 still has its connection.
        monkeypatch.setattr("worker.aws.http1._IDLE_SECONDS", 0)
        context.load_cert_chain(another.folder / "server.pem", another.folder / "server.key")

        assert store.fetch(ref(), 1_000).content == CONTENT
        assert [one.by_boto3 for one in bucket.seen] == [True]


def _moment(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def _later(seconds: float) -> str:
    return _moment(seconds).isoformat()
