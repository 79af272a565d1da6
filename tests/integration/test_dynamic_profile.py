"""Promises about the profile `dynamic` on a real node: no event is lost to it, whatever its members are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import VERSION
from tests.support.cli import trailsink
from tests.support.event_files import event, log_file
from worker.opensearch.server import version_number

if TYPE_CHECKING:
    from tests.conftest import Bench

pytestmark = pytest.mark.skipif(version_number(VERSION) < (3, 7), reason="dynamic_properties are of OpenSearch 3.7")

LONG = "x" * 40_000
DEEP: dict[str, Any] = {"leaf": "deepest"}
for _ in range(40):
    DEEP = {"a": DEEP}

# What a record has, and what trailsink says of it: the cause of a simpler form, and what no search finds.
RECORDS: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "a long value": (
        {"requestParameters": {"bucketName": "b", "long": LONG}},
        "value_too_long",
        ["requestParameters.long"],
    ),
    "a sentence": (
        {"requestParameters": {"bucketName": "b"}, "responseElements": "left out"},
        "illegal_argument_exception",
        ["responseElements"],
    ),
    "a value that just fits": ({"requestParameters": {"bucketName": "b", "long": "y" * 30_000}}, "", []),
    "many levels": ({"requestParameters": {"bucketName": "b", "deep": DEEP}}, "", []),
    "odd names": (
        {"requestParameters": {"bucketName": "b", "": 1, ".a": 2, "a..b": 3, "c.d": {"": 4}, "*": 5}},
        "",
        [],
    ),
    "an object and a text at one path": ({"requestParameters": {"bucketName": "b", "long": {"er": 1}}}, "", []),
    "nulls and nothing": ({"requestParameters": {"bucketName": "b", "n": None, "o": {}, "l": []}}, "", []),
}


def test_a_value_that_cannot_be_indexed_costs_no_other_value(bench: Bench) -> None:
    """The shortened form must catch in this profile what it catches in the other."""
    records = {name: event(**changes) for name, (changes, _, _) in RECORDS.items()}
    set_up(bench)
    bench.put("AWSLogs/odd.json.gz", log_file(*records.values()))

    run = trailsink("run", "--until-idle", "--timeout", "300")

    assert run.returncode == 0, run.stderr
    documents = bench.documents()
    for name, (_, cause, paths) in RECORDS.items():
        mark = documents[records[name]["eventID"]]["_source"]["trailsink"]
        assert (mark.get("degraded", ""), mark.get("unsearchable", [])) == (cause, paths), name
        assert "raw" not in mark or json.loads(mark["raw"]) == records[name], name
    assert count(bench, {"wildcard": {"requestParameters.bucketName": "b*"}}) == len(records)
    assert bench.letters() == []


def test_a_member_named_as_a_sub_field_hides_no_later_event(bench: Bench) -> None:
    """With a known name, one request could make the index refuse the parameter of all later ones."""
    set_up(bench)
    forged = event(requestParameters={"bucketName.~": "x", "key": {"~": "y"}})
    bench.put("AWSLogs/0.json.gz", log_file(forged))
    assert trailsink("run", "--until-idle", "--timeout", "300").returncode == 0
    later = event(requestParameters={"bucketName": "b", "key": "k"})
    bench.put("AWSLogs/1.json.gz", log_file(later))

    assert trailsink("run", "--until-idle", "--timeout", "300").returncode == 0

    assert all("degraded" not in document["_source"]["trailsink"] for document in bench.documents().values())
    assert count(bench, {"term": {"_field_names": "requestParameters.key"}}) == 2
    assert count(bench, {"term": {"requestParameters.bucketName": "b"}}) == 1


def test_an_event_with_more_paths_than_an_index_takes_is_degraded(bench: Bench) -> None:
    """A day with very many different paths must cost events their parameters at most."""
    set_up(bench)
    name = f"trailsink-{bench.prefix}"
    template = bench.opensearch.indices.get_index_template(name=name)["index_templates"][0]["index_template"]
    template["template"]["settings"]["index"]["mapping"]["dynamic_properties"]["lucene_field"]["limit"] = 100
    bench.opensearch.indices.put_index_template(name=name, body=template)
    first = event(requestParameters={f"p{n}": n for n in range(80)})
    beyond = event(requestParameters={f"q{n}": n for n in range(80)}, eventName="Beyond")

    for number, record in enumerate((first, beyond)):
        bench.put(f"AWSLogs/{number}.json.gz", log_file(record))
        assert trailsink("run", "--until-idle", "--timeout", "300").returncode == 0
        documents = bench.documents()  # which refreshes: the server counts the fields that can be searched

    marks = {id_: document["_source"]["trailsink"] for id_, document in documents.items()}
    assert "degraded" not in marks[first["eventID"]]
    assert marks[beyond["eventID"]]["degraded"] == "mapper_parsing_exception"
    assert json.loads(marks[beyond["eventID"]]["raw"]) == beyond
    assert "requestParameters" in marks[beyond["eventID"]]["unsearchable"]
    assert count(bench, {"term": {"eventName": "Beyond"}}) == 1
    assert bench.letters() == []


def test_setup_doctor_and_search_know_the_profile(bench: Bench) -> None:
    """A later run keeps it, and the doctor finds nothing to change."""
    set_up(bench)
    bench.put("AWSLogs/some.json.gz", log_file(event(requestParameters={"a": {"b": "Needle-1"}})))
    assert trailsink("run", "--until-idle", "--timeout", "300").returncode == 0
    bench.documents()

    again = trailsink("setup", "--replicas", "0", "--existing")
    doctor = trailsink("doctor", "--json")
    found = trailsink("search", "requestParameters:*needle* AND _exists_:requestParameters.a", "--ignore-case")

    assert "profile dynamic, because the index template has it already" in again.stdout
    assert "already exists" in again.stdout
    assert "all 1 indices have the template's fields" in again.stdout
    checks = {check["check"]: check["verdict"] for check in map(json.loads, doctor.stdout.splitlines())}
    for name in ("index template", "mapping", "mapping of each index", "unsearchable members"):
        assert checks[name] == "ok", doctor.stdout
    assert "1 event" in found.stdout or "GetObject" in found.stdout


def set_up(bench: Bench) -> None:
    chosen = trailsink("setup", "--replicas", "0", "--profile", "dynamic")
    assert "Mapping: profile dynamic, because --profile asks for it." in chosen.stdout, chosen.stderr
    assert bench.prefix in chosen.stdout


def count(bench: Bench, query: dict[str, Any]) -> int:
    return int(bench.opensearch.count(index=f"{bench.prefix}-*", body={"query": query})["count"])
