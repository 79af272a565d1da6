"""Holds `trailsink detect` against an evaluation of the rules on the raw records, and against kills.

`TRAILSINK_TEST_KILLS=20 make test` kills more often.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from opensearchpy.exceptions import RequestError
from sigma.backends.opensearch.opensearch import OpensearchLuceneBackend
from sigma.collection import SigmaCollection
from sigma.exceptions import SigmaError
from sigma.processing.pipeline import ProcessingPipeline

from infra.generate.json_documents import Coverage, NewFinding, RuleHits, read
from tests.conftest import VERSION
from tests.support.cli import TRAILSINK, trailsink
from tests.support.event_files import event, real_records
from tests.support.index_documents import index
from tests.support.sigma_rules import positives, sigma_rules, write_rules
from tests.support.sigma_scan import scan
from worker.cli.scheduled_handler import detect_handler
from worker.detect.rule_files import read_rules
from worker.errors import SetupError
from worker.opensearch.field_kinds import read_field_kinds
from worker.opensearch.profiles import Profile
from worker.opensearch.server import version_number
from worker.opensearch.setup import SetupOptions, install

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Bench

KILLS = int(os.environ.get("TRAILSINK_TEST_KILLS", "3"))
NEW_FINDINGS = 3

# A query string answers rightly about a flat_object from here on, when it holds nothing but regular expressions.
LUCENE_SINCE = (3, 4)

LOGIN = """\
title: Console login
id: 0a0d5f4e-7b35-4a4b-9a0e-0d8f6c5b1a01
level: high
logsource: {product: aws, service: cloudtrail}
detection:
  s: {eventName: consolelogin}
  condition: s
"""
BURST = """\
title: Many calls
id: 0a0d5f4e-7b35-4a4b-9a0e-0d8f6c5b1a02
level: medium
logsource: {product: aws, service: cloudtrail}
correlation:
  type: event_count
  rules: [any_call]
  group-by: [userIdentity.arn]
  timespan: 1m
  condition: {gte: 5}
---
title: Any call
name: any_call
logsource: {product: aws, service: cloudtrail}
detection:
  s: {eventName: GetObject}
  condition: s
"""


def search(bench: Bench, query: dict[str, Any]) -> list[str]:
    """The ids of the events that a clause finds, sorted."""
    response = bench.opensearch.search(
        index=f"{bench.prefix}-*", body={"query": query, "size": 10_000, "_source": ["eventID"]}
    )
    return sorted(hit["_source"]["eventID"] for hit in response["hits"]["hits"])


def made_records() -> list[dict[str, Any]]:
    """Records that the rules must match, in any letter case, named by rule and number."""
    base = {"eventTime": "2026-03-01T10:00:00Z", "eventVersion": "1.11"}
    return [
        base | record | {"eventID": f"{name}.{number}"} for number, (name, record) in enumerate(positives(Random(23)))
    ]


def findings(bench: Bench) -> list[dict[str, Any]]:
    """All findings of the prefix."""
    name = f"trailsink-findings-{bench.prefix}"
    bench.opensearch.indices.refresh(index=name)
    hits = bench.opensearch.search(index=name, body={"size": 10_000})["hits"]["hits"]
    return [hit["_source"] for hit in hits]


@pytest.fixture
def _clean(bench: Bench) -> Any:
    yield
    bench.opensearch.indices.delete(index=f"trailsink-*-{bench.prefix}", ignore_unavailable=True)


@pytest.mark.parametrize("profile", ["flat", "dynamic"])
def test_rules_find_what_an_evaluation_of_the_records_finds(bench: Bench, tmp_path: Path, profile: str) -> None:
    """For each modifier and kind of field, on real records and on made ones in any letter case."""
    if profile == "dynamic":
        if version_number(VERSION) < (3, 7):
            pytest.skip("the profile dynamic needs OpenSearch 3.7")
        list(install(bench.opensearch, SetupOptions(bench.prefix, replicas=0, profile=Profile.DYNAMIC)))
    real = list({record["eventID"]: record for record in real_records()}.values())
    made = made_records()
    index(bench, [*real, *made])
    kinds = read_field_kinds(bench.opensearch, bench.prefix)
    rules = read_rules([write_rules(tmp_path)], kinds)

    assert [(refused.info.title, refused.reason) for refused in rules.refused] == []
    texts = sigma_rules()
    for rule in rules.rules:
        found = search(bench, rule.clause)
        assert found == scan(texts[rule.info.title], [*real, *made]), (rule.info.title, rule.clause)
        positive = {record["eventID"] for record in made if record["eventID"].rpartition(".")[0] == rule.info.title}
        assert positive <= set(found), rule.info.title
        assert positive


@pytest.mark.skipif(
    tuple(map(int, VERSION.split(".")[:2])) < LUCENE_SINCE, reason="query strings find less on older servers"
)
def test_the_pipeline_makes_pysigma_s_own_queries_find_the_same(bench: Bench, tmp_path: Path) -> None:
    """Whoever sends query strings, as a saved search does, needs them to fold case and to look everywhere."""
    made = made_records()
    index(bench, made)
    printed = trailsink("detect", "pipeline")
    backend = OpensearchLuceneBackend(ProcessingPipeline.from_yaml(printed.stdout))
    kinds = read_field_kinds(bench.opensearch, bench.prefix)
    differing = set()
    for rule in read_rules([write_rules(tmp_path)], kinds).rules:
        try:
            (query,) = backend.convert(SigmaCollection.from_yaml(sigma_rules()[rule.info.title]))
            found = search(bench, {"query_string": {"query": query}})
        except (SigmaError, RequestError, NotImplementedError):
            found = ["refused"]
        if found != search(bench, rule.clause):
            differing.add(rule.info.title)

    assert sorted(differing) == sorted(LUCENE_DIFFERS)


# What the pipeline cannot help with, by rule; docs/detection.md lists it.
LUCENE_DIFFERS = {
    "base64_offset",
    "boolean_as_text",
    "contains_operators",
    "dashes",
    "exists",
    "expression",
    "expression_any_case",
    "expression_below",
    "greater",
    "keywords",
    "network",
    "network_below",
    "object_contains",
}


@pytest.mark.usefixtures("_clean")
def test_a_run_finds_what_is_new_and_what_is_late(bench: Bench, tmp_path: Path) -> None:
    """A file that S3 delivers late must not slip between two runs."""
    (tmp_path / "login.yml").write_text(LOGIN, encoding="utf-8")
    first, late = event(eventName="ConsoleLogin"), event(eventName="CONSOLELOGIN", eventTime="2026-02-01T00:00:00Z")
    index(bench, [first, event()])

    runs = [trailsink("detect", "run", str(tmp_path), "--since-last") for _ in range(2)]
    # Its time of indexing is before the last run, as that of an event whose request was retried for minutes.
    late["trailsink"] = {
        "object": "s3://b/late",
        "position": 0,
        "indexed_at": (datetime.now(UTC) - timedelta(minutes=10)).isoformat(timespec="seconds"),
    }
    index(bench, [late], uri="s3://b/late")
    runs.append(trailsink("detect", "run", str(tmp_path), "--since-last"))

    assert [run.returncode for run in runs] == [NEW_FINDINGS, 0, NEW_FINDINGS], runs
    found = [finding for run in runs for finding in read(run.stdout, NewFinding)]
    assert [finding.rule.title for finding in found] == ["Console login", "Console login"]
    lines = [json.loads(line) for run in runs for line in run.stdout.splitlines()]
    assert [line["events"]["ids"] for line in lines] == [[first["eventID"]], [late["eventID"]]]
    assert lines[0]["rule"]["level"] == "high"
    assert lines[0]["events"]["callers"] == ["arn:aws:iam::123456789012:user/ada"]
    assert all("announced_at" in finding for finding in findings(bench))


@pytest.mark.usefixtures("_clean")
def test_a_scheduled_detection_reads_its_rules_from_s3(bench: Bench) -> None:
    """As the stack's schedule invokes it; a file beside the rules is none."""
    index(bench, [event(eventName="ConsoleLogin"), event(eventName="GetObject")])
    bench.s3.put_object(Bucket=bench.settings.bucket, Key="sigma/a/login.yml", Body=LOGIN.encode())
    bench.s3.put_object(Bucket=bench.settings.bucket, Key="sigma/README.md", Body=b"rules")
    address = f"s3://{bench.settings.bucket}/sigma/"

    first, second = (detect_handler({"rules": address, "topic": ""}, None) for _ in range(2))

    assert (first, second) == ({"new_findings": 1}, {"new_findings": 0})
    with pytest.raises(SetupError, match="No file below"):
        detect_handler({"rules": f"{address}none/", "topic": ""}, None)


def test_a_burst_is_one_finding_however_often_it_is_looked_at(bench: Bench, tmp_path: Path) -> None:
    """A correlation looks at the same events in many runs."""
    (tmp_path / "burst.yml").write_text(BURST, encoding="utf-8")
    index(bench, [event(eventTime=f"2026-03-01T10:00:{second:02}Z") for second in range(0, 40, 5)])

    first = trailsink("detect", "run", str(tmp_path))
    index(bench, [event(eventTime="2026-03-01T10:00:50Z")], uri="s3://b/more")
    second = trailsink("detect", "run", str(tmp_path))

    assert (first.returncode, second.returncode) == (NEW_FINDINGS, 0), (first, second)
    (finding,) = findings(bench)
    assert finding["group"] == {"userIdentity.arn": "arn:aws:iam::123456789012:user/ada"}
    assert (finding["events"]["count"], finding["events"]["first"]) == (5, "2026-03-01T10:00:00Z")


@pytest.mark.usefixtures("_clean")
@pytest.mark.timeout(360 + 15 * KILLS)
def test_each_finding_is_written_once_however_often_a_run_is_killed(bench: Bench, tmp_path: Path) -> None:
    """What was killed is finished by the next run: nothing twice, nothing never, and each announced."""
    texts = {"Console login": LOGIN.replace("consolelogin", "'*'"), "negation": sigma_rules()["negation"]}
    for name, text in texts.items():
        (tmp_path / f"{name}.yml").write_text(text, encoding="utf-8")
    records = list({record["eventID"]: record for record in real_records()}.values())
    index(bench, records)
    expected = {(title, id_) for title, text in texts.items() for id_ in scan(text, records)}
    chance, lines = Random(23), list[str]()
    for _ in range(KILLS):
        process = subprocess.Popen(
            [TRAILSINK, "detect", "run", tmp_path, "--since-last"], stdout=subprocess.PIPE, text=True
        )
        time.sleep(1.5 + chance.random() * 4)
        process.kill()
        lines += process.communicate()[0].splitlines()

    last = trailsink("detect", "run", str(tmp_path), "--since-last")

    assert last.returncode in (0, NEW_FINDINGS), last
    name = f"trailsink-findings-{bench.prefix}"
    bench.opensearch.indices.refresh(index=name)
    assert int(bench.opensearch.count(index=name)["count"]) == len(expected)
    once = {(finding["rule"]["title"], finding["events"]["ids"][0]) for finding in findings(bench)}
    assert once == expected
    announced = {
        (document["rule"]["title"], document["events"]["ids"][0])
        for line in (*lines, *last.stdout.splitlines())
        if line.endswith("}")  # a line may be cut by the kill; it is announced again
        for document in [json.loads(line)]
    }
    assert announced == expected


def test_a_backtest_shows_hits_by_day_account_and_caller(bench: Bench, tmp_path: Path) -> None:
    """Before a rule is switched on, it is good to know whom it will accuse."""
    (tmp_path / "login.yml").write_text(LOGIN, encoding="utf-8")
    (tmp_path / "burst.yml").write_text(BURST, encoding="utf-8")
    (tmp_path / "refused.yml").write_text(LOGIN.replace("eventName", "status"), encoding="utf-8")
    index(
        bench,
        [
            event(eventName="ConsoleLogin", recipientAccountId="1", eventTime=f"2026-03-0{day}T10:00:00Z")
            for day in (1, 1, 2)
        ],
    )
    index(bench, [event(eventTime=f"2026-03-01T10:00:{second:02}Z") for second in range(6)], uri="s3://b/burst")

    done = trailsink("detect", "test", str(tmp_path), "--json", "--since", "2026-03-01")
    text = trailsink("detect", "test", str(tmp_path))

    assert len(read(done.stdout, RuleHits)) == 2
    results = {document["title"]: document for document in map(json.loads, done.stdout.splitlines())}
    assert results["Console login"]["days"] == {"2026-03-01": 2, "2026-03-02": 1}
    assert results["Console login"]["accounts"] == {"1": 3}
    assert results["Console login"]["callers"] == {"arn:aws:iam::123456789012:user/ada": 3}
    assert results["Many calls"]["hits"] == 1
    assert "2 rules, 1 refused (trailsink detect coverage says why). 2 rules with 4 hits." in done.stderr
    assert "3 hits  Console login (high)\n  by day      2026-03-01 2, 2026-03-02 1\n" in text.stdout


def test_coverage_says_why_a_rule_cannot_fire(bench: Bench, tmp_path: Path) -> None:
    """Whoever installs a rule set needs the list of what it does not do."""
    (tmp_path / "login.yml").write_text(LOGIN, encoding="utf-8")
    (tmp_path / "refused.yml").write_text(LOGIN.replace("eventName", "status"), encoding="utf-8")
    index(bench, [event()])

    done = trailsink("detect", "coverage", str(tmp_path))
    documents = read(trailsink("detect", "coverage", str(tmp_path), "--json").stdout, Coverage)
    monitors = json.loads(trailsink("detect", "install", str(tmp_path)).stdout)

    assert re.search(r"^yes +high +Console login$", done.stdout, re.MULTILINE)
    assert [document.reason is None for document in documents] == [True, False]
    assert re.search(r"^no +high +Console login +No index has a field status;", done.stdout, re.MULTILINE)
    assert [monitor["monitor_type"] for monitor in monitors] == ["query_level_monitor"]
