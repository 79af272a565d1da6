"""Every command that prints what others chose, on real parts: nothing that a terminal obeys gets there.

An S3 key, a dead letter's attributes and an event's members are chosen by whoever may write them.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from tests.support.event_files import event, log_file
from tests.support.index_documents import index
from worker.cli.main import main
from worker.pipeline.notifications import s3_notification
from worker.pipeline.objects import ObjectRef

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Bench

# A title, a cleared screen, the same in one character, text that runs backwards, isolates, and what cannot be seen.
CONTROLS = "\x1b]0;PWNED\x07\x1b[2J\x9b2J\u202egz.\u2066\u200b\x7f\x85"
IN_SQS = "\x9b2J\u202egz.\u2066\u200b\x85"  # SQS refuses what XML 1.0 cannot hold
KEY = f"AWSLogs/123456789012/CloudTrail/eu-west-1/2026/03/01/1_CloudTrail_a_20260301T1000Z_{CONTROLS}.json.gz"


def run_command(*words: str, answer: str = "") -> Result:
    return CliRunner().invoke(main, words, input=answer)


def assert_harmless(result: Result, *, in_json: bool = False) -> None:
    """Each line is printable; JSON is ASCII, too."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    text = result.stdout + result.stderr
    assert text
    assert [line for line in text.split("\n") if not line.isprintable()] == []
    if in_json:
        assert result.stdout.isascii()
        for line in result.stdout.splitlines():
            json.loads(line)


@pytest.fixture
def letters(bench: Bench) -> list[str]:
    """Letters as the consumer sends them, with hostile texts in each part, and one without any object; their ids."""
    reference = ObjectRef(bench.settings.bucket, KEY)
    attributes = {
        "reason": f"tru{IN_SQS}",
        "detail": f"it ends {IN_SQS}",
        "rejected": json.dumps([[0, f"a{CONTROLS}"]]),
        "attempts": "2",
        "source_message_id": f"m{IN_SQS}",
        "trailsink_version": f"9{IN_SQS}",
    }
    ids = []
    for body in (s3_notification(reference), f"no notice {IN_SQS}"):
        values: Any = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        url = bench.settings.dead_letter_queue_url
        ids.append(bench.sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=values)["MessageId"])
    return ids


@pytest.mark.parametrize("words", [(), ("--summary",), ("--limit", "1")])
@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.usefixtures("letters")
def test_a_list_of_letters(words: tuple[str, ...], *, as_json: bool) -> None:
    """Counts by reason, and each letter."""
    result = run_command("dlq", "list", *words, *(["--json"] if as_json else []))

    assert_harmless(result, in_json=as_json)
    assert "202e" in result.stdout


@pytest.mark.parametrize("as_json", [False, True])
def test_a_letter_with_its_records(bench: Bench, letters: list[str], *, as_json: bool) -> None:
    """The file is read again; its records hold what callers wrote."""
    bench.s3.put_object(Bucket=bench.settings.bucket, Key=KEY, Body=log_file(event(userAgent=CONTROLS)))
    options = ["--json"] if as_json else []

    results = [run_command("dlq", "show", id_, *options) for id_ in letters]
    results.append(run_command("dlq", "show", letters[0], "--records", *options))

    for result in results:
        assert_harmless(result, in_json=as_json)
        assert "202e" in result.stdout


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.usefixtures("letters")
def test_a_plan_of_a_redrive(*, as_json: bool) -> None:
    """It names reasons."""
    assert_harmless(run_command("dlq", "redrive", "--dry-run", *(["--json"] if as_json else [])), in_json=as_json)


def test_an_export_to_the_terminal_and_back(bench: Bench, letters: list[str], tmp_path: Path) -> None:
    """In ASCII, and the letter that is imported is the same."""
    exported = run_command("dlq", "export", "-")
    assert_harmless(exported, in_json=True)

    file = tmp_path / "letters.jsonl"
    file.write_text(exported.stdout)
    bench.sqs.purge_queue(QueueUrl=bench.settings.dead_letter_queue_url)
    assert run_command("dlq", "import", str(file)).exit_code == 0

    assert len(letters) == 2
    assert {letter["MessageAttributes"]["detail"] for letter in bench.letters()} == {f"it ends {IN_SQS}"}


@pytest.mark.usefixtures("letters")
def test_the_question_before_a_discard(tmp_path: Path) -> None:
    """It names reasons, too."""
    assert_harmless(run_command("dlq", "discard", "--all", "--to", str(tmp_path / "x.jsonl"), answer="n\n"))


@pytest.mark.parametrize("as_json", [False, True])
def test_a_backfill_of_a_hostile_key(bench: Bench, tmp_path: Path, *, as_json: bool) -> None:
    """The file cannot be read, so its name and the cause are printed."""
    path = tmp_path / "copy" / KEY
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x1f\x8bno gzip")
    options = ("--state", str(tmp_path / "state.json"), "--report", str(tmp_path / "failed.jsonl"), "--yes")

    words = ("backfill", "--local", str(tmp_path / "copy"), "--direct", *options, *(["--json"] if as_json else []))
    result = run_command(*words)

    assert bench.settings
    assert_harmless(result, in_json=as_json)
    assert "202e" in result.stdout


@pytest.fixture
def hostile_event(bench: Bench) -> str:
    """An event whose caller chose every text, as an index holds it."""
    texts = {"userAgent": CONTROLS, "errorMessage": CONTROLS, "eventName": f"Get{CONTROLS}", "awsRegion": CONTROLS}
    hostile = event(**texts, requestParameters={CONTROLS: CONTROLS})
    index(bench, [hostile])
    return str(hostile["eventID"])


@pytest.mark.usefixtures("hostile_event")
@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_a_search(form: str) -> None:
    """In each form, with the members that the caller named."""
    fields = "eventName,userAgent,errorMessage,requestParameters"

    result = run_command("search", "--format", form, "--fields", fields)

    assert_harmless(result, in_json=form == "json")
    assert "202e" in result.stdout
    if form == "csv":
        assert len(list(csv.reader(io.StringIO(result.stdout)))) == 2


@pytest.mark.parametrize("words", [(), ("--json",), ("--record",), ("--json", "--record")])
def test_an_explanation(hostile_event: str, words: tuple[str, ...]) -> None:
    """Of an event, and of an id that is a text of the caller's."""
    result = run_command("explain", hostile_event, *words)

    assert result.exit_code == 0
    assert_harmless(result, in_json="--json" in words)
    assert_harmless(run_command("explain", f"x{CONTROLS}"))


@pytest.mark.usefixtures("hostile_event", "letters")
@pytest.mark.parametrize("words", [("status",), ("status", "--json", "--letters"), ("doctor",), ("doctor", "--json")])
def test_the_state_of_the_pipeline(words: tuple[str, ...]) -> None:
    """Reasons of letters are in it."""
    assert_harmless(run_command(*words), in_json="--json" in words)


def test_a_run_prints_its_log_in_ascii(bench: Bench) -> None:
    """The lines go to a terminal as well as to a log group, and keep every character of the key."""
    bench.put(KEY, b"\x1f\x8bno gzip")

    result = run_command("run", "--until-idle", "--timeout", "150")

    assert_harmless(result, in_json=True)
    lines = [msgspec.json.decode(line) for line in result.stdout.splitlines()]
    assert f"s3://{bench.settings.bucket}/{KEY}" in [line.get("object") for line in lines]
