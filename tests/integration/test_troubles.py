"""A matrix of troubles: each thing is broken, `status` and `doctor` say so, their advice is typed, and all is well."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from infra.local.ports import free_port
from tests.support.cli import TRAILSINK
from tests.support.event_files import event, log_file
from tests.support.http_server import serving
from tests.support.index_documents import index
from worker.aws.session import open_session
from worker.cli.main import main
from worker.health.probe import Probe
from worker.health.status import report
from worker.wiring import make_client

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Bench
    from tests.support.http_server import Given

PART = "123456789012/CloudTrail/eu-west-1/{0:%Y/%m/%d}/123456789012_CloudTrail_eu-west-1_{0:%Y%m%dT%H%M}Z_{1}.json.gz"
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def trailsink(*words: str) -> Any:
    return CliRunner().invoke(main, list(words))


def upload(bench: Bench, time: datetime, name: str = "a") -> str:
    """A file delivered at a time, with an event of that time; S3 announces it."""
    key = f"AWSLogs/{PART.format(time, name)}"
    bench.put(key, log_file(event(eventTime=f"{time:%Y-%m-%dT%H:%M:%SZ}")))
    return key


def consume() -> None:
    done = trailsink("run", "--until-idle", "--timeout", "60")
    assert done.exit_code == 0, done.output


def put_indexed(bench: Bench, time: datetime) -> None:
    """A file that is in the bucket and in the index."""
    one = event(eventTime=f"{time:%Y-%m-%dT%H:%M:%SZ}")
    key = f"AWSLogs/{PART.format(time, 'a')}"
    bench.put(key, log_file(one))
    index(bench, [one], day=f"{time:%Y-%m-%d}", uri=f"s3://{bench.settings.bucket}/{key}")


@pytest.fixture
def pipeline(bench: Bench) -> Bench:
    """Three days of events, the last one of now; nothing waits."""
    for days in (2, 1, 0):
        put_indexed(bench, NOW - days * DAY)
    bench.sqs.purge_queue(QueueUrl=bench.settings.queue_url)
    assert bench.count() == 3  # which refreshes
    return bench


def status() -> tuple[int, dict[str, Any]]:
    result = trailsink("status", "--json")
    return result.exit_code, json.loads(result.stdout)


def doctor() -> tuple[int, dict[str, dict[str, str]]]:
    result = trailsink("doctor", "--json")
    findings = [json.loads(line) for line in result.stdout.splitlines()]
    return result.exit_code, {finding["check"]: finding for finding in findings}


def follow(advice: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Type what an advice says: a command of the shell, or a request for the cluster."""
    line = advice.rpartition(", then ")[2]
    words = shlex.split(line) if line.startswith(("trailsink ", "export ")) else line.split(" ", 2)
    match words:
        case ["export", assignment]:
            monkeypatch.setenv(*assignment.split("=", 1))
        case ["trailsink", *arguments]:
            done = trailsink(*arguments, *(["--yes"] if "backfill" in arguments else []))
            assert done.exit_code == 0, done.output
        case [method, path, *body]:
            document = json.loads(body[0]) if body else None
            bench.opensearch.transport.perform_request(method, path, body=document)


# What is broken


def block_today(bench: Bench) -> None:
    bench.opensearch.indices.put_settings(
        index=f"{bench.prefix}-{NOW:%Y-%m-%d}", body={"index.blocks.read_only_allow_delete": True}
    )


def close_yesterday(bench: Bench) -> None:
    name = f"{bench.prefix}-{NOW - DAY:%Y-%m-%d}"
    bench.opensearch.indices.close(index=name, wait_for_active_shards=1)
    bench.opensearch.cluster.health(index=name, wait_for_status="green", timeout=30, expand_wildcards="all")


def delete_yesterday(bench: Bench) -> None:
    bench.opensearch.indices.delete(index=f"{bench.prefix}-{NOW - DAY:%Y-%m-%d}")


def shadow(bench: Bench) -> None:
    bench.opensearch.indices.put_index_template(
        name=f"corp-{bench.prefix}", body={"index_patterns": [f"{bench.prefix}-*"], "priority": 500}
    )


def replace(bench: Bench) -> None:
    bench.opensearch.indices.put_index_template(
        name=f"trailsink-{bench.prefix}", body={"index_patterns": [f"{bench.prefix}-*"]}
    )


def edit(bench: Bench) -> None:
    name = f"trailsink-{bench.prefix}"
    template = bench.opensearch.indices.get_index_template(name=name)["index_templates"][0]["index_template"]
    template["template"]["mappings"]["properties"]["eventName"] = {"type": "text"}
    template["template"]["mappings"]["dynamic"] = True
    bench.opensearch.indices.put_index_template(name=name, body=template)


def change_partition(bench: Bench) -> None:
    """By `setup` in a shell where the variable is set."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("TRAILSINK_INDEX_PARTITION", "month")
        done = trailsink("setup", "--force")
    assert "Replacing the partition day by month" in done.output
    assert bench.prefix


@dataclass(frozen=True)
class Trouble:
    """What is broken, where it is seen, how bad it is, and whether a consumer must run after the advice was taken."""

    break_it: Callable[[Bench], None]
    part: str
    check: str
    verdict: str = "fault"
    loads: bool = False


TROUBLES = {
    "blocked": Trouble(block_today, "writes", "write blocks"),
    "closed": Trouble(close_yesterday, "writes", "write blocks", "warning"),
    "deleted": Trouble(delete_yesterday, "indices", "daily indices", "warning", loads=True),
    "shadowed": Trouble(shadow, "template", "index template"),
    "replaced": Trouble(replace, "template", "index template"),
    "edited": Trouble(edit, "template", "index template", "warning"),
    "another partition": Trouble(change_partition, "template", "index template"),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_a_trouble_is_said_and_its_advice_ends_it(pipeline: Bench, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What an engineer at night types is what the tool printed."""
    trouble = TROUBLES[name]
    trouble.break_it(pipeline)

    code, parts = status()
    examined, findings = doctor()

    expected = int(trouble.verdict == "fault")
    others = {part for part, facts in parts.items() if isinstance(facts, dict) and facts["verdict"] == "fault"}
    assert others <= {trouble.part}, {name: parts[name]["text"] for name in others}
    assert (parts[trouble.part]["verdict"], code) == (trouble.verdict, expected), parts[trouble.part]
    assert (findings[trouble.check]["verdict"], examined) == (trouble.verdict, expected), findings[trouble.check]

    advice = findings[trouble.check]["fix"]
    assert advice.rpartition(", then ")[2] in parts[trouble.part]["text"]
    follow(advice, pipeline, monkeypatch)
    if trouble.loads:
        consume()
        pipeline.count()  # which refreshes

    code, parts = status()
    examined, findings = doctor()
    pipeline.opensearch.indices.delete_index_template(name=f"corp-{pipeline.prefix}", params={"ignore": 404})

    assert (code, examined) == (0, 0), (parts, findings)
    assert parts[trouble.part]["verdict"] == findings[trouble.check]["verdict"] == "ok"


def test_a_dead_consumer_is_seen_although_a_backfill_indexes(pipeline: Bench) -> None:
    """The newest event is fresh then, and hid that nothing consumed for hours."""
    dead = {"host": "web-1", "pid": 1, "version": "0.1.0", "queue": pipeline.settings.queue_url}
    time_of_death = (datetime.now(UTC) - timedelta(minutes=20)).isoformat()
    heartbeats = f"trailsink-consumers-{pipeline.prefix}"
    pipeline.opensearch.index(index=heartbeats, body=dead | {"beat_at": time_of_death}, params={"refresh": "true"})
    upload(pipeline, NOW, "b")
    day = f"{NOW - 2 * DAY:%Y-%m-%d}"
    trailsink("backfill", "--direct", "--since", day, "--until", f"{NOW - DAY:%Y-%m-%d}", "--yes")

    code, parts = status()
    examined, findings = doctor()
    command = findings["consumer process"]["fix"]

    assert (code, examined) == (1, 1)
    assert parts["consumer"]["verdict"] == findings["consumer process"]["verdict"] == "fault"
    assert "last heard of 20m ago: it has ended without stopping, 1 message waits" in parts["consumer"]["text"]
    assert command == "trailsink run"

    port = free_port()
    words = [str(TRAILSINK), "run", "--health", str(port)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        end = time.monotonic() + 60
        while time.monotonic() < end and status()[1]["consumer"]["verdict"] != "ok":
            time.sleep(0.5)
        alive, parts = status()
        with urlopen(f"http://127.0.0.1:{port}/ready", timeout=10) as response:
            ready = response.status
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
            metrics = response.read().decode()
        running.send_signal(signal.SIGTERM)
        running.wait(60)

    assert (alive, parts["consumer"]["verdict"]) == (0, "ok"), parts["consumer"]
    assert ready == 200
    assert "trailsink_messages_total " in metrics


def test_lost_notifications_are_seen_and_loaded(pipeline: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A purge, or a notification that was taken away for an hour: nobody announces these files again."""
    now = datetime.now(UTC)  # the module may have been read long ago
    put_indexed(pipeline, now)
    for minutes in (40, 20):
        upload(pipeline, now - timedelta(minutes=minutes), "lost")
    pipeline.sqs.purge_queue(QueueUrl=pipeline.settings.queue_url)

    lost = lag_later(pipeline)
    follow(lost.text.rpartition("; ")[2], pipeline, monkeypatch)
    consume()
    assert pipeline.count() == 6

    assert lost.status == "warning"
    assert lag_later(pipeline).status == "ok"


def test_a_file_that_was_discarded_stays_discarded(pipeline: Bench, tmp_path: Path) -> None:
    """It is poison for good, so a nightly job would try it each night, fail, and page somebody."""
    now = datetime.now(UTC)
    for minutes in (180, 20):
        put_indexed(pipeline, now - timedelta(minutes=minutes))
    poison = f"AWSLogs/{PART.format(now - timedelta(minutes=120), 'poison')}"
    pipeline.put(poison, b"not gzip, and no JSON")
    consume()
    before = lag_later(pipeline)
    selection = ("backfill", "--missing", "--since", f"{now - 3 * DAY:%Y-%m-%d}", "--yes")
    tried = trailsink(*selection, "--direct", "--report", str(tmp_path / "failed.jsonl"))

    discarded = trailsink("dlq", "discard", "--all", "--yes", "--to", str(tmp_path / "letters.jsonl"))
    quiet = trailsink(*selection)
    after = lag_later(pipeline)

    assert (before.status, before.facts["files_passed_over"]) == ("warning", 1)
    assert (tried.exit_code, discarded.exit_code) == (1, 0), tried.output + discarded.output
    assert "Not recorded" not in discarded.stderr
    assert quiet.exit_code == 0, quiet.output
    assert "1 more file left alone: the dead letter was discarded." in quiet.stderr
    assert (after.status, after.facts["files_discarded"]) == ("ok", 1)


def lag_later(bench: Bench) -> Any:
    """The line of the lag as it will be in 20 minutes: a file that is younger may be on its way."""
    later = datetime.now(UTC) + timedelta(minutes=20)
    client = make_client(bench.settings)
    probe = Probe(bench.settings, session=open_session, connect=client.connect, now=lambda: later)
    return {part.name: part for part in report(probe.collect()).parts}["lag"]


def test_expired_credentials_are_named_with_what_to_do(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of AWS can be checked then, which is no "ok"."""
    assert bench.prefix
    body = {"__type": "ExpiredTokenException", "message": "The security token included in the request is expired"}

    def refuse(*_: object) -> Given:
        return 403, json.dumps(body).encode(), {"Content-Type": "application/x-amz-json-1.0"}

    with serving(refuse) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", url)
        code, parts = status()
        examined, findings = doctor()

    assert (code, examined) == (1, 1)
    assert parts["queue"]["verdict"] == "fault"
    assert "ExpiredToken" in parts["queue"]["text"]
    assert findings["source queue"]["fix"].startswith("sign in to AWS again: aws sso login")
