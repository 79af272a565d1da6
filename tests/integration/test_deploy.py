"""`trailsink deploy` and `destroy` with the template as it is; the stand-in for AWS makes what it says."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

from tests.support.cli import TRAILSINK, trailsink
from tests.support.event_files import event, log_file
from tests.support.http_server import Reply, Service, listening
from worker.deploy.account import Account
from worker.deploy.bundle import Target, build
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Bench

pytestmark = pytest.mark.timeout(240)

BUCKET, STACK = "a-trail", "trailsink-test"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The function's bundle for this interpreter, on which the stand-in runs functions."""
    try:
        return build(Target.of_this_machine(), tmp_path_factory.mktemp("bundle") / "bundle.zip").path
    except SetupError as error:
        pytest.skip(f"the bundle cannot be built here: {error}")


@dataclass(frozen=True)
class Deploy:
    """The command, with what it needs to be told here."""

    bundle: Path
    settings: dict[str, str]

    def words(self, *words: str, **more: str) -> list[str]:
        given = [word for name, value in (self.settings | more).items() for word in ("--set", f"{name}={value}")]
        asked = ["deploy", "--bucket", BUCKET, "--stack", STACK, "--bundle", str(self.bundle), "--yes"]
        return [*asked, *given, *words]

    def __call__(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return trailsink(*self.words(*words, **more))


@pytest.fixture
def deploy(bench: Bench, bundle: Path) -> Deploy:
    """For a bucket that tells nobody yet, and the node that is there."""
    bench.s3.create_bucket(Bucket=BUCKET)
    here = Target.of_this_machine()
    settings = {
        "Destination": "url",
        "EndpointUrl": bench.settings.opensearch_url,
        "IndexPrefix": bench.prefix,
        "Replicas": "0",
        "Architecture": here.architecture,
        "Runtime": here.runtime,
    }
    return Deploy(bundle, settings)


def wait_for(what: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.2)


def tell_somebody_else(bench: Bench, prefix: str) -> None:
    """Give the bucket a notification of others."""
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


def told(bench: Bench) -> list[str]:
    """Name the notifications of the bucket."""
    found = bench.s3.get_bucket_notification_configuration(Bucket=BUCKET)
    return sorted(one["Id"] for one in found.get("QueueConfigurations", []))


def test_the_template_is_deployed_works_is_changed_and_leaves_nothing(bench: Bench, deploy: Deploy) -> None:
    """From a bucket to searchable events with one command, and a clean way out with another."""
    tell_somebody_else(bench, "other/")
    good = [event() for _ in range(20)]

    made = deploy()
    both = told(bench)
    for number in range(10):
        bench.put(f"AWSLogs/{number}.json.gz", log_file(*good[2 * number : 2 * number + 2]), BUCKET)
    bench.put("AWSLogs/bad.json.gz", log_file(event())[:-9], BUCKET)
    letters = bench.sqs.get_queue_url(QueueName=f"{STACK}-dead-letters")["QueueUrl"]
    wait_for(lambda: bench.count() >= 20 and depth(bench, letters) == 1)
    same = deploy()
    changed = deploy(MaximumConcurrency="7")
    gone = trailsink("destroy", "--stack", STACK, "--yes")

    assert made.returncode == 0, made.stdout + made.stderr
    assert "make SourceQueue (AWS::SQS::Queue)" in made.stdout
    assert f"answers at {bench.settings.opensearch_url}: full mapping" in made.stdout
    assert len(both) == 2
    assert {one["eventID"] for one in good} <= set(bench.documents())
    assert same.stdout.endswith(f"The stack {STACK} is as it should be: no changes.\n")
    assert changed.returncode == 0, changed.stdout + changed.stderr
    assert "change LoaderSource (AWS::Lambda::EventSourceMapping)" in changed.stdout
    assert gone.returncode == 0, gone.stdout + gone.stderr
    assert told(bench) == ["of-others"]
    assert STACK not in str(bench.sqs.list_queues()["QueueUrls"])
    assert boto3.client("lambda").list_functions()["Functions"] == []
    assert boto3.client("lambda").list_event_source_mappings()["EventSourceMappings"] == []
    assert bench.count() >= 20  # the events stay
    assert f"{bench.prefix}-* of {bench.settings.opensearch_url}, their template, policy and role, stays" in gone.stdout
    assert not [one["Name"] for one in bench.s3.list_buckets()["Buckets"] if "trailsink-code" in one.get("Name", "")]


def test_what_the_function_hands_back_stays_in_the_queue_until_it_can_be_indexed(bench: Bench, deploy: Deploy) -> None:
    """Through the event source mapping: of one batch, the files of a blocked index wait and the others are done."""
    assert deploy().returncode == 0
    shut = f"{bench.prefix}-2026-02-02"
    bench.opensearch.indices.create(index=shut, body={"settings": {"index.blocks.write": True}})
    good = [event(eventTime="2026-01-01T10:00:00Z") for _ in range(6)]
    waiting = [event(eventTime="2026-02-02T10:00:00Z") for _ in range(2)]
    for number, one in enumerate([*good, *waiting]):
        bench.put(f"AWSLogs/{number}.json.gz", log_file(one), BUCKET)
    queue = bench.sqs.get_queue_url(QueueName=STACK)["QueueUrl"]
    letters = bench.sqs.get_queue_url(QueueName=f"{STACK}-dead-letters")["QueueUrl"]
    wait_for(lambda: bench.count() == 6 and depth(bench, queue) == 2)

    bench.opensearch.indices.put_settings(index=shut, body={"index.blocks.write": None})
    wait_for(lambda: depth(bench, queue) == 0, 120)  # they wait for half a minute at first

    assert set(bench.documents()) == {one["eventID"] for one in [*good, *waiting]}
    assert depth(bench, letters) == 0
    assert trailsink("destroy", "--stack", STACK, "--yes").returncode == 0


def depth(bench: Bench, url: str) -> int:
    """Count the messages of a queue, hidden ones included."""
    found = bench.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return int(found["ApproximateNumberOfMessages"]) + int(found["ApproximateNumberOfMessagesNotVisible"])


def test_a_deployment_that_fails_says_why_and_can_be_run_again(bench: Bench, deploy: Deploy) -> None:
    """The commonest cause: the bucket's notifications already belong to another tool."""
    tell_somebody_else(bench, "")
    failed = deploy()
    untouched = told(bench)
    bench.s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={})

    again = deploy()

    assert failed.returncode == 1
    assert f"The stack {STACK} ended as ROLLBACK_COMPLETE. It began with BucketNotification" in failed.stderr
    assert "of-others" in failed.stderr
    assert untouched == ["of-others"]
    assert f"The stack {STACK} is ROLLBACK_COMPLETE: it has to be deleted before it can be made." in again.stdout
    assert again.returncode == 0, again.stdout + again.stderr


def test_the_data_go_only_when_asked_and_nothing_else_goes_with_them(bench: Bench, deploy: Deploy) -> None:
    """Indices of another tool may begin alike; what a cluster had before must be there afterwards."""
    assert deploy().returncode == 0
    bench.opensearch.index(
        index=f"{bench.prefix}-insights-2026-01-31", body={"of": "others"}, params={"refresh": "true"}
    )
    for index in ("2026-01-31", "2026-01", "undated"):
        bench.opensearch.index(index=f"{bench.prefix}-{index}", body={"eventName": "A"}, params={"refresh": "true"})

    gone = trailsink("destroy", "--stack", STACK, "--delete-data", "--yes")

    assert gone.returncode == 0, gone.stdout + gone.stderr
    assert "3 indices with 3 events are deleted." in gone.stdout
    assert f"The index template trailsink-{bench.prefix} is deleted." in gone.stdout
    assert list(bench.opensearch.indices.get(index=f"{bench.prefix}-*")) == [f"{bench.prefix}-insights-2026-01-31"]
    assert not bench.opensearch.indices.exists_index_template(name=f"trailsink-{bench.prefix}")


def test_a_cluster_that_cannot_be_cleared_is_found_out_before_the_stack_goes(bench: Bench, deploy: Deploy) -> None:
    """Afterwards nobody would know any more which indices were meant."""
    assert deploy(EndpointUrl="http://127.0.0.1:9", ClusterSetupBy="operator").returncode == 0

    failed = trailsink("destroy", "--stack", STACK, "--delete-data", "--yes")

    assert failed.returncode == 1
    assert failed.stderr == f"Error: The indices {bench.prefix}-* cannot be listed: no connection.\n"
    assert (
        boto3.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"
    )


def test_a_domain_goes_with_its_password(bench: Bench) -> None:
    """The stack keeps it back on purpose, so that the command has to delete it."""
    domains, secrets = boto3.client("opensearch"), boto3.client("secretsmanager")
    domains.create_domain(DomainName="ours")
    secret = secrets.create_secret(Name="of-ours", SecretString="{}")["ARN"]

    said = list(Account(boto3.Session()).delete_domain("ours", secret))

    assert bench.prefix
    assert said[0].startswith("The domain ours is being deleted")
    assert domains.list_domain_names()["DomainNames"] == []
    assert "DeletedDate" in secrets.describe_secret(SecretId=secret)


@pytest.mark.parametrize("command", ["deploy", "destroy"])
def test_a_command_that_is_interrupted_goes_on_when_it_is_run_again(
    bench: Bench, deploy: Deploy, tmp_path: Path, command: str
) -> None:
    """A laptop is closed, a pipeline is cancelled: CloudFormation goes on all the same."""
    made = deploy() if command == "destroy" else None
    words = ["destroy", "--stack", STACK, "--yes"] if made else deploy.words()
    with (tmp_path / "said").open("w+") as said:
        running = subprocess.Popen([TRAILSINK, *words], stdout=said, stderr=said, env=os.environ)
        wait_for(lambda: f"{'DELETE' if made else 'CREATE'}_" in (tmp_path / "said").read_text())
        running.send_signal(signal.SIGINT)
        running.wait(30)

    again = trailsink(*words)

    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.endswith(
        (
            f"The stack {STACK} is as it should be: no changes.\n",
            "is gone.\n",
            f"There is no stack {STACK} in us-east-1.\n",
        )
    )
    assert bench.prefix


class Forbidding(Service):
    """CloudFormation and S3 as they answer somebody who may not do one thing."""

    action = b""

    def serve(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        if self.action in body or (method == "PUT" and self.action in path.encode()):
            why = b"<Error><Code>AccessDenied</Code><Message>not authorized</Message></Error>"
            return 403, b"<ErrorResponse>" + why + b"</ErrorResponse>"
        return super().serve(method, path, headers, body)


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        (b"Action=CreateChangeSet", "Error: CloudFormation refuses the template: AccessDenied"),
        (b"/trailsink/", "Error: The zip cannot be uploaded: "),
        (b"Action=DescribeStacks", "Error: The stack trailsink-test cannot be looked at: AccessDenied"),
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
    """Who may not deploy is told what is missing, not shown a traceback."""
    forbidding = Forbidding(target=os.environ["AWS_ENDPOINT_URL"])
    forbidding.action = action
    with listening(forbidding) as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL", service.url)
        refused = deploy()
    monkeypatch.undo()

    assert refused.returncode == 1
    assert refused.stderr.startswith(sentence), refused.stderr
    assert "Traceback" not in refused.stderr
    assert bench.sqs.list_queues(QueueNamePrefix=STACK).get("QueueUrls", []) == []


def test_what_is_missing_is_said_before_anything_is_made(bench: Bench, deploy: Deploy) -> None:
    """A typing error must not cost ten minutes and a rollback."""
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
    """Those who bring their own pipeline need no checkout."""
    done = trailsink("template")

    assert done.stdout == (Path(__file__).parents[2] / "infra" / "template.yaml").read_text(encoding="utf-8")
