"""Promises about reading objects: what S3 says becomes a verdict, and nothing waits for ever."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import md5
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.stub import Stubber
from moto import mock_aws

from tests.support.factories import BUCKET, event, key, log_file, ref
from tests.support.http_server import server
from tests.support.queues import MIB
from worker.aws.s3 import S3Store
from worker.aws.session import config
from worker.errors import Reason, StoreUnavailable, UnreadableObject
from worker.pipeline.buckets import AllowedBuckets
from worker.pipeline.objects import ObjectHead

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3 import S3Client


@pytest.mark.parametrize("name", [key(), "a b+c%2B/ä€🐝.json.gz", "a//b/../c", "a?b#c&d=e"])
def test_an_object_is_read_with_the_time_it_was_written(bucket: S3Client, name: str) -> None:
    """Records without a time are dated by it; every key that S3 allows can be asked for."""
    bucket.put_object(Bucket=BUCKET, Key=name, Body=CONTENT, ContentEncoding="gzip", ContentType="application/json")

    stored = S3Store(bucket).fetch(ref(key=name), MIB)

    assert stored.content == CONTENT
    assert stored.modified_at.tzinfo is not None


def test_the_version_that_was_announced_is_read(bucket: S3Client) -> None:
    """A rewritten object holds other events than the notice spoke of."""
    bucket.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    first = bucket.put_object(Bucket=BUCKET, Key="a", Body=b"first")["VersionId"]
    bucket.put_object(Bucket=BUCKET, Key="a", Body=b"second")
    store = S3Store(bucket)

    assert store.fetch(ref(key="a", version_id=first), MIB).content == b"first"
    assert store.fetch(ref(key="a"), MIB).content == b"second"


def test_an_object_that_is_gone_is_not_found(bucket: S3Client) -> None:
    """A lifecycle rule was quicker: asking again for a day will not bring it back."""
    with pytest.raises(UnreadableObject) as caught:
        S3Store(bucket).fetch(ref(key="gone"), MIB)

    assert caught.value.reason is Reason.NOT_FOUND


def test_a_bucket_that_is_not_there_can_be_mended(bucket: S3Client) -> None:
    """It may be a wrong account or region: nothing in it is lost yet."""
    with pytest.raises(StoreUnavailable, match="s3:NoSuchBucket"):
        S3Store(bucket).fetch(ref(bucket="another-bucket"), MIB)


CONTENT = log_file(event(1))


@pytest.mark.parametrize(("limit", "refused"), [(len(CONTENT), False), (len(CONTENT) - 1, True)])
def test_an_object_above_the_limit_is_not_read(bucket: S3Client, *, limit: int, refused: bool) -> None:
    """Its size is known before its first byte."""
    bucket.put_object(Bucket=BUCKET, Key="a", Body=CONTENT)

    try:
        found: bytes | bytearray | Reason = S3Store(bucket).fetch(ref(key="a"), limit).content
    except UnreadableObject as problem:
        found = problem.reason

    assert found == (Reason.TOO_LARGE if refused else CONTENT)


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("NoSuchKey", 404, Reason.NOT_FOUND),
        ("NoSuchVersion", 404, Reason.NOT_FOUND),
        ("InvalidObjectState", 403, Reason.ARCHIVED),
    ],
)
def test_what_s3_will_never_give_is_unreadable(code: str, status: int, reason: Reason) -> None:
    """Redelivery will not help: it goes to the dead letters with its reason."""
    client = s3_client()
    with Stubber(client) as stub:
        stub.add_client_error("get_object", code, http_status_code=status)

        with pytest.raises(UnreadableObject) as caught:
            S3Store(client).fetch(ref(), MIB)

    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("AccessDenied", 403),
        ("403", 403),
        ("SlowDown", 503),
        ("ServiceUnavailable", 503),
        ("InternalError", 500),
        ("RequestTimeout", 400),
        ("ExpiredToken", 400),
        ("InvalidAccessKeyId", 403),
        ("KMS.DisabledException", 400),
        ("KMS.NotFoundException", 400),
        ("PermanentRedirect", 301),
        ("NoSuchBucket", 404),
        ("SomethingNew", 418),
    ],
)
def test_what_time_or_an_operator_can_mend_is_unavailable(code: str, status: int) -> None:
    """Refused access, a disabled key, throttling: the message goes back, and says why."""
    client = s3_client()
    with Stubber(client) as stub:
        stub.add_client_error("get_object", code, "SECRET", http_status_code=status)

        with pytest.raises(StoreUnavailable) as caught:
            S3Store(client).fetch(ref(), MIB)

    assert str(caught.value) == f"s3:{code}"


NO_BUCKETS = [
    "arn:aws:s3:ap-southeast-2:666666666666:accesspoint/evil",
    "arn:aws:s3-object-lambda:eu-west-1:666666666666:accesspoint/evil",
    "arn:aws:s3-outposts:eu-west-1:666666666666:outpost/op-01ac5d28a6a232904/accesspoint/evil",
    "arn:aws:s3::666666666666:accesspoint/mfzwi23gnjvgw.mrap",
    "evil--use1-az4--x-s3",
    "evil-0123456789abcdefghij-s3alias",
    "evil.example.com/x",
    "x@evil.example.com",
    "no bucket at all",
    "x",
]


@pytest.mark.parametrize("name", [*NO_BUCKETS, "somebody-elses-bucket"])
def test_s3_is_not_asked_about_a_bucket_that_is_not_allowed(name: str) -> None:
    """A notification can name an access point of another account; signed requests must not go there."""
    with server(answer(CONTENT)) as (url, asked):
        store = store_at(url, buckets=AllowedBuckets(frozenset({BUCKET})))
        with pytest.raises(UnreadableObject) as caught:
            store.fetch(ref(bucket=name), MIB)
        with pytest.raises(StoreUnavailable, match="foreign_bucket"):
            store.head(ref(bucket=name))

        assert caught.value.reason is Reason.FOREIGN_BUCKET
        assert store.start_get(ref(bucket=name), MIB) is None
        assert asked == []
        assert store.fetch(ref(), MIB).content == CONTENT


@pytest.mark.parametrize("name", NO_BUCKETS)
def test_where_every_bucket_is_allowed_a_name_must_still_be_a_buckets(name: str) -> None:
    """Without a list, S3's own rule remains."""
    with server(answer(CONTENT)) as (url, asked), pytest.raises(UnreadableObject) as caught:
        store_at(url).fetch(ref(bucket=name), MIB)

    assert (caught.value.reason, asked) == (Reason.FOREIGN_BUCKET, [])


@pytest.mark.parametrize("name", ["arn:aws:sqs:eu-west-1:666666666666:evil", "no bucket"])
def test_what_botocore_itself_refuses_is_malformed(name: str) -> None:
    """It is refused the same way at each of forty receives: that is no outage."""
    with server(answer(CONTENT)) as (url, asked), pytest.raises(UnreadableObject) as caught:
        store_at(url, buckets=AllowedBuckets(frozenset({name}))).fetch(ref(bucket=name), MIB)

    assert (caught.value.reason, asked) == (Reason.MALFORMED_MESSAGE, [])


@pytest.mark.parametrize(
    ("code", "status", "version", "expected"),
    [
        ("MethodNotAllowed", 405, "v1", Reason.NOT_FOUND),
        ("InvalidArgument", 400, "no version", Reason.NOT_FOUND),
        ("KeyTooLongError", 400, None, Reason.NOT_FOUND),
        ("MethodNotAllowed", 405, None, None),
        ("InvalidArgument", 400, None, None),
    ],
)
def test_a_delete_marker_and_what_is_no_version_are_not_found(
    code: str, status: int, version: str | None, expected: Reason | None
) -> None:
    """S3 answers a GET of a delete marker with 405; without a version, that is a fault of the set-up."""
    client = s3_client()
    with Stubber(client) as stub:
        stub.add_client_error("get_object", code, http_status_code=status)
        try:
            S3Store(client).fetch(ref(version_id=version), MIB)
        except UnreadableObject as problem:
            found: Reason | None = problem.reason
        except StoreUnavailable:
            found = None

    assert found is expected


def test_a_delete_marker_of_a_real_bucket_is_not_found(bucket: S3Client) -> None:
    """A lifecycle rule wrote it, and somebody announced it: handed back, it would come again forty times."""
    bucket.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    bucket.put_object(Bucket=BUCKET, Key="a", Body=b"first")
    marker = bucket.delete_object(Bucket=BUCKET, Key="a")["VersionId"]

    with pytest.raises(UnreadableObject) as caught:
        S3Store(bucket).fetch(ref(key="a", version_id=marker), MIB)

    assert caught.value.reason is Reason.NOT_FOUND


def answer(content: bytes, *, length: int | None = None) -> bytes:
    head = (
        "HTTP/1.1 200 OK\r\nLast-Modified: Mon, 23 Nov 2026 10:05:00 GMT\r\nConnection: close\r\n"
        f"Content-Length: {len(content) if length is None else length}\r\n\r\n"
    )
    return head.encode() + content


def store_at(url: str, buckets: AllowedBuckets = AllowedBuckets()) -> S3Store:  # noqa: B008 - frozen
    own = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, signature_version=UNSIGNED)
    client = boto3.client("s3", endpoint_url=url, config=config(connections=1, read_seconds=2).merge(own))
    return S3Store(client, buckets=buckets)


def test_a_body_that_breaks_off_is_read_again() -> None:
    """Botocore hands a body over before it is complete, so its own retries do not help there."""
    with server(answer(CONTENT[:50], length=len(CONTENT)), answer(CONTENT)) as (url, asked):
        stored = store_at(url).fetch(ref(), MIB)

    assert stored.content == CONTENT
    assert len(asked) == 2


def test_a_body_that_always_breaks_off_is_unavailable() -> None:
    """A half object must never pass for a whole one, nor be asked for without end."""
    with (
        server(answer(CONTENT[:50], length=len(CONTENT))) as (url, asked),
        pytest.raises(StoreUnavailable, match="s3:"),
    ):
        store_at(url).fetch(ref(), MIB)

    assert len(asked) == 3


def test_a_store_that_does_not_answer_is_unavailable() -> None:
    """Nothing listens there: the message goes back."""
    with server(b"") as (url, _):
        pass

    with pytest.raises(StoreUnavailable, match="s3:"):
        store_at(url).fetch(ref(), MIB)


def test_an_object_is_told_by_its_newest_version() -> None:
    """The question names no version; notices write an eTag without its quotes."""
    assert state(VersionId="v2") == ObjectHead("abc", 3, "v2", datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("answer", "readable"),
    [
        ({"StorageClass": "GLACIER"}, False),
        ({"StorageClass": "DEEP_ARCHIVE", "Restore": 'ongoing-request="true"'}, False),
        ({"StorageClass": "GLACIER", "Restore": 'ongoing-request="false", expiry-date="x"'}, True),
        ({"StorageClass": "INTELLIGENT_TIERING", "ArchiveStatus": "ARCHIVE_ACCESS"}, False),
        ({"StorageClass": "INTELLIGENT_TIERING"}, True),
        ({"StorageClass": "GLACIER_IR"}, True),
    ],
)
def test_an_archived_object_can_be_read_once_it_is_restored(answer: dict[str, Any], readable: bool) -> None:  # noqa: FBT001
    """Until then a redrive would only bring the letter back."""
    found = state(**answer)

    assert found
    assert found.readable is readable


def test_an_object_that_is_not_there_is_told_from_one_that_cannot_be_asked_about() -> None:
    """Without s3:ListBucket a missing object is 403: not knowing is not the same as knowing that it is gone."""
    client = s3_client()
    with Stubber(client) as stub:
        stub.add_client_error("head_object", "404", http_status_code=404)
        stub.add_client_error("head_object", "403", http_status_code=403)

        assert S3Store(client).head(ref()) is None
        with pytest.raises(StoreUnavailable, match="s3:403"):
            S3Store(client).head(ref())


def s3_client() -> S3Client:
    return boto3.client("s3", config=config(connections=2))


@pytest.fixture
def bucket() -> Iterator[S3Client]:
    with mock_aws():
        client = s3_client()
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        yield client


def state(**answer: Any) -> ObjectHead | None:
    client = s3_client()
    whole = {"ETag": '"abc"', "ContentLength": 3, "LastModified": datetime(2026, 1, 1, tzinfo=UTC)} | answer
    with Stubber(client) as stub:
        stub.add_response("head_object", whole, {"Bucket": BUCKET, "Key": key()})
        return S3Store(client).head(ref())


# A second look

MD5 = md5(CONTENT, usedforsecurity=False).hexdigest()


def described(etag: str, *, length: int = len(CONTENT), more: str = "") -> bytes:
    """The response to a HEAD."""
    modified = "Last-Modified: Mon, 23 Nov 2026 10:00:00 GMT"
    head = f'HTTP/1.1 200 OK\r\nETag: "{etag}"\r\n{modified}\r\n{more}Content-Length: {length}\r\n\r\n'
    return head.encode()


BY_KMS = "x-amz-server-side-encryption: aws:kms\r\n"


@pytest.mark.parametrize(
    "head",
    [
        described(MD5),
        described(MD5, more="x-amz-server-side-encryption: AES256\r\n"),
        described("0" * 32, more=BY_KMS),
        described(f"{'0' * 32}-2"),
    ],
    ids=["plain", "encrypted by S3", "encrypted by a key, whose eTag is no MD5", "uploaded in parts"],
)
def test_what_agrees_with_the_description_is_verified(head: bytes) -> None:
    """Only an eTag that is an MD5 says anything of the content."""
    with server(answer(CONTENT), head) as (url, asked):
        assert store_at(url).fetch_verified(ref(), MIB).content == CONTENT

    assert asked[1].startswith(b"HEAD")


@pytest.mark.parametrize(
    "head",
    [described(MD5, length=len(CONTENT) + 1), described("0" * 32), described("x", length=1, more=BY_KMS)],
    ids=["another length", "another content", "another length, encrypted by a key"],
)
def test_what_contradicts_the_description_is_unavailable(head: bytes) -> None:
    """It is not the object, so it says nothing about it."""
    with server(answer(CONTENT), head) as (url, _), pytest.raises(StoreUnavailable, match=r"^s3:mismatch$"):
        store_at(url).fetch_verified(ref(), MIB)


def test_the_announced_version_is_verified(bucket: S3Client) -> None:
    """The newest one may have another length."""
    bucket.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    first = bucket.put_object(Bucket=BUCKET, Key="a", Body=b"first")["VersionId"]
    bucket.put_object(Bucket=BUCKET, Key="a", Body=b"another")

    assert S3Store(bucket).fetch_verified(ref(key="a", version_id=first), MIB).content == b"first"
