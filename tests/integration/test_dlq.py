"""`trailsink dlq` on real queues over HTTP: listing changes nothing, moving loses nothing, a refusal is explained."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import boto3
import msgspec
import pytest
import urllib3
from click.testing import CliRunner, Result

from infra.local.polling import wait_until
from tests.support.cli import TRAILSINK
from tests.support.elasticmq import elasticmq
from tests.support.event_files import event, fresh_files, log_file
from tests.support.http_server import serving
from worker.cli.main import main
from worker.dlq.reasons import REASONS
from worker.pipeline.notifications import s3_notification
from worker.pipeline.objects import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from types_boto3_sqs import SQSClient

    from tests.conftest import Bench
    from tests.support.http_server import Given


def dlq(*words: str, answer: str = "") -> Result:
    """Run a command in this process: starting a process costs a second."""
    return CliRunner().invoke(main, ["dlq", *words], input=answer)


def documents(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@dataclass(frozen=True)
class QueuePair:
    """A source queue and its dead-letter queue, which this process's environment names."""

    sqs: SQSClient
    url: str
    dead_letter_url: str

    def add_letters(self, number: int, reason: str = "unknown", make_body: Callable[[int], str] | None = None) -> None:
        """Send this many letters as the consumer does; `unknown` ones carry no attributes."""
        attributes = {
            "reason": {"DataType": "String", "StringValue": reason},
            "detail": {"DataType": "String", "StringValue": f"what is {reason}"},
            "attempts": {"DataType": "String", "StringValue": "2"},
        }
        entries: list[Any] = [
            {
                "Id": str(position),
                "MessageBody": (make_body or notification_of)(position),
                "MessageAttributes": {} if reason == "unknown" else attributes,
            }
            for position in range(number)
        ]
        for start in range(0, number, 10):
            self.sqs.send_message_batch(QueueUrl=self.dead_letter_url, Entries=entries[start : start + 10])

    def count(self, url: str) -> tuple[int, int]:
        names: list[Any] = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return int(attributes[names[0]]), int(attributes[names[1]])

    @property
    def letters(self) -> tuple[int, int]:
        """How many letters are visible, and how many hidden."""
        return self.count(self.dead_letter_url)

    @property
    def arn(self) -> str:
        return queue_arn(self.sqs, self.dead_letter_url)

    def returned(self) -> list[str]:
        """The bodies in the source queue, which is emptied."""
        bodies = []
        while messages := self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            bodies += [message["Body"] for message in messages]
        return bodies


def queue_arn(sqs: SQSClient, url: str) -> str:
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def notification_of(number: int) -> str:
    return s3_notification(ObjectRef("trailsink-local", f"{number}.json.gz"))


@pytest.fixture
def queues(environment: dict[str, str]) -> QueuePair:
    """MiniStack's queues, without messages."""
    return _ministack_queues(environment)


def _ministack_queues(environment: dict[str, str]) -> QueuePair:
    sqs = boto3.client("sqs")
    queues = QueuePair(sqs, environment["TRAILSINK_QUEUE_URL"], environment["TRAILSINK_DEAD_LETTER_QUEUE_URL"])
    sqs.purge_queue(QueueUrl=queues.url)  # S3 sends a test event to a queue that it is to notify
    return queues


@pytest.fixture(scope="module")
def second_server() -> Iterator[str]:
    with elasticmq() as url:
        yield url


@pytest.fixture(params=["ministack", "elasticmq"])
def server_queues(
    request: pytest.FixtureRequest, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> QueuePair:
    """The queues of one of the two servers that have SQS's move tasks, each with its own behaviour."""
    if request.param == "ministack":
        return _ministack_queues(environment)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", request.getfixturevalue("second_server"))
    sqs, number = boto3.client("sqs"), next(_NUMBERS)
    dead_letter_url = sqs.create_queue(QueueName=f"dead-{number}")["QueueUrl"]
    policy = json.dumps({"deadLetterTargetArn": queue_arn(sqs, dead_letter_url), "maxReceiveCount": 60})
    source_url = sqs.create_queue(QueueName=f"source-{number}", Attributes={"RedrivePolicy": policy})["QueueUrl"]
    monkeypatch.setenv("TRAILSINK_QUEUE_URL", source_url)
    monkeypatch.setenv("TRAILSINK_DEAD_LETTER_QUEUE_URL", dead_letter_url)
    return QueuePair(sqs, source_url, dead_letter_url)


_NUMBERS = itertools.count()


# SQS's own move, on two servers


def test_all_letters_are_moved_by_sqs_itself(server_queues: QueuePair) -> None:
    """The destination is named, because these letters have no source that SQS knows."""
    server_queues.add_letters(25)

    (report,) = documents(dlq("redrive", "--json"))

    assert (report["way"], report["status"], report["moved"], report["left"]) == ("move_task", "COMPLETED", 25, 0)
    assert sorted(server_queues.returned()) == sorted(map(notification_of, range(25)))
    assert dlq("list").stdout == "No dead letters.\n"
    assert server_queues.sqs.list_message_move_tasks(SourceArn=server_queues.arn)["Results"][0]["DestinationArn"]


def test_a_task_that_is_running_is_left_alone_and_can_be_cancelled(server_queues: QueuePair) -> None:
    """Another operator started it; SQS allows one at a time."""
    server_queues.add_letters(30)
    source_arn = server_queues.arn.replace("dead-letters", "").rstrip("-").replace(":dead-", ":source-")
    server_queues.sqs.start_message_move_task(
        SourceArn=server_queues.arn, DestinationArn=source_arn, MaxNumberOfMessagesPerSecond=1
    )

    refused = dlq("redrive")
    cancelled = dlq("redrive", "--cancel")
    not_running = dlq("redrive", "--attach")

    assert refused.exit_code == cancelled.exit_code == not_running.exit_code == 1
    assert "A move task of this queue is already running" in refused.stderr
    assert cancelled.stderr.startswith("Error: Cancelled after ")
    assert not_running.stderr == "Error: No move task of this queue is running.\n"
    (moved, _), (remaining, _) = server_queues.count(server_queues.url), server_queues.letters
    assert moved + remaining == 30
    assert remaining > 0


def test_an_interrupt_cancels_the_task_and_says_how_far_it_came(server_queues: QueuePair) -> None:
    """An operator who sees the same failures come back wants the other letters to stay."""
    server_queues.add_letters(40)
    with subprocess.Popen([TRAILSINK, "dlq", "redrive", "--rate", "1"], stderr=subprocess.PIPE, text=True) as running:
        assert wait_until(lambda: _statuses(server_queues) == ["RUNNING"], 90)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=240)

    (moved, _), (remaining, hidden) = server_queues.count(server_queues.url), server_queues.letters
    assert running.returncode == 1
    assert f"Error: Cancelled after {moved} letter" in errors
    assert f"; about {remaining} remain." in errors
    assert (moved + remaining, hidden) == (40, 0)
    assert _statuses(server_queues) in (["CANCELLED"], [])  # ElasticMQ does not keep it


def _statuses(queues: QueuePair) -> list[str]:
    return [task["Status"] for task in queues.sqs.list_message_move_tasks(SourceArn=queues.arn)["Results"]]


def test_a_queue_that_no_redrive_policy_names_is_refused_with_the_alternative(
    queues: QueuePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQS moves only out of a queue that a redrive policy names; one by one needs none."""
    plain_url = queues.sqs.create_queue(QueueName="not-a-dead-letter-queue")["QueueUrl"]
    monkeypatch.setenv("TRAILSINK_DEAD_LETTER_QUEUE_URL", plain_url)
    plain_queues = QueuePair(queues.sqs, queues.url, plain_url)
    plain_queues.add_letters(12)

    refused = dlq("redrive")
    moved = dlq("redrive", "--one-by-one")

    assert refused.exit_code == 1
    assert "redrive policy names" in refused.stderr
    assert "--one-by-one" in refused.stderr
    assert moved.stdout == "Moved 12 letters back to the source queue.\n"
    assert len(plain_queues.returned()) == 12


def test_a_task_that_sqs_gives_up_is_reported_with_its_reason(
    queues: QueuePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source queue may be deleted, or a key refused."""
    queues.add_letters(3)
    doomed_url = queues.sqs.create_queue(QueueName="doomed")["QueueUrl"]
    monkeypatch.setenv("TRAILSINK_QUEUE_URL", doomed_url)

    with _deleted_on_start(queues.sqs, doomed_url) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", url)
        failed = dlq("redrive")

    assert failed.exit_code == 1
    assert failed.stderr == ("Error: The move task failed after 0 letters: AWS.SimpleQueueService.NonExistentQueue.\n")
    assert queues.letters == (3, 0)


@contextmanager
def _deleted_on_start(sqs: SQSClient, url: str) -> Iterator[str]:
    """Delete a queue just before a move to it is started."""
    with proxy_to(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        proxy.before_action["StartMessageMoveTask"] = lambda: sqs.delete_queue(QueueUrl=url)
        yield proxy.url


# 500 letters of every reason

NUMBER = 500
T = TypeVar("T")


class _Shape(msgspec.Struct, forbid_unknown_fields=True):
    """What a command prints as JSON: exactly these members."""


class ListedLetter(_Shape):
    """A line of `list --json`."""

    id: str
    reason: str
    detail: str
    object: str | None
    objects: list[str]
    attempts: int | None
    receives: int
    sent_at: str
    age_seconds: int
    source_message_id: str | None
    rejected: list[tuple[int, str]]
    body: str | None


class ListedGroup(_Shape):
    """A line of `list --summary --json`."""

    reason: str
    letters: int
    oldest: str
    newest: str


class ShownRecord(_Shape):
    """A rejected record."""

    position: int
    reason: str
    bytes: int | None
    text: str | None
    cut: bool


class ShownFile(_Shape):
    """The object as it is now."""

    records: int
    reason: str | None
    detail: str | None
    rejected: list[ShownRecord]


class ShownLetter(_Shape):
    """What `show --json` prints."""

    letter: ListedLetter
    meaning: str
    source_queue: str | None
    trailsink_version: str | None
    etag: str | None
    size: int | None
    version_id: str | None
    redrive: Literal["as_it_is", "newest", "stays"]
    redrive_why: str
    attributes: dict[str, str]
    body: str
    file: ShownFile | None


class Planned(_Shape):
    """Letters that are treated alike, and why."""

    reason: str
    letters: int
    verdict: Literal["as_it_is", "newest", "stays"]
    why: str


class Redriven(_Shape):
    """What `redrive --json` prints."""

    moved: int
    left: int
    way: Literal["move_task", "one_by_one", "none"]
    status: Literal["COMPLETED", "PLANNED", "CANCELLED", "FAILED"]
    dry_run: bool
    plan: list[Planned]


class Discarded(_Shape):
    """What `discard --json` prints."""

    discarded: int
    file: str


class Exported(_Shape):
    """What `export --json` prints."""

    exported: int
    file: str


class Imported(_Shape):
    """What `import --json` prints."""

    imported: int
    to: Literal["dead-letters", "source"]


def read(shape: type[T], result: Result) -> list[T]:
    assert result.exit_code == 0, result.output
    return [msgspec.json.decode(line, type=shape) for line in result.stdout.splitlines()]


def test_500_letters_of_every_reason_are_listed_kept_moved_and_discarded(queues: QueuePair, tmp_path: Path) -> None:
    """All that an operator does, in numbers; what is printed as JSON has a shape that scripts can rely on."""
    sent = [reason for reason in REASONS if reason != "max_receives"]
    each = NUMBER // len(sent)
    for reason in sent:
        garbage = (lambda number: f"garbage {number}") if reason == "malformed_message" else None
        queues.add_letters(each, reason, garbage)
    total = each * len(sent)

    groups = read(ListedGroup, dlq("list", "--summary", "--json"))
    letters = read(ListedLetter, dlq("list", "--json"))
    two_reasons = read(ListedLetter, dlq("list", "--json", "--reason", "empty", "--reason", "corrupt", "--limit", "7"))
    too_new = dlq("list", "--object", "s3://trailsink-local/", "--older-than", "1d")
    table = dlq("list", "--limit", "3").stdout.splitlines()
    assert queues.letters == (total, 0)
    (plan,) = read(Redriven, dlq("redrive", "--dry-run", "--json"))
    (exported,) = read(Exported, dlq("export", "--json", str(tmp_path / "all.jsonl")))
    assert queues.letters == (total, 0)
    (moved,) = read(Redriven, dlq("redrive", "--json"))
    (discarded,) = read(Discarded, dlq("discard", "--all", "--yes", "--json", "--to", str(tmp_path / "gone.jsonl")))
    assert queues.letters == (0, 0)
    (imported,) = read(Imported, dlq("import", "--json", str(tmp_path / "all.jsonl")))
    exported_again = dlq("export", "-")

    assert {group.reason: group.letters for group in groups} == dict.fromkeys(sent, each)
    assert len({letter.id for letter in letters}) == total
    assert {letter.reason for letter in two_reasons} <= {"empty", "corrupt"}
    assert len(two_reasons) == 7
    assert too_new.stdout == f"No matching dead letters; the queue holds {total} others.\n"
    assert table[0].split() == ["reason", "letters", "oldest", "newest"]
    assert table[-1] == f"... and {total - 3} older letters: --limit 0 shows all."
    assert max(map(len, table)) <= 80
    stays = {line.reason for line in plan.plan if line.verdict == "stays"}
    movable = {"unknown", "undelivered"}  # nothing is known about their objects; those of the others do not exist
    assert stays == set(sent) - movable
    assert (plan.moved, plan.left, plan.way, plan.dry_run) == (0, total, "one_by_one", True)
    assert (moved.moved, moved.left) == (each * len(movable), total - each * len(movable))
    assert len(queues.returned()) == each * len(movable)
    assert exported.exported == imported.imported == total
    assert discarded.discarded == total - each * len(movable)
    assert (tmp_path / "gone.jsonl").read_bytes().count(b"\n") == total - each * len(movable)
    assert contents(exported_again.stdout_bytes) == contents((tmp_path / "all.jsonl").read_bytes())
    assert exported_again.stderr == f"Exported {total} letters.\n"


def contents(lines: bytes) -> list[tuple[str, str]]:
    """What an export restores: bodies and attributes."""
    letters = [json.loads(line) for line in lines.splitlines()]
    return sorted((letter["body"], json.dumps(letter["attributes"], sort_keys=True)) for letter in letters)


def test_a_letter_that_sqs_moved_itself_is_shown_as_what_it_is(queues: QueuePair) -> None:
    """It has none of the consumer's attributes: its body names the objects, and SQS counts the receives."""
    queues.sqs.send_message(QueueUrl=queues.url, MessageBody='{"s3Bucket":"b","s3ObjectKey":["x","y"]}')
    for _ in range(61):
        queues.sqs.receive_message(QueueUrl=queues.url, VisibilityTimeout=0)

    (listed,) = read(ListedLetter, dlq("list", "--json", "--reason", "max_receives"))
    (shown,) = read(ShownLetter, dlq("show", "--json", listed.id))
    text = dlq("show", listed.id).stdout
    several = dlq("show", "--records", listed.id)
    moved = dlq("redrive", listed.id)

    assert (listed.object, listed.objects) == (None, ["s3://b/x", "s3://b/y"])
    assert listed.attempts == listed.receives >= 60
    assert shown.source_queue
    assert shown.source_queue.endswith(":trailsink-local")
    assert shown.redrive == "as_it_is"
    assert "moved here by SQS after too many receives" in text
    assert "every read by anyone adds one, and nothing acts on it" in text
    assert several.stderr == f"Error: The letter {listed.id} announces 2 objects; --records needs exactly one.\n"
    assert moved.stdout == "Moved 1 letter back to the source queue.\n"


def test_a_rejected_record_is_shown_with_its_text_from_s3(bench: Bench) -> None:
    """Position and reason alone do not show where it came from; control characters are escaped."""
    odd = b'"\x1b[31m red ' + b"x" * 5_000 + b'"'
    bench.put("odd.json.gz", log_file(event(), odd, event(), b"42"))
    consume()
    (letter,) = read(ListedLetter, dlq("list", "--json"))

    (shown,) = read(ShownLetter, dlq("show", "--records", "--json", "--bytes", "100", letter.id))
    text = dlq("show", "--records", letter.id).stdout
    (whole,) = read(ShownLetter, dlq("show", "--records", "--json", "--bytes", "0", "--limit", "1", letter.id))
    refused = dlq("redrive", letter.id)
    forced = dlq("redrive", letter.id, "--force")

    assert shown.file
    assert (shown.file.records, [record.position for record in shown.file.rejected]) == (4, [1, 3])
    assert [(record.text, record.cut) for record in shown.file.rejected] == [(odd[:100].decode(), True), ("42", False)]
    assert whole.file
    assert [record.text for record in whole.file.rejected] == [odd.decode()]
    assert "position 3: not_a_json_object" in text
    assert "\x1b" not in text
    assert "\\x1b[31m red" in text
    assert refused.exit_code == 1
    assert refused.stderr == (
        "Error: Nothing was moved: 1 letter would fail again (1 records_rejected: the object has not changed)."
        " Fix the object, or pass --force.\n"
    )
    assert forced.stdout == "Moved 1 letter back to the source queue.\n"


def consume() -> dict[str, Any]:
    result = CliRunner().invoke(main, ["run", "--until-idle", "--timeout", "450", "--no-progress"])
    assert result.exit_code == 0, result.output
    totals: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return totals


def test_a_truncated_version_is_replaced_by_a_newer_one(bench: Bench) -> None:
    """The letter names the broken version: moved as it is, it would fail again for ever."""
    bench.s3.put_bucket_versioning(Bucket=bench.settings.bucket, VersioningConfiguration={"Status": "Enabled"})
    (key, whole, ids), *_ = fresh_files(1, 100)
    bench.put(key, whole[: len(whole) // 2])
    consume()
    (letter,) = read(ListedLetter, dlq("list", "--json"))
    before = dlq("redrive")
    bench.put(key, whole)
    bench.sqs.purge_queue(QueueUrl=bench.settings.queue_url)  # only the letter may announce it

    (shown,) = read(ShownLetter, dlq("show", "--json", letter.id))
    (moved,) = read(Redriven, dlq("redrive", "--json"))
    consume()

    assert letter.object
    assert "(version " in letter.object
    assert (before.exit_code, "the object has not changed" in before.stderr) == (1, True)
    assert (shown.redrive, shown.redrive_why) == ("newest", "the object was replaced")
    assert (moved.moved, moved.way) == (1, "one_by_one")
    assert set(bench.documents()) == ids
    assert dlq("list").stdout == "No dead letters.\n"


# Interrupted and killed


@dataclass
class Proxy:
    """Stands between the command and SQS, and calls `before_action` before it forwards an action of that name."""

    url: str = ""
    before_action: dict[str, Callable[[], object]] = field(default_factory=dict)
    actions: list[str] = field(default_factory=list)


@contextmanager
def proxy_to(target: str) -> Iterator[Proxy]:
    proxy = Proxy()

    def forward(method: str, path: str, headers: dict[str, str], body: bytes) -> Given:
        action = headers.get("X-Amz-Target", "").rpartition(".")[2]
        proxy.actions.append(action)
        if action in proxy.before_action:
            proxy.before_action[action]()
        request_headers = {name: value for name, value in headers.items() if name != "Host"}
        response = urllib3.request(method, target + path, headers=request_headers, body=body, retries=False)
        names = ("Content-Type", "x-amzn-RequestId", "x-amzn-query-error")
        response_headers = {name: response.headers[name] for name in names if name in response.headers}
        return response.status, response.data, response_headers

    with serving(forward) as proxy.url:
        yield proxy


@contextmanager
def running(proxy: Proxy, *words: str) -> Iterator[subprocess.Popen[str]]:
    variables = os.environ | {"AWS_ENDPOINT_URL_SQS": proxy.url}
    command = [str(TRAILSINK), "dlq", *words]
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def kill_and_drop(process: subprocess.Popen[str]) -> None:
    """Kill a command during a request, which is not forwarded."""
    process.kill()
    process.wait(60)
    raise ConnectionAbortedError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_listing_that_a_signal_ends_hands_every_letter_back(queues: QueuePair, number: signal.Signals) -> None:
    """The next operator, and SQS's own move task, must see all of them at once."""
    queues.add_letters(100)
    with proxy_to(os.environ["AWS_ENDPOINT_URL"]) as proxy, running(proxy, "list") as process:
        proxy.before_action["ReceiveMessage"] = lambda: (
            process.send_signal(number) if proxy.actions.count("ReceiveMessage") == 5 else None
        )
        output, errors = process.communicate(timeout=240)

    assert (process.returncode, output) == (1, "")
    assert errors == "Error: Stopped; all letters that were held are handed back.\n"
    assert proxy.actions.count("ReceiveMessage") == 5
    assert queues.letters == (100, 0)


def test_killed_between_send_and_delete_nothing_is_lost(queues: QueuePair) -> None:
    """What was sent and not deleted is sent twice: the ids of its events make that harmless."""
    queues.add_letters(60)
    with proxy_to(os.environ["AWS_ENDPOINT_URL"]) as proxy, running(proxy, "redrive", "--one-by-one") as process:

        def kill() -> None:
            if proxy.actions.count("DeleteMessageBatch") == 3:
                process.kill()
                process.wait(60)
                proxy.before_action["DeleteMessageBatch"] = lambda: None

        proxy.before_action["DeleteMessageBatch"] = kill
        process.wait(180)

    assert process.returncode == -signal.SIGKILL
    returned = queues.returned()
    visible, hidden = queues.letters
    # Two batches of ten are sent and deleted; the third delete was on its way when the process died, and took effect.
    assert (len(returned), visible + hidden) == (30, 30)
    assert len(set(returned)) == 30


def test_killed_before_the_delete_leaves_every_letter(queues: QueuePair) -> None:
    """A delete that never reaches SQS leaves letters in both queues, and loses none."""
    queues.add_letters(30)
    with proxy_to(os.environ["AWS_ENDPOINT_URL"]) as proxy, running(proxy, "redrive", "--one-by-one") as process:
        proxy.before_action["DeleteMessageBatch"] = lambda: kill_and_drop(process)
        process.wait(180)

    returned = queues.returned()
    assert set(returned) <= set(map(notification_of, range(30)))
    assert len(returned) == 10
    assert sum(queues.letters) == 30


def test_discard_asks_and_writes_the_letters_to_the_disk_first(queues: QueuePair, tmp_path: Path) -> None:
    """No means no; and after a kill at the first delete, the file is complete."""
    queues.add_letters(25, "empty")
    path = tmp_path / "gone.jsonl"

    refused = dlq("discard", "--all", "--to", str(path), answer="n\n")
    assert (refused.exit_code, path.exists(), queues.letters) == (1, False, (25, 0))
    with (
        proxy_to(os.environ["AWS_ENDPOINT_URL"]) as proxy,
        running(proxy, "discard", "--all", "--yes", "--to", str(path)) as process,
    ):
        proxy.before_action["DeleteMessageBatch"] = lambda: kill_and_drop(process)
        process.wait(180)

    assert path.read_bytes().count(b"\n") == 25
    assert sum(queues.letters) == 25


def test_discard_requires_a_selection(queues: QueuePair) -> None:
    """A command without a selection deletes nothing."""
    queues.add_letters(1)

    assert dlq("discard", "--yes").exit_code == 2
    assert dlq("discard", "--yes", "--all", "--reason", "empty").exit_code == 2
    assert queues.letters == (1, 0)


# Faults outside the command


COMMANDS = [
    ("list",),
    ("show", "some-id"),
    ("redrive",),
    ("redrive", "--attach"),
    ("discard", "--all", "--yes", "--to", "DIR/never.jsonl"),
    ("export", "DIR/never.jsonl"),
    ("import", "DIR/one.jsonl"),
]
FAULTS = {
    "TRAILSINK_DEAD_LETTER_QUEUE_URL": "TRAILSINK_DEAD_LETTER_QUEUE_URL is not set.",
    "AWS_DEFAULT_REGION": "No AWS region is set: set AWS_REGION.",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_missing_setting_is_one_sentence_from_every_command(
    queues: QueuePair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: str
) -> None:
    """No traceback, exit code 1, and nothing on standard output; no file is left behind."""
    (tmp_path / "one.jsonl").write_bytes(b'{"body":"x"}\n')
    monkeypatch.delenv(fault)
    if fault == "AWS_DEFAULT_REGION":
        monkeypatch.delenv("AWS_REGION", raising=False)
    assert queues.dead_letter_url

    for words in COMMANDS:
        result = dlq(*(word.replace("DIR", str(tmp_path)) for word in words))

        assert (result.exit_code, result.stdout) == (1, ""), words
        assert result.stderr.count("\n") == 1, result.stderr
        assert FAULTS[fault].rstrip(".") in result.stderr, words
    assert [path.name for path in tmp_path.iterdir()] == ["one.jsonl"]


def test_an_empty_queue_is_reported_and_is_no_fault(queues: QueuePair, tmp_path: Path) -> None:
    """Cron runs these commands on quiet days, too."""
    assert queues.letters == (0, 0)

    for words in (("list",), ("redrive",), ("redrive", "--dry-run"), ("discard", "--all", "--to", "DIR/x")):
        result = dlq(*(word.replace("DIR", str(tmp_path)) for word in words))
        assert (result.exit_code, result.stdout) == (0, "No dead letters.\n"), words
    assert not (tmp_path / "x").exists()


def test_a_broken_file_is_refused_before_anything_is_sent(queues: QueuePair, tmp_path: Path) -> None:
    """An operator would have to undo half an import by hand."""
    (tmp_path / "bad.jsonl").write_bytes(b'{"body":"x"}\n{"body":')

    refused = dlq("import", str(tmp_path / "bad.jsonl"))

    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: Line 2 is not an exported letter: ")
    assert queues.letters == (0, 0)
