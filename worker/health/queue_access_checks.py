"""The doctor's checks of who may send to the source queue: its policy, and the key that encrypts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_text
from worker.health.check import check
from worker.health.findings import Judgement
from worker.health.iam import (
    EVENT_BRIDGE,
    S3,
    SNS,
    allows,
    external_principals,
    lacks_source_account,
    parse_statements,
)
from worker.health.observe import require
from worker.health.queue_checks import set_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from worker.health.aws_facts import AwsFacts
    from worker.health.iam import Statement
    from worker.health.queue_attributes import QueueAttributes
    from worker.health.trail_checks import Announcer

_SERVICE_NAMES = {S3: "S3", SNS: "SNS", EVENT_BRIDGE: "EventBridge"}

# docs.aws.amazon.com/AmazonS3/latest/userguide/grant-destinations-permissions-to-s3.html
_KEY_ACTIONS = ("kms:GenerateDataKey", "kms:Decrypt")


# What must be nobody else's to do.
_USES = (
    "sqs:SendMessage",
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibility",
    "sqs:PurgeQueue",
    "sqs:SetQueueAttributes",
    "sqs:AddPermission",
    "sqs:RemovePermission",
    "sqs:DeleteQueue",
    "sqs:StartMessageMoveTask",
)


def _statements(queue: QueueAttributes) -> list[Statement]:
    return parse_statements(queue.attributes.get("Policy"))


def _account(queue: QueueAttributes) -> str:
    return queue.arn.split(":")[4]


class QueueAccessChecks:
    """Whether everything that announces files to the source queue may send there.

    `bucket_account` is the account that owns the bucket, "" for the queue's own.
    """

    def __init__(self, facts: AwsFacts, announcers: Callable[[], Sequence[Announcer]], bucket_account: str) -> None:
        self._facts, self._announcers, self._bucket_account = facts, announcers, bucket_account

    @property
    def _source(self) -> QueueAttributes:
        return require(self._facts.source_queue, "the source queue cannot be checked")

    @check("queue policy")
    def policy(self) -> Iterator[Judgement]:
        """Check that each announcer may send to the queue."""
        statements = _statements(self._source)
        announcers = self._announcers()
        if not announcers:
            yield Judgement.not_checked("TRAILSINK_BUCKET is not set, so the senders it must allow are not known")
        for service, arn in announcers:
            name = _SERVICE_NAMES.get(service, service)
            if allows(statements, service, "sqs:SendMessage", arn):
                yield Judgement.ok(f"allows {name} to send for {arn}")
            else:
                statement = msgspec.json.encode(self._statement(service, arn)).decode()
                yield Judgement.fault(
                    f"does not allow {name} to send for {arn}", f"add to the queue's Policy: {statement}"
                )

    def _statement(self, service: str, source_arn: str) -> dict[str, Any]:
        """Return the statement of infra/template.yaml for an announcer."""
        condition: dict[str, Any] = {"ArnEquals": {"aws:SourceArn": source_arn}}
        if service == S3:  # the other ARNs contain the account; a deleted bucket's name can be taken by another one
            condition["StringEquals"] = {"aws:SourceAccount": self._bucket_account or _account(self._source)}
        return {
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sqs:SendMessage",
            "Resource": self._source.arn,
            "Condition": condition,
        }

    @check("queue access")
    def access(self) -> Iterator[Judgement]:
        """Check that nobody else may use the queues: who sends chooses what is read, who receives hides files."""
        open_to = [
            f"{name} to {who}"
            for name, queue in (("source queue", self._source), ("dead-letter queue", self._dead_letters))
            for who in external_principals(_statements(queue), _USES, _account(queue))
        ]
        statements = [self._statement(service, arn) for service, arn in self._announcers()]
        fix = f"let the source queue's Policy allow only: {msgspec.json.encode(statements).decode()}"
        if open_to:
            # Without a bucket it is not known who must send, and nobody at all would lose files.
            known = statements and open_to[0].startswith("source")
            others = "remove these statements from the policies of the queues"
            yield Judgement.fault(f"the policies open the {', the '.join(open_to)}", fix if known else others)
        elif unowned := [arn for service, arn in self._announcers() if self._lacks_account(service, arn)]:
            evidence = f"S3 may send for {', '.join(unowned)}, whoever owns it: aws:SourceAccount is not named"
            yield Judgement.warning(evidence, fix)
        else:
            yield Judgement.ok("only this account and the announcers may use the queues")

    @property
    def _dead_letters(self) -> QueueAttributes:
        return require(self._facts.dead_letter_queue, "the dead-letter queue cannot be checked")

    def _lacks_account(self, service: str, arn: str) -> bool:
        return service == S3 and lacks_source_account(_statements(self._source), service, "sqs:SendMessage", arn)

    @check("queue encryption")
    def encryption(self) -> Iterator[Judgement]:
        """Check that each announcer can use the queue's key."""
        attributes = self._source.attributes
        if key := attributes.get("KmsMasterKeyId", ""):
            yield self._judge_key(key, [service for service, _ in self._announcers()] or [S3])
        elif attributes.get("SqsManagedSseEnabled") == "true":
            yield Judgement.ok("SSE-SQS")
        else:
            yield Judgement.warning("none", set_attributes(self._source.url, SqsManagedSseEnabled="true"))

    def _judge_key(self, key: str, services: Sequence[str]) -> Judgement:
        names = ", ".join(_SERVICE_NAMES.get(service, service) for service in services)
        if key.endswith("alias/aws/sqs"):
            fix = "use SSE-SQS, or a key of your own whose policy allows the service to use it"
            return Judgement.fault(f"{names} cannot use the key alias/aws/sqs", fix)
        kms = self._facts.client("kms")
        try:
            metadata: Any = kms.describe_key(KeyId=key)["KeyMetadata"]
            policy = kms.get_key_policy(KeyId=metadata["KeyId"], PolicyName="default")["Policy"]
        except (ClientError, BotoCoreError) as error:
            return Judgement.not_checked(
                f"whether {names} may use the key {key} cannot be checked: {error_text(error)}"
            )
        if metadata.get("KeyState", "Enabled") != "Enabled":
            fix = f"aws kms enable-key --key-id {metadata['KeyId']}"
            if metadata["KeyState"] == "PendingDeletion":
                fix = f"aws kms cancel-key-deletion --key-id {metadata['KeyId']}, then {fix}"
            return Judgement.fault(f"the key {key} is {metadata['KeyState']}: no message gets in or out", fix)
        statements = parse_statements(policy)
        denied = [
            service for service in services if not all(allows(statements, service, action) for action in _KEY_ACTIONS)
        ]
        if denied:
            actions = " and ".join(_KEY_ACTIONS)
            fix = f"allow {', '.join(denied)} to use {actions} in the policy of the key {metadata['KeyId']}"
            return Judgement.fault(f"the policy of the key {key} does not allow {names} to use it", fix)
        return Judgement.ok(f"key {key}, which {names} may use")
