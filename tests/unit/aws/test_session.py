"""Promises about AWS sessions: the region is heard, and its absence is a sentence."""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.support.factories import ref
from tests.support.http_server import serving
from tests.support.owned_buckets import ACCOUNT, STRANGER, owned_buckets
from worker.aws.s3 import S3Store
from worker.aws.session import accept_charges, config, expect_bucket_owner, open_role_session, open_session
from worker.backfill.sources import BucketLister
from worker.errors import SetupError, StoreUnavailable
from worker.settings import load_settings
from worker.wiring import make_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.http_server import Given

ROLE = "arn:aws:iam::210987654321:role/read-trail"


def test_the_region_is_the_one_of_either_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 itself reads only AWS_DEFAULT_REGION."""
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert open_session().region_name == "eu-west-3"

    monkeypatch.delenv("AWS_REGION")
    assert open_session().region_name == "eu-central-1"


def test_without_a_region_it_is_that_of_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has set the queue's URL has said it."""
    monkeypatch.setenv("TRAILSINK_QUEUE_URL", "https://sqs.sa-east-1.amazonaws.com/123456789012/trailsink")
    assert open_session().region_name == "eu-central-1"

    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert open_session().region_name == "sa-east-1"


def test_without_a_region_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3's own error comes much later, from the first client."""
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    with pytest.raises(SetupError, match="set AWS_REGION"):
        open_session()


def test_a_profile_that_does_not_exist_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error in AWS_PROFILE must not be a traceback."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    with pytest.raises(SetupError, match="nobody"):
        open_session()


def test_calls_are_bounded_and_retried_by_botocore_alone() -> None:
    """One retry layer per neighbour: attempts add up, they do not multiply."""
    made: Any = config(connections=3, read_seconds=7.0)

    assert (made.connect_timeout, made.read_timeout, made.max_pool_connections) == (5, 7.0, 3)
    assert made.retries == {"mode": "standard", "total_max_attempts": 4}


@dataclass
class FakeAws:
    """STS and S3 on one address: STS gives new credentials at each call, S3 gives one object to everybody."""

    refuses: bool = False
    seconds: int = 3_600  # how long credentials last
    assumed: list[dict[str, str]] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)  # to S3

    @property
    def key_ids(self) -> list[str]:
        """The access keys that signed the requests to S3."""
        return [re.findall("Credential=([A-Z0-9a-z]+)/", headers["authorization"])[0] for *_, headers in self.requests]

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Given:
        if method == "POST":
            return self._assume({name: values[0] for name, values in parse_qs(body.decode()).items()})
        self.requests.append((method, path, {name.lower(): value for name, value in headers.items()}))
        if "list-type" in path:
            text = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
            return 200, text, {"Content-Type": "application/xml"}
        return 200, b"content", {"Last-Modified": "Mon, 23 Nov 2026 10:05:00 GMT", "ETag": '"x"'}

    def _assume(self, parameters: dict[str, str]) -> Given:
        if self.refuses:
            error = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
            return 403, error.encode(), {"Content-Type": "text/xml"}
        self.assumed.append(parameters)
        end = (datetime.now(UTC) + timedelta(seconds=self.seconds)).isoformat()
        key = f"ASIA{len(self.assumed)}"
        secret = hashlib.sha256(key.encode()).hexdigest()
        text = (
            "<AssumeRoleResponse><AssumeRoleResult><Credentials>"
            f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>"
            f"<SessionToken>token</SessionToken><Expiration>{end}</Expiration></Credentials>"
            f"<AssumedRoleUser><Arn>{ROLE}</Arn><AssumedRoleId>AROA:trailsink</AssumedRoleId></AssumedRoleUser>"
            "</AssumeRoleResult></AssumeRoleResponse>"
        )
        return 200, text.encode(), {"Content-Type": "text/xml"}


@contextmanager
def fake_aws(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Iterator[FakeAws]:
    """Let every client call these services."""
    aws = FakeAws(**changes)
    with serving(aws.answer) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        yield aws


@pytest.mark.parametrize("external_id", ["", "only-ours"])
def test_a_role_reads_the_bucket(monkeypatch: pytest.MonkeyPatch, external_id: str) -> None:
    """An account that allows no bucket policy allows a role, with an external id against the confused deputy."""
    monkeypatch.setenv("TRAILSINK_S3_ROLE_ARN", ROLE)
    monkeypatch.setenv("TRAILSINK_S3_EXTERNAL_ID", external_id)
    with fake_aws(monkeypatch) as aws:
        store = make_store(load_settings())

        contents = [store.fetch(ref(), 1_000).content for _ in range(3)]  # the last two on the fast path

        assert contents == [b"content"] * 3
        assert aws.key_ids == ["ASIA1"] * 3
        (assumed,) = aws.assumed
        assert (assumed["RoleArn"], assumed["RoleSessionName"]) == (ROLE, "trailsink")
        assert assumed.get("ExternalId", "") == external_id


def test_the_credentials_of_a_role_are_fetched_again_before_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container runs for weeks, and such credentials last an hour."""
    with fake_aws(monkeypatch, seconds=60) as aws:
        client = open_role_session(ROLE, "").client("s3", config=config(connections=1))
        store = S3Store(client)

        store.fetch(ref(), 1_000)
        store.fetch(ref(), 1_000)

        first, second = aws.key_ids
        assert first != second


def test_a_role_that_cannot_be_assumed_is_a_fault_of_sts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message goes back, and the cause names the service that refused."""
    with fake_aws(monkeypatch, refuses=True) as aws:
        client = open_role_session(ROLE, "").client("s3", config=config(connections=1))
        with pytest.raises(StoreUnavailable, match="sts:AccessDenied"):
            S3Store(client).fetch(ref(), 1_000)
        with pytest.raises(SetupError, match="TRAILSINK_S3_ROLE_ARN cannot be assumed"):
            BucketLister(client, "trail-bucket").folders("")

        assert aws.requests == []


def test_credentials_that_cannot_be_fetched_again_hand_the_file_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the fast path, too: it is no crash of ours."""
    monkeypatch.setenv("TRAILSINK_S3_ROLE_ARN", ROLE)
    with fake_aws(monkeypatch, seconds=60) as aws:
        store = make_store(load_settings())
        store.fetch(ref(), 1_000)
        store.fetch(ref(), 1_000)
        aws.refuses = True

        with pytest.raises(StoreUnavailable, match="sts:AccessDenied"):
            store.fetch(ref(), 1_000)


def test_every_request_of_a_requester_pays_bucket_says_who_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 refuses any other with 403; the fast path signs the same header."""
    monkeypatch.setenv("TRAILSINK_REQUEST_PAYER", "true")
    with fake_aws(monkeypatch) as aws:
        store = make_store(load_settings())
        for _ in range(3):
            store.fetch(ref(), 1_000)
        store.head(ref())
        client = open_session().client("s3")
        accept_charges(client)
        lister = BucketLister(client, "trail-bucket")
        lister.folders("")
        lister.page("", "")

        assert [headers.get("x-amz-request-payer") for *_, headers in aws.requests] == ["requester"] * 6
        by_fast_path = [headers for *_, headers in aws.requests if "amz-sdk-invocation-id" not in headers]
        assert len(by_fast_path) == 2
        assert all("x-amz-request-payer" in headers["authorization"] for headers in by_fast_path)


def test_nobody_pays_without_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests to such a bucket cost money."""
    with fake_aws(monkeypatch) as aws:
        make_store(load_settings()).fetch(ref(), 1_000)

        assert [headers.get("x-amz-request-payer") for *_, headers in aws.requests] == [None]


def test_without_credentials_no_role_can_be_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence at the start, not an error per file."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with pytest.raises(SetupError, match="TRAILSINK_S3_ROLE_ARN"):
        open_role_session(ROLE, "")


@pytest.mark.parametrize(
    ("owner", "expected", "refused"), [(ACCOUNT, ACCOUNT, False), (STRANGER, ACCOUNT, True), (STRANGER, "", False)]
)
def test_every_read_names_the_account_that_must_own_the_bucket(*, owner: str, expected: str, refused: bool) -> None:
    """Anybody can take the name of a bucket that was deleted, and let everybody read in it."""
    with owned_buckets() as s3:
        s3.owners["trail"] = owner
        client = boto3.Session("key", "secret", region_name="eu-central-1").client("s3", endpoint_url=s3.url)
        expect_bucket_owner(client, expected)
        calls = (
            lambda: client.get_object(Bucket="trail", Key="AWSLogs/1.json.gz"),
            lambda: client.list_objects_v2(Bucket="trail"),
            lambda: client.get_bucket_notification_configuration(Bucket="trail"),
        )
        errors = []
        for call in calls:
            try:
                call()
            except ClientError as error:
                errors.append(error.response["Error"]["Code"])

    assert errors == (["AccessDenied"] * 3 if refused else [])
    assert {named for _, _, named in s3.requests} == {expected}
