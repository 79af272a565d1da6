"""The cloud resources that the local stack makes: a bucket that announces to a queue with a dead-letter queue.

The numbers are those of the deployed template, so that what is tried here behaves alike there.
"""

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
import botocore.session

from worker.pipeline.limits import MAX_RECEIVE_COUNT

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient

BUCKET = "trailsink-local"
# Not the name of the default stack: `trailsink deploy` would take the queue over.
QUEUE = "trailsink-local"
DEAD_LETTER_QUEUE = "trailsink-local-dead-letters"
REGION = "us-east-1"
ACCESS_KEY = "test"  # MiniStack takes any

# Six times the function's time limit of 300 s, as AWS advises for a queue that feeds a function:
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
VISIBILITY_SECONDS = 1800
# A message is given up after this many receives: a neighbour may be away for a day and a half first.
MAX_RECEIVES = MAX_RECEIVE_COUNT
# the most that SQS allows, 14 days
DEAD_LETTER_SECONDS = 1_209_600


@dataclass(frozen=True, slots=True)
class Resources:
    """The addresses of what was made."""

    bucket: str
    queue_url: str
    dead_letter_queue_url: str


def make_resources(endpoint: str) -> Resources:
    """Make everything that is not there yet."""
    session = _session()
    sqs: SQSClient = session.client("sqs", endpoint_url=endpoint)
    s3: S3Client = session.client("s3", endpoint_url=endpoint)
    dead_letters = _make_queue(sqs, DEAD_LETTER_QUEUE, {"MessageRetentionPeriod": str(DEAD_LETTER_SECONDS)})
    redrive = {"deadLetterTargetArn": _arn(sqs, dead_letters), "maxReceiveCount": MAX_RECEIVES}
    attributes = {"VisibilityTimeout": str(VISIBILITY_SECONDS), "RedrivePolicy": json.dumps(redrive)}
    queue = _make_queue(sqs, QUEUE, attributes)
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": _open_to_the_bucket(_arn(sqs, queue))})
    # A stand-in that was killed and started again has it already.
    with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou, s3.exceptions.BucketAlreadyExists):
        s3.create_bucket(Bucket=BUCKET)
    _announce(s3, _arn(sqs, queue))
    return Resources(BUCKET, queue, dead_letters)


def _session() -> boto3.Session:
    """Return a session that takes nothing from the user's AWS configuration, so a profile of theirs cannot harm."""
    nothing = (None, None, None, None)
    unset = {"profile": nothing, "config_file": nothing, "credentials_file": nothing}
    return boto3.Session(
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=ACCESS_KEY,
        region_name=REGION,
        botocore_session=botocore.session.Session(session_vars=unset),
    )


def _make_queue(sqs: "SQSClient", name: str, attributes: dict[str, str]) -> str:
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)  # type: ignore[arg-type]
    return url


def _arn(sqs: "SQSClient", url: str) -> str:
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def _open_to_the_bucket(queue_arn: str) -> str:
    """Return the queue policy without which S3 could not send; the stand-in does not ask for it, `doctor` does."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {
            "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{BUCKET}"},
            "StringEquals": {"aws:SourceAccount": queue_arn.split(":")[4]},
        },
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _announce(s3: "S3Client", queue_arn: str) -> None:
    """Have new objects announced; as S3 does, this also sends a test event, so only do it if it is not done yet."""
    if not s3.get_bucket_notification_configuration(Bucket=BUCKET).get("QueueConfigurations"):
        s3.put_bucket_notification_configuration(
            Bucket=BUCKET,
            NotificationConfiguration={
                "QueueConfigurations": [{"QueueArn": queue_arn, "Events": ["s3:ObjectCreated:*"]}]
            },
        )
