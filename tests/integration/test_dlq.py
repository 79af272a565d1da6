"""`trailsink dlq` on real queues over HTTP: looking changes nothing, moving loses nothing, a refusal is told."""

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

from infra.local.asking import wait_until
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


def dlq(*words: str, given: str = "") -> Result:
    """Run a command in this process: starting one costs a second."""
    return CliRunner().invoke(main, ["dlq", *words], input=given)


def documents(done: Result) -> list[dict[str, Any]]:
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


@dataclass(frozen=True)
class Pair:
    """A source queue and its dead-letter queue, which this process's environment names."""

    sqs: SQSClient
    url: str
    dead_url: str

    def bury(self, number: int, reason: str = "unknown", body: Callable[[int], str] | None = None) -> None:
        """Send so many letters as the consumer does; `unknown` ones carry no attributes."""
        attributes = {
            "reason": {"DataType": "String", "StringValue": reason},
            "detail": {"DataType": "String", "StringValue": f"what is {reason}"},
            "attempts": {"DataType": "String", "StringValue": "2"},
        }
        entries = [
            {
                "Id": str(at),
                "MessageBody": (body or a_body)(at),
                "MessageAttributes": {} if reason == "unknown" else attributes,
            }
            for at in range(number)
        ]
        for at in range(0, number, 10):
            self.sqs.send_message_batch(QueueUrl=self.dead_url, Entries=entries[at : at + 10])  # type: ignore[arg-type]

    def count(self, url: str) -> tuple[int, int]:
        names: list[Any] = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    @property
    def letters(self) -> tuple[int, int]:
        """How many letters are visible, and how many hidden."""
        return self.count(self.dead_url)

    @property
    def arn(self) -> str:
        return self.sqs.get_queue_attributes(QueueUrl=self.dead_url, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]

    def returned(self) -> list[str]:
        """The bodies in the source queue, which is emptied."""
        found = []
        while answer := self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            found += [one["Body"] for one in answer]
        return found


def a_body(number: int) -> str:
    return s3_notification(ObjectRef("trailsink-local", f"{number}.json.gz"))


@pytest.fixture
def pair(environment: dict[str, str]) -> Pair:
    """MiniStack's queues, empty."""
    return _empty(
        Pair(boto3.client("sqs"), environment["TRAILSINK_QUEUE_URL"], environment["TRAILSINK_DEAD_LETTER_QUEUE_URL"])
    )


def _empty(pair: Pair) -> Pair:
    pair.sqs.purge_queue(QueueUrl=pair.url)  # of the event by which S3 tests it
    return pair


@pytest.fixture(scope="module")
def second_server() -> Iterator[str]:
    with elasticmq() as url:
        yield url


@pytest.fixture(params=["ministack", "elasticmq"])
def either(request: pytest.FixtureRequest, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Pair:
    """The queues of one of the two servers that have SQS's move tasks, each in its own manner."""
    if request.param == "elasticmq":
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", request.getfixturevalue("second_server"))
    sqs = boto3.client("sqs")
    if request.param == "ministack":
        return _empty(Pair(sqs, environment["TRAILSINK_QUEUE_URL"], environment["TRAILSINK_DEAD_LETTER_QUEUE_URL"]))
    number = next(_NUMBERS)
    dead = sqs.create_queue(QueueName=f"dead-{number}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 40})
    source = sqs.create_queue(QueueName=f"source-{number}", Attributes={"RedrivePolicy": policy})["QueueUrl"]
    monkeypatch.setenv("TRAILSINK_QUEUE_URL", source)
    monkeypatch.setenv("TRAILSINK_DEAD_LETTER_QUEUE_URL", dead)
    return Pair(sqs, source, dead)


_NUMBERS = itertools.count()


# SQS's own move, on two servers


def test_all_letters_are_moved_by_sqs_itself(either: Pair) -> None:
    """To a destination that is named, because these letters have no source that SQS knows."""
    either.bury(25)

    (done,) = documents(dlq("redrive", "--json"))

    assert (done["way"], done["status"], done["moved"], done["left"]) == ("move_task", "COMPLETED", 25, 0)
    assert sorted(either.returned()) == sorted(map(a_body, range(25)))
    assert dlq("list").stdout == "No dead letters.\n"
    assert either.sqs.list_message_move_tasks(SourceArn=either.arn)["Results"][0]["DestinationArn"]


def test_a_task_that_is_running_is_left_alone_and_can_be_ended(either: Pair) -> None:
    """Somebody else started it; SQS allows one at a time."""
    either.bury(30)
    source_arn = either.arn.replace("dead-letters", "").rstrip("-").replace(":dead-", ":source-")
    either.sqs.start_message_move_task(SourceArn=either.arn, DestinationArn=source_arn, MaxNumberOfMessagesPerSecond=1)

    refused = dlq("redrive")
    ended = dlq("redrive", "--cancel")
    none = dlq("redrive", "--attach")

    assert refused.exit_code == ended.exit_code == none.exit_code == 1
    assert "A move task of this queue is running already" in refused.stderr
    assert ended.stderr.startswith("Error: Cancelled after ")
    assert none.stderr == "Error: No move task of this queue is running.\n"
    (moved, _), (left, _) = either.count(either.url), either.letters
    assert moved + left == 30
    assert left > 0


def test_an_interrupt_cancels_the_task_and_says_how_far_it_came(either: Pair) -> None:
    """Whoever sees the same failures come back wants the rest to stay."""
    either.bury(40)
    with subprocess.Popen([TRAILSINK, "dlq", "redrive", "--rate", "1"], stderr=subprocess.PIPE, text=True) as running:
        assert wait_until(lambda: _statuses(either) == ["RUNNING"], 30)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)

    (moved, _), (left, hidden) = either.count(either.url), either.letters
    assert running.returncode == 1
    assert f"Error: Cancelled after {moved} letter" in said
    assert f"; about {left} stay." in said
    assert (moved + left, hidden) == (40, 0)
    assert _statuses(either) in (["CANCELLED"], [])  # ElasticMQ forgets it


def _statuses(pair: Pair) -> list[str]:
    return [one["Status"] for one in pair.sqs.list_message_move_tasks(SourceArn=pair.arn)["Results"]]


def test_a_queue_that_is_nobodys_dead_letter_queue_is_refused_with_the_way_out(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQS moves only out of a queue that a redrive policy names; one by one needs none."""
    other = pair.sqs.create_queue(QueueName="not-a-dead-letter-queue")["QueueUrl"]
    monkeypatch.setenv("TRAILSINK_DEAD_LETTER_QUEUE_URL", other)
    strange = Pair(pair.sqs, pair.url, other)
    strange.bury(12)

    refused = dlq("redrive")
    moved = dlq("redrive", "--one-by-one")

    assert refused.exit_code == 1
    assert "redrive policy names" in refused.stderr
    assert "--one-by-one" in refused.stderr
    assert moved.stdout == "Moved 12 letters back to the source queue.\n"
    assert len(strange.returned()) == 12


def test_a_task_that_sqs_gives_up_is_told_with_its_reason(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source queue may be gone, or a key refused."""
    pair.bury(3)
    doomed = pair.sqs.create_queue(QueueName="doomed")["QueueUrl"]
    monkeypatch.setenv("TRAILSINK_QUEUE_URL", doomed)
    running = _gone_on_start(pair.sqs, doomed)

    with running as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", url)
        failed = dlq("redrive")

    assert failed.exit_code == 1
    assert failed.stderr == ("Error: The move task failed after 0 letters: AWS.SimpleQueueService.NonExistentQueue.\n")
    assert pair.letters == (3, 0)


@contextmanager
def _gone_on_start(sqs: SQSClient, url: str) -> Iterator[str]:
    """Delete a queue just before a move to it is started."""
    with between(os.environ["AWS_ENDPOINT_URL"]) as place:
        place.before["StartMessageMoveTask"] = lambda: sqs.delete_queue(QueueUrl=url)
        yield place.url


# 500 letters of every reason

NUMBER = 500
T = TypeVar("T")


class _Shape(msgspec.Struct, forbid_unknown_fields=True):
    """What a command prints as JSON: just these members."""


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


def read(kind: type[T], done: Result) -> list[T]:
    assert done.exit_code == 0, done.output
    return [msgspec.json.decode(line, type=kind) for line in done.stdout.splitlines()]


def test_500_letters_of_every_reason_are_listed_kept_moved_and_discarded(pair: Pair, tmp_path: Path) -> None:
    """The whole of an operator's day, in numbers; what is printed as JSON has a shape that scripts can rely on."""
    sent = [reason for reason in REASONS if reason != "max_receives"]
    each = NUMBER // len(sent)
    for reason in sent:
        pair.bury(each, reason, (lambda at: f"garbage {at}") if reason == "malformed_message" else None)
    total = each * len(sent)

    groups = read(ListedGroup, dlq("list", "--summary", "--json"))
    letters = read(ListedLetter, dlq("list", "--json"))
    two = read(ListedLetter, dlq("list", "--json", "--reason", "empty", "--reason", "corrupt", "--limit", "7"))
    none = dlq("list", "--object", "s3://trailsink-local/", "--older-than", "1d")
    table = dlq("list", "--limit", "3").stdout.splitlines()
    assert pair.letters == (total, 0)
    (plan,) = read(Redriven, dlq("redrive", "--dry-run", "--json"))
    (kept,) = read(Exported, dlq("export", "--json", str(tmp_path / "all.jsonl")))
    assert pair.letters == (total, 0)
    (moved,) = read(Redriven, dlq("redrive", "--json"))
    (gone,) = read(Discarded, dlq("discard", "--all", "--yes", "--json", "--to", str(tmp_path / "gone.jsonl")))
    assert pair.letters == (0, 0)
    (back,) = read(Imported, dlq("import", "--json", str(tmp_path / "all.jsonl")))
    again = dlq("export", "-")

    assert {one.reason: one.letters for one in groups} == dict.fromkeys(sent, each)
    assert len({one.id for one in letters}) == total
    assert [one.reason for one in two] == [one.reason for one in two if one.reason in ("empty", "corrupt")]
    assert len(two) == 7
    assert none.stdout == f"No such dead letters; {total} others are there.\n"
    assert table[0].split() == ["reason", "letters", "oldest", "newest"]
    assert table[-1] == f"... and {total - 3} older letters: --limit 0 shows all."
    assert max(map(len, table)) <= 80
    stays = {one.reason for one in plan.plan if one.verdict == "stays"}
    assert stays == set(sent) - {"unknown"}  # their objects are not there
    assert (plan.moved, plan.left, plan.way, plan.dry_run) == (0, total, "one_by_one", True)
    assert (moved.moved, moved.left) == (each, total - each)
    assert len(pair.returned()) == each
    assert kept.exported == back.imported == total
    assert gone.discarded == total - each
    assert (tmp_path / "gone.jsonl").read_bytes().count(b"\n") == total - each
    assert essence(again.stdout_bytes) == essence((tmp_path / "all.jsonl").read_bytes())
    assert again.stderr == f"Exported {total} letters.\n"


def essence(lines: bytes) -> list[tuple[str, str]]:
    """What an export is about: bodies and attributes."""
    read = [json.loads(line) for line in lines.splitlines()]
    return sorted((one["body"], json.dumps(one["attributes"], sort_keys=True)) for one in read)


def test_a_letter_that_sqs_moved_itself_is_shown_as_what_it_is(pair: Pair) -> None:
    """It has no attributes of ours: its body says what it announces, and SQS how often it was tried."""
    pair.sqs.send_message(QueueUrl=pair.url, MessageBody='{"s3Bucket":"b","s3ObjectKey":["x","y"]}')
    for _ in range(41):
        pair.sqs.receive_message(QueueUrl=pair.url, VisibilityTimeout=0)

    (listed,) = read(ListedLetter, dlq("list", "--json", "--reason", "max_receives"))
    (shown,) = read(ShownLetter, dlq("show", "--json", listed.id))
    text = dlq("show", listed.id).stdout
    several = dlq("show", "--records", listed.id)
    moved = dlq("redrive", listed.id)

    assert (listed.object, listed.objects) == (None, ["s3://b/x", "s3://b/y"])
    assert listed.attempts == listed.receives >= 40
    assert shown.source_queue
    assert shown.source_queue.endswith(":trailsink")
    assert shown.redrive == "as_it_is"
    assert "moved here by SQS after too many receives" in text
    assert "each look of anybody is one, and nothing acts on it" in text
    assert several.stderr == f"Error: The letter {listed.id} announces 2 objects; --records needs just one.\n"
    assert moved.stdout == "Moved 1 letter back to the source queue.\n"


def test_a_rejected_record_is_shown_with_its_text_from_s3(bench: Bench) -> None:
    """Position and reason alone do not tell who wrote it; what a terminal would obey is escaped."""
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
    assert (shown.file.records, [one.position for one in shown.file.rejected]) == (4, [1, 3])
    assert [(one.text, one.cut) for one in shown.file.rejected] == [(odd[:100].decode(), True), ("42", False)]
    assert whole.file
    assert [one.text for one in whole.file.rejected] == [odd.decode()]
    assert "position 3: not_a_json_object" in text
    assert "\x1b" not in text
    assert "\\x1b[31m red" in text
    assert refused.exit_code == 1
    assert refused.stderr == (
        "Error: Nothing was moved: 1 letter would only come back (1 records_rejected: the object has not changed)."
        " Mend the object first, or say --force.\n"
    )
    assert forced.stdout == "Moved 1 letter back to the source queue.\n"


def consume() -> dict[str, Any]:
    done = CliRunner().invoke(main, ["run", "--until-idle", "--timeout", "90", "--no-progress"])
    assert done.exit_code == 0, done.output
    totals: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return totals


def test_a_truncated_version_is_mended_by_a_newer_one(bench: Bench) -> None:
    """The letter names the broken version: moved as it is, it would bring the same letter for ever."""
    bench.s3.put_bucket_versioning(Bucket=bench.settings.bucket, VersioningConfiguration={"Status": "Enabled"})
    (key, whole, ids), *_ = fresh_files(1, 100)
    bench.put(key, whole[: len(whole) // 2])
    consume()
    (letter,) = read(ListedLetter, dlq("list", "--json"))
    before = dlq("redrive")
    bench.put(key, whole)
    bench.sqs.purge_queue(QueueUrl=bench.settings.queue_url)  # only the letter may bring it

    (shown,) = read(ShownLetter, dlq("show", "--json", letter.id))
    (moved,) = read(Redriven, dlq("redrive", "--json"))
    consume()

    assert letter.object
    assert "(version " in letter.object
    assert (before.exit_code, "the object has not changed" in before.stderr) == (1, True)
    assert (shown.redrive, shown.redrive_why) == ("newest", "the object was written anew")
    assert (moved.moved, moved.way) == (1, "one_by_one")
    assert set(bench.documents()) == ids
    assert dlq("list").stdout == "No dead letters.\n"


# Interrupted and killed


@dataclass
class Place:
    """Stands between the command and SQS: `before` an action is handed on, something is done."""

    url: str = ""
    before: dict[str, Callable[[], object]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@contextmanager
def between(target: str) -> Iterator[Place]:
    place = Place()

    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> Given:
        action = headers.get("X-Amz-Target", "").rpartition(".")[2]
        place.asked.append(action)
        if action in place.before:
            place.before[action]()
        passed = {name: value for name, value in headers.items() if name != "Host"}
        given = urllib3.request(method, target + path, headers=passed, body=body, retries=False)
        kept = ("Content-Type", "x-amzn-RequestId", "x-amzn-query-error")
        return given.status, given.data, {name: given.headers[name] for name in kept if name in given.headers}

    with serving(answer) as place.url:
        yield place


@contextmanager
def running(place: Place, *words: str) -> Iterator[subprocess.Popen[str]]:
    variables = os.environ | {"AWS_ENDPOINT_URL_SQS": place.url}
    command = [str(TRAILSINK), "dlq", *words]
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def killed(process: subprocess.Popen[str]) -> None:
    """Kill a command while it asks; what it asked for is not handed on."""
    process.kill()
    process.wait(10)
    raise ConnectionAbortedError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_look_that_is_ended_by_a_signal_hands_every_letter_back(pair: Pair, number: signal.Signals) -> None:
    """The next operator, and SQS's own move, must see all of them at once."""
    pair.bury(100)
    with between(os.environ["AWS_ENDPOINT_URL"]) as place, running(place, "list") as process:
        place.before["ReceiveMessage"] = lambda: (
            process.send_signal(number) if place.asked.count("ReceiveMessage") == 5 else None
        )
        out, said = process.communicate(timeout=60)

    assert (process.returncode, out) == (1, "")
    assert said == "Error: Stopped; all letters that were held are handed back.\n"
    assert place.asked.count("ReceiveMessage") == 5
    assert pair.letters == (100, 0)


def test_killed_between_send_and_delete_nothing_is_lost(pair: Pair) -> None:
    """What was sent is still there, and will go twice: the ids of its events make that harmless."""
    pair.bury(60)
    with between(os.environ["AWS_ENDPOINT_URL"]) as place, running(place, "redrive", "--one-by-one") as process:

        def kill() -> None:
            if place.asked.count("DeleteMessageBatch") == 3:
                process.kill()
                process.wait(10)
                place.before["DeleteMessageBatch"] = lambda: None

        place.before["DeleteMessageBatch"] = kill
        process.wait(60)

    assert process.returncode == -signal.SIGKILL
    returned = pair.returned()
    visible, hidden = pair.letters
    # Two batches of ten are sent and deleted; the third delete was on its way when the process died, and took effect.
    assert (len(returned), visible + hidden) == (30, 30)
    assert len(set(returned)) == 30


def test_killed_before_the_delete_leaves_every_letter(pair: Pair) -> None:
    """The same, with a delete that never reaches SQS: twice there, none lost."""
    pair.bury(30)
    with between(os.environ["AWS_ENDPOINT_URL"]) as place, running(place, "redrive", "--one-by-one") as process:
        place.before["DeleteMessageBatch"] = lambda: killed(process)
        process.wait(60)

    returned = pair.returned()
    assert set(returned) <= set(map(a_body, range(30)))
    assert len(returned) == 10
    assert sum(pair.letters) == 30


def test_discard_asks_and_has_the_letters_on_disk_first(pair: Pair, tmp_path: Path) -> None:
    """No means no; and killed at the first delete, the file is there whole."""
    pair.bury(25, "empty")
    path = tmp_path / "gone.jsonl"

    refused = dlq("discard", "--all", "--to", str(path), given="n\n")
    assert (refused.exit_code, path.exists(), pair.letters) == (1, False, (25, 0))
    with (
        between(os.environ["AWS_ENDPOINT_URL"]) as place,
        running(place, "discard", "--all", "--yes", "--to", str(path)) as process,
    ):
        place.before["DeleteMessageBatch"] = lambda: killed(process)
        process.wait(60)

    assert path.read_bytes().count(b"\n") == 25
    assert sum(pair.letters) == 25


def test_discard_wants_to_know_which(pair: Pair) -> None:
    """Nothing is deleted by a command that says nothing."""
    pair.bury(1)

    assert dlq("discard", "--yes").exit_code == 2
    assert dlq("discard", "--yes", "--all", "--reason", "empty").exit_code == 2
    assert pair.letters == (1, 0)


# What is wrong outside


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
def test_what_is_not_set_is_one_sentence_of_every_command(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: str
) -> None:
    """No traceback, exit code 1, and nothing on standard output; no file is left behind."""
    (tmp_path / "one.jsonl").write_bytes(b'{"body":"x"}\n')
    monkeypatch.delenv(fault)
    if fault == "AWS_DEFAULT_REGION":
        monkeypatch.delenv("AWS_REGION", raising=False)
    assert pair.dead_url

    for words in COMMANDS:
        done = dlq(*(word.replace("DIR", str(tmp_path)) for word in words))

        assert (done.exit_code, done.stdout) == (1, ""), words
        assert done.stderr.count("\n") == 1, done.stderr
        assert FAULTS[fault].rstrip(".") in done.stderr, words
    assert [one.name for one in tmp_path.iterdir()] == ["one.jsonl"]


def test_an_empty_queue_is_said_and_is_no_fault(pair: Pair, tmp_path: Path) -> None:
    """Cron runs these commands on quiet days, too."""
    assert pair.letters == (0, 0)

    for words in (("list",), ("redrive",), ("redrive", "--dry-run"), ("discard", "--all", "--to", "DIR/x")):
        done = dlq(*(word.replace("DIR", str(tmp_path)) for word in words))
        assert (done.exit_code, done.stdout) == (0, "No dead letters.\n"), words
    assert not (tmp_path / "x").exists()


def test_a_broken_file_is_refused_before_anything_is_sent(pair: Pair, tmp_path: Path) -> None:
    """Half an import would have to be undone by hand."""
    (tmp_path / "bad.jsonl").write_bytes(b'{"body":"x"}\n{"body":')

    refused = dlq("import", str(tmp_path / "bad.jsonl"))

    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: Line 2 is no exported letter: ")
    assert pair.letters == (0, 0)
