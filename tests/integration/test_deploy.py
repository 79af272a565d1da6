"""`trailsink deploy` and `destroy` with the real template; the stand-in for AWS creates what it declares."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

from infra.generate.json_documents import Deployment, read
from tests.support.cli import TRAILSINK, trailsink
from tests.support.event_files import event, log_file
from tests.support.http_server import Reply, Service, listening
from worker.deploy.account import Account
from worker.deploy.bundle import Target, build
from worker.deploy.code_bucket import own_bucket_name
from worker.deploy.stack_needs import BUCKET_ACTIONS, DEPLOY
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Bench

pytestmark = pytest.mark.timeout(720)

BUCKET, STACK = "a-trail", "trailsink-test"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The function's bundle for this interpreter, with which the stand-in runs functions."""
    try:
        return build(Target.of_this_machine(), tmp_path_factory.mktemp("bundle") / "bundle.zip").path
    except SetupError as error:
        pytest.skip(f"the bundle cannot be built here: {error}")


@dataclass(frozen=True)
class Deploy:
    """The command, with the options that it needs on this machine."""

    bundle: Path
    settings: dict[str, str]

    def arguments(self, *arguments: str, **changes: str) -> list[str]:
        command = ["deploy", "--bucket", BUCKET, "--stack", STACK, "--bundle", str(self.bundle), "--yes"]
        settings = (self.settings | changes).items()
        return [*command, *(word for name, value in settings for word in ("--set", f"{name}={value}")), *arguments]

    def __call__(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return trailsink(*self.arguments(*arguments, **changes))


@pytest.fixture
def deploy(bench: Bench, bundle: Path) -> Deploy:
    """For a bucket without notifications, and the node of the local stack."""
    bench.s3.create_bucket(Bucket=BUCKET)
    target = Target.of_this_machine()
    settings = {
        "Destination": "url",
        "EndpointUrl": bench.settings.opensearch_url,
        "IndexPrefix": bench.prefix,
        "Replicas": "0",
        "Architecture": target.architecture,
        "Runtime": target.runtime,
    }
    return Deploy(bundle, settings)


def wait_for(condition: Callable[[], object], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.2)


def add_other_notification(bench: Bench, prefix: str) -> None:
    """Add a notification of another tool to the bucket."""
    url = bench.sqs.create_queue(QueueName="of-others")["QueueUrl"]
    arn = bench.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    bench.s3.put_bucket_notification_configuration(
        Bucket=BUCKET,
        NotificationConfiguration={
            "QueueConfigurations": [
                {
                    "Id": "of-others",
                    "QueueArn": arn,
                    "Events": ["s3:ObjectCreated:*"],
                    "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}},
                }
            ]
        },
    )


def notification_ids(bench: Bench) -> list[str]:
    """The ids of the bucket's notifications."""
    configuration = bench.s3.get_bucket_notification_configuration(Bucket=BUCKET)
    return sorted(entry["Id"] for entry in configuration.get("QueueConfigurations", []))


def test_the_template_is_deployed_works_is_updated_and_leaves_nothing(bench: Bench, deploy: Deploy) -> None:
    """From a bucket to searchable events with one command, and a clean removal with another."""
    add_other_notification(bench, "other/")
    good = [event() for _ in range(20)]

    created = deploy()
    both = notification_ids(bench)
    for number in range(10):
        bench.put(f"AWSLogs/{number}.json.gz", log_file(*good[2 * number : 2 * number + 2]), BUCKET)
    bench.put("AWSLogs/bad.json.gz", log_file(event())[:-9], BUCKET)
    letters = bench.sqs.get_queue_url(QueueName=f"{STACK}-dead-letters")["QueueUrl"]
    wait_for(lambda: bench.count() >= 20 and depth(bench, letters) == 1)
    same = deploy()
    changed = deploy(MaximumConcurrency="7")
    destroyed = trailsink("destroy", "--stack", STACK, "--yes")

    assert created.returncode == 0, created.stdout + created.stderr
    assert "create SourceQueue (AWS::SQS::Queue)" in created.stdout
    assert f"answers at {bench.settings.opensearch_url}: full mapping" in created.stdout
    assert f"\nNext: trailsink doctor --stack {STACK}\n" in created.stdout
    assert len(both) == 2
    assert {document["eventID"] for document in good} <= set(bench.documents())
    assert same.stdout.endswith(f"The stack {STACK} is up to date: no changes.\n")
    assert changed.returncode == 0, changed.stdout + changed.stderr
    assert "modify LoaderSource (AWS::Lambda::EventSourceMapping)" in changed.stdout
    assert destroyed.returncode == 0, destroyed.stdout + destroyed.stderr
    assert notification_ids(bench) == ["of-others"]
    assert STACK not in str(bench.sqs.list_queues()["QueueUrls"])
    assert boto3.client("lambda").list_functions()["Functions"] == []
    assert boto3.client("lambda").list_event_source_mappings()["EventSourceMappings"] == []
    assert bench.count() >= 20  # the events stay
    assert (
        f"{bench.prefix}-* of {bench.settings.opensearch_url}, with their template, policy and role, will stay"
        in destroyed.stdout
    )
    assert "trailsink-code" not in str(bench.s3.list_buckets()["Buckets"])


def test_what_the_function_hands_back_stays_in_the_queue_until_it_can_be_indexed(bench: Bench, deploy: Deploy) -> None:
    """Through the event source mapping: of one batch, the files of a blocked index wait and all others are indexed."""
    assert deploy().returncode == 0
    blocked = f"{bench.prefix}-2026-02-02"
    bench.opensearch.indices.create(index=blocked, body={"settings": {"index.blocks.write": True}})
    good = [event(eventTime="2026-01-01T10:00:00Z") for _ in range(6)]
    waiting = [event(eventTime="2026-02-02T10:00:00Z") for _ in range(2)]
    for number, document in enumerate([*good, *waiting]):
        bench.put(f"AWSLogs/{number}.json.gz", log_file(document), BUCKET)
    queue = bench.sqs.get_queue_url(QueueName=STACK)["QueueUrl"]
    letters = bench.sqs.get_queue_url(QueueName=f"{STACK}-dead-letters")["QueueUrl"]
    wait_for(lambda: bench.count() == 6 and depth(bench, queue) == 2)

    bench.opensearch.indices.put_settings(index=blocked, body={"index.blocks.write": None})
    wait_for(lambda: depth(bench, queue) == 0, 120)  # the first backoff is half a minute

    assert set(bench.documents()) == {document["eventID"] for document in [*good, *waiting]}
    assert depth(bench, letters) == 0
    assert trailsink("destroy", "--stack", STACK, "--yes").returncode == 0


def depth(bench: Bench, url: str) -> int:
    """The number of messages in a queue, hidden ones included."""
    counts = bench.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return int(counts["ApproximateNumberOfMessages"]) + int(counts["ApproximateNumberOfMessagesNotVisible"])


@pytest.mark.usefixtures("bench")
def test_another_partition_is_refused_before_anything_is_created(deploy: Deploy) -> None:
    """The cluster's indices hold a day each: with a month, every event would be indexed a second time."""
    refused = deploy(IndexPartition="month")

    assert (refused.returncode, "indexed a second time" in refused.stderr) == (1, True), refused.stderr
    assert "ended as" not in refused.stderr
    assert f"There is no stack {STACK}" in trailsink("doctor", "--stack", STACK).stderr


def test_a_deployment_that_fails_says_why_and_can_be_repeated(bench: Bench, deploy: Deploy) -> None:
    """Somebody else's template has the name of ours, and is not overwritten."""
    name, theirs = f"trailsink-{bench.prefix}", {"index_patterns": [f"{bench.prefix}-*"], "priority": 500}
    bench.opensearch.indices.put_index_template(name=name, body=theirs)
    failed = deploy()
    examined = trailsink("doctor", "--stack", STACK)
    looked = trailsink("status", "--stack", STACK)

    bench.opensearch.indices.delete_index_template(name=name)
    repeated = deploy()

    assert failed.returncode == 1
    assert f"The stack {STACK} ended as ROLLBACK_COMPLETE. The first failure was ClusterSetup" in failed.stderr
    assert "trailsink did not create it" in failed.stderr
    # The environment names another pipeline, which is well: it is not the stack's.
    assert examined.returncode == 1
    assert examined.stdout.startswith(f"fault        stack: the stack {STACK} is ROLLBACK_COMPLETE")
    assert f"trailsink deploy --stack {STACK}" in examined.stdout
    assert "source queue" not in examined.stdout
    create = f"The stack {STACK} is ROLLBACK_COMPLETE, and has no queue. Create it: trailsink deploy --stack {STACK}"
    assert (looked.returncode, looked.stdout, create in looked.stderr) == (1, "", True), looked.stderr
    assert (
        f"The stack {STACK} is ROLLBACK_COMPLETE: it must be deleted before it can be created again." in repeated.stdout
    )
    assert repeated.returncode == 0, repeated.stdout + repeated.stderr


def test_the_data_are_deleted_on_request_only_and_nothing_else_with_them(bench: Bench, deploy: Deploy) -> None:
    """Another tool's indices may have the same prefix. Everything that the cluster had before must stay."""
    assert deploy().returncode == 0
    bench.opensearch.index(
        index=f"{bench.prefix}-insights-2026-01-31", body={"of": "others"}, params={"refresh": "true"}
    )
    for index in ("2026-01-31", "2026-01", "undated-2026-01-31"):
        bench.opensearch.index(index=f"{bench.prefix}-{index}", body={"eventName": "A"}, params={"refresh": "true"})

    destroyed = trailsink("destroy", "--stack", STACK, "--delete-data", "--yes")

    assert destroyed.returncode == 0, destroyed.stdout + destroyed.stderr
    assert "These are 0 messages and 0 dead letters." in destroyed.stdout
    assert "These are 3 events in 3 indices." in destroyed.stdout
    assert "3 indices with 3 events are deleted." in destroyed.stdout
    assert f"The index template trailsink-{bench.prefix} is deleted." in destroyed.stdout
    assert list(bench.opensearch.indices.get(index=f"{bench.prefix}-*")) == [f"{bench.prefix}-insights-2026-01-31"]
    assert not bench.opensearch.indices.exists_index_template(name=f"trailsink-{bench.prefix}")


def test_a_cluster_that_cannot_be_cleared_is_reported_before_the_stack_is_deleted(bench: Bench, deploy: Deploy) -> None:
    """Afterwards nothing would say which indices belonged to the stack."""
    assert deploy(EndpointUrl="http://127.0.0.1:9", ClusterSetupBy="operator").returncode == 0

    failed = trailsink("destroy", "--stack", STACK, "--delete-data", "--yes")

    assert failed.returncode == 1
    assert failed.stderr == f"Error: The indices {bench.prefix}-* cannot be listed: no connection.\n"
    assert (
        boto3.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"
    )


def test_a_domain_is_deleted_with_its_password(bench: Bench) -> None:
    """The stack retains both on purpose, so the command has to delete them."""
    domains, secrets = boto3.client("opensearch"), boto3.client("secretsmanager")
    domains.create_domain(DomainName="ours")
    secret = secrets.create_secret(Name="of-ours", SecretString="{}")["ARN"]

    lines = list(Account(boto3.Session()).delete_domain("ours", secret))

    assert bench.prefix
    assert lines[0].startswith("The domain ours is being deleted")
    assert domains.list_domain_names()["DomainNames"] == []
    assert "DeletedDate" in secrets.describe_secret(SecretId=secret)


@pytest.mark.parametrize("command", ["deploy", "destroy"])
def test_an_interrupted_command_continues_when_it_is_repeated(
    bench: Bench, deploy: Deploy, tmp_path: Path, command: str
) -> None:
    """A laptop is closed or a pipeline cancelled, and CloudFormation still continues."""
    created = deploy() if command == "destroy" else None
    arguments = ["destroy", "--stack", STACK, "--yes"] if created else deploy.arguments()
    with (tmp_path / "output").open("w+") as output:
        running = subprocess.Popen([TRAILSINK, *arguments], stdout=output, stderr=output, env=os.environ)
        wait_for(lambda: f"{'DELETE' if created else 'CREATE'}_" in (tmp_path / "output").read_text())
        running.send_signal(signal.SIGINT)
        running.wait(180)

    repeated = trailsink(*arguments)

    assert repeated.returncode == 0, repeated.stdout + repeated.stderr
    assert repeated.stdout.endswith(
        (
            f"The stack {STACK} is up to date: no changes.\n",
            "is deleted.\n",
            f"There is no stack {STACK} in us-east-1.\n",
        )
    )
    assert bench.prefix


class DenyingService(Service):
    """CloudFormation and S3 for credentials that lack one permission."""

    action = b""

    def serve(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        if self.action in body or (method == "PUT" and self.action in path.encode()):
            error = b"<Error><Code>AccessDenied</Code><Message>not authorized</Message></Error>"
            return 403, b"<ErrorResponse>" + error + b"</ErrorResponse>"
        return super().serve(method, path, headers, body)


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        (b"Action=CreateChangeSet", "Error: The change set cannot be created: AccessDenied"),
        (b"/trailsink/", "Error: The zip file cannot be uploaded: "),
        (b"Action=DescribeStacks", "Error: The stack trailsink-test cannot be read: AccessDenied"),
        (b"Action=GetCallerIdentity", "Error: The AWS credentials cannot be used: AccessDenied"),
    ],
)
def test_a_missing_permission_is_one_sentence_and_nothing_is_left(
    bench: Bench,
    deploy: Deploy,
    monkeypatch: pytest.MonkeyPatch,
    action: bytes,
    sentence: str,
) -> None:
    """It names what is denied, without a traceback."""
    denying = DenyingService(target=os.environ["AWS_ENDPOINT_URL"])
    denying.action = action
    with listening(denying) as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL", service.url)
        refused = deploy()
    monkeypatch.undo()

    assert refused.returncode == 1
    assert refused.stderr.startswith(sentence), refused.stderr
    assert "Traceback" not in refused.stderr
    assert bench.sqs.list_queues(QueueNamePrefix=STACK).get("QueueUrls", []) == []


# An upload that somebody else replaces


class SwappingService(Service):
    """S3 with a stranger who replaces each upload of one kind as soon as it is there."""

    extension = ""
    replace: Callable[[str], object]

    def serve(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        reply = super().serve(method, path, headers, body)
        if method == "PUT" and path.partition("?")[0].endswith(f".{self.extension}"):
            self.replace(path.partition("?")[0])
        return reply


def swap(bench: Bench, extension: str, content: bytes) -> SwappingService:
    def replace(path: str) -> None:
        bucket, _, key = path.lstrip("/").partition("/")
        bench.s3.put_object(Bucket=bucket, Key=key, Body=content)

    service = SwappingService(target=os.environ["AWS_ENDPOINT_URL"])
    service.extension, service.replace = extension, replace
    return service


def test_a_bundle_that_is_replaced_after_its_upload_is_reported_by_deploy_and_doctor(
    bench: Bench, deploy: Deploy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new domain takes half an hour, and only then Lambda reads the bundle. The key's name stays as it was."""
    other = tmp_path / "other.zip"
    shutil.copy(deploy.bundle, other)
    with zipfile.ZipFile(other, "a") as archive:
        archive.writestr("theirs.py", "print('theirs')")
    with listening(swap(bench, "zip", other.read_bytes())) as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", service.url)
        deployed = deploy()
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    unchanged = deploy()
    examined = trailsink("doctor", "--stack", STACK)

    assert deployed.returncode == 1
    for name in ("LoaderFunction", "ClusterSetupFunction", "BucketNotificationFunction"):
        assert f"{STACK}-{name}" in deployed.stderr
    assert "runs other code than the bundle that was uploaded" in deployed.stderr
    assert (unchanged.returncode, "runs other code" in unchanged.stderr) == (1, True)
    assert "runs other code than trailsink/" in examined.stdout
    assert "bundle" in examined.stderr


def test_a_template_that_is_replaced_after_its_upload_is_not_executed(
    bench: Bench, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would run with the deployer's permissions, and may create roles."""
    text = trailsink("template").stdout
    theirs = text.replace("Resources:\n", "Resources:\n  Theirs: {Type: AWS::IAM::User}\n", 1)
    with listening(swap(bench, "yaml", theirs.encode())) as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", service.url)
        refused = deploy()

    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: CloudFormation has read another template than the one that was uploaded")
    assert bench.sqs.list_queues(QueueNamePrefix=STACK).get("QueueUrls", []) == []
    assert boto3.client("iam").list_users()["Users"] == []


class OwnerService(Service):
    """S3 that holds a request to the account that it expects as the owner, as AWS does; the stand-in does not."""

    bucket, owner = "", "666666666666"

    def serve(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        given = {name.lower(): value for name, value in headers.items()}
        expected = given.get("x-amz-expected-bucket-owner", self.owner)
        if path.lstrip("/").partition("/")[0].partition("?")[0] == self.bucket and expected != self.owner:
            return 403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        return super().serve(method, path, headers, body)


def test_a_bucket_for_uploads_that_a_stranger_took_first_gets_nothing(
    bench: Bench, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name can be guessed, and its policy lets everybody in."""
    name = own_bucket_name("000000000000", "us-east-1")
    stranger = boto3.client("s3", aws_access_key_id=OwnerService.owner, aws_secret_access_key="secret")
    stranger.create_bucket(Bucket=name)
    owners = OwnerService(target=os.environ["AWS_ENDPOINT_URL"])
    owners.bucket = name
    with listening(owners) as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", service.url)
        refused = deploy()

    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Error: The bucket {name} belongs to another account, so nothing was uploaded.")
    assert stranger.list_objects_v2(Bucket=name).get("Contents", []) == []
    assert bench.sqs.list_queues(QueueNamePrefix=STACK).get("QueueUrls", []) == []


# Operations whose permission has another name; the first needs none.
NAMED_OTHERWISE = {
    "sts:GetCallerIdentity": "",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
}


def recorded(record: Path, *words: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Run the command, and return the permissions that its calls need."""
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "TRAILSINK_TEST_RECORD": str(record),
        "BOTOCORE_EXPERIMENTAL__PLUGINS": "recorder=tests.support.botocore_recorder",
    }
    done = subprocess.run(
        [TRAILSINK, *words], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    calls = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    names = [f"{call['service']}:{call['operation']}" for call in calls]
    return done, {NAMED_OTHERWISE.get(name, name) for name in names} - {""}


def test_a_plan_says_what_the_deployer_may_not_do(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudFormation says it after ten minutes, and rolls back."""
    iam, sts = boto3.client("iam"), boto3.client("sts")
    policy = json.loads(trailsink("permissions", "deploy").stdout)
    for statement in policy["Statement"]:
        statement["Resource"] = "*"  # the words that the reader has to replace
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    trusted = json.dumps({"Statement": [trust]})
    role = iam.create_role(RoleName="deployer", AssumeRolePolicyDocument=trusted)["Role"]
    iam.put_role_policy(RoleName="deployer", PolicyName="all", PolicyDocument=json.dumps(policy))
    credentials = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="ada")["Credentials"]
    of_root = deploy("--plan")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", credentials["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", credentials["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", credentials["SessionToken"])

    allowed = deploy("--plan")
    deny = {"Effect": "Deny", "Action": ["sqs:CreateQueue", "iam:PassRole"], "Resource": "*"}
    denying = json.dumps(policy | {"Statement": [*policy["Statement"], deny]})
    iam.put_role_policy(RoleName="deployer", PolicyName="all", PolicyDocument=denying)
    denied = deploy("--plan")

    assert "the rights for it is not known: arn:aws:iam::000000000000:root is neither a user" in of_root.stdout
    assert re.search(rf"IAM's simulation allows {role['Arn']} \d+ actions that it needs\.", allowed.stdout)
    assert f"IAM's simulation says that it denies {role['Arn']}, and CloudFormation would roll back:" in denied.stdout
    assert f"  iam:PassRole on arn:aws:iam::000000000000:role/{STACK}-*\n" in denied.stdout
    assert f"  sqs:CreateQueue on arn:aws:sqs:us-east-1:000000000000:{STACK}\n" in denied.stdout
    assert (of_root.returncode, allowed.returncode, denied.returncode) == (0, 0, 0)


def test_the_bundle_says_what_it_is_for_and_parameters_change_without_it(
    bench: Bench, deploy: Deploy, tmp_path: Path
) -> None:
    """A change of the retention replaced the functions' code by that of another processor."""
    other = "x86_64" if Target.of_this_machine().architecture == "arm64" else "arm64"
    contradicting = deploy(Architecture=other)
    no_bundle = deploy("--bundle", "/etc/hostname")
    planned, actions = recorded(tmp_path / "calls", *deploy.arguments("--plan"))
    del deploy.settings["Architecture"], deploy.settings["Runtime"]
    created = deploy()
    before = code_of(STACK)
    change = ("deploy", "--stack", STACK, "--set", "RetentionDays=31")
    plan = read(trailsink(*change, "--plan", "--json").stdout, Deployment)
    changed = trailsink(*change, "--yes")
    unchanged = trailsink(*change, "--yes", "--json")
    swapped = trailsink("deploy", "--stack", STACK, "--set", f"Architecture={other}", "--yes")
    exported = trailsink("env", "--stack", STACK)
    letters = trailsink("dlq", "list", "--json", "--stack", STACK)
    granted = json.loads(trailsink("--stack", STACK, "permissions", "run").stdout)["Statement"]

    assert f"so Architecture cannot be {other}" in contradicting.stderr
    assert "/etc/hostname is no bundle of trailsink" in no_bundle.stderr
    assert "This was the plan; nothing was changed. The template and the bundle are in s3://" in planned.stdout
    assert "create LoaderFunction (AWS::Lambda::Function)" in planned.stdout
    assert (planned.returncode, created.returncode) == (0, 0), created.stdout + created.stderr
    assert changed.returncode == 0, changed.stdout + changed.stderr
    assert "Template and code stay as they are" in changed.stdout
    assert "Runtime" not in changed.stdout
    assert f"`trailsink setup --stack {STACK} --existing` gives them the new one." in changed.stdout
    assert "so Architecture cannot change without a bundle" in swapped.stderr
    assert [change.action for change in plan[0].changes] == ["modify"] * len(plan[0].changes) != []
    assert (plan[0].plan, plan[0].status) == (True, "CREATE_COMPLETE")
    (after,) = read(unchanged.stdout, Deployment)
    assert (after.plan, after.changes, after.status) == (False, [], "UPDATE_COMPLETE")
    assert "is up to date: no changes." in unchanged.stderr
    assert code_of(STACK) == before
    assert actions <= {action for allowed in (BUCKET_ACTIONS, *DEPLOY.values()) for action in allowed}
    assert (letters.returncode, letters.stdout) == (0, ""), letters.stderr
    assert granted[0]["Resource"].endswith(f":{STACK}")
    assert "export TRAILSINK_RETENTION_DAYS=31" in exported.stdout.splitlines()
    assert f"export TRAILSINK_INDEX_PREFIX={bench.prefix}" in exported.stdout.splitlines()
    assert "unset TRAILSINK_BUCKET_ACCOUNT" in exported.stdout.splitlines()


def code_of(stack: str) -> dict[str, str]:
    """The parameters that say which code the functions run."""
    described = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]["Parameters"]
    values = {entry["ParameterKey"]: entry["ParameterValue"] for entry in described}
    return {name: values[name] for name in ("CodeKey", "CodeBucket", "Architecture", "Runtime")}


def test_a_notification_in_the_way_is_said_before_anything_is_created(bench: Bench, deploy: Deploy) -> None:
    """It was said after the whole stack had been built, by a rollback of 25 resources."""
    add_other_notification(bench, "AWSLogs/")

    refused = deploy()

    assert refused.returncode == 1
    assert "has a notification in the way: configuration of-others announces" in refused.stderr
    assert trailsink("destroy", "--stack", STACK, "--yes").stdout.endswith(f"no stack {STACK} in us-east-1.\n")


def test_what_is_missing_is_reported_before_anything_is_created(bench: Bench, deploy: Deploy) -> None:
    """A misspelt option must not cost ten minutes and a rollback."""
    no_bundle = deploy("--bundle", "not-there.zip")
    no_bucket = deploy("--bucket", "no-such-bucket-here")
    no_parameter = deploy(Retention="1")
    nothing = trailsink("destroy", "--stack", "no-such-stack", "--yes")

    assert "Error: The bundle not-there.zip cannot be read: No such file or directory" in no_bundle.stderr
    assert no_bucket.stderr == "Error: There is no bucket no-such-bucket-here.\n"
    assert no_parameter.stderr == "Error: The template has no parameter Retention.\n"
    assert nothing.stdout.endswith("There is no stack no-such-stack in us-east-1.\n")
    assert bench.prefix


def test_the_template_is_printed_as_it_is() -> None:
    """A deployment pipeline of one's own needs no checkout."""
    printed = trailsink("template")

    assert printed.stdout == (Path(__file__).parents[2] / "infra" / "template.yaml").read_text(encoding="utf-8")
