"""Promises about evidence on a real node: what is written once cannot be changed, what is held cannot be deleted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from opensearchpy.exceptions import AuthorizationException, RequestError

from infra.generate.json_documents import HoldStatus, read
from tests.support.cli import trailsink
from tests.support.event_files import event, log_file
from worker.errors import SetupError
from worker.opensearch.teardown import indices_of, uninstall
from worker.pipeline.ledger import ledger_pattern

if TYPE_CHECKING:
    from tests.conftest import Bench

KEY = "AWSLogs/123456789012/CloudTrail/eu-west-1/2026/03/02/123456789012_CloudTrail_eu-west-1_20260302T0010Z_a.json.gz"


def load(bench: Bench, *records: dict[str, Any], key: str = KEY) -> None:
    bench.put(key, log_file(*records))
    run = trailsink("run", "--until-idle", "--timeout", "300")
    assert run.returncode == 0, run.stderr


def doctor() -> dict[str, dict[str, Any]]:
    """The findings of the doctor by check."""
    run = trailsink("doctor", "--json")
    return {finding["check"]: finding for finding in map(json.loads, run.stdout.splitlines())}


def test_a_write_once_index_takes_each_event_once_and_for_ever(bench: Bench) -> None:
    """The road needs nothing more than to create. A second delivery meets its twins there, as in any index."""
    shown = trailsink("setup", "--replicas", "0", "--write-once")
    assert "Write-once: nobody can change or delete a document of a new index." in shown.stdout, shown.stderr
    records = [event(), event(eventTime="no time"), event(requestParameters="not an object")]
    load(bench, *records)
    load(bench, *records, key=KEY.replace("_a.", "_b."))

    hits = bench.hits()
    assert len(hits) == 3
    for hit in hits:
        with pytest.raises(RequestError, match="append_only"):
            bench.opensearch.index(index=hit["_index"], id=hit["_id"], body={"forged": True})
        with pytest.raises(RequestError, match="append_only"):
            bench.opensearch.delete(index=hit["_index"], id=hit["_id"])
    bench.opensearch.indices.refresh(index=ledger_pattern(bench.prefix))
    ledger: Any = bench.opensearch.search(index=ledger_pattern(bench.prefix))
    for hit in ledger["hits"]["hits"]:
        with pytest.raises(RequestError, match="append_only"):
            bench.opensearch.delete(index=hit["_index"], id=hit["_id"])
    assert sum(hit["_source"].get("duplicate", 0) for hit in ledger["hits"]["hits"]) == 3
    # Setup without the option leaves it; with its opposite, new indices are as they were.
    assert "already exists." in trailsink("setup").stdout
    assert doctor()["index template"]["verdict"] == "ok"
    assert "changed" in trailsink("setup", "--no-write-once").stdout
    template: Any = bench.opensearch.indices.get_index_template(name=f"trailsink-{bench.prefix}")
    assert "append_only" not in json.dumps(template)


def test_the_cluster_refuses_to_delete_a_held_day(bench: Bench) -> None:
    """Whoever deletes it, by whatever pattern; until the hold ends."""
    load(bench, event(), event(eventTime="2026-03-02T10:00:00Z"), event(eventTime="2026-02-20T10:00:00Z"))
    first, second, third = (f"{bench.prefix}-2026-{day}" for day in ("03-01", "03-02", "02-20"))

    added = trailsink("hold", "add", "case-1", "--since", "2026-03-01", "--until", "2026-03-03", "--yes")

    assert added.returncode == 0, added.stderr
    assert f"The hold case-1 covers 3 indices ({first}, {second}, trailsink-files-{bench.prefix}-2026-03)." in (
        added.stdout
    )
    assert "case-1: 3 indices held." in added.stdout
    for name in (first, second, f"{bench.prefix}-*", f"trailsink-files-{bench.prefix}-2026-03"):
        with pytest.raises(AuthorizationException, match="read-only"):
            bench.opensearch.indices.delete(index=name)
    with pytest.raises(AuthorizationException, match="read-only"):
        bench.opensearch.index(index=first, id="forged", body={})
    with pytest.raises(SetupError, match=r"is held \(case-1\)"):
        list(uninstall(bench.opensearch, bench.prefix, indices_of(bench.opensearch, bench.prefix)))
    assert "2 of 3 indices are held, and stay as they are." in trailsink("setup", "--existing").stdout
    findings = doctor()
    assert findings["holds"] == findings["holds"] | {"verdict": "ok", "evidence": "1 hold on 3 indices"}
    assert all(finding["verdict"] in ("ok", "not checked") for name, finding in findings.items() if "block" in name)
    listed = trailsink("hold", "list")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.splitlines()[1].split()[:6] == ["case-1", "from", "2026-03-01", "and", "before", "2026-03-03"]

    # An administrator lifts the block of one day and deletes it.
    bench.opensearch.indices.put_settings(index=second, body={"index.blocks.read_only": None})
    assert "Not held yet" in trailsink("hold", "list").stderr
    bench.opensearch.indices.delete(index=second)
    gone = trailsink("hold", "list", "--json")
    assert gone.returncode == 1
    assert read(gone.stdout, HoldStatus)[0].gone == [second]
    assert doctor()["holds"]["verdict"] == "fault"

    released = trailsink("hold", "release", "case-1", "--yes")

    assert released.returncode == 0, released.stderr
    assert "There are no holds." in trailsink("hold", "list").stdout
    bench.opensearch.indices.delete(index=first)
    bench.opensearch.indices.delete(index=third)
