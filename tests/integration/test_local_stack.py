"""The local stack starts, repairs and stops real processes; every test looks at the processes themselves."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import ClientError

from infra.local.aws import Aws
from infra.local.child import Identity
from infra.local.folders import sweep
from infra.local.node import Node
from infra.local.polling import wait_until
from infra.local.ports import free_port
from tests.support.http_server import serving, told

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

ROOT = Path(__file__).resolve().parents[2]
SERVER_VARIABLE = "TRAILSINK_TEST_OPENSEARCH_URL"
needs_a_node = pytest.mark.skipif(SERVER_VARIABLE in os.environ, reason=f"{SERVER_VARIABLE} says: start no node here")


def command(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the stack's command line with its files in this folder."""
    line = [sys.executable, "-m", "infra.local", "--folder", str(folder), *words]
    return subprocess.run(
        line, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False, timeout=500
    )


def processes(folder: Path) -> dict[str, Identity]:
    """Return who is written down as running."""
    told = json.loads((folder / "stack.json").read_text())
    return {name: Identity(**part["identity"]) for name, part in told.items() if part["identity"]}


def in_shell(folder: Path, script: str) -> str:
    """Run Python from a shell that has sourced the env file, and whose user has an AWS profile of their own."""
    ran = subprocess.run(
        ["sh", "-ec", '. "$1"; exec "$2" -c "$3"', "sh", str(folder / "env"), sys.executable, script],
        env=os.environ | {"AWS_PROFILE": "my-company", "AWS_SESSION_TOKEN": "secret"},
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    return ran.stdout


def new_folder() -> Path:
    """Make a folder with a space in its name that the user nobody can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="trail sink "))
    folder.chmod(0o755)
    return folder / "it's local"


@pytest.fixture
def folder() -> Iterator[Path]:
    made = new_folder()
    yield made
    command(made, "down", "--clean")
    shutil.rmtree(made.parent)


@pytest.fixture(scope="module")
def stack() -> Iterator[tuple[Path, str]]:
    """Bring a stack up; keep what it said."""
    made = new_folder()
    came_up = command(made, "up")
    yield made, came_up.stderr
    command(made, "down", "--clean")
    shutil.rmtree(made.parent)


@needs_a_node
def test_a_free_port_is_none_that_a_connection_gets() -> None:
    """While a node starts, or after it was killed, the system would give it to anybody who asks."""
    range_of_system = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first = int(range_of_system.read_text().split()[0]) if range_of_system.exists() else 49_152

    ports = {free_port() for _ in range(50)}

    assert len(ports) > 40  # no two processes begin with the same
    assert max(ports) < min(first, 32_768)


def test_another_node_at_the_same_port_is_not_taken_for_this_one(tmp_path: Path) -> None:
    """Of two that wanted it, one answered, and the other one's tests went on until it was gone."""
    health = told(200, {"name": "local-of-another", "status": "green"})
    with serving(lambda *_: health) as url:
        node = Node(port=int(url.rpartition(":")[2]), folder=tmp_path)

        assert not node.is_healthy()


def test_no_port_is_one_that_others_know(stack: tuple[Path, str]) -> None:
    """Programs of the same machine try 9200 and 4566 by habit, and nobody has to sign in: data would be deleted."""
    folder, said = stack

    told = command(folder, "status")

    assert told.returncode == 0, told.stderr
    assert not re.search(r":(9200|4566)\b", said)
    assert not re.search(r":(9200|4566)\b", told.stderr)


@needs_a_node
def test_a_second_up_says_so_and_changes_nothing(stack: tuple[Path, str]) -> None:
    """Starting twice is a habit, and must not cost the data of the first start."""
    folder, _ = stack
    before = processes(folder)

    again = command(folder, "up")

    assert again.returncode == 0
    assert "already up" in again.stderr
    assert "http://127.0.0.1:" in again.stderr
    assert processes(folder) == before


@needs_a_node
def test_the_env_file_points_a_shell_at_the_stack(stack: tuple[Path, str]) -> None:
    """One line sets a shell up, wherever the checkout lies and whatever AWS profile its user has."""
    folder, _ = stack
    put_and_receive = """
import boto3, os
boto3.client("s3").put_object(Bucket=os.environ["TRAILSINK_BUCKET"], Key="a b=c", Body=b"x")
sqs, queue = boto3.client("sqs"), os.environ["TRAILSINK_QUEUE_URL"]
for _ in range(2):  # the first message is S3's test event
    for message in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=2)["Messages"]:
        print(message["Body"])
print(os.environ["TRAILSINK_OPENSEARCH_URL"])
"""

    said = in_shell(folder, put_and_receive)

    assert "s3:TestEvent" in said
    assert '"a+b%3Dc"' in said
    assert said.strip().splitlines()[-1].startswith("http://127.0.0.1:")


@needs_a_node
def test_the_queues_forgive_a_day_of_outage(stack: tuple[Path, str]) -> None:
    """With SQS's defaults a message would be visible again while it is worked on, and dead after a few tries."""
    folder, _ = stack
    ask = """
import boto3, json, os
sqs = boto3.client("sqs")
for name in ("TRAILSINK_QUEUE_URL", "TRAILSINK_DEAD_LETTER_QUEUE_URL"):
    print(json.dumps(sqs.get_queue_attributes(QueueUrl=os.environ[name], AttributeNames=["All"])["Attributes"]))
"""

    said = in_shell(folder, ask)

    queue, dead_letters = map(json.loads, said.splitlines())
    redrive = json.loads(queue["RedrivePolicy"])
    assert queue["VisibilityTimeout"] == "1800"
    assert int(redrive["maxReceiveCount"]) == 60
    assert redrive["deadLetterTargetArn"] == dead_letters["QueueArn"]
    assert dead_letters["MessageRetentionPeriod"] == "1209600"


@needs_a_node
@pytest.mark.parametrize(("victim", "survivor"), [("aws", "opensearch"), ("opensearch", "aws")])
def test_up_repairs_what_died_and_keeps_the_rest(stack: tuple[Path, str], victim: str, survivor: str) -> None:
    """After a laptop's memory ran out, the same word that started the stack starts it again, at the same address."""
    folder, _ = stack
    before, env = processes(folder), (folder / "env").read_text()
    before[victim].signal(signal.SIGKILL)
    assert wait_until(lambda: not before[victim].is_alive(), 60)

    broken = command(folder, "status")
    repaired = command(folder, "up")

    after = processes(folder)
    assert broken.returncode == 1
    assert "no longer answers" in repaired.stderr
    assert after[survivor] == before[survivor]
    assert after[victim].is_alive()
    assert after[victim] != before[victim]
    assert (folder / "env").read_text() == env
    assert command(folder, "status").returncode == 0


@needs_a_node
def test_down_keeps_the_data_until_it_is_told_to_clean(folder: Path) -> None:
    """What a developer starts must not stay in the machine's memory, and an hour's work must not be thrown away."""
    assert command(folder, "up").returncode == 0
    started = processes(folder)
    in_shell(folder, KEEP)

    first, second = command(folder, "down"), command(folder, "down")
    is_running = [process for process in started.values() if process.is_alive()]
    has_env = (folder / "env").exists()
    again = command(folder, "up")
    kept = in_shell(folder, IS_KEPT)
    cleaned = command(folder, "down", "--clean")

    assert (first.returncode, second.returncode, again.returncode, cleaned.returncode) == (0, 0, 0, 0)
    assert (is_running, has_env) == ([], False)
    assert (folder / "logs/opensearch.log").stat().st_size
    assert "The data is kept for the next time" in first.stderr
    assert "unset AWS_ENDPOINT_URL " in first.stderr
    assert "Nothing is running" in second.stderr
    assert "The data of the last time is there." in again.stderr
    assert kept == "b'x' True 1\n"
    assert "The data is deleted." in cleaned.stderr
    assert not list((folder / "run").iterdir())


KEEP = """
import boto3, os, urllib.request
boto3.client("s3").put_object(Bucket=os.environ["TRAILSINK_BUCKET"], Key="kept", Body=b"x")
boto3.client("sqs").send_message(QueueUrl=os.environ["TRAILSINK_DEAD_LETTER_QUEUE_URL"], MessageBody="kept")
document = urllib.request.Request(os.environ["TRAILSINK_OPENSEARCH_URL"] + "/kept/_doc/1", b'{"a": 1}', method="PUT")
document.add_header("Content-Type", "application/json")
urllib.request.urlopen(document)
"""

IS_KEPT = """
import boto3, os, urllib.request
body = boto3.client("s3").get_object(Bucket=os.environ["TRAILSINK_BUCKET"], Key="kept")["Body"].read()
document = urllib.request.urlopen(os.environ["TRAILSINK_OPENSEARCH_URL"] + "/kept/_doc/1").read()
letters = boto3.client("sqs").receive_message(QueueUrl=os.environ["TRAILSINK_DEAD_LETTER_QUEUE_URL"])
print(body, b'"a": 1' in document, len(letters["Messages"]))
"""


@needs_a_node
def test_an_interrupted_up_leaves_nothing_running(folder: Path) -> None:
    """Whoever is tired of waiting types an interrupt, and expects that to be all."""
    line = [sys.executable, "-m", "infra.local", "--folder", str(folder), "up"]
    with subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE) as starting:
        assert wait_until(lambda: '"opensearch"' in _read(folder / "stack.json"), 180)
        started = processes(folder)
        starting.send_signal(signal.SIGINT)
        code = starting.wait(180)

    assert code == 130
    assert len(started) == 2
    assert not any(process.is_alive() for process in started.values())
    assert not (folder / "stack.json").exists()


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@needs_a_node
def test_a_foreground_stack_dies_with_its_parent_even_when_that_is_killed() -> None:
    """A test run that is killed cannot clean up, and a forgotten node would hold half a gigabyte."""
    script = (
        "from infra.local.stack import Stack\n"
        "with Stack() as stack:\n"
        "    print(stack.node.pid, stack.aws.pid, flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        started = [Identity.of(int(pid)) for pid in parent.stdout.readline().split()]
        parent.kill()

    assert len(started) == 2
    assert wait_until(lambda: not any(process and process.is_alive() for process in started), 60)


def test_a_named_server_that_does_not_answer_is_said_in_one_sentence(folder: Path) -> None:
    """A typing mistake in a URL must not look like a fault of the program."""
    failed = command(folder, "up", **{SERVER_VARIABLE: "http://127.0.0.1:9"})

    said = failed.stderr.strip().splitlines()[-1]
    assert failed.returncode == 1
    assert said == f"{SERVER_VARIABLE} is http://127.0.0.1:9, and no OpenSearch answers there."
    assert not (folder / "stack.json").exists()


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with Aws() as started:
        yield started


@pytest.fixture
def sqs(aws: Aws) -> Iterator["SQSClient"]:
    aws.reset()
    client = boto3.client(
        "sqs",
        endpoint_url=aws.url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    yield client
    client.close()


def make_queue(sqs: "SQSClient", dead_letters: str | None = None) -> tuple[str, str]:
    """Make a queue, with another's address as its dead-letter queue; return URL and address."""
    policy = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": dead_letters, "maxReceiveCount": 1})}
    url = sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex}")["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes=policy if dead_letters else {})  # type: ignore[arg-type]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def make_pair(sqs: "SQSClient") -> tuple[str, str, str, str]:
    """Make a queue and its dead-letter queue; return URL, address, and both of the other."""
    dead_url, dead_arn = make_queue(sqs)
    url, arn = make_queue(sqs, dead_arn)
    return url, arn, dead_url, dead_arn


def bury(sqs: "SQSClient", url: str, count: int) -> None:
    """Receive messages once too often, so that they end in the dead-letter queue."""
    for number in range(count):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    for _ in range(2 * count):
        sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)


def waiting(sqs: "SQSClient", url: str) -> int:
    """Return how many messages wait in the queue."""
    told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    return int(told["ApproximateNumberOfMessages"])


def status(sqs: "SQSClient", arn: str) -> str:
    """Return the state of the newest task."""
    return sqs.list_message_move_tasks(SourceArn=arn)["Results"][0]["Status"]


def test_a_move_task_takes_dead_letters_home(sqs: "SQSClient") -> None:
    """The redrive command relies on it, and MiniStack lacks it."""
    url, arn, dead_url, dead_arn = make_pair(sqs)
    bury(sqs, url, 3)
    assert waiting(sqs, dead_url) == 3

    sqs.start_message_move_task(SourceArn=dead_arn)

    assert wait_until(lambda: status(sqs, dead_arn) == "COMPLETED", 30)
    assert waiting(sqs, dead_url) == 0
    moved = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"])["Messages"]
    assert sorted(message["Body"] for message in moved) == ["0", "1", "2"]
    assert {message["Attributes"]["ApproximateReceiveCount"] for message in moved} == {"1"}
    [task] = sqs.list_message_move_tasks(SourceArn=dead_arn)["Results"]
    assert task["ApproximateNumberOfMessagesMoved"] == task["ApproximateNumberOfMessagesToMove"] == 3
    assert "TaskHandle" not in task
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead_url)["queueUrls"] == [url]
    assert arn != dead_arn


def test_a_cancelled_move_task_keeps_its_pace_and_stops(sqs: "SQSClient") -> None:
    """An operator who sees the same failure come back wants the rest to stay where it is."""
    url, _, dead_url, dead_arn = make_pair(sqs)
    bury(sqs, url, 5)
    handle = sqs.start_message_move_task(SourceArn=dead_arn, MaxNumberOfMessagesPerSecond=2)["TaskHandle"]
    time.sleep(0.1)

    moved = sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"]

    assert moved == 1
    assert wait_until(lambda: status(sqs, dead_arn) == "CANCELLED", 30)
    assert waiting(sqs, dead_url) == 4
    assert waiting(sqs, url) == 1


def test_a_second_move_task_is_refused_while_one_runs(sqs: "SQSClient") -> None:
    """SQS allows one task per queue, so the command must be able to meet that answer here."""
    url, _, _, dead_arn = make_pair(sqs)
    bury(sqs, url, 3)
    sqs.start_message_move_task(SourceArn=dead_arn, MaxNumberOfMessagesPerSecond=1)

    with pytest.raises(ClientError, match="already a task running") as refused:
        sqs.start_message_move_task(SourceArn=dead_arn)

    assert "UnsupportedOperation" in refused.value.response["Error"]["Code"]


def test_only_a_dead_letter_queue_can_be_moved_from(sqs: "SQSClient") -> None:
    """Two arguments in the wrong order must fail as they do at AWS, not move live messages."""
    _, arn, _, _ = make_pair(sqs)

    with pytest.raises(ClientError, match="must be configured as a Dead Letter Queue"):
        sqs.start_message_move_task(SourceArn=arn)
    with pytest.raises(ClientError, match="doesn't exist"):
        sqs.start_message_move_task(SourceArn=f"{arn}-gone")


def test_a_message_sent_straight_to_the_dead_letter_queue_needs_a_destination(sqs: "SQSClient") -> None:
    """The worker's own dead letters are such messages: without a destination SQS fails the task."""
    url, arn, dead_url, dead_arn = make_pair(sqs)
    sqs.send_message(QueueUrl=dead_url, MessageBody="ours")

    sqs.start_message_move_task(SourceArn=dead_arn)

    assert wait_until(lambda: status(sqs, dead_arn) == "FAILED", 30)
    failed = sqs.list_message_move_tasks(SourceArn=dead_arn)["Results"][0]
    assert failed["FailureReason"] == "CouldNotDetermineMessageSource"
    assert waiting(sqs, dead_url) == 1

    sqs.start_message_move_task(SourceArn=dead_arn, DestinationArn=arn)

    assert wait_until(lambda: waiting(sqs, url) == 1, 30)


def test_several_stacks_that_start_at_once_sweep_the_same_folders(tmp_path: Path) -> None:
    """Each removes what killed runs left behind, and must not stumble over what another has just removed."""
    for number in range(300):
        folder = tmp_path / f"999999999-aws-{number}"
        folder.mkdir()
        for name in ("aws.log", "aws.lock", "node.log"):
            (folder / name).touch()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(sweep, [tmp_path] * 4))

    assert list(tmp_path.iterdir()) == []
