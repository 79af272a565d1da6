"""Promises about the bucket for uploads: it is ours or nothing is uploaded, and only our own uploads are deleted."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from botocore.config import Config

from tests.support.owned_buckets import ACCOUNT, STRANGER, OwnedBuckets, owned_buckets
from worker.deploy.code_bucket import CodeBucket, has_account_namespace, own_bucket_name, own_bucket_names
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator

REGION = "eu-central-1"
CODE = f"trailsink-code-{ACCOUNT}-{REGION}-an"


@dataclass
class FakeSession:
    """A session whose S3 is a server over HTTP, and whose CloudFormation has these stacks, by name."""

    s3_url: str
    region_name: str = REGION
    stacks: dict[str, dict[str, str]] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service == "cloudformation":
            return self
        return boto3.client(
            "s3",
            region_name=self.region_name,
            endpoint_url=self.s3_url,
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    def get_paginator(self, _operation: str) -> FakeSession:
        return self

    def paginate(self) -> list[dict[str, Any]]:
        stacks = [
            {
                "StackName": name,
                "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
            }
            for name, values in self.stacks.items()
        ]
        return [{"Stacks": stacks}]


@pytest.fixture
def s3() -> Iterator[OwnedBuckets]:
    with owned_buckets(REGION) as buckets:
        yield buckets


@pytest.fixture
def session(s3: OwnedBuckets) -> FakeSession:
    return FakeSession(s3.url)


def bucket_of(session: FakeSession, name: str = "") -> CodeBucket:
    return CodeBucket(cast("Any", session), ACCOUNT, name)


def old() -> str:
    return (datetime.now(UTC) - timedelta(days=8)).isoformat()


def test_the_bucket_is_created_in_the_account_s_own_namespace(s3: OwnedBuckets, session: FakeSession) -> None:
    """There, no other account can take its name first."""
    upload = bucket_of(session).upload(b"bundle", "zip")

    assert (upload.bucket, s3.owners, s3.namespaces) == (CODE, {CODE: ACCOUNT}, {CODE: "account-regional"})
    assert upload.key == f"trailsink/{sha256(b'bundle').hexdigest()}.zip"
    assert upload.url == f"{s3.url}/{CODE}/{upload.key}"
    assert s3.bodies[f"/{CODE}"].count(b"<LocationConstraint>eu-central-1<") == 1


@pytest.mark.parametrize("region", ["me-south-1", "me-central-1", "us-iso-east-1", "us-isob-east-1"])
def test_a_region_without_it_gets_the_name_of_the_global_namespace(region: str) -> None:
    """Then the owner condition of each call is the protection."""
    assert not has_account_namespace(region)
    assert own_bucket_name(ACCOUNT, region) == f"trailsink-code-{ACCOUNT}-{region}"
    with owned_buckets(region) as s3:
        CodeBucket(cast("Any", FakeSession(s3.url, region)), ACCOUNT).upload(b"bundle", "zip")

        assert s3.namespaces == {f"trailsink-code-{ACCOUNT}-{region}": "global"}


def test_us_east_1_is_no_location_constraint() -> None:
    """It is the one region that S3 refuses as one."""
    with owned_buckets("us-east-1") as s3:
        upload = CodeBucket(cast("Any", FakeSession(s3.url, "us-east-1")), ACCOUNT).upload(b"bundle", "zip")

        assert b"LocationConstraint" not in s3.bodies[f"/{upload.bucket}"]


def test_a_new_bucket_is_closed_to_the_public_and_to_clear_text(s3: OwnedBuckets, session: FakeSession) -> None:
    """It holds the code that runs with the loader's role."""
    bucket_of(session).upload(b"bundle", "zip")

    block, policy = s3.bodies[f"/{CODE}?publicAccessBlock"], json.loads(s3.bodies[f"/{CODE}?policy"])
    assert (block.count(b">true<"), block.count(b">false<")) == (4, 0)
    [statement] = policy["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == [f"arn:aws:s3:::{CODE}", f"arn:aws:s3:::{CODE}/*"]


def test_a_bucket_that_exists_is_used_as_it_is(s3: OwnedBuckets, session: FakeSession) -> None:
    """Its policy may have been changed for a reason."""
    bucket_of(session).upload(b"bundle", "zip")
    bucket_of(session).upload(b"another", "zip")

    creations = [path for method, path, _ in s3.requests if (method, path) == ("PUT", f"/{CODE}")]
    assert (len(creations), len(s3.objects[CODE])) == (1, 2)


@pytest.mark.parametrize("region", [REGION, "me-central-1"])
def test_another_account_s_bucket_of_that_name_gets_nothing(region: str) -> None:
    """Its owner would run code of their own in our functions."""
    name = own_bucket_name(ACCOUNT, region)
    with owned_buckets(region) as s3:
        s3.owners[name] = STRANGER
        with pytest.raises(SetupError, match=f"^The bucket {name} belongs to another account, so nothing was uploaded"):
            CodeBucket(cast("Any", FakeSession(s3.url, region)), ACCOUNT).upload(b"bundle", "zip")

        assert s3.objects.get(name, {}) == {}


def test_a_bucket_that_the_operator_names_must_be_the_account_s(s3: OwnedBuckets, session: FakeSession) -> None:
    """A name of one's own can be taken, too, once its bucket was deleted."""
    s3.owners["acme-code"] = STRANGER

    with pytest.raises(SetupError, match=f"the bucket must belong to account {ACCOUNT}"):
        bucket_of(session, "acme-code").upload(b"bundle", "zip")
    CodeBucket(cast("Any", session), STRANGER, "acme-code").upload(b"bundle", "zip")

    assert len(s3.objects["acme-code"]) == 1


def test_every_call_but_the_creation_names_the_owner(s3: OwnedBuckets, session: FakeSession) -> None:
    """One that does not is one that a stranger can answer."""
    bucket = bucket_of(session)

    bucket.upload(b"bundle", "zip")
    s3.objects[CODE]["trailsink/old.zip"] = old()
    bucket.delete_unused()
    bucket.delete("trail")

    without = [(method, path) for method, path, owner in s3.requests if owner != ACCOUNT]
    assert without == [("PUT", f"/{CODE}")]
    assert {method for method, _, owner in s3.requests if owner} == {"HEAD", "PUT", "GET", "DELETE"}


def test_the_key_of_an_upload_changes_only_with_its_content(session: FakeSession) -> None:
    """An unchanged bundle must not be a change of the stack."""
    keys = [bucket_of(session).upload(body, "zip").key for body in (b"bundle", b"bundle", b"another")]

    assert keys[0] == keys[1] != keys[2]


def test_the_bucket_stays_while_another_stack_has_its_bundle_in_it(s3: OwnedBuckets, session: FakeSession) -> None:
    """Its next change of settings would fail without the bundle."""
    s3.owners[CODE], s3.objects[CODE] = ACCOUNT, {"trailsink/1.zip": old()}
    session.stacks = {"trail": {"CodeBucket": CODE}, "second": {"CodeBucket": CODE}, "third": {"CodeBucket": "another"}}

    sentence = bucket_of(session).delete("trail")

    assert sentence == f"The bucket {CODE} stays, because the stack second has its bundle in it."
    assert list(s3.objects[CODE]) == ["trailsink/1.zip"]


def test_the_bucket_is_deleted_with_the_uploads_only(s3: OwnedBuckets, session: FakeSession) -> None:
    """S3 refuses to delete a bucket in which anything else lies, and that is right."""
    s3.owners[CODE] = ACCOUNT
    s3.objects[CODE] = {"trailsink/1.zip": old(), "notes.txt": old(), "trailsink/2.yaml": old()}
    session.stacks = {"trail": {"CodeBucket": CODE}}

    refused = bucket_of(session).delete("trail")
    remaining = dict(s3.objects[CODE])
    s3.objects[CODE] = {"trailsink/1.zip": old()}
    deleted = bucket_of(session).delete("trail")

    assert refused.startswith(f"The bucket {CODE} with the bundle stays: BucketNotEmpty")
    assert list(remaining) == ["notes.txt"]
    assert deleted == f"The bucket {CODE} with the bundle is deleted."
    assert CODE not in s3.owners


def test_uploads_that_no_stack_uses_are_deleted_after_a_week(s3: OwnedBuckets, session: FakeSession) -> None:
    """A failed update rolls back to the bundle before it, which may be years old."""
    s3.owners[CODE] = ACCOUNT
    s3.objects[CODE] = {"trailsink/used.zip": old(), "trailsink/unused.zip": old(), "notes.txt": old()}
    s3.objects[CODE]["trailsink/new.zip"] = datetime.now(UTC).isoformat()
    session.stacks = {"trail": {"CodeBucket": CODE, "CodeKey": "trailsink/used.zip"}}

    deleted = bucket_of(session).delete_unused()

    assert deleted == 1
    assert sorted(s3.objects[CODE]) == ["notes.txt", "trailsink/new.zip", "trailsink/used.zip"]


def test_nothing_is_deleted_in_a_bucket_that_the_operator_names(s3: OwnedBuckets, session: FakeSession) -> None:
    """Others may use it, from other regions and accounts."""
    s3.owners["acme-code"], s3.objects["acme-code"] = ACCOUNT, {"trailsink/1.zip": old()}

    assert bucket_of(session, "acme-code").delete_unused() == 0
    assert list(s3.objects["acme-code"]) == ["trailsink/1.zip"]


def test_a_bucket_of_an_older_version_is_known_as_our_own() -> None:
    """`trailsink destroy` deletes it with the stack."""
    assert own_bucket_names(ACCOUNT, REGION) == {CODE, CODE.removesuffix("-an")}
