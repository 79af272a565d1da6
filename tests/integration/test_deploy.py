"""`trailsink deploy` and `destroy` with the template as it is; the stand-in for AWS makes what it says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

from infra.packaging import PackagingError, Target, build
from tests.making import event, log_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Bench

pytestmark = pytest.mark.timeout(240)

TRAILSINK = Path(sys.executable).with_name("trailsink")
BUCKET, STACK = "a-trail", "trailsink-test"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The function's bundle for this interpreter, on which the stand-in runs functions."""
    try:
        return build(Target.here(), tmp_path_factory.mktemp("bundle") / "bundle.zip").path
    except PackagingError as error:
        pytest.skip(f"the bundle cannot be built here: {error}")


@pytest.fixture
def deploy(bench: Bench, bundle: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command, for a bucket that tells nobody yet and the node that is there."""
    bench.s3.create_bucket(Bucket=BUCKET)
    here = Target.here()
    settings = {
        "Destination": "url",
        "EndpointUrl": bench.settings.opensearch_url,
        "IndexPrefix": bench.prefix,
        "Replicas": "0",
        "Architecture": here.arch,
        "Runtime": here.runtime,
    }

    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        given = [word for name, value in (settings | more).items() for word in ("--set", f"{name}={value}")]
        return trailsink(
            "deploy", "--bucket", BUCKET, "--stack", STACK, "--bundle", str(bundle), "--yes", *given, *words
        )

    return run


def trailsink(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TRAILSINK, *words], capture_output=True, text=True, timeout=200, check=False, env=os.environ)


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


def test_the_template_is_deployed_works_is_changed_and_leaves_nothing(
    bench: Bench, deploy: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
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


def depth(bench: Bench, url: str) -> int:
    names = bench.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    return int(names["ApproximateNumberOfMessages"])


def test_a_deployment_that_fails_says_why_and_can_be_run_again(
    bench: Bench, deploy: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
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
    assert trailsink("destroy", "--stack", STACK, "--yes").returncode == 0


def test_what_is_missing_is_said_before_anything_is_made(
    bench: Bench, deploy: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """A typing error must not cost ten minutes and a rollback."""
    no_bundle = deploy("--bundle", "not-there.zip")
    no_bucket = deploy("--bucket", "no-such-bucket-here")
    no_parameter = deploy(Retention="1")
    nothing = trailsink("destroy", "--stack", "no-such-stack", "--yes")

    assert "Error: The bundle not-there.zip cannot be read: No such file or directory" in no_bundle.stderr
    assert no_bucket.stderr == "Error: There is no bucket no-such-bucket-here.\n"
    assert no_parameter.stderr == "Error: The template has no parameter Retention.\n"
    assert nothing.stdout == "There is no stack no-such-stack.\n"
    assert bench.prefix


def test_the_template_is_printed_as_it_is() -> None:
    """Those who bring their own pipeline need no checkout."""
    done = trailsink("template")

    assert done.stdout == (Path(__file__).parents[2] / "infra" / "template.yaml").read_text(encoding="utf-8")
