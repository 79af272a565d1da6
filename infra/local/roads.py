"""The two roads of the demo: a process that polls the queue, or the template as it is deployed, function and all."""

import json
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from infra.local.errors import LocalStackError
from infra.local.stack import Stack, program_environment
from infra.local.telling import say
from worker.deploy.bundle import Target, build
from worker.errors import SetupError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build"
# What decides the bundle's content; a bundle newer than all of it is used again.
SOURCES = ("worker/**/*", "infra/lambda.txt")

TRAIL = "acme-trail"
OF_OTHERS = "of-another-tool"
STACK = "trailsink-demo"

# What draining the queue may take, at most; on a laptop it takes a few seconds.
RUN_SECONDS = 120
# The first and the last so many lines of what a command says are shown.
SHOWN_LINES = 6
LONGEST_LINE = 110

Totals = dict[str, Any]


class Road(ABC):
    """How files come from the bucket into the index: set up, consumed, and left behind."""

    begins_with = ""  # the heading of its first part
    announces = frozenset[str]()  # which of the digest file and the folder marker come into the queue

    def __init__(self, stack: Stack, prefix: str) -> None:
        self.stack = stack
        self.prefix = prefix
        self.environment = program_environment(stack.environment | {"TRAILSINK_INDEX_PREFIX": prefix})
        self.wrong: list[str] = []

    @cached_property
    def s3(self) -> "S3Client":
        """S3 of the stand-in."""
        return self.session.client("s3", endpoint_url=self.stack.aws.url)

    @cached_property
    def sqs(self) -> "SQSClient":
        """SQS of the stand-in."""
        return self.session.client("sqs", endpoint_url=self.stack.aws.url)

    @cached_property
    def session(self) -> boto3.Session:
        """The stand-in's credentials."""
        return boto3.Session(
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=self.environment["AWS_REGION"],
        )

    @property
    def bucket(self) -> str:
        """The trail's bucket."""
        return self.environment["TRAILSINK_BUCKET"]

    @property
    def queue_url(self) -> str:
        """The source queue."""
        return self.environment["TRAILSINK_QUEUE_URL"]

    def trailsink(self, *words: str, show: int | None = None) -> None:
        """Run one command as a user would, and show it: all it says, or its first and last lines."""
        say(as_typed(words))
        stdout = None if show is None else subprocess.PIPE
        done = subprocess.run(command(*words), env=self.environment, check=False, text=True, stdout=stdout, cwd=ROOT)
        for line in shortened((done.stdout or "").splitlines(), show or 0):
            say(line)
        self.check(f"trailsink {words[0]} ends well", done.returncode, 0)

    def check(self, what: str, found: object, expected: object) -> None:
        """Remember a count that is off."""
        if found != expected:
            self.wrong.append(f"{what}: {found!s:.200}, expected {expected!s:.200}")

    @abstractmethod
    def set_up(self) -> None:
        """Make everything that has to be there before the first file."""

    @abstractmethod
    def consume(self) -> Totals:
        """See the queue drained; returns what became of its files and records since the last time, by metric."""

    @abstractmethod
    def leave(self) -> None:
        """Take away what `set_up` made."""


class ContainerRoad(Road):
    """`trailsink run`, as a container or any process runs it, beside queues that somebody made."""

    begins_with = "An index template, before the first index"
    announces = frozenset({"digest", "folder_marker"})

    def set_up(self) -> None:
        """Put the index template in place."""
        self.trailsink("setup", "--replicas", "0")

    def consume(self) -> Totals:
        """Run the consumer until the queue is empty."""
        words = ("run", "--until-idle", "--timeout", str(RUN_SECONDS))
        say(as_typed(words))
        done = subprocess.run(command(*words), env=self.environment, check=False, text=True, stdout=subprocess.PIPE)
        self.check("trailsink run ends well", done.returncode, 0)
        totals: Totals = json.loads(done.stdout.splitlines()[-1])
        return totals

    def leave(self) -> None:
        """Leave nothing: the whole stack goes."""


class FunctionRoad(Road):
    """`trailsink deploy`: CloudFormation makes queues, function and event source mapping; nobody runs a consumer."""

    begins_with = "Everything, with one command, for a bucket that another tool uses too"
    announces = frozenset({"digest"})  # the template asks the bucket for *.json.gz only

    def __init__(self, stack: Stack, prefix: str) -> None:
        super().__init__(stack, prefix)
        self._read: set[str] = set()  # log events that earlier totals hold

    @cached_property
    def _logs(self) -> Any:  # noqa: ANN401 - types for one call are not worth a dependency
        return self.session.client("logs", endpoint_url=self.stack.aws.url)

    def set_up(self) -> None:
        """Deploy the template as it is, to a bucket that another tool already uses."""
        self.environment["TRAILSINK_BUCKET"] = TRAIL
        self.s3.create_bucket(Bucket=TRAIL)
        self._tell_another_tool()
        target = Target.of_this_machine()
        settings = {
            "Destination": "url",
            "EndpointUrl": self.stack.opensearch_url,
            "IndexPrefix": self.prefix,
            "Replicas": "0",
            "Architecture": target.architecture,
            "Runtime": target.runtime,
        }
        given = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        bundle = bundle_for(target).relative_to(ROOT)
        self.trailsink(
            "deploy", "--bucket", TRAIL, "--stack", STACK, "--bundle", str(bundle), *given, "--yes", show=SHOWN_LINES
        )
        for variable, queue in (("QUEUE_URL", STACK), ("DEAD_LETTER_QUEUE_URL", f"{STACK}-dead-letters")):
            self.environment[f"TRAILSINK_{variable}"] = self.sqs.get_queue_url(QueueName=queue)["QueueUrl"]

    def _tell_another_tool(self) -> None:
        queue = self.sqs.create_queue(QueueName=OF_OTHERS)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        rules: Any = [{"Name": "prefix", "Value": "reports/"}]
        told: Any = {
            "Id": OF_OTHERS,
            "QueueArn": arn,
            "Events": ["s3:ObjectCreated:*"],
            "Filter": {"Key": {"FilterRules": rules}},
        }
        self.s3.put_bucket_notification_configuration(
            Bucket=TRAIL, NotificationConfiguration={"QueueConfigurations": [told]}
        )

    def consume(self) -> Totals:
        """Wait until the function has emptied the queue; its totals are summed up from its log."""
        say("Nobody runs a consumer: the event source mapping feeds the function.")
        until = time.monotonic() + RUN_SECONDS
        # Totals are read only after the queue was found empty: the last batch could end between the two.
        while self._depth() or not (totals := self._totals())["Messages"]:
            if time.monotonic() > until:
                raise LocalStackError(f"The function did not empty the queue in {RUN_SECONDS} s.")
            time.sleep(0.5)
        self._read |= {event for event, _ in self._batches()}
        return totals

    def _totals(self) -> Totals:
        """Sum up the batches that no earlier totals hold."""
        counted: Counter[str] = Counter()
        ignored: Counter[str] = Counter()
        for event, batch in self._batches():
            if event not in self._read:
                ignored.update(batch["ignored"])
                counted.update({name: value for name, value in batch.items() if isinstance(value, int | float)})
        return Totals(counted) | {"ignored": dict(ignored)} if counted else {"Messages": 0}

    def _batches(self) -> Iterator[tuple[str, Totals]]:
        """Yield the summaries in the function's log, each with what it is known by."""
        pages = self._logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{STACK}-loader")
        for page in pages:
            for event in page["events"]:
                if '"message":"batch"' in event["message"]:
                    yield (
                        f"{event['logStreamName']} {event['timestamp']} {event['message']}",
                        json.loads(event["message"]),
                    )

    def _depth(self) -> int:
        names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def leave(self) -> None:
        """Destroy the stack, and look what is left."""
        self.trailsink("destroy", "--stack", STACK, "--yes", show=3)
        told = self.s3.get_bucket_notification_configuration(Bucket=TRAIL).get("QueueConfigurations", [])
        self.check("notifications of others", [one.get("Id") for one in told], [OF_OTHERS])
        queues = self.sqs.list_queues(QueueNamePrefix=STACK).get("QueueUrls", [])
        self.check("queues of the stack", queues, [])
        functions = self.session.client("lambda", endpoint_url=self.stack.aws.url).list_functions()["Functions"]
        self.check("functions", [one.get("FunctionName") for one in functions], [])
        say("No queue, no function, no mapping is left; the other tool's notification is as it was.")


def bundle_for(target: Target) -> Path:
    """Return the function's bundle, built anew when anything in it is younger; raises LocalStackError."""
    path = BUILD / target.file_name
    sources = [found for pattern in SOURCES for found in ROOT.glob(pattern) if "__pycache__" not in found.parts]
    if path.exists() and path.stat().st_mtime > max(one.stat().st_mtime for one in sources):
        return path
    say(f"Building the function's bundle, {path.relative_to(ROOT)}, from hash-pinned wheels.")
    try:
        return build(target, path).path
    except SetupError as error:
        raise LocalStackError(str(error)) from error


def command(*words: str) -> list[str]:
    """Return the command line of the `trailsink` beside this interpreter."""
    return [str(Path(sys.executable).with_name("trailsink")), *words]


def as_typed(words: tuple[str, ...]) -> str:
    """Write a command as one types it: a long one in several lines, an option in each."""
    line = f"$ trailsink {' '.join(words)}"
    return line if len(line) <= LONGEST_LINE else line.replace(" --", " \\\n    --")


def shortened(lines: list[str], ends: int) -> list[str]:
    """Return the first and the last lines, and how many are between them."""
    left_out = len(lines) - 2 * ends
    return [*lines[:ends], f"  ... {left_out} lines more ...", *lines[-ends:]] if left_out > 0 else lines
