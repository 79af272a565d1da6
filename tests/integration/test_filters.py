"""Filters on real parts: what is left out is counted, proved, tried beforehand, and comes back."""

from __future__ import annotations

import json
import random
import subprocess
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from tests.support.cli import TRAILSINK
from tests.support.event_files import ACCOUNT, event, log_file, real_files, real_records
from tests.support.naive_filter import matching_name
from tests.support.signed_trail import SignedTrail, public_key
from worker.cli.main import main
from worker.cloudtrail.filters.selectors import parse_selectors
from worker.opensearch.field_kinds import read_field_kinds
from worker.opensearch.filter_trial import IndexTrial
from worker.verify.keys import write_keys

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Bench

pytestmark = pytest.mark.timeout(900)

DAY = ("--since", "2023-07-01", "--until", "2023-08-01")


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def trailsink(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def selector(name: str, **fields: list[str]) -> dict[str, Any]:
    """A selector of Equals; a field's name has a double underscore for each dot."""
    return {
        "Name": name,
        "FieldSelectors": [{"Field": field.replace("__", "."), "Equals": values} for field, values in fields.items()],
    }


NOISE = [
    selector("describes", readOnly=["true"], eventSource=["ec2.amazonaws.com", "s3.amazonaws.com"]),
    selector("keys", eventSource=["kms.amazonaws.com"]),
]


def set_filter(bench: Bench, monkeypatch: pytest.MonkeyPatch, selectors: list[dict[str, Any]]) -> str:
    """Put selectors into a bucket of their own, and set them."""
    bench.s3.create_bucket(Bucket="acme-config", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    bench.s3.put_object(Bucket="acme-config", Key="noise.json", Body=json.dumps(selectors).encode())
    monkeypatch.setenv("TRAILSINK_FILTERS", "s3://acme-config/noise.json")
    return "s3://acme-config/noise.json"


def names_of(records: list[dict[str, Any]], selectors: list[dict[str, Any]]) -> Counter[str]:
    return Counter(matching_name(json.dumps(record).encode(), selectors) for record in records)


def test_what_a_filter_leaves_out_is_in_every_balance_and_comes_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """55 real files: consumed with a filter, not missing afterwards, loaded without it; each event is there once."""
    set_filter(bench, monkeypatch, NOISE)
    for key, body in real_files().items():
        bench.put(key, body)
    expected = names_of(real_records(), NOISE)
    left_out = expected["describes"] + expected["keys"]

    process = subprocess.run(
        [TRAILSINK, "run", "--until-idle", "--timeout", "300"], capture_output=True, text=True, timeout=480, check=True
    )
    totals = json.loads(process.stdout.splitlines()[-1])
    bench.opensearch.indices.refresh(index=f"{bench.prefix}-*,trailsink-files-{bench.prefix}-*")
    missing = trailsink("backfill", "--missing", "--direct", "--yes")
    indexed = bench.count()
    back = trailsink("backfill", "--missing", "--no-filters", "--direct", "--yes", "--json")
    bench.opensearch.indices.refresh(index=f"{bench.prefix}-*,trailsink-files-{bench.prefix}-*")
    again = trailsink("backfill", "--missing", "--no-filters", "--direct", "--yes")

    assert 0 < left_out < 2_900
    assert totals["filtered"] == {name: number for name, number in expected.items() if name}
    assert (totals["RecordsRead"], totals["RecordsIndexed"]) == (2_900, 2_900 - left_out)
    assert (totals["RecordsFiltered"], totals["RecordsRejected"], totals["FilesIndexed"]) == (left_out, 0, 55)
    assert "Nothing is missing" in missing.output
    assert indexed == 2_900 - left_out
    plan, *_, end = map(json.loads, back.stdout.splitlines())
    assert plan["filtered"] == plan["files"] > 0
    assert end["records"]["indexed"] == left_out
    assert len(bench.documents()) == 2_900
    assert "Nothing is missing" in again.output


def test_a_proof_knows_what_filters_left_out(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the ledger's counts and, deep, record by record: what the filter did not match is missing all the same."""
    moment = datetime.now(UTC)
    keys = tmp_path / "keys.json"
    valid: dict[str, Any] = {
        "validity_start_time": moment - timedelta(days=20),
        "validity_end_time": moment + timedelta(days=10),
    }
    write_keys(keys, [public_key(**valid)])
    trail = SignedTrail(bucket=bench.settings.bucket, ended_at=moment.replace(microsecond=0) - timedelta(hours=8))
    trail.hours(6)
    for key, body in trail.objects.items():
        metadata = {"signature": trail.signatures[key]} if key in trail.signatures else {}
        bench.s3.put_object(Bucket=trail.bucket, Key=key, Body=body, Metadata=metadata)
    bench.sqs.purge_queue(QueueUrl=bench.settings.queue_url)
    # The first event of each file.
    first = [{"Name": "first", "FieldSelectors": [{"Field": "eventID", "EndsWith": ["00"]}]}]
    location = set_filter(bench, monkeypatch, first)
    loaded = trailsink("backfill", "--direct", "--yes", "--no-progress")
    assert "12 filtered" in loaded.output

    def verify(*words: str) -> dict[str, Any]:
        bench.opensearch.indices.refresh(index=f"{bench.prefix}-*,trailsink-files-{bench.prefix}-*")
        result = trailsink("verify", "--keys", str(keys), "--json", *words)
        document: dict[str, Any] = json.loads(result.stdout)
        return document

    for words in ((), ("--deep",)):
        summary = verify(*words)
        assert summary["states"] == {"verified": 12}
        assert "12 files, 24 events (12 of them left out by filters)" in summary["verdict"]

    monkeypatch.setenv("TRAILSINK_FILTERS", "")
    assert verify("--deep")["states"] == {"not_judged": 12}
    assert verify("--deep", "--filters", location)["states"] == {"verified": 12}
    assert verify()["states"] == {"verified": 12}, "the ledger's counts need no selectors"

    hit = bench.hits()[0]
    bench.opensearch.delete(index=hit["_index"], id=hit["_id"])
    assert verify("--deep", "--filters", location)["states"] == {"verified": 11, "incomplete": 1}
    monkeypatch.setenv("TRAILSINK_FILTERS", location)
    assert verify("--load")["states"] == {"verified": 12}
    assert trailsink("backfill", "--direct", "--yes", "--no-filters", "--no-progress").exit_code == 0
    assert verify("--deep")["states"] == {"verified": 12}
    assert bench.count() == 24


FIELDS = {
    "eventSource": ["s3.amazonaws.com", "ec2.amazonaws.com", "kms.amazonaws.com"],
    "eventName": ["GetObject", "GetItem", "PutObject", "Put*", "a\\b", "Get?"],
    "readOnly": ["true", "false"],
    "errorCode": ["AccessDenied", "Access"],
    "errorMessage": ["no such key", "no such", "Key"],
    "userIdentity.arn": ["arn:aws:iam::1:user/a", "arn:aws:iam::1:user/b", "user/a"],
    "resources.ARN": ["arn:aws:s3:::one", "arn:aws:s3:::two", "arn:aws:s3:::one/key"],
    "resources.type": ["AWS::S3::Object", "AWS::S3::Bucket"],
    "requestParameters.bucketName": ["one", "two", "on", "o*"],
    "requestParameters.filter.name": ["a", "b", "ab"],
    "additionalEventData.bytesTransferredIn": ["1", "20"],
}
NUMBER = "additionalEventData.bytesTransferredIn"
OPERATORS = ["Equals", "StartsWith", "EndsWith", "NotEquals", "NotStartsWith", "NotEndsWith"]


def random_record(chance: random.Random, number: int) -> dict[str, Any]:
    """An event in which each field of FIELDS is there or not, some as a list."""
    record = event(eventID=f"event-{number}")
    for name, values in FIELDS.items():
        value: Any = chance.choice(values)
        root, *path = name.split(".")
        if chance.random() < 0.4:
            if root == name:
                record.pop(name, None)
            continue
        value = {"true": True, "false": False}.get(value, int(value) if name == NUMBER else value)
        if root == "resources":
            record.setdefault(root, []).append({path[0]: value})
            continue
        if root == "requestParameters" and chance.random() < 0.3:
            value = [value, chance.choice(values)]
        node = record
        for part in (root, *path)[:-1]:
            node = node.setdefault(part, {})
        node[(root, *path)[-1]] = value
    return record


def random_selectors(chance: random.Random) -> list[dict[str, Any]]:
    selectors = []
    for number in range(chance.randint(1, 4)):
        fields = []
        for name in chance.sample(list(FIELDS), chance.randint(1, 3)):
            operators = [word for word in OPERATORS if name != NUMBER or "With" not in word]
            chosen = chance.sample(operators, chance.randint(1, 2))
            fields.append({"Field": name} | {word: chance.sample(FIELDS[name], 1) for word in chosen})
        selectors.append({"Name": f"selector {number}", "FieldSelectors": fields})
    return selectors


def test_the_index_counts_what_the_consumer_would_leave_out(bench: Bench) -> None:
    """Random records and selectors: the DSL, each record's bytes and a plain evaluation agree."""
    chance = random.Random(21)
    records = [random_record(chance, number) for number in range(300)]
    bench.put(f"{ACCOUNT}/2026/03/01/218007301253_CloudTrail_us-east-1_20260301T1005Z_a.json.gz", log_file(*records))
    assert trailsink("backfill", "--direct", "--yes", "--no-progress").exit_code == 0
    assert bench.count() == 300
    kinds = read_field_kinds(bench.opensearch, bench.prefix)
    trial = IndexTrial(bench.opensearch, bench.prefix, None, None)

    for _ in range(60):
        selectors = random_selectors(chance)
        parsed = parse_selectors(json.dumps(selectors).encode(), "test").selectors
        expected = names_of(records, selectors)
        counts = trial.run(parsed, kinds)
        assert {name: each.events for name, each in counts.selectors.items()} == {
            chosen["Name"]: expected[chosen["Name"]] for chosen in selectors
        }, selectors
        names = Counter(
            (record.get("eventSource", ""), record.get("eventName", ""))
            for record in records
            if matching_name(json.dumps(record).encode(), selectors)
        )
        assert counts.left_out.names == names


RULE = """
title: Buckets are listed
id: 7b9d1d6c-0000-4000-8000-000000000001
level: low
logsource: {product: aws, service: cloudtrail}
detection:
  selection: {eventSource: s3.amazonaws.com, eventName: ListBuckets}
  condition: selection
"""


def test_a_filter_is_tried_on_the_index_and_on_files_and_both_say_the_same(bench: Bench, tmp_path: Path) -> None:
    """What it would leave out, what that costs, and what rules would no longer see; at 80 columns."""
    tree = tmp_path / "copy"
    for key, body in real_files().items():
        bench.put(key, body)
        (tree / key).parent.mkdir(parents=True, exist_ok=True)
        (tree / key).write_bytes(body)
    assert trailsink("backfill", "--direct", "--yes", "--no-progress").exit_code == 0
    bench.count()
    noise, rule = tmp_path / "noise.json", tmp_path / "rule.yml"
    noise.write_text(json.dumps(NOISE))
    rule.write_text(RULE)

    on_index = trailsink("filter", "test", str(noise), *DAY, "--rules", str(rule))
    on_files = trailsink("filter", "test", str(noise), "--local", str(tree), "--json")
    in_bucket = trailsink("filter", "test", str(noise), "--bucket", bench.settings.bucket, *DAY, "--json")
    as_json = trailsink("filter", "test", str(noise), *DAY, "--json")
    suggested = trailsink("filter", "suggest", *DAY, "--limit", "3")

    for result in (on_index, on_files, in_bucket, as_json, suggested):
        assert result.exit_code == 0, result.output
    expected = names_of(real_records(), NOISE)
    listed = sum(record["eventName"] == "ListBuckets" for record in real_records())
    left_out = expected["describes"] + expected["keys"]
    for result in (on_files, in_bucket, as_json):
        documents = [json.loads(line) for line in result.stdout.splitlines()]
        events = {line["name"]: line["events"] for line in documents if line["kind"] == "selector"}
        assert events == {name: expected[name] for name in ("describes", "keys")}
        assert documents[-1]["left_out"]["events"] == left_out
        assert sum(line["events"] for line in documents if line["kind"] == "event") == left_out
    assert f"{left_out:,} of 2,900 events would go." in on_index.output
    assert f"{listed} hits of `Buckets are listed` would go, of {listed}." in on_index.output
    assert max(map(len, on_index.output.splitlines()[1:])) <= 80
    selectors = json.loads(suggested.stdout)
    noise.write_text(suggested.stdout)
    tried = trailsink("filter", "test", str(noise), *DAY, "--json")
    assert len(selectors) == 3
    assert json.loads(tried.stdout.splitlines()[-1])["left_out"]["events"] > 0
