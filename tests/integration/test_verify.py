"""`trailsink verify` on real parts: a bucket, a node, and a trail that is signed with a key of the tests' own."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from infra.generate.json_documents import VerifyResult, read
from tests.support.cloudtrail_api import cloudtrail
from tests.support.signed_trail import SignedTrail, public_key
from worker.cli.main import main
from worker.cli.scheduled_handler import verify_handler
from worker.opensearch.discards import record_discards
from worker.pipeline.objects import ObjectRef
from worker.verify.keys import write_keys

if TYPE_CHECKING:
    from tests.conftest import Bench


pytestmark = pytest.mark.timeout(900)  # several whole runs of the command in each test


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def keys(tmp_path: Path) -> str:
    """A file of public keys, as `trailsink verify keys` saves it."""
    now = datetime.now(UTC)
    path = tmp_path / "keys.json"
    valid: dict[str, Any] = {
        "validity_start_time": now - timedelta(days=20),
        "validity_end_time": now + timedelta(days=10),
    }
    write_keys(path, [public_key(**valid)])
    return str(path)


@pytest.fixture
def trail(bench: Bench) -> SignedTrail:
    """Six hours until two hours ago, in the bucket and loaded; nothing of it was announced."""
    made = SignedTrail(
        bucket=bench.settings.bucket, ended_at=datetime.now(UTC).replace(microsecond=0) - timedelta(hours=8)
    )
    made.hours(6)
    put(bench, made)
    trailsink("backfill", "--direct", "--yes", "--no-progress")
    return made


def put(bench: Bench, trail: SignedTrail, *keys: str) -> None:
    for key in keys or trail.objects:
        metadata = {"signature": trail.signatures[key]} if key in trail.signatures else {}
        bench.s3.put_object(Bucket=trail.bucket, Key=key, Body=trail.objects[key], Metadata=metadata)
    bench.sqs.purge_queue(QueueUrl=bench.settings.queue_url)


def trailsink(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def verify(bench: Bench, keys: str, *words: str) -> tuple[int, dict[str, Any]]:
    """Exit code and summary of a verification, when all that was written can be searched."""
    bench.opensearch.indices.refresh(index=f"{bench.prefix}-*,trailsink-files-{bench.prefix}-*")
    result = trailsink("verify", "--keys", keys, "--json", *words)
    assert result.exit_code in (0, 1), result.output
    assert len(read(result.stdout, VerifyResult)) == 1
    return result.exit_code, json.loads(result.stdout)


def faults(summary: dict[str, Any]) -> dict[str, int]:
    return {name: number for name, number in summary["states"].items() if name != "verified"}


def test_missing_files_are_loaded_and_a_planted_one_is_named(bench: Bench, trail: SignedTrail, keys: str) -> None:
    """The day of an auditor: complete, then not, then mended, with the one thing that loading cannot mend."""
    code, summary = verify(bench, keys)
    assert (code, faults(summary)) == (0, {})
    assert summary["verdict"].startswith("complete: 12 files, 24 events, 1 chain, signed until ")

    lost, planted = trail.logs[3], trail.log(trail.ended_at - timedelta(hours=3, minutes=7), name="planted")
    put(bench, trail, planted)
    query = {"query": {"term": {"trailsink.object": f"s3://{trail.bucket}/{lost}"}}}
    bench.opensearch.delete_by_query(index=f"{bench.prefix}-*", body=query, refresh=True)

    code, summary = verify(bench, keys)
    assert (code, faults(summary)) == (1, {"missing": 1, "planted": 1})
    code, summary = verify(bench, keys, "--load")
    assert (code, faults(summary)) == (1, {"planted": 1})
    assert summary["verdict"].startswith("complete: 12 files, 24 events")
    assert planted in summary["verdict"]


def test_nothing_is_loaded_under_another_partition(
    bench: Bench, trail: SignedTrail, keys: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is present of an incomplete file would be in a day, and again in a month."""
    verify(bench, keys)
    query = {"query": {"term": {"trailsink.object": f"s3://{trail.bucket}/{trail.logs[3]}"}}}
    bench.opensearch.delete_by_query(index=f"{bench.prefix}-*", body=query, refresh=True)
    monkeypatch.setenv("TRAILSINK_INDEX_PARTITION", "month")

    refused = trailsink("verify", "--keys", keys, "--load")

    assert refused.exit_code not in (0, None)
    assert "TRAILSINK_INDEX_PARTITION" in refused.output
    assert bench.count() == 22


def test_a_file_that_was_discarded_is_named_and_no_fault(bench: Bench, trail: SignedTrail, keys: str) -> None:
    """An operator decided on it; a nightly verification that fails for ever is one that nobody reads."""
    uri = f"s3://{trail.bucket}/{trail.logs[3]}"
    verify(bench, keys)  # which refreshes
    for index, name in ((f"{bench.prefix}-*", "trailsink.object"), (f"trailsink-files-{bench.prefix}-*", "object")):
        bench.opensearch.delete_by_query(index=index, body={"query": {"term": {name: uri}}}, refresh=True)
    assert faults(verify(bench, keys)[1]) == {"missing": 1}

    record_discards(bench.opensearch, bench.prefix, [ObjectRef(trail.bucket, trail.logs[3])], trail.now)
    code, summary = verify(bench, keys)

    assert (code, summary["complete"], summary["notes"]) == (0, True, ["discarded"])
    assert summary["verdict"].startswith("complete: 12 files, 22 events, 1 chain, 1 discarded, signed until ")


def test_a_tampered_index_is_noticed(bench: Bench, trail: SignedTrail, keys: str) -> None:
    """One document overwritten, one deleted, one added by hand: the counts show two of them, the bytes all."""
    assert verify(bench, keys, "--deep")[1]["states"] == {"verified": 12}
    index, client = f"{bench.prefix}-*", bench.opensearch
    client.indices.refresh(index=index)
    by_file = {
        key: client.search(index=index, body={"query": {"term": {"trailsink.object": f"s3://{trail.bucket}/{key}"}}})
        for key in trail.logs[:3]
    }
    overwritten, deleted, added = (by_file[key]["hits"]["hits"][0] for key in trail.logs[:3])
    changed = overwritten["_source"] | {"sourceIPAddress": "203.0.113.9"}
    client.index(index=overwritten["_index"], id=overwritten["_id"], body=changed)
    client.delete(index=deleted["_index"], id=deleted["_id"])
    client.index(index=added["_index"], id="by-hand", body=added["_source"] | {"eventName": "Invented"})

    _, counted = verify(bench, keys)
    _, deep = verify(bench, keys, "--deep")

    assert faults(counted) == {"incomplete": 1, "altered_in_index": 1}
    assert faults(deep) == {"incomplete": 1, "altered_in_index": 2}
    text = trailsink("verify", "--keys", keys, "--deep").stdout
    assert "1 records different, by position: 0 (sourceIPAddress)" in text
    assert "203.0.113.9" not in text


def test_what_s3_lost_or_changed_is_named(bench: Bench, trail: SignedTrail, keys: str) -> None:
    """The ledger holds what was loaded, so a change in S3 cannot hide behind it."""
    bench.s3.delete_object(Bucket=trail.bucket, Key=trail.logs[0])
    trail.objects[trail.logs[1]] = trail.objects[trail.logs[2]] + b"more"
    put(bench, trail, trail.logs[1])

    code, summary = verify(bench, keys)

    assert (code, faults(summary)) == (1, {"altered": 1, "deleted": 1})


def test_files_of_before_the_ledger_are_compared_with_their_documents(
    bench: Bench, trail: SignedTrail, keys: str
) -> None:
    """An index that was filled before there was a ledger is proven all the same, and the ledger made for it."""
    bench.opensearch.indices.delete(index=f"trailsink-files-{bench.prefix}-*")
    assert verify(bench, keys)[1]["states"] == {"verified": len(trail.logs)}

    rebuilt = trailsink("ledger", "rebuild", "--yes")

    assert rebuilt.exit_code == 0, rebuilt.output
    assert "12 files recorded" in rebuilt.stdout
    bench.opensearch.indices.refresh(index=f"trailsink-files-{bench.prefix}-*")
    assert bench.opensearch.count(index=f"trailsink-files-{bench.prefix}-*")["count"] == len(trail.logs)
    assert "0 files recorded, 12 already in the ledger" in trailsink("ledger", "rebuild", "--yes").stdout
    assert verify(bench, keys)[0] == 0


def test_without_keys_nothing_is_judged(bench: Bench, trail: SignedTrail) -> None:
    """The stand-in for AWS knows no public keys: that is no verdict, and no success."""
    result = trailsink("verify")

    assert result.exit_code == 3, result.output
    assert result.stdout.startswith("not judged: 1 part could not be judged")
    assert trail.account in result.stdout
    assert bench.prefix not in result.stdout


class FakeLambda:
    """The context of an invocation that has just begun."""

    def get_remaining_time_in_millis(self) -> int:
        """Return Lambda's maximum."""
        return 900_000


def test_a_scheduled_verification_reports_to_cloudwatch_and_to_status(
    bench: Bench, trail: SignedTrail, keys: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the stack's schedule invokes it; the keys are those that an earlier run has cached."""
    cached = tmp_path / "state" / "trailsink" / "public-keys.json"
    cached.parent.mkdir(parents=True, exist_ok=True)
    cached.write_bytes(Path(keys).read_bytes())
    bench.opensearch.indices.refresh(index=f"{bench.prefix}-*,trailsink-files-{bench.prefix}-*")

    before = json.loads(trailsink("status", "--json").stdout)["proof"]
    complete = verify_handler({"last": "2d"}, FakeLambda())
    query = {"query": {"term": {"trailsink.object": f"s3://{trail.bucket}/{trail.logs[3]}"}}}
    bench.opensearch.delete_by_query(index=f"{bench.prefix}-*", body=query, refresh=True)
    capsys.readouterr()
    wrong = verify_handler({"last": "2d"}, FakeLambda())
    metrics = json.loads(capsys.readouterr().out.splitlines()[-1])
    after = json.loads(trailsink("status", "--json").stdout)["proof"]

    assert before["verdict"] == "unknown"
    assert complete["complete"] is True
    assert wrong["complete"] is False
    assert (metrics["FilesMissing"], metrics["FilesAltered"], metrics["Queue"]) == (1, 0, bench.settings.metrics_queue)
    assert (after["verdict"], after["complete"], after["last_verdict"]) == ("fault", False, wrong["verdict"])


def test_a_verification_of_one_account_is_no_verdict_on_all(bench: Bench, trail: SignedTrail, keys: str) -> None:
    """Status would show it as if it were."""
    assert trail.logs
    verify(bench, keys, "--account", "123456789012")

    assert not bench.opensearch.indices.exists(index=f"trailsink-verdicts-{bench.prefix}")


def test_keys_are_asked_of_cloudtrail_and_saved_for_offline_use(
    bench: Bench, trail: SignedTrail, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Over HTTP, as AWS serves them; the saved ones prove a copy when nobody can be asked."""
    bench.opensearch.indices.refresh(index=f"{bench.prefix}-*,trailsink-files-{bench.prefix}-*")
    saved, copy = tmp_path / "saved.json", tmp_path / "copy"
    for key, content in trail.objects.items():
        (copy / key).parent.mkdir(parents=True, exist_ok=True)
        (copy / key).write_bytes(content)
    (copy / f"{trail.digests[-1]}.signature").write_text(trail.signatures[trail.digests[-1]])

    with cloudtrail(trail) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDTRAIL", url)
        live = trailsink("verify", "--json")
        asked = trailsink("verify", "keys", str(saved), "--region", trail.region, "--since", "2026-01-01")
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDTRAIL", "http://127.0.0.1:9")
    offline = trailsink("verify", "--local", str(copy), "--keys", str(saved), "--json")

    assert live.exit_code == 0, live.output
    assert json.loads(live.stdout)["verdict"].startswith("complete: 12 files, 24 events, 1 chain")
    assert asked.exit_code == 0, asked.output
    assert "1 key" in asked.output
    assert offline.exit_code == 0, offline.output
    assert json.loads(offline.stdout)["fingerprints"] == json.loads(live.stdout)["fingerprints"]
