"""The two pipelines of the demo: a process that polls the queue, and the deployed template with its function."""

import json
import shlex
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

from infra.demo.console import say
from infra.local.errors import LocalStackError
from infra.local.stack import Stack, program_environment
from worker.deploy.bundle import Target, build
from worker.errors import SetupError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build"
# The bundle is built again when one of these is newer.
SOURCES = ("worker/**/*", "infra/lambda.txt")

TRAIL = "acme-trail"
OTHER_TOOL = "other-tool"
STACK = "trailsink-demo"

# The maximum for draining the queue; on a laptop it takes a few seconds.
RUN_SECONDS = 120
# Of a command's output, the first and the last lines are shown.
SHOWN_LINES = 6
MAX_LINE_LENGTH = 110

Totals = dict[str, Any]


class DemoPipeline(ABC):
    """How files get from the bucket into the index: set up, consumed and removed."""

    first_step = ""  # the heading
    announced_markers = frozenset[str]()  # which of the digest file and the folder marker S3 announces

    def __init__(self, stack: Stack, prefix: str, folder: Path) -> None:
        self.stack = stack
        self.prefix = prefix
        self.folder = folder  # for what commands keep: not with the user's own, nor with that of another demo
        own = {"TRAILSINK_INDEX_PREFIX": prefix, "XDG_STATE_HOME": str(folder)}
        self.environment = program_environment(stack.environment | own)
        self.errors: list[str] = []

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

    def trailsink(self, *words: str, show: int | None = None, exit_code: int = 0) -> None:
        """Run one command as a user would, and show it with its output, or with the first and last `show` lines."""
        say(as_typed(words))
        stdout = None if show is None else subprocess.PIPE
        result = subprocess.run(command(*words), env=self.environment, check=False, text=True, stdout=stdout, cwd=ROOT)
        for line in shortened((result.stdout or "").splitlines(), show or 0):
            say(line)
        self.check(f"exit code of trailsink {words[0]}", result.returncode, exit_code)

    def check(self, name: str, value: object, expected: object) -> None:
        """Remember a wrong value."""
        if value != expected:
            self.errors.append(f"{name}: {value!s:.200}, expected {expected!s:.200}")

    @abstractmethod
    def set_up(self) -> None:
        """Create everything that is needed before the first file."""

    @abstractmethod
    def consume(self) -> Totals:
        """Wait until the queue is empty; returns the totals since the last call, by metric."""

    @abstractmethod
    def remove(self) -> None:
        """Remove what `set_up` created."""


class ProcessPipeline(DemoPipeline):
    """`trailsink run` with existing queues, as in a container or any other process."""

    first_step = "Install the index template, before the first index"
    announced_markers = frozenset({"digest", "folder_marker"})

    def set_up(self) -> None:
        """Put the index template in place."""
        self.trailsink("setup", "--replicas", "0")

    def consume(self) -> Totals:
        """Run the consumer until the queue is empty."""
        words = ("run", "--until-idle", "--timeout", str(RUN_SECONDS))
        say(as_typed(words))
        result = subprocess.run(command(*words), env=self.environment, check=False, text=True, stdout=subprocess.PIPE)
        self.check("exit code of trailsink run", result.returncode, 0)
        totals: Totals = json.loads(result.stdout.splitlines()[-1])
        return totals

    def remove(self) -> None:
        """Say that the whole stack ends."""
        say("Queues and bucket end with the stack of this demo; the index template is deleted with the indices.")


class FunctionPipeline(DemoPipeline):
    """`trailsink deploy`: CloudFormation creates queues, function and event source mapping; no process has to run."""

    first_step = "Deploy everything with one command, for a bucket that another tool uses too"
    announced_markers = frozenset({"digest"})  # the notification of the template is for *.json.gz

    def __init__(self, stack: Stack, prefix: str, folder: Path) -> None:
        super().__init__(stack, prefix, folder)
        self._counted: set[str] = set()  # log events that are in earlier totals

    @cached_property
    def _logs(self) -> Any:  # noqa: ANN401 - types for one call are not worth a dependency
        return self.session.client("logs", endpoint_url=self.stack.aws.url)

    def set_up(self) -> None:
        """Deploy the template for a bucket that another tool already uses."""
        self.environment["TRAILSINK_BUCKET"] = TRAIL
        self.s3.create_bucket(Bucket=TRAIL)
        self._notify_other_tool()
        target = Target.of_this_machine()
        settings = {
            "Destination": "url",
            "EndpointUrl": self.stack.opensearch_url,
            "IndexPrefix": self.prefix,
            "Replicas": "0",
            "Architecture": target.architecture,
            "Runtime": target.runtime,
        }
        parameters = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        bundle = bundle_for(target).relative_to(ROOT)
        self.trailsink(
            "deploy",
            "--bucket",
            TRAIL,
            "--stack",
            STACK,
            "--bundle",
            str(bundle),
            *parameters,
            "--yes",
            show=SHOWN_LINES,
        )
        for variable, queue in (("QUEUE_URL", STACK), ("DEAD_LETTER_QUEUE_URL", f"{STACK}-dead-letters")):
            self.environment[f"TRAILSINK_{variable}"] = self.sqs.get_queue_url(QueueName=queue)["QueueUrl"]

    def _notify_other_tool(self) -> None:
        queue = self.sqs.create_queue(QueueName=OTHER_TOOL)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        rules: Any = [{"Name": "prefix", "Value": "reports/"}]
        notification: Any = {
            "Id": OTHER_TOOL,
            "QueueArn": arn,
            "Events": ["s3:ObjectCreated:*"],
            "Filter": {"Key": {"FilterRules": rules}},
        }
        self.s3.put_bucket_notification_configuration(
            Bucket=TRAIL, NotificationConfiguration={"QueueConfigurations": [notification]}
        )

    def consume(self) -> Totals:
        """Wait until the function has emptied the queue; returns the totals from its log."""
        say("There is no consumer to run: the event source mapping invokes the function.")
        deadline = time.monotonic() + RUN_SECONDS
        # Totals are read only once the queue is empty: the last batch could end between the two.
        while self._depth() or not (totals := self._totals())["Messages"]:
            if time.monotonic() > deadline:
                raise LocalStackError(f"The function did not empty the queue in {RUN_SECONDS} s.")
            time.sleep(0.5)
        self._counted |= {event for event, _ in self._batches()}
        return totals

    def _totals(self) -> Totals:
        """Sum up the batches that are not in earlier totals."""
        sums: Counter[str] = Counter()
        ignored: Counter[str] = Counter()
        for event, batch in self._batches():
            if event not in self._counted:
                ignored.update(batch["ignored"])
                sums.update({name: value for name, value in batch.items() if isinstance(value, int | float)})
        return Totals(sums) | {"ignored": dict(ignored)} if sums else {"Messages": 0}

    def _batches(self) -> Iterator[tuple[str, Totals]]:
        """Yield the summaries in the function's log, each with an identifier of its log event."""
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
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)["Attributes"]
        return sum(int(attributes[name]) for name in names)

    def remove(self) -> None:
        """Destroy the stack, and check that nothing of it is left."""
        self.trailsink("destroy", "--stack", STACK, "--yes", show=3)
        notifications = self.s3.get_bucket_notification_configuration(Bucket=TRAIL).get("QueueConfigurations", [])
        self.check("other notifications", [entry.get("Id") for entry in notifications], [OTHER_TOOL])
        queues = self.sqs.list_queues(QueueNamePrefix=STACK).get("QueueUrls", [])
        self.check("queues of the stack", queues, [])
        functions = self.session.client("lambda", endpoint_url=self.stack.aws.url).list_functions()["Functions"]
        self.check("functions", [function.get("FunctionName") for function in functions], [])
        say("Queues, function and mapping are gone. The other tool's notification is unchanged.")


def bundle_for(target: Target) -> Path:
    """Return the function's bundle, built again if a source is newer; raises LocalStackError."""
    path = BUILD / target.file_name
    sources = [source for pattern in SOURCES for source in ROOT.glob(pattern) if "__pycache__" not in source.parts]
    if path.exists() and path.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return path
    say(f"Building the function's bundle, {path.relative_to(ROOT)}, from hash-pinned wheels.")
    try:
        return build(target, path).path
    except SetupError as error:
        raise LocalStackError(str(error)) from error


def command(*words: str) -> list[str]:
    """Return the command line of this environment's `trailsink`."""
    return [str(Path(sys.executable).with_name("trailsink")), *words]


def as_typed(words: tuple[str, ...]) -> str:
    """Return a command as typed: a long one with an option per line."""
    line = f"$ trailsink {shlex.join(words)}"
    return line if len(line) <= MAX_LINE_LENGTH else line.replace(" --", " \\\n    --")


def shortened(lines: list[str], ends: int) -> list[str]:
    """Return the first and the last `ends` lines, and how many are between them."""
    omitted = len(lines) - 2 * ends
    return [*lines[:ends], f"  ... {omitted} more lines ...", *lines[-ends:]] if omitted > 0 else lines
