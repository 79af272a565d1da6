"""The doctor on who may send to the source queue: its policy, and its key."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.health.fake_pipeline import BUCKET, Denied, FakePipeline, FakeS3, make_sqs
from worker.health.findings import CheckStatus, Finding

OWNER = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*"}


def check(name: str, services: dict[str, Any], **settings: Any) -> Finding:
    return FakePipeline(services, settings=settings).findings()[name]


def for_s3(*actions: str, **members: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": list(actions)}
    return statement | members


@pytest.mark.parametrize(
    ("statements", "status"),
    [
        ([for_s3("sqs:SendMessage")], "ok"),
        ([for_s3("sqs:SendMessage", Condition={"ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{BUCKET}"}})], "ok"),
        ([for_s3("sqs:SendMessage", Condition={"ArnLike": {"aws:SourceArn": "arn:aws:s3:::another"}})], "fault"),
        ([OWNER], "fault"),
        ([], "fault"),
    ],
)
def test_the_queue_must_allow_the_bucket_to_send(statements: list[dict[str, Any]], status: str) -> None:
    """S3 drops its notifications silently where it may not send."""
    sqs = make_sqs({"Policy": json.dumps({"Statement": statements})})

    finding = check("queue policy", {"sqs": sqs})

    assert finding.status == status
    assert (f'"aws:SourceArn":"arn:aws:s3:::{BUCKET}"' in finding.fix) == (status == "fault")


BUCKET_ARN = f"arn:aws:s3:::{BUCKET}"
OWNED = {"ArnEquals": {"aws:SourceArn": BUCKET_ARN}, "StringEquals": {"aws:SourceAccount": "123456789012"}}


@pytest.mark.parametrize(
    ("statement", "status", "words"),
    [
        (for_s3("sqs:SendMessage", Condition=OWNED), "ok", "only this account"),
        (for_s3("sqs:SendMessage"), "fault", "source queue to s3.amazonaws.com on behalf of anybody"),
        (
            for_s3("sqs:SendMessage", Condition={"ArnEquals": {"aws:SourceArn": BUCKET_ARN}}),
            "warning",
            f"S3 may send for {BUCKET_ARN}, whoever owns it",
        ),
        (for_s3("sqs:*", Principal="*"), "fault", "source queue to anybody"),
        (for_s3("*", Principal={"AWS": "*"}), "fault", "anybody"),
        (for_s3("sqs:ReceiveMessage", Principal={"AWS": "666666666666"}), "fault", "666666666666"),
        (
            for_s3("sqs:SendMessage", Principal={"AWS": "arn:aws:iam::666666666666:root"}),
            "fault",
            "arn:aws:iam::666666666666:root",
        ),
        (for_s3("sqs:SendMessage", Principal={"AWS": "arn:aws:iam::123456789012:role/x"}), "ok", "only this account"),
        (for_s3("sqs:GetQueueAttributes", Principal="*"), "ok", "only this account"),
    ],
)
def test_nobody_else_may_use_the_queue(statement: dict[str, Any], status: str, words: str) -> None:
    """Whoever sends chooses what is read; whoever receives makes files disappear."""
    statements = [statement, for_s3("sqs:SendMessage", Condition=OWNED)] if status == "fault" else [statement]

    finding = check("queue access", {"sqs": make_sqs({"Policy": json.dumps({"Statement": statements})})})

    assert finding.status == status
    assert words in finding.evidence
    if status != "ok":
        assert json.dumps(OWNED, separators=(",", ":")) in finding.fix


def test_the_dead_letter_queue_is_nobody_elses_either() -> None:
    """A letter that somebody else wrote is redriven like any other."""
    policy = json.dumps({"Statement": [for_s3("sqs:SendMessage", Principal="*")]})

    finding = check("queue access", {"sqs": make_sqs(None, {"Policy": policy})})

    assert finding.status is CheckStatus.FAULT
    assert "dead-letter queue to anybody" in finding.evidence
    assert finding.fix == "remove these statements from the policies of the queues"


def test_without_a_bucket_no_advice_cuts_it_off() -> None:
    """It is not known who has to announce files, and an empty list would be nobody."""
    policy = json.dumps({"Statement": [for_s3("sqs:SendMessage", Principal="*")]})

    finding = check("queue access", {"sqs": make_sqs({"Policy": policy})}, bucket="")

    assert finding.status is CheckStatus.FAULT
    assert "[]" not in finding.fix


def test_the_statement_that_is_offered_passes_the_check() -> None:
    """Pasted as it is, it is the template's: with the bucket and its account."""
    offered = check("queue policy", {"sqs": make_sqs({"Policy": ""})}).fix
    statement = json.loads(offered.partition("Policy: ")[2])

    findings = FakePipeline({"sqs": make_sqs({"Policy": json.dumps({"Statement": [statement]})})}).findings()

    assert findings["queue policy"].status == findings["queue access"].status == "ok"


class OwnedS3(FakeS3):
    """A client that adds the bucket's owner to each request."""

    meta = SimpleNamespace(events=SimpleNamespace(register=lambda *_: None))


def test_the_statement_names_the_account_that_owns_the_bucket() -> None:
    """With the queue's own account, files of a log archive's bucket would never be announced."""
    services = {"s3": OwnedS3(), "sqs": make_sqs({"Policy": ""})}
    offered = check("queue policy", services, bucket_account="444444444444").fix

    assert '"aws:SourceAccount":"444444444444"' in offered


def test_without_a_bucket_the_senders_are_not_known() -> None:
    """Nothing is guessed."""
    finding = check("queue policy", {}, bucket="")

    assert finding.status is CheckStatus.NOT_CHECKED
    assert "TRAILSINK_BUCKET is not set" in finding.evidence


@dataclass
class Kms:
    """One key with its policy."""

    policy: list[dict[str, Any]]
    state: str = "Enabled"

    def describe_key(self, *, KeyId: str) -> dict[str, Any]:  # noqa: N803
        assert KeyId == "alias/mine"
        return {"KeyMetadata": {"KeyId": "1234", "KeyState": self.state}}

    def get_key_policy(self, *, KeyId: str, PolicyName: str) -> dict[str, Any]:  # noqa: N803
        assert (KeyId, PolicyName) == ("1234", "default")
        return {"Policy": json.dumps({"Statement": self.policy})}


@pytest.mark.parametrize(
    ("kms", "status", "words"),
    [
        (Kms([OWNER, for_s3("kms:GenerateDataKey*", "kms:Decrypt")]), CheckStatus.OK, "which S3 may use"),
        (Kms([OWNER, for_s3("kms:Decrypt")]), CheckStatus.FAULT, "does not allow S3 to use it"),
        (Kms([OWNER]), CheckStatus.FAULT, "does not allow S3 to use it"),
        (Kms([for_s3("kms:*")], "Disabled"), CheckStatus.FAULT, "is Disabled"),
        (Denied(), CheckStatus.NOT_CHECKED, "cannot be checked: AccessDenied"),
    ],
)
def test_s3_must_be_able_to_use_the_queues_key(kms: Any, status: CheckStatus, words: str) -> None:
    """Otherwise S3 drops its notifications silently: the key is the owner's to open."""
    sqs = make_sqs({"KmsMasterKeyId": "alias/mine"})

    finding = check("queue encryption", {"sqs": sqs, "kms": kms})

    assert finding.status is status
    assert words in finding.evidence
    assert bool(finding.fix) == (status is CheckStatus.FAULT)


@pytest.mark.parametrize(
    ("attributes", "status", "evidence"),
    [
        ({"SqsManagedSseEnabled": "true"}, "ok", "SSE-SQS"),
        ({"SqsManagedSseEnabled": "false"}, "warning", "none"),
        ({"KmsMasterKeyId": "alias/aws/sqs"}, "fault", "S3 cannot use the key alias/aws/sqs"),
    ],
)
def test_a_queue_needs_an_encryption_that_s3_can_use(attributes: dict[str, str], status: str, evidence: str) -> None:
    """The policy of AWS's own key cannot be changed."""
    finding = check("queue encryption", {"sqs": make_sqs(attributes)})

    assert (finding.status, finding.evidence) == (status, evidence)
