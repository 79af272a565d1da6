"""A matrix of troubles: each thing is broken, `status` and `doctor` say so, their advice is typed, and all is well."""

from __future__ import annotations

import copy
import json
import os
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
from opensearchpy import OpenSearch

from infra.local.ports import free_port
from tests.support.cli import TRAILSINK
from tests.support.event_files import event, log_file
from tests.support.http_server import serving
from tests.support.index_documents import index
from tests.support.ism_server import ism_server
from worker.aws.session import open_session
from worker.cli.main import main
from worker.health.probe import Probe
from worker.health.status import report
from worker.wiring import make_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Bench
    from tests.support.http_server import Given
    from tests.support.ism_server import IsmServer

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
    done = trailsink("run", "--until-idle", "--timeout", "300")
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


def follow(advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Type what an advice says: a command of the shell, or a request for the cluster."""
    line = advice.rpartition("; otherwise ")[2].rpartition(", then ")[2]
    words = shlex.split(line) if line.startswith(("trailsink ", "export ")) else line.split(" ", 2)
    match words:
        case ["export", assignment]:
            monkeypatch.setenv(*assignment.split("=", 1))
        case ["trailsink", *arguments]:
            done = trailsink(*arguments, *(["--yes"] if "backfill" in arguments else []))
            assert done.exit_code == 0, done.output
        case [method, path, *body]:
            document = json.loads(body[0]) if body else None
            client = OpenSearch([os.environ["TRAILSINK_OPENSEARCH_URL"]])
            client.transport.perform_request(method, path, body=document)


# What is broken


def block_today(bench: Bench) -> None:
    bench.opensearch.indices.put_settings(
        index=f"{bench.prefix}-{NOW:%Y-%m-%d}", body={"index.blocks.read_only_allow_delete": True}
    )


def block_the_ledger(bench: Bench) -> None:
    """By another tool's policy: each file is recorded there, and goes back to the queue if it cannot be."""
    upload(bench, NOW, "first")
    consume()
    block = {"index.blocks.write": True}
    bench.opensearch.indices.put_settings(index=f"trailsink-files-{bench.prefix}-*", body=block)


def close_yesterday(bench: Bench) -> None:
    name = f"{bench.prefix}-{NOW - DAY:%Y-%m-%d}"
    bench.opensearch.indices.close(index=name, wait_for_active_shards=1)
    bench.opensearch.cluster.health(index=name, wait_for_status="green", timeout=120, expand_wildcards="all")


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
    "ledger blocked": Trouble(block_the_ledger, "writes", "write blocks"),
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

    check_trouble(trouble, pipeline, monkeypatch)


def check_trouble(trouble: Trouble, pipeline: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at what is broken, type what the doctor says, and look again."""
    code, parts = status()
    examined, findings = doctor()

    expected = int(trouble.verdict == "fault")
    others = {part for part, facts in parts.items() if isinstance(facts, dict) and facts["verdict"] == "fault"}
    assert others <= {trouble.part}, {name: parts[name]["text"] for name in others}
    assert (parts[trouble.part]["verdict"], code) == (trouble.verdict, expected), parts[trouble.part]
    assert (findings[trouble.check]["verdict"], examined) == (trouble.verdict, expected), findings[trouble.check]

    advice = findings[trouble.check]["fix"]
    assert advice in parts[trouble.part]["text"]
    follow(advice, monkeypatch)
    if trouble.loads:
        consume()
        pipeline.count()  # which refreshes

    code, parts = status()
    examined, findings = doctor()
    pipeline.opensearch.indices.delete_index_template(name=f"corp-{pipeline.prefix}", params={"ignore": 404})

    assert (code, examined) == (0, 0), (parts, findings)
    assert parts[trouble.part]["verdict"] == findings[trouble.check]["verdict"] == "ok"


def verdicts(said: dict[str, Any]) -> dict[str, str]:
    return {name: part["verdict"] for name, part in said.items() if isinstance(part, dict)}


def test_another_tools_index_is_not_judged(pipeline: Bench) -> None:
    """Its name begins with the same prefix. The advice would be to delete it, and to lift a block that it wants."""
    before = status()[1], doctor()[1]
    other, template = f"{pipeline.prefix}-insights-2026-01-31", f"corp-{pipeline.prefix}"
    fields = {"@timestamp": {"type": "date"}, "eventName": {"type": "text"}, "requestParameters": {"type": "object"}}
    mappings = {"dynamic": True, "_meta": {"version": 1}, "properties": fields}
    settings = {"number_of_replicas": 0}
    made = {"settings": settings, "mappings": mappings}
    body = {"index_patterns": [f"{pipeline.prefix}-insights-*"], "priority": 500, "template": made}
    pipeline.opensearch.indices.put_index_template(name=template, body=body)
    later = (datetime.now(UTC) + timedelta(hours=6)).isoformat()
    report = {"@timestamp": later, "eventName": "Put", "requestParameters": {"n": 7}}
    for _ in range(2):  # the second one replaces the first
        pipeline.opensearch.index(index=other, id="1", body=report, params={"refresh": "true"})
    pipeline.opensearch.indices.put_settings(index=other, body={"index.blocks.write": True})

    after = status()[1], doctor()[1]
    pipeline.opensearch.indices.delete_index_template(name=template)

    assert [verdicts(said) for said in after] == [verdicts(said) for said in before]
    assert after[0]["indices"]["text"].startswith("3 with 3 events")
    assert after[0]["lag"]["newest_event"] == before[0]["lag"]["newest_event"]
    for said in after:
        assert other not in json.dumps(said)


def test_a_dead_consumer_is_seen_although_a_backfill_indexes(pipeline: Bench) -> None:
    """The newest event is fresh then, and hid that nothing consumed for hours."""
    dead = {"host": "web-1", "pid": 1, "version": "0.1.0", "queue": pipeline.settings.queue_url}
    time_of_death = (datetime.now(UTC) - timedelta(minutes=20)).isoformat()
    heartbeats = f"trailsink-consumers-{pipeline.prefix}"
    settings = {"index.auto_expand_replicas": "0-1"}  # as trailsink makes it; a yellow cluster is a warning to others
    fields = {"queue": {"type": "keyword"}, "beat_at": {"type": "date"}}
    body = {"settings": settings, "mappings": {"properties": fields}}
    pipeline.opensearch.indices.create(index=heartbeats, body=body)
    pipeline.opensearch.index(index=heartbeats, body=dead | {"beat_at": time_of_death})
    other = dead | {"queue": "https://sqs/another", "beat_at": datetime.now(UTC).isoformat()}
    others: list[dict[str, Any]] = [{"index": {}}, other] * 150  # more than are read
    pipeline.opensearch.bulk(index=heartbeats, body=others, params={"refresh": "true"})
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
        end = time.monotonic() + 180
        while time.monotonic() < end and status()[1]["consumer"]["verdict"] != "ok":
            time.sleep(0.5)
        alive, parts = status()
        with urlopen(f"http://127.0.0.1:{port}/ready", timeout=60) as response:
            ready = response.status
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as response:
            metrics = response.read().decode()
        running.send_signal(signal.SIGTERM)
        running.wait(180)

    assert (alive, parts["consumer"]["verdict"]) == (0, "ok"), parts["consumer"]
    assert ready == 200
    assert "trailsink_messages_total " in metrics


def test_part_of_the_events_is_not_taken_for_all(pipeline: Bench) -> None:
    """OpenSearch searches the shards that it has, and answers 200: the newest event may be in the one it lost."""
    lost = f"{pipeline.prefix}-{NOW - 9 * DAY:%Y-%m-%d}"
    body = {"settings": {"index.routing.allocation.require._name": "nobody", "index.number_of_replicas": 0}}
    pipeline.opensearch.indices.create(index=lost, body=body, params={"wait_for_active_shards": "0"})

    code, parts = status()
    examined, findings = doctor()
    pipeline.opensearch.indices.delete(index=lost)

    incomplete = "OpenSearch could not search all of its indices: check the cluster's health"
    assert (code, examined) == (1, 1)
    assert parts["cluster"]["verdict"] == "fault"
    assert parts["lag"]["verdict"] == "unknown"
    assert incomplete in parts["lag"]["text"]
    assert findings["unsearchable members"]["verdict"] == "not checked"
    assert incomplete in findings["unsearchable members"]["evidence"]
    assert status()[1]["lag"]["verdict"] == "ok"


def test_lost_notifications_are_seen_and_loaded(pipeline: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A purge, or a notification that was taken away for an hour: nobody announces these files again."""
    now = datetime.now(UTC)  # the module may have been read long ago
    put_indexed(pipeline, now)
    for minutes in (40, 20):
        upload(pipeline, now - timedelta(minutes=minutes), "lost")
    pipeline.sqs.purge_queue(QueueUrl=pipeline.settings.queue_url)

    lost = lag_later(pipeline)
    follow(lost.text.rpartition("; ")[2], monkeypatch)
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


WATERMARK = "cluster.routing.allocation.disk"


def set_watermarks(bench: Bench, *, full: bool) -> None:
    """Let the node take any disk for full, and look every 10 s; or as it was. Above what is free it blocks indices."""
    names = ("watermark.low", "watermark.high", "watermark.flood_stage")
    shares = ("0.1%", "0.2%", "0.3%") if full else (None, None, None)
    settings: dict[str, Any] = {f"{WATERMARK}.{name}": share for name, share in zip(names, shares, strict=True)}
    settings[f"{WATERMARK}.threshold_enabled"] = True if full else None
    settings["cluster.info.update.interval"] = "10s" if full else None
    bench.opensearch.cluster.put_settings(body={"transient": settings})


def has_blocked(bench: Bench) -> bool:
    """Whether the node has noticed: it blocks each index, and the creation of new ones."""
    settings = bench.opensearch.indices.get_settings(index=f"{bench.prefix}-*", params={"flat_settings": "true"})
    cluster = bench.opensearch.cluster.get_settings(params={"flat_settings": "true"})["persistent"]
    blocked = {index["settings"].get("index.blocks.read_only_allow_delete") for index in settings.values()}
    return blocked == {"true"} and cluster.get("cluster.blocks.create_index") == "true"


def test_a_full_disk_is_a_fault_and_its_advice_lets_events_in(pipeline: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster reports that it is well, blocks every index, and each event goes back to the queue."""
    set_watermarks(pipeline, full=True)
    end = time.monotonic() + 180
    while time.monotonic() < end and not has_blocked(pipeline):
        time.sleep(0.5)
    code, parts = status()
    examined, findings = doctor()

    set_watermarks(pipeline, full=False)  # somebody has freed it, and this node does not look again
    advice = findings["write blocks"]["fix"]
    for request in advice.partition("; otherwise ")[2].split(", then "):
        follow(request, monkeypatch)
    upload(pipeline, NOW, "late")
    consume()

    assert (code, examined) == (1, 1)
    assert "fault" not in (parts["cluster"]["verdict"], findings["health"]["verdict"])
    assert parts["writes"]["verdict"] == findings["write blocks"]["verdict"] == "fault"
    assert parts["disk"]["verdict"] == findings["disk"]["verdict"] == "fault"
    assert "the cluster blocks writes" in findings["disk"]["evidence"]
    assert advice.startswith(
        "free the disk, and the cluster lifts this itself within a minute; otherwise PUT /_cluster"
    )
    assert advice.partition("; otherwise ")[2] in parts["writes"]["text"]
    assert pipeline.count() == 4
    assert (status()[0], doctor()[0]) == (0, 0)


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


@dataclass(frozen=True)
class Managed:
    """The pipeline with retention: ISM's stand-in in front of the node deletes nothing, and shows who would."""

    bench: Bench
    ism: IsmServer

    @property
    def own(self) -> str:
        return f"trailsink-{self.bench.prefix}"

    def index(self, days: int) -> str:
        return f"{self.bench.prefix}-{NOW - days * DAY:%Y-%m-%d}"


@pytest.fixture
def managed(pipeline: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Managed]:
    """Indices that are deleted after 90 days, as the settings ask."""
    with ism_server(pipeline.settings.opensearch_url) as ism:
        monkeypatch.setenv("TRAILSINK_OPENSEARCH_URL", ism.url)
        monkeypatch.setenv("TRAILSINK_RETENTION_DAYS", "90")
        done = trailsink("setup", "--existing", "--yes")
        assert done.exit_code == 0, done.output
        assert (status()[0], doctor()[0]) == (0, 0)
        yield Managed(pipeline, ism)


def change_days(managed: Managed) -> None:
    """By `setup` in another shell: new indices are deleted later, and those that exist as before."""
    assert trailsink("setup", "--retention-days", "365").exit_code == 0
    assert managed.ism.policies[managed.own]["policy"]["description"] == "Delete indices of trailsink after 365 days"


def keep_an_earlier_version(managed: Managed) -> None:
    """The policy was changed to 90 days when two indices existed."""
    earlier = managed.ism.policies[managed.own]["policy"] | {"description": "Delete indices of trailsink after 7 days"}
    for days in (1, 2):
        managed.ism.attached[managed.index(days)] = (managed.own, earlier)


def edit_the_states(managed: Managed) -> None:
    """Somebody changes the age, and leaves the description."""
    policy = copy.deepcopy(managed.ism.policies[managed.own]["policy"])
    managed.ism.policies[managed.own] = managed.ism.policies[managed.own] | {"policy": policy}
    policy["states"][0]["transitions"][0]["conditions"]["min_index_age"] = "7d"


def delete_the_policy(managed: Managed) -> None:
    del managed.ism.policies[managed.own]


def take_an_index_over(managed: Managed) -> None:
    """Another tool's policy has a higher priority for new indices, and deletes after a week."""
    managed.ism.attached[managed.index(0)] = ("corp-weekly", DELETING)


def detach(managed: Managed) -> None:
    del managed.ism.attached[managed.index(1)]


DELETING = {"description": "", "states": [{"name": "gone", "actions": [{"delete": {}}], "transitions": []}]}
MANAGED_TROUBLES = {
    "other days": (change_days, "retention"),
    "an earlier version": (keep_an_earlier_version, "retention of each index"),
    "edited states": (edit_the_states, "retention"),
    "no policy": (delete_the_policy, "retention"),
    "another tool's policy": (take_an_index_over, "retention of each index"),
    "detached": (detach, "retention of each index"),
}


@pytest.mark.parametrize("name", MANAGED_TROUBLES)
def test_what_deletes_is_read_from_the_cluster(managed: Managed, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Where what was asked for is said, an audit log is deleted while the tool says that it is kept."""
    break_it, check = MANAGED_TROUBLES[name]
    break_it(managed)

    check_trouble(Trouble(lambda _: None, "retention", check), managed.bench, monkeypatch)

    policy = managed.ism.policies[managed.own]["policy"]
    assert managed.ism.attached == {managed.index(days): (managed.own, policy) for days in (0, 1, 2)}


def test_indices_that_shall_be_kept_follow_nobody(managed: Managed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asked for a deletion any more, and another tool's policy deletes. Another tool's index is left alone."""
    other = f"{managed.bench.prefix}-insights-2026"
    managed.bench.opensearch.indices.create(index=other)
    managed.ism.attached[other] = ("corp-weekly", DELETING)
    managed.ism.attached[managed.index(0)] = ("corp-weekly", DELETING)
    monkeypatch.setenv("TRAILSINK_RETENTION_DAYS", "0")
    unasked = status()[1]["retention"], doctor()[1]["retention"]

    follow(unasked[1]["fix"], monkeypatch)
    another = status()[1]["retention"], doctor()[1]["retention of each index"]
    follow(another[1]["fix"], monkeypatch)

    assert unasked[0]["verdict"] == unasked[1]["verdict"] == "fault"
    assert another[0]["verdict"] == another[1]["verdict"] == "fault"
    assert "follow the policy corp-weekly" in another[0]["text"]
    assert (status()[0], doctor()[0]) == (0, 0)
    assert managed.ism.policies == {}
    assert managed.ism.attached == {other: ("corp-weekly", DELETING)}
