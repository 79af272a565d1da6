"""Promises about the AWS edges: what each of S3's and SQS's answers means, and what fits into a dead letter."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.stub import ANY, Stubber
from moto import mock_aws

from tests.support.factories import BUCKET, event, key, log_file, message, ref, s3_notice
from worker import __version__
from worker.aws.s3 import S3Store
from worker.aws.secrets import read_secret
from worker.aws.session import config
from worker.aws.sqs import SqsQueue
from worker.errors import QueueUnavailable, Reason, SetupError, StoreUnavailable, UnreadableObject
from worker.pipeline.notifications import s3_notification
from worker.pipeline.objects import ObjectHead
from worker.pipeline.ports import DeadLetter, HandBack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3 import S3Client
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_sqs import SQSClient

MIB = 1 << 20
CONTENT = log_file(event(1))
SOURCE_URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/trail"
LETTERS_URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/trail-dead"


def s3_client() -> S3Client:
    return boto3.client("s3", config=config(connections=2))


def sqs_client() -> SQSClient:
    return boto3.client("sqs", config=config(connections=2))


# S3


@pytest.fixture
def bucket() -> Iterator[S3Client]:
    with mock_aws():
        client = s3_client()
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        yield client


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


def test_a_name_that_is_no_bucket_is_unavailable() -> None:
    """Botocore refuses it without asking; a crash of ours would say less."""
    with pytest.raises(StoreUnavailable, match="s3:ParamValidationError"):
        S3Store(s3_client()).fetch(ref(bucket="no bucket at all"), MIB)


@contextmanager
def server(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """An HTTP server that gives each connection the next answer, the last one again and again, and breaks off."""
    listening = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(65_536))
                connection.sendall(answers[min(len(asked), len(answers)) - 1])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def answer(content: bytes, *, length: int | None = None) -> bytes:
    head = (
        "HTTP/1.1 200 OK\r\nLast-Modified: Mon, 23 Nov 2026 10:05:00 GMT\r\nConnection: close\r\n"
        f"Content-Length: {len(content) if length is None else length}\r\n\r\n"
    )
    return head.encode() + content


def store_at(url: str) -> S3Store:
    own = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, signature_version=UNSIGNED)
    return S3Store(boto3.client("s3", endpoint_url=url, config=config(connections=1, read_seconds=2).merge(own)))


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


# Dead letters


@pytest.fixture
def queues() -> Iterator[tuple[SQSClient, SqsQueue]]:
    with mock_aws():
        client = sqs_client()
        letters = client.create_queue(QueueName="letters", Attributes={"MaximumMessageSize": str(MIB)})["QueueUrl"]
        source = client.create_queue(QueueName="source")["QueueUrl"]
        yield client, SqsQueue(client, source, letters)


def letter(**changes: Any) -> DeadLetter:
    whole: dict[str, Any] = {
        "body": s3_notification(ref()),
        "reason": Reason.RECORDS_REJECTED,
        "detail": "2 of 9 records were rejected",
        "source_message_id": "message-1",
        "attempts": 3,
        "rejected": ((1, "mapper_parsing_exception"), (7, "not_a_json_object")),
    }
    return DeadLetter(**whole | changes)


def attributes_of_the_letter(client: SQSClient) -> dict[str, str]:
    """The attributes of the one letter, read as anybody may: the queue's own way waits for more."""
    url = client.get_queue_url(QueueName="letters")["QueueUrl"]
    (one,) = client.receive_message(QueueUrl=url, MessageAttributeNames=["All"])["Messages"]
    assert one["Body"] == s3_notification(ref())
    return {name: value["StringValue"] for name, value in one["MessageAttributes"].items()}


def test_a_letter_says_what_why_and_where(queues: tuple[SQSClient, SqsQueue]) -> None:
    """The operator sees it without reading the object; the body is the announcement itself."""
    client, queue = queues

    queue.send_dead_letter(letter())

    said = attributes_of_the_letter(client)
    assert json.loads(said.pop("rejected")) == [[1, "mapper_parsing_exception"], [7, "not_a_json_object"]]
    assert said == {
        "reason": "records_rejected",
        "detail": "2 of 9 records were rejected",
        "attempts": "3",
        "source_message_id": "message-1",
        "trailsink_version": __version__,
    }


def weight(sent: Any) -> int:
    """What SQS counts: body, and name, type and value of each attribute."""
    attributes = sent["MessageAttributes"]
    return len(sent["MessageBody"].encode()) + sum(
        len(name.encode()) + len(value["DataType"]) + len(value["StringValue"].encode())
        for name, value in attributes.items()
    )


def offers(one: DeadLetter) -> list[dict[str, Any]]:
    """Be an SQS that finds every message too long; returns what it was offered, in order."""
    client = sqs_client()
    offered: list[dict[str, Any]] = []
    client.meta.events.register("provide-client-params.sqs.SendMessage", lambda params, **_: offered.append(params))
    with Stubber(client) as stub:
        for _ in range(10):
            stub.add_client_error("send_message", "InvalidParameterValue", "too long", http_status_code=400)
        with pytest.raises(QueueUnavailable):
            SqsQueue(client, SOURCE_URL, LETTERS_URL).send_dead_letter(one)
    return offered


@pytest.mark.parametrize("spare", [0, 1, 30, 120, 300, 2_000, 20_000])
def test_a_body_of_nearly_a_mebibyte_is_sent_with_what_fits_beside_it(spare: int) -> None:
    """Attributes count into SQS's limit: a body that just fits must not be refused for its reason."""
    body = "x" * (MIB - spare)
    one = letter(body=body, rejected=tuple((n, "mapper_parsing_exception") for n in range(5_000)), detail="d" * 5_000)

    offered = offers(one)

    fitting = [params for params in offered if weight(params) <= MIB]
    assert fitting, "no offer was small enough"
    assert all(params["MessageBody"] == body for params in offered)
    assert [weight(params) for params in offered] == sorted((weight(params) for params in offered), reverse=True)
    assert ("reason" in fitting[0]["MessageAttributes"]) == (spare >= 30)


def test_a_long_list_of_rejections_is_cut_to_whole_entries() -> None:
    """Half an entry could not be read; the file itself has them all."""
    one = letter(rejected=tuple((n, "mapper_parsing_exception") for n in range(100_000)))

    first = offers(one)[0]

    pairs = json.loads(first["MessageAttributes"]["rejected"]["StringValue"])
    assert pairs == [[n, "mapper_parsing_exception"] for n in range(len(pairs))]
    assert 100 < len(pairs) < 1_000
    assert weight(first) < 20_000


def test_a_queue_that_takes_less_gets_the_letter_with_fewer_attributes() -> None:
    """Queues made before August 2025 may still allow 256 KiB only."""
    client = sqs_client()
    with Stubber(client) as stub:
        stub.add_client_error("send_message", "InvalidParameterValue", http_status_code=400)
        stub.add_response(
            "send_message",
            {},
            {"QueueUrl": LETTERS_URL, "MessageBody": s3_notification(ref()), "MessageAttributes": ANY},
        )

        SqsQueue(client, SOURCE_URL, LETTERS_URL).send_dead_letter(letter())

        stub.assert_no_pending_responses()


@pytest.mark.parametrize("detail", ["", "line\x00\x0b\ufffe end", "\ud800", "ä€🐝", "x" * 5_000])
def test_any_detail_can_be_sent(queues: tuple[SQSClient, SqsQueue], detail: str) -> None:
    """SQS takes only XML's characters and no empty value; a letter must not fail for its wording."""
    client, queue = queues

    queue.send_dead_letter(letter(detail=detail))

    assert 1 <= len(attributes_of_the_letter(client)["detail"]) <= 1_000


@pytest.mark.parametrize("code", ["ServiceUnavailable", "AccessDenied", "AWS.SimpleQueueService.NonExistentQueue", "X"])
def test_a_letter_that_cannot_be_sent_is_an_error(code: str) -> None:
    """The pipeline then keeps the message in the source queue."""
    client = sqs_client()
    with Stubber(client) as stub:
        stub.add_client_error("send_message", code, http_status_code=400)

        with pytest.raises(QueueUnavailable, match=code):
            SqsQueue(client, SOURCE_URL, LETTERS_URL).send_dead_letter(letter())


def test_a_queue_that_does_not_answer_is_unavailable() -> None:
    """Botocore's errors never cross the edge."""
    with server(b"") as (url, _):
        pass
    client = boto3.client("sqs", endpoint_url=url, config=Config(retries={"total_max_attempts": 1}))
    queue = SqsQueue(client, SOURCE_URL, LETTERS_URL)

    with pytest.raises(QueueUnavailable):
        queue.send_dead_letter(letter())
    with pytest.raises(QueueUnavailable):
        queue.receive(maximum=1, wait_seconds=0, visibility_seconds=1)
    with pytest.raises(QueueUnavailable):
        queue.depth()


# Messages


def test_messages_are_received_handed_back_and_deleted(queues: tuple[SQSClient, SqsQueue]) -> None:
    """The container's loop: what is handed back at once comes again with a higher count, what is done is gone."""
    client, queue = queues
    for number in range(2):
        client.send_message(QueueUrl=queue_url(client), MessageBody=s3_notice(f"key-{number}"))

    first = queue.receive(maximum=10, wait_seconds=0, visibility_seconds=60)
    queue.hand_back([HandBack(first[0], 0)])
    failed = queue.delete(first[1:])
    second = queue.receive(maximum=10, wait_seconds=0, visibility_seconds=60)

    assert len(first) == 2
    assert failed == 0
    assert [(one.id, one.receive_count) for one in second] == [(first[0].id, 2)]
    assert queue.depth() == (0, 1)


def queue_url(client: SQSClient) -> str:
    return client.get_queue_url(QueueName="source")["QueueUrl"]


def test_more_than_ten_messages_are_handed_back_and_deleted_in_batches() -> None:
    """SQS takes ten entries a call; a batch of Lambda's may have ten thousand."""
    client = sqs_client()
    several = [message("{}", number) for number in range(25)]
    with Stubber(client) as stub:
        for size in (10, 10, 5):
            entries = [{"Id": str(at), "ReceiptHandle": ANY, "VisibilityTimeout": 30} for at in range(size)]
            expected = {"QueueUrl": SOURCE_URL, "Entries": entries}
            stub.add_response("change_message_visibility_batch", {"Successful": [], "Failed": []}, expected)
        for size in (10, 10, 5):
            gone = [{"Id": str(at), "ReceiptHandle": ANY} for at in range(size)]
            stub.add_response(
                "delete_message_batch",
                {"Successful": [], "Failed": [{"Id": "0", "SenderFault": True, "Code": "X"}]},
                {"QueueUrl": SOURCE_URL, "Entries": gone},
            )
        queue = SqsQueue(client, SOURCE_URL, LETTERS_URL)

        queue.hand_back([HandBack(one, 30) for one in several])
        failed = queue.delete(several)

        stub.assert_no_pending_responses()
    assert failed == 3


@pytest.mark.parametrize("code", ["MessageNotInflight", "ReceiptHandleIsInvalid", "RequestThrottled", "AccessDenied"])
def test_a_wait_that_cannot_be_set_fails_nothing(code: str) -> None:
    """The message keeps the visibility timeout of its receive: only the time of its return is another."""
    client = sqs_client()
    several = [HandBack(message("{}", number), 30) for number in range(15)]
    with Stubber(client) as stub:
        stub.add_client_error("change_message_visibility_batch", code, http_status_code=400)
        stub.add_response("change_message_visibility_batch", {"Successful": [], "Failed": []})

        SqsQueue(client, SOURCE_URL, LETTERS_URL).hand_back(several)

        stub.assert_no_pending_responses()


def test_a_message_that_cannot_be_deleted_comes_again_harmlessly() -> None:
    """It is told, and nothing else happens: a second delivery changes nothing."""
    client = sqs_client()
    with Stubber(client) as stub:
        stub.add_client_error("delete_message_batch", "ServiceUnavailable", http_status_code=503)

        assert SqsQueue(client, SOURCE_URL, LETTERS_URL).delete([message("{}", n) for n in range(3)]) == 3


# What the operator asks of an object


def state(**answer: Any) -> ObjectHead | None:
    client = s3_client()
    whole = {"ETag": '"abc"', "ContentLength": 3, "LastModified": datetime(2026, 1, 1, tzinfo=UTC)} | answer
    with Stubber(client) as stub:
        stub.add_response("head_object", whole, {"Bucket": BUCKET, "Key": key()})
        return S3Store(client).head(ref())


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


# The secret


def secrets(text: str | bytes | None) -> tuple[SecretsManagerClient, Stubber]:
    client: SecretsManagerClient = boto3.client("secretsmanager")
    stub = Stubber(client)
    if text is None:
        stub.add_client_error("get_secret_value", "ResourceNotFoundException", "not there.", http_status_code=400)
    elif isinstance(text, bytes):
        stub.add_response("get_secret_value", {"SecretBinary": text}, {"SecretId": "arn"})
    else:
        stub.add_response("get_secret_value", {"SecretString": text}, {"SecretId": "arn"})
    return client, stub


def test_the_password_comes_from_the_secrets_two_members() -> None:
    """As Secrets Manager's own rotation writes them."""
    client, stub = secrets('{"username":"writer","password":"pass word","engine":"x"}')

    with stub:
        assert read_secret(client, "arn") == ("writer", "pass word")


@pytest.mark.parametrize(
    "text", [None, "{}", "not json", '{"username":"x"}', '{"username":1,"password":"x"}', "[]", b"binary"]
)
def test_a_secret_that_cannot_be_used_is_told_without_its_text(text: str | bytes | None) -> None:
    """One sentence for the operator, and no secret in a log."""
    client, stub = secrets(text)

    with stub, pytest.raises(SetupError, match="secret of the cluster's password") as caught:
        read_secret(client, "arn")

    assert "json" not in str(caught.value)
