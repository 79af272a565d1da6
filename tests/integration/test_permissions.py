"""The roles of the template against what the code really calls: recorded, not listed.

Each door runs in a process of its own on the real parts, with a recorder in every AWS client and before the cluster.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.support.custom_resources import STACK, request, variables_of, waiting
from tests.support.event_files import event, log_file
from tests.support.http_server import Service, listening
from tests.unit.test_template import RESOURCES
from worker.deploy.needs import NEEDS
from worker.pipeline.notifications import s3_notification
from worker.pipeline.objects import ObjectRef

if TYPE_CHECKING:
    from tests.conftest import Bench

ROOT = Path(__file__).parents[2]

CALL = """
import importlib, json, sys, time

module, name = sys.argv[1:]
until = time.monotonic() + 60

class Context:
    def get_remaining_time_in_millis(self):
        return int((until - time.monotonic()) * 1000)

print(json.dumps(getattr(importlib.import_module(module), name)(json.load(sys.stdin), Context())))
"""

# Operations whose permission has another name, or needs more than one:
# docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
NAMED_OTHERWISE = {
    "s3:GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "s3:PutBucketNotificationConfiguration": "s3:PutBucketNotification",
    "s3:HeadObject": "s3:GetObject",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:SendMessageBatch": "sqs:SendMessage",
}

# What the roles may beyond the calls of the code, each with its reason.
BY_LAMBDA = {
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
}  # the event source mapping, as the role
BY_S3 = {"s3:ListBucket"}  # S3 asks for it when a GetObject finds nothing, to say 404 instead of 403
LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}  # by Lambda, for what is printed
KEYS = {"kms:Decrypt", "kms:GenerateDataKey"}  # by S3, SQS and Secrets Manager on the caller's behalf
SERVERLESS = {"aoss:APIAccessAll"}  # instead of es:ESHttp*


class Recorded:
    """The environment of a door that is listened to, and what it called."""

    def __init__(self, folder: Path, environment: dict[str, str], cluster: Service) -> None:
        self._record, self._cluster = folder / "calls", cluster
        self.environment = os.environ | environment
        self.environment |= {
            "TRAILSINK_OPENSEARCH_URL": cluster.url,
            "TRAILSINK_TEST_RECORD": str(self._record),
            "BOTOCORE_EXPERIMENTAL__PLUGINS": "recorder=tests.support.botocore_recorder",
        }

    def call(self, door: str, event: dict[str, Any]) -> Any:
        module, _, name = door.rpartition(".")
        done = subprocess.run(
            [sys.executable, "-c", CALL, module, name],
            env=self.environment,
            cwd=ROOT,
            input=json.dumps(event),
            capture_output=True,
            text=True,
            timeout=360,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._record.read_text(encoding="utf-8").splitlines()]

    @property
    def permissions(self) -> set[str]:
        """What a role must allow for the calls to AWS and to the cluster."""
        asked = [f"{one['service']}:{one['operation']}" for one in self.calls]
        named = {NAMED_OTHERWISE.get(one, one) for one in asked}
        named |= {"s3:GetObjectVersion" for one in self.calls if "VersionId" in one["members"]}
        return named | {f"es:ESHttp{method.capitalize()}" for method, *_ in self._cluster.seen}


@pytest.fixture
def cluster(bench: Bench) -> Any:
    """The real node, behind a server that remembers what it was asked."""
    with listening(Service(target=bench.settings.opensearch_url)) as service:
        yield service


@pytest.fixture
def recorded(tmp_path: Path, environment: dict[str, str], cluster: Service) -> Recorded:
    return Recorded(tmp_path, environment, cluster)


def allowed(role: str) -> set[str]:
    """Every action that a role of the template allows, whatever the parameters."""
    found: set[str] = set()
    for policy in RESOURCES[role]["Properties"]["Policies"]:
        for written in policy["PolicyDocument"]["Statement"]:
            statement = written["Fn::If"][1] if "Fn::If" in written else written
            actions = statement["Action"]
            found |= (
                set(actions if isinstance(actions, list) else [actions]) if statement["Effect"] == "Allow" else set()
            )
    return found


def test_the_loaders_role_is_what_the_loader_calls(bench: Bench, recorded: Recorded, cluster: Service) -> None:
    """One action too few stops the pipeline at the first odd file; one too many is what an attacker is glad of."""
    secret = boto3.client("secretsmanager").create_secret(
        Name="cluster", SecretString='{"username":"a","password":"b"}'
    )
    recorded.environment |= {"TRAILSINK_OPENSEARCH_SECRET_ARN": secret["ARN"], "TRAILSINK_RETRY_SECONDS": "1"}
    bench.s3.put_bucket_versioning(Bucket=bench.settings.bucket, VersioningConfiguration={"Status": "Enabled"})
    version = bench.s3.put_object(Bucket=bench.settings.bucket, Key="versioned", Body=log_file(event()))["VersionId"]
    bench.put("good", log_file(event()))
    bench.put("truncated", log_file(event())[:-9])
    refs = [ObjectRef(bench.settings.bucket, key) for key in ("good", "truncated", "missing")]
    bodies = [
        s3_notification(ref) for ref in (*refs, ObjectRef(bench.settings.bucket, "versioned", version_id=version))
    ]
    for body in bodies:
        bench.sqs.send_message(QueueUrl=bench.settings.queue_url, MessageBody=body)

    read = recorded.call("worker.handler.handler", received(bench))
    bench.put("throttled", log_file(event()))
    cluster.replies = [(429, b"{}")] * 20
    back = recorded.call("worker.handler.handler", received(bench))

    assert read == {"batchItemFailures": []}
    assert len(back["batchItemFailures"]) >= 1
    beyond = BY_LAMBDA | BY_S3 | LOGS | KEYS | SERVERLESS
    assert recorded.permissions <= allowed("LoaderRole")
    assert allowed("LoaderRole") - recorded.permissions == beyond - recorded.permissions
    assert {path.partition("?")[0] for _, path, *_ in cluster.seen} == {"/_bulk"}  # all that the domain's policy allows


def received(bench: Bench) -> dict[str, Any]:
    """Everything in the source queue, as the event source mapping gives it to the function."""
    answer = bench.sqs.receive_message(QueueUrl=bench.settings.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=2)
    return {
        "Records": [
            {"messageId": one["MessageId"], "receiptHandle": one["ReceiptHandle"], "body": one["Body"]}
            for one in answer["Messages"]
        ]
    }


def test_the_notifiers_role_is_what_the_notifier_calls(bench: Bench, recorded: Recorded) -> None:
    """It may touch the notifications of one bucket, and nothing else of it."""
    names: Any = ["QueueArn"]
    queue = bench.sqs.get_queue_attributes(QueueUrl=bench.settings.queue_url, AttributeNames=names)["Attributes"]
    bench.s3.create_bucket(Bucket="of-a-trail")
    properties = {"Bucket": "of-a-trail", "QueueArn": queue["QueueArn"], "Prefix": "AWSLogs/", "Suffix": ".json.gz"}

    properties |= {"ConfigurationId": "trailsink-test", "BucketAccount": "000000000000"}

    with waiting() as waits:
        recorded.environment |= os.environ | variables_of(properties) | {"TRAILSINK_STACK_ID": STACK}
        event = request("Create", waits, {})
        recorded.call("worker.deploy.notification_handler.bucket_notification", event)
        made = waits.answers[0]
        recorded.call(
            "worker.deploy.notification_handler.bucket_notification",
            event | {"RequestType": "Delete", "PhysicalResourceId": made["PhysicalResourceId"]},
        )

    assert [one["Status"] for one in waits.answers] == ["SUCCESS", "SUCCESS"]
    assert recorded.permissions == allowed("BucketNotificationRole") - LOGS


def test_the_installers_role_is_what_the_set_up_calls(bench: Bench, recorded: Recorded, cluster: Service) -> None:
    """It reads and puts; it deletes nothing, and cannot search."""
    secret = boto3.client("secretsmanager").create_secret(
        Name="cluster", SecretString='{"username":"a","password":"b"}'
    )
    properties = {
        "OpensearchUrl": cluster.url,
        "OpensearchAuth": "basic",
        "OpensearchService": "es",
        "OpensearchSecretArn": secret["ARN"],
        "IndexPrefix": bench.prefix,
        "RetentionDays": "30",
        "LoaderRoleArn": "",
    }

    bench.opensearch.indices.delete_index_template(name=f"trailsink-{bench.prefix}")
    with waiting() as waits:
        recorded.environment |= os.environ | variables_of(properties) | {"TRAILSINK_STACK_ID": STACK}
        recorded.call("worker.deploy.cluster_handler.cluster_setup", request("Create", waits, {}))

    assert [one["Status"] for one in waits.answers] == ["SUCCESS"]
    assert recorded.permissions <= allowed("ClusterSetupRole")
    assert allowed("ClusterSetupRole") - recorded.permissions == LOGS | SERVERLESS | {"kms:Decrypt"}


def test_the_documents_list_what_a_consumer_may() -> None:
    """Whoever writes the role by hand copies it from there."""
    (run,) = (need for need in NEEDS if need.command == "run")

    listed = {action for actions in run.aws.values() for action in actions}

    assert listed == {action for action in allowed("LoaderRole") if action.startswith(("s3:", "sqs:"))} | {
        "kms:Decrypt",
        "kms:GenerateDataKey",
    }
