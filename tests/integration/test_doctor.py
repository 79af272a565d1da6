"""`trailsink doctor`, on a pipeline that is well and on ones that are really broken."""

from __future__ import annotations

import io
import json
import subprocess
import zipfile
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from click.testing import CliRunner

from infra.generate.json_documents import Finding, read
from tests.support.cli import TRAILSINK
from tests.support.event_files import event, log_file
from worker.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable

    from types_boto3_cloudformation.type_defs import ParameterTypeDef

    from tests.conftest import Bench

# What a local stack can show.
WELL = (
    "source queue",
    "dead-letter queue",
    "redrive policy",
    "redrive allow policy",
    "retention of the queues",
    "dead letters",
    "queue policy",
    "queue access",
    "clock",
    "bucket notification",
    "cluster",
    "health",
    "shards",
    "bulk requests",
    "loader's rights",
    "index template",
    "mapping",
    "mapping of each index",
    "overwritten events",
    "write blocks",
    "retention",
    "newest event",
)
ROLE = "arn:aws:iam::000000000000:role/loader"


@pytest.fixture(autouse=True)
def quiet_queue(bench: Bench) -> None:
    """The bucket's test event waits in the queue, and a message that nothing consumes is a fault."""
    bench.sqs.purge_queue(QueueUrl=bench.settings.queue_url)


def examine(*words: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Run the command; its exit code, and the findings by check."""
    result = CliRunner().invoke(main, ["doctor", "--json", *words])
    assert read(result.stdout, Finding)
    return result.exit_code, by_check(result.stdout)


def by_check(stdout: str) -> dict[str, dict[str, str]]:
    findings = [json.loads(line) for line in stdout.splitlines()]
    return {finding["check"]: finding for finding in findings}


def faults(found: dict[str, dict[str, str]]) -> set[str]:
    assert all(finding["fix"] for finding in found.values() if finding["verdict"] in ("fault", "warning"))
    return {name for name, finding in found.items() if finding["verdict"] == "fault"}


def arn(bench: Bench, url: str) -> str:
    return bench.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def test_a_pipeline_that_is_well_has_no_fault(bench: Bench) -> None:
    """What the local stack lacks is not checked, and named; nothing is a fault."""
    bench.put("one.json.gz", log_file(event()))
    subprocess.run([TRAILSINK, "run", "--until-idle", "--timeout", "300"], capture_output=True, timeout=360, check=True)
    assert bench.count() == 1  # which refreshes

    process = subprocess.run([TRAILSINK, "doctor", "--json"], capture_output=True, text=True, timeout=240, check=False)
    found = by_check(process.stdout)

    assert (process.returncode, process.stderr) == (0, "")
    assert faults(found) == set()
    for check in WELL:
        assert found[check]["verdict"] == "ok", found[check]
    assert found["event source mapping"]["verdict"] == "not checked"


def test_an_undated_event_is_not_the_newest(bench: Bench) -> None:
    """An absurd time would make every pipeline look fresh until 2099, in a delivered file and in a copy."""
    events = [event(eventTime=time) for time in ("2026-03-01T10:00:00Z", "2099-01-01T00:00:00Z")]
    bench.put("two.json.gz", log_file(*events))
    bench.put(
        "AWSLogs/123456789012/CloudTrail/r/2026/03/01/123456789012_CloudTrail_r_20260301T1005Z_abc.json.gz",
        log_file(event(eventTime="2098-01-01T00:00:00Z")),
    )
    subprocess.run([TRAILSINK, "run", "--until-idle", "--timeout", "300"], capture_output=True, timeout=360, check=True)
    assert bench.count() == 3  # which refreshes
    indices = {document["_index"].removeprefix(bench.prefix) for document in bench.documents().values()}

    _, found = examine()

    assert indices == {"-2026-03-01", "-2099-01-01", "-undated-2026-03-01"}
    assert found["newest event"]["verdict"] == "ok"
    assert found["newest event"]["evidence"].startswith("newest event ")
    assert not found["newest event"]["evidence"].startswith("newest event 0s old")


# The queues


def break_redrive(bench: Bench) -> None:
    bench.sqs.set_queue_attributes(QueueUrl=bench.settings.queue_url, Attributes={"RedrivePolicy": ""})


def hasten_redrive(bench: Bench) -> None:
    letters = arn(bench, bench.settings.dead_letter_queue_url)
    policy = json.dumps({"deadLetterTargetArn": letters, "maxReceiveCount": 2})
    bench.sqs.set_queue_attributes(QueueUrl=bench.settings.queue_url, Attributes={"RedrivePolicy": policy})


def refuse_letters(bench: Bench) -> None:
    policy = json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": ["arn:aws:sqs:us-east-1:0:another"]})
    url = bench.settings.dead_letter_queue_url
    bench.sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedriveAllowPolicy": policy})


def encrypt_with_the_key_of_aws(bench: Bench) -> None:
    bench.sqs.set_queue_attributes(QueueUrl=bench.settings.queue_url, Attributes={"KmsMasterKeyId": "alias/aws/sqs"})


def encrypt_with_a_key(bench: Bench) -> None:
    key = boto3.client("kms").create_key()["KeyMetadata"]["KeyId"]
    bench.sqs.set_queue_attributes(QueueUrl=bench.settings.queue_url, Attributes={"KmsMasterKeyId": key})


def open_to_another_bucket(bench: Bench) -> None:
    url = bench.settings.queue_url
    policy = bench.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
    changed = policy.replace(bench.settings.bucket, "another-bucket")
    bench.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": changed})


def forget_messages(bench: Bench) -> None:
    bench.sqs.set_queue_attributes(QueueUrl=bench.settings.queue_url, Attributes={"MessageRetentionPeriod": "3600"})


# The bucket


def notify_nobody(bench: Bench) -> None:
    notify(bench)


def notify_another_queue(bench: Bench) -> None:
    other = arn(bench, bench.sqs.create_queue(QueueName="of-others")["QueueUrl"])
    notify(bench, {"Id": "siem", "QueueArn": other, "Events": ["s3:ObjectCreated:*"]})


def notify(bench: Bench, *queues: Any) -> None:
    bench.s3.put_bucket_notification_configuration(
        Bucket=bench.settings.bucket, NotificationConfiguration={"QueueConfigurations": list(queues)}
    )


# The cluster


def replace_the_template(bench: Bench) -> None:
    bench.opensearch.indices.put_index_template(
        name=f"trailsink-{bench.prefix}", body={"index_patterns": [f"{bench.prefix}-*"]}
    )


def index_before_the_template(bench: Bench) -> None:
    name = f"trailsink-{bench.prefix}"
    template = bench.opensearch.indices.get_index_template(name=name)["index_templates"][0]["index_template"]
    bench.opensearch.indices.delete_index_template(name=name)
    bench.opensearch.index(index=f"{bench.prefix}-2026-03-01", body=event(), params={"refresh": "true"})
    bench.opensearch.indices.put_index_template(name=name, body=template)


@pytest.mark.parametrize(
    ("break_it", "check", "words"),
    [
        (break_redrive, "redrive policy", "maxReceiveCount"),
        (hasten_redrive, "redrive policy", "maxReceiveCount is 2"),
        (refuse_letters, "redrive allow policy", "aws sqs set-queue-attributes"),
        (encrypt_with_the_key_of_aws, "queue encryption", "alias/aws/sqs"),
        (encrypt_with_a_key, "queue encryption", "allow s3.amazonaws.com to use kms:GenerateDataKey and kms:Decrypt"),
        (open_to_another_bucket, "queue policy", '"aws:SourceArn":"arn:aws:s3:::trailsink-local"'),
        (forget_messages, "retention of the queues", "1209600"),
        (notify_nobody, "bucket notification", "trailsink deploy"),
        (
            notify_another_queue,
            "bucket notification",
            "configuration siem announces s3:ObjectCreated:* under any prefix",
        ),
        (replace_the_template, "index template", "trailsink setup"),
        (index_before_the_template, "mapping", "has other fields than the template"),
    ],
)
def test_what_is_broken_is_the_one_fault_with_its_fix(
    bench: Bench, break_it: Callable[[Bench], None], check: str, words: str
) -> None:
    """An engineer at night reads the fix first."""
    break_it(bench)

    code, found = examine()

    assert code == 1
    assert faults(found) == {check}
    assert words in f"{found[check]['evidence']} {found[check]['fix']}"


def test_letters_are_a_warning_that_names_the_command(bench: Bench) -> None:
    """They are safe where they are, for a while."""
    bench.sqs.send_message(QueueUrl=bench.settings.dead_letter_queue_url, MessageBody="{}")

    code, found = examine()

    assert code == 0
    assert (found["dead letters"]["verdict"], found["dead letters"]["fix"]) == ("warning", "trailsink dlq list")


def test_letters_that_are_kept_no_longer_than_messages_are_a_warning(bench: Bench) -> None:
    """One that SQS moves has its age already: it may be gone the next day."""
    url = bench.settings.dead_letter_queue_url
    bench.sqs.set_queue_attributes(QueueUrl=url, Attributes={"MessageRetentionPeriod": "345600"})

    _, found = examine()

    assert found["retention of the queues"]["verdict"] == "warning"
    assert url in found["retention of the queues"]["fix"]


# Other announcers


def open_to(bench: Bench, service: str, source: str) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sqs:SendMessage",
        "Condition": {"ArnLike": {"aws:SourceArn": source}},
    }
    policy = json.dumps({"Statement": [statement]})
    bench.sqs.set_queue_attributes(QueueUrl=bench.settings.queue_url, Attributes={"Policy": policy})


def test_a_topic_may_announce_new_files(bench: Bench) -> None:
    """S3 has one destination for each prefix; a topic has many."""
    sns = boto3.client("sns")
    topic = sns.create_topic(Name="trail")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn(bench, bench.settings.queue_url))
    bench.s3.put_bucket_notification_configuration(
        Bucket=bench.settings.bucket,
        NotificationConfiguration={"TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}]},
    )
    bench.sqs.purge_queue(QueueUrl=bench.settings.queue_url)

    _, refused = examine()
    open_to(bench, "sns.amazonaws.com", topic)
    _, allowed = examine()

    assert faults(refused) == {"queue policy"}
    assert f"does not allow SNS to send for {topic}" in refused["queue policy"]["evidence"]
    assert faults(allowed) == set()
    assert allowed["bucket notification"]["evidence"] == f"by way of {topic}"


def test_a_rule_of_eventbridge_may_announce_new_files(bench: Bench) -> None:
    """The one that needs no change of the bucket's other notifications."""
    events = boto3.client("events")
    rule = events.put_rule(Name="files", EventPattern=json.dumps({"source": ["aws.s3"]}))["RuleArn"]
    events.put_targets(Rule="files", Targets=[{"Id": "q", "Arn": arn(bench, bench.settings.queue_url)}])
    bench.s3.put_bucket_notification_configuration(
        Bucket=bench.settings.bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    open_to(bench, "events.amazonaws.com", rule)

    _, found = examine()
    events.disable_rule(Name="files")
    _, disabled = examine()

    assert faults(found) == set()
    assert found["bucket notification"]["evidence"] == f"by way of {rule}"
    assert "bucket notification" in faults(disabled)


@pytest.mark.parametrize(
    ("prefix", "verdict"),
    [("", "ok"), ("acme/", "ok"), ("acme/AWSLogs/123/", "warning"), ("AWSLogs/", "fault")],
)
def test_a_prefix_that_misses_the_trails_files_is_reported(bench: Bench, prefix: str, verdict: str) -> None:
    """A trail with a key prefix of its own, and a notification as in the tutorial: nothing ever arrives."""
    trails = boto3.client("cloudtrail")
    trails.create_trail(Name="main", S3BucketName=bench.settings.bucket, S3KeyPrefix="acme")
    trails.start_logging(Name="main")
    rules = [{"Name": "prefix", "Value": prefix}]
    ours: dict[str, Any] = {"Events": ["s3:ObjectCreated:*"], "Filter": {"Key": {"FilterRules": rules}}}
    notify(bench, ours | {"QueueArn": arn(bench, bench.settings.queue_url)})

    _, found = examine()

    assert found["prefix"]["verdict"] == verdict, found["prefix"]
    assert found["trail"]["verdict"] == "ok"
    assert found["bucket notification"]["verdict"] == "ok"


def test_notifications_that_overlap_are_reported(bench: Bench) -> None:
    """S3 itself refuses them; a stand-in for S3 may not, and then each key is announced twice."""
    ours = arn(bench, bench.settings.queue_url)
    theirs = arn(bench, bench.sqs.create_queue(QueueName="of-others")["QueueUrl"])
    below = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "AWSLogs/123/"}]}}
    events: dict[str, Any] = {"Events": ["s3:ObjectCreated:*"]}
    notify(
        bench, events | {"Id": "ours", "QueueArn": ours}, events | {"Id": "siem", "QueueArn": theirs, "Filter": below}
    )

    _, found = examine()

    assert found["bucket notification"]["verdict"] == "warning"
    assert (
        "configuration siem announces s3:ObjectCreated:* under prefix 'AWSLogs/123/'"
        in (found["bucket notification"]["evidence"])
    )
    assert "ours is ours" in found["bucket notification"]["fix"]


def test_a_trail_that_was_stopped_is_reported(bench: Bench) -> None:
    """An attacker's first step, and the reason why nothing arrives."""
    trails = boto3.client("cloudtrail")
    trails.create_trail(Name="main", S3BucketName=bench.settings.bucket)
    trails.stop_logging(Name="main")

    _, found = examine()

    assert faults(found) == {"trail"}
    assert found["trail"]["fix"] == "aws cloudtrail start-logging --name main"


# The function


def make_function(bench: Bench, **changes: Any) -> str:
    """Create a function that the queue feeds, by a mapping with changes; returns the mapping's id."""
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("f.py", "def handler(event, context): return {'batchItemFailures': []}")
    client = boto3.client("lambda")
    client.create_function(
        FunctionName="loader",
        Runtime="python3.13",
        Role=ROLE,
        Handler="f.handler",
        Timeout=300,
        Code={"ZipFile": bundle.getvalue()},
    )
    well: Any = {"FunctionResponseTypes": ["ReportBatchItemFailures"], "ScalingConfig": {"MaximumConcurrency": 4}}
    mapping = client.create_event_source_mapping(
        FunctionName="loader", EventSourceArn=arn(bench, bench.settings.queue_url), **well | changes
    )
    return mapping["UUID"]


def test_a_function_that_is_well_has_no_fault(bench: Bench) -> None:
    """What `trailsink deploy` creates has no fault for the doctor."""
    make_function(bench)

    _, found = examine()

    assert faults(found) == set()
    for check in ("event source mapping", "ReportBatchItemFailures", "visibility timeout", "reserved concurrency"):
        assert found[check]["verdict"] == "ok", found[check]


def test_each_trap_of_the_mapping_is_reported(bench: Bench) -> None:
    """Each of them loses events, or makes letters of healthy ones."""
    uuid = make_function(bench, FunctionResponseTypes=[], Enabled=False)
    boto3.client("lambda").put_function_concurrency(FunctionName="loader", ReservedConcurrentExecutions=2)
    url = bench.settings.queue_url
    bench.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "30"})

    _, found = examine()

    change = f"aws lambda update-event-source-mapping --uuid {uuid}"
    assert {name: found[name]["fix"] for name in faults(found)} == {
        "event source mapping": f"{change} --enabled",
        "ReportBatchItemFailures": f"{change} --function-response-types ReportBatchItemFailures",
        "visibility timeout": f"aws sqs set-queue-attributes --queue-url {url} --attributes "
        """'{"VisibilityTimeout":"1800"}'""",
        "reserved concurrency": "aws lambda delete-function-concurrency --function-name loader",
    }


# What cannot be reached


def test_a_cluster_that_is_down_harms_no_other_check(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor is called when half of the pipeline is down."""
    assert bench.prefix
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_URL", "http://127.0.0.1:9")

    code, found = examine()

    assert code == 1
    assert faults(found) == {"cluster"}
    assert found["index template"]["verdict"] == "not checked"
    assert found["redrive policy"]["verdict"] == "ok"


def test_a_queue_that_is_missing_harms_no_other_check(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error in one variable must not hide what the others say."""
    monkeypatch.setenv("TRAILSINK_QUEUE_URL", f"{bench.settings.queue_url}-not-there")

    _, found = examine()

    assert faults(found) == {"source queue"}
    assert found["redrive policy"]["evidence"] == "the source queue cannot be checked"
    assert found["dead letters"]["verdict"] == found["index template"]["verdict"] == "ok"


def test_without_aws_the_cluster_is_checked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """And without any settings, everything is not checked, and there is no traceback."""
    assert bench.prefix
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")

    code, found = examine()
    monkeypatch.delenv("TRAILSINK_OPENSEARCH_URL")
    _, nothing = examine()

    assert code == 1  # no fault was found, but that proves nothing
    assert found["source queue"]["evidence"] == "No AWS region is set: set AWS_REGION"
    assert found["index template"]["verdict"] == "ok"
    assert {finding["verdict"] for finding in nothing.values()} == {"not checked"}


# A stack

STACK = """
Parameters:
  TrailBucketName: {Type: String}
  TrailPrefix: {Type: String}
  IndexPrefix: {Type: String}
  EndpointUrl: {Type: String}
  CodeKey: {Type: String, Default: trailsink/0123.zip}
Resources:
  SourceQueue:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: of-a-stack
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Letters.Arn, maxReceiveCount: 60}
  Letters: {Type: AWS::SQS::Queue, Properties: {QueueName: letters-of-a-stack}}
Outputs:
  OpensearchUrl: {Value: !Ref EndpointUrl}
  QueueUrl: {Value: !Ref SourceQueue}
  DeadLetterQueueUrl: {Value: !Ref Letters}
"""


def test_a_stack_names_its_own_parts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator who comes to it a year later has no variables, and learns that it has another version."""
    values = {
        "TrailBucketName": bench.settings.bucket,
        "TrailPrefix": "acme/AWSLogs/",
        "IndexPrefix": bench.prefix,
        "EndpointUrl": bench.settings.opensearch_url,
    }
    cloudformation = boto3.client("cloudformation")
    parameters: list[ParameterTypeDef] = [
        {"ParameterKey": name, "ParameterValue": value} for name, value in values.items()
    ]
    cloudformation.create_stack(StackName="a-stack", TemplateBody=STACK, Parameters=parameters)
    cloudformation.get_waiter("stack_create_complete").wait(StackName="a-stack", WaiterConfig={"Delay": 1})
    for name in ("OPENSEARCH_URL", "QUEUE_URL", "DEAD_LETTER_QUEUE_URL", "BUCKET", "INDEX_PREFIX"):
        monkeypatch.delenv(f"TRAILSINK_{name}")

    _, found = examine("--stack", "a-stack")
    missing = CliRunner().invoke(main, ["doctor", "--stack", "no-such-stack"])

    assert found["source queue"]["evidence"].endswith(":of-a-stack")
    assert found["redrive policy"]["verdict"] == found["index template"]["verdict"] == "ok"
    assert faults(found) == {"bucket notification", "queue policy"}
    assert found["template"]["verdict"] == "warning"
    assert found["bundle"]["evidence"] == "the code of the functions may not be read"  # this stack has none
    assert (missing.exit_code, missing.stderr) == (1, "Error: There is no stack no-such-stack in us-east-1.\n")
