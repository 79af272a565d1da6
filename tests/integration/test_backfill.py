"""`trailsink backfill` against real services: every file of a bucket once, however often it is killed."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from infra.generate.json_documents import Backfilled, read
from tests.support.cli import TRAILSINK
from tests.support.event_files import ACCOUNT, event, fresh_files, log_file, real_files
from tests.support.listing_server import serve_keys
from worker.cli.main import main
from worker.pipeline.notifications import parse_notification, s3_notification
from worker.pipeline.objects import ObjectRef

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Bench

SECONDS = 400


@pytest.fixture(autouse=True)
def states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this test's state files and reports."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "trailsink"


def backfill(*words: str, **environment: str) -> Result:
    """Run the command as a script would, in this process: an interpreter's start costs more than most runs."""
    return CliRunner().invoke(main, ["backfill", *words], env=environment)


def documents(result: Result) -> dict[str, list[dict[str, Any]]]:
    """The JSON documents of a run by kind; each has its shape."""
    read(result.stdout, Backfilled)
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for line in result.stdout.splitlines():
        document = json.loads(line)
        by_kind.setdefault(document["kind"], []).append(document)
    return by_kind


def put_unannounced(bench: Bench, files: dict[str, bytes]) -> None:
    """Put files into the bucket and lose all their notifications."""
    for key, body in files.items():
        bench.put(key, body)
    bench.sqs.purge_queue(QueueUrl=bench.settings.queue_url)


def drain(bench: Bench) -> list[str]:
    """Receive and delete all messages of the queue; returns the keys they announce."""
    keys = []
    while messages := bench.sqs.receive_message(QueueUrl=bench.settings.queue_url, MaxNumberOfMessages=10).get(
        "Messages"
    ):
        for message in messages:
            keys += [ref.key for ref in parse_notification(message["Body"]).objects]
            bench.sqs.delete_message(QueueUrl=bench.settings.queue_url, ReceiptHandle=message["ReceiptHandle"])
    return keys


def consume() -> dict[str, Any]:
    process = subprocess.run(
        [TRAILSINK, "run", "--until-idle", "--timeout", "300"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    totals: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return totals


def test_all_of_a_bucket_is_loaded_via_the_queue_and_directly_and_nothing_twice(bench: Bench) -> None:
    """55 real files whose notifications were lost, among them a digest and a file of another service."""
    put_unannounced(bench, real_files())
    bench.put("AWSLogs/218007301253/CloudTrail-Digest/us-east-1/2023/07/10/d.json.gz", b"")
    bench.put("AWSLogs/218007301253/Config/us-east-1/2023/7/10/c.json.gz", b"")
    bench.sqs.purge_queue(QueueUrl=bench.settings.queue_url)

    announced = backfill("--yes", "--json")
    totals = consume()
    repeated = backfill("--direct", "--yes", "--json")

    assert (announced.exit_code, repeated.exit_code) == (0, 0)
    plan = documents(announced)["plan"][0]
    assert (plan["files"], plan["accounts"], plan["days"]) == (55, 1, 1)
    assert plan["bytes"] == sum(map(len, real_files().values()))
    assert documents(announced)["end"][0]["files"] == {"announced": 55}
    assert (totals["FilesIndexed"], totals["RecordsIndexed"], totals["RecordsDuplicate"]) == (55, 2900, 0)
    assert documents(repeated)["day"] == [{"kind": "day", "day": "2023-07-10", "files": {"duplicate": 55}}]
    records = {"read": 2900, "indexed": 0, "duplicate": 2900, "degraded": 0, "rejected": 0, "filtered": 0}
    assert documents(repeated)["end"][0]["records"] == records
    assert bench.count() == 2900


def test_files_that_have_lost_the_layout_are_loaded_like_all_others(bench: Bench) -> None:
    """The pipeline reads them when they are announced, so a backfill has to find them."""
    day = "111122223333/CloudTrail/us-east-1/2024/05/06/"
    folders = [
        "",
        f"AWSLogs/{day}",
        f"AWSLogs/my-suffix/{day}",
        day,
        f"cloudtrail//AWSLogs/{day}",
        "copies/",
        "a/b/c/d/e/",
    ]
    names = [
        f"111122223333_CloudTrail_us-east-1_20240506T0710Z_{number:016d}.json.gz" for number in range(len(folders))
    ]
    put_unannounced(bench, {folder + name: log_file(event()) for folder, name in zip(folders, names, strict=True)})
    may = ("--since", "2024-05-01", "--until", "2024-06-01")

    june = backfill("--direct", "--yes", "--json", "--since", "2024-06-02", "--until", "2024-07-01")
    loaded = backfill("--direct", "--yes", "--json", *may)
    count = bench.count()
    missing = backfill("--direct", "--yes", "--json", "--missing", *may)

    assert (june.exit_code, loaded.exit_code) == (1, 0)
    assert "Nothing is selected" in june.stderr
    assert documents(loaded)["end"][0]["files"] == {"loaded": len(folders)}
    assert count == documents(missing)["plan"][0]["present"] == len(folders)


def test_a_folder_tree_is_loaded_without_a_bucket_or_a_queue(bench: Bench, corpus: Path) -> None:
    """Whoever downloaded a year of files needs neither AWS nor credentials."""
    nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "TRAILSINK_QUEUE_URL": "", "TRAILSINK_BUCKET": ""}

    words = ("--local", str(corpus / "files"), "--direct", "--yes", "--json")
    unnamed = backfill(*words, **nothing)
    result = backfill(*words, "--bucket", "acme-trail", **nothing)

    assert unnamed.exit_code == 1
    assert "Documents name the bucket that their file is from" in unnamed.stderr

    assert (result.exit_code, result.stderr) == (0, "")
    assert documents(result)["end"][0]["files"] == {"loaded": 55}
    assert bench.count() == 2900


@pytest.mark.parametrize(
    ("number", "words"),  # enough files that the first run does not end before it is killed
    [(400, ("--direct", "--workers", "1")), (80, ("--rate", "40", "--workers", "2"))],
)
def test_killed_five_times_and_run_again_every_record_is_there_once(
    bench: Bench, states: Path, number: int, words: tuple[str, ...]
) -> None:
    """A laptop that is closed, five times: the run resumes where it was, and nothing is left out."""
    files = {key: (body, ids) for key, body, ids in fresh_files(number, 4)}
    put_unannounced(bench, {key: body for key, (body, _) in files.items()})
    random_seconds = random.Random(5)
    resumed = 0

    for _ in range(5):
        process = subprocess.Popen(
            [TRAILSINK, "backfill", "--yes", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        wait_until_started(process, states)
        try:
            process.wait(random_seconds.uniform(0.0, 0.6))
        except subprocess.TimeoutExpired:
            process.kill()
        _, errors = process.communicate(timeout=SECONDS)
        resumed += "Resuming the run" in errors
    last = backfill("--yes", "--json", *words)
    if "--direct" not in words:
        consume()

    assert last.exit_code == 0, last.stderr
    assert resumed > 0
    assert set(bench.documents()) == {id_ for _, ids in files.values() for id_ in ids}
    assert bench.count() == 4 * number


def wait_until_started(process: subprocess.Popen[str], states: Path) -> None:
    """Wait, for 60 s at most, until the state is written, or the process has ended."""
    before, end = _written(states), time.monotonic() + 60
    while _written(states) == before and time.monotonic() < end:
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        return


def _written(states: Path) -> tuple[int, ...]:
    return tuple(path.stat().st_mtime_ns for path in states.glob("backfill-*.json"))


def test_missing_files_and_only_those_are_loaded(bench: Bench) -> None:
    """Ten files' records were deleted, five were never announced: fifteen are loaded, by either loader."""
    files = real_files()
    put_unannounced(bench, files)
    keys = sorted(files)
    unsent, *deleted = keys[::11], *random.Random(5).sample(sorted(set(keys) - set(keys[::11])), 10)
    for key in set(keys) - set(unsent):
        body = s3_notification(ObjectRef(bench.settings.bucket, key))
        bench.sqs.send_message(QueueUrl=bench.settings.queue_url, MessageBody=body)
    consume()
    bench.count()
    names = [f"s3://{bench.settings.bucket}/{key}" for key in deleted]
    bench.opensearch.delete_by_query(
        index=f"{bench.prefix}-*", body={"query": {"terms": {"trailsink.object": names}}}, params={"refresh": "true"}
    )

    announced = backfill("--missing", "--yes", "--json")
    sent = drain(bench)
    loaded = backfill("--missing", "--direct", "--yes", "--json")
    count = bench.count()
    nothing = backfill("--missing", "--direct", "--yes")

    expected = set(unsent) | set(deleted)
    assert (len(unsent), len(deleted), len(expected)) == (5, 10, 15)
    assert sorted(sent) == sorted(expected)
    assert documents(announced)["plan"][0]["present"] == 55 - len(expected)
    assert documents(loaded)["end"][0]["files"] == {"loaded": len(expected), "present": 55 - len(expected)}
    assert count == 2900
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "Nothing is missing" in nothing.stderr


def test_a_file_with_a_hole_is_loaded_with_incomplete(bench: Bench) -> None:
    """--missing checks files, --incomplete also the positions in them."""
    key = f"{ACCOUNT}/2023/07/10/218007301253_CloudTrail_us-east-1_20230710T1200Z_0123456789abcdef.json.gz"
    records = [event() for _ in range(5)]
    put_unannounced(bench, {key: log_file(*records)})
    backfill("--direct", "--yes")
    bench.count()
    bench.opensearch.delete_by_query(
        index=f"{bench.prefix}-*", body={"query": {"term": {"trailsink.position": 2}}}, params={"refresh": "true"}
    )

    missing = backfill("--missing", "--dry-run", "--json")
    repaired = backfill("--incomplete", "--direct", "--yes", "--json")

    plan = documents(missing)["plan"][0]
    assert (plan["files"], plan["present"], plan["incomplete"]) == (0, 1, 1)
    assert documents(repaired)["end"][0]["records"]["indexed"] == 1
    assert bench.count() == 5


def test_failed_files_are_in_a_report_and_exactly_those_are_tried_again(bench: Bench, tmp_path: Path) -> None:
    """Two of four are broken: the others are loaded, and the two are listed with their reasons until they are fixed."""
    files = {key: body for key, body, _ in fresh_files(4, 3)}
    broken = dict(list(files.items())[:2])
    half, none = broken
    put_unannounced(bench, files | {half: files[half][:-20], none: b"no gzip"})
    report = tmp_path / "failed.jsonl"

    first = backfill("--direct", "--yes", "--report", str(report))
    bench.put(half, files[half])
    second = backfill("--direct", "--yes", "--retry-failed", str(report), "--json")
    bench.put(none, files[none])
    third = backfill("--direct", "--yes", "--retry-failed", str(report), "--json")

    assert first.exit_code == 1
    assert re.search(r"2023-07-10 +2 +2", first.stdout)
    assert "truncated  s3://" in first.stdout
    command = f"`trailsink backfill --direct --retry-failed {report}`"
    assert f"2 files failed: fix the cause, then run {command}" in first.stderr
    reasons = {json.loads(line)["key"]: json.loads(line)["reason"] for line in report.read_text().splitlines()}
    assert reasons == {half: "truncated", none: "not_json"}
    assert second.exit_code == 1
    assert documents(second)["end"][0]["files"] == {"loaded": 1, "failed": 1}
    assert [failed["key"] for failed in documents(second)["failed"]] == [none]
    assert third.exit_code == 0
    assert documents(third)["end"][0]["files"] == {"loaded": 1, "duplicate": 1}
    assert bench.count() == 12


def test_an_interrupt_finishes_files_in_progress_and_says_how_to_resume(bench: Bench, states: Path) -> None:
    """Ctrl-C in the middle: announced files are recorded as announced, and the same command announces the rest."""
    put_unannounced(bench, {key: body for key, body, _ in fresh_files(200, 1)})
    process = subprocess.Popen(
        [TRAILSINK, "backfill", "--yes", "--json", "--rate", "20"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    wait_until_started(process, states)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=SECONDS)
    rest = backfill("--yes", "--json")

    assert process.returncode == 1
    assert "Interrupted. Run the same command to resume" in errors
    committed = json.loads(out.splitlines()[-1])["files"].get("announced", 0)
    assert "Resuming the run of" in rest.stderr
    assert documents(rest)["plan"][0]["files"] == 200 - committed
    assert documents(rest)["end"][0]["files"] == {"announced": 200}
    assert Counter(drain(bench)).total() == 200


def test_announcing_waits_while_the_queue_is_full(bench: Bench) -> None:
    """Live files come first: the queue never holds more messages than --max-depth."""
    put_unannounced(bench, {key: body for key, body, _ in fresh_files(30, 1)})
    process = subprocess.Popen(
        [TRAILSINK, "backfill", "--yes", "--json", "--max-depth", "20"], stdout=subprocess.PIPE, text=True
    )
    announced: list[str] = []
    deepest, end = 0, time.monotonic() + SECONDS

    while process.poll() is None and time.monotonic() < end:
        depth = bench.sqs.get_queue_attributes(
            QueueUrl=bench.settings.queue_url, AttributeNames=["ApproximateNumberOfMessages"]
        )["Attributes"]["ApproximateNumberOfMessages"]
        deepest = max(deepest, int(depth))
        if int(depth) >= 20:
            announced += drain(bench)
    process.communicate(timeout=SECONDS)
    announced += drain(bench)

    assert process.returncode == 0
    assert deepest <= 20
    assert len(set(announced)) == 30


@pytest.mark.parametrize(
    ("words", "changed", "sentence"),
    [
        ((), {"TRAILSINK_BUCKET": ""}, "pass --bucket, or set TRAILSINK_BUCKET"),
        (("--bucket", "no-such-bucket"), {}, "There is no bucket no-such-bucket."),
        (("--account", "999999999999"), {}, "Nothing is selected"),
        (("--prefix", "other"), {}, "Nothing is selected"),
        (("--direct", "--retry-failed", "none.jsonl"), {}, "none.jsonl cannot be used: No such file"),
        (("--local", "none", "--direct"), {}, "There is no folder none"),
    ],
)
def test_whatever_is_wrong_is_one_sentence(
    bench: Bench, words: tuple[str, ...], changed: dict[str, str], sentence: str
) -> None:
    """The one thing to fix, no traceback, exit code 1."""
    key, body, _ = next(fresh_files(1, 1))
    bench.put(key, body)

    result = backfill("--yes", *words, **changed)

    assert result.exit_code == 1
    assert re.search(sentence, result.stderr), result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


def test_a_bucket_without_awslogs_names_the_option(bench: Bench) -> None:
    """The trail writes below a prefix that is too deep for the search."""
    bench.put("a/b/c/d/AWSLogs/x", b"")

    result = backfill("--dry-run")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "pass what comes before it as --prefix" in result.stderr


def test_memory_is_flat_however_many_keys_there_are(environment: dict[str, str]) -> None:
    """100,000 keys over 3 accounts, 5 regions and 60 days: they stream by, and are never all in memory."""
    assert environment
    script = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    peaks = []
    for count in (1_000, 100_000):
        with serve_keys(count) as variables:
            process = subprocess.run(
                [sys.executable, "-c", script, TRAILSINK, "backfill", "--dry-run", "--json"],
                env=os.environ | variables,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=True,
            )
        plan = json.loads(process.stderr.splitlines()[-1])
        assert (plan["files"], plan["accounts"], plan["days"]) == (count, 3, 60)
        peaks.append(int(process.stdout))

    assert peaks[1] - peaks[0] < 25_000, "kB more for a hundred times as many keys"
