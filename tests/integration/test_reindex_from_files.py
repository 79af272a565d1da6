"""`trailsink reindex --from-files` on a real node: documents get new ids, and none of the day is lost."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from tests.integration.test_reindex import create_old_index, indices_and_marks, run
from tests.support.event_files import ACCOUNT, event, log_file
from worker.backfill.loaders import InMemoryDeadLetters
from worker.cli.main import main
from worker.cloudtrail.identity import content_id
from worker.opensearch.index_names import public_name
from worker.opensearch.reindex.copy_loader import CopyLoader
from worker.wiring import make_consumer

if TYPE_CHECKING:
    from tests.conftest import Bench

DAY, NEXT_DAY = "2026-03-01", "2026-03-02"


def trailsink(*words: str) -> Any:
    return CliRunner().invoke(main, list(words))


def text_of(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode()


def put_old(bench: Bench, name: str, *records: dict[str, Any], shut_out: tuple[dict[str, Any], ...] = ()) -> str:
    """A file, and its events as an earlier trailsink indexed them: with their eventID as the id.

    Those that are shut out are in the file only, since another event had claimed their id.
    """
    key = f"{ACCOUNT}/2026/03/02/218007301253_CloudTrail_us-east-1_20260302T0000Z_{name}.json.gz"
    uri, lines = f"s3://{bench.settings.bucket}/{key}", []
    for position, record in enumerate(records):
        head = {"create": {"_index": f"{bench.prefix}-{record['eventTime'][:10]}", "_id": record["eventID"]}}
        ours = {"object": uri, "position": position, "indexed_at": "2026-03-02T00:01:00Z"}
        tail = b',"@timestamp":"%b","trailsink":%b}' % (record["eventTime"].encode(), json.dumps(ours).encode())
        lines += [json.dumps(head).encode(), text_of(record)[:-1] + tail]
    response = bench.opensearch.bulk(body=b"\n".join([*lines, b""]), params={"refresh": "true"})
    assert not response["errors"], response["items"][0]
    bench.put(key, log_file(*map(text_of, (*records, *shut_out))))
    return key


def at(time: str = "10:00:00", day: str = DAY, **members: Any) -> dict[str, Any]:
    return event(eventTime=f"{day}T{time}Z", **members)


@pytest.fixture
def old(bench: Bench) -> Bench:
    """Two days of an earlier trailsink, with documents by their eventID."""
    for day in (DAY, NEXT_DAY):
        create_old_index(bench, day)
    return bench


def events_by_index(bench: Bench) -> dict[str, set[tuple[str, str]]]:
    """The id of each document with its event's name, by the public name of its index."""
    found: dict[str, set[tuple[str, str]]] = {}
    for hit in bench.hits():
        found.setdefault(public_name(hit["_index"]), set()).add((hit["_id"], hit["_source"]["eventName"]))
    return found


def expected(*records: dict[str, Any]) -> set[tuple[str, str]]:
    return {(content_id(text_of(record)).decode(), record["eventName"]) for record in records}


def test_a_day_gets_new_ids_and_what_was_shut_out_comes_in(old: Bench) -> None:
    """With the old ids, each file that is delivered again would double its events."""
    forged = at(eventName="Forged")
    shut_out = at(eventName="TrueOne", eventID=forged["eventID"])
    midnight, next_day = at("23:59:59"), at("00:00:01", NEXT_DAY)
    put_old(old, "forged", forged)
    put_old(old, "midnight", midnight, next_day, shut_out=(shut_out,))
    many = [at() for _ in range(40)]
    for number, one in enumerate(many):
        put_old(old, f"many{number:02}", one)

    done = trailsink("reindex", "--from-files", "--since", DAY, "--until", NEXT_DAY, "--yes", "--json")
    loaded = trailsink("run", "--until-idle", "--timeout", "300")  # each file is announced now, for the first time

    assert (done.exit_code, loaded.exit_code) == (0, 0), done.output + loaded.output
    assert json.loads(done.stdout)["events"] == 43
    days = events_by_index(old)
    assert days[f"{old.prefix}-{DAY}"] == expected(forged, shut_out, midnight, *many)
    assert indices_and_marks(old) == [f"trailsink-consumers-{old.prefix}"]


def test_a_file_that_is_gone_leaves_the_day_as_it_was(old: Bench) -> None:
    """Its events are nowhere else. It is named, and the command goes on with the next day."""
    kept, gone, tomorrow = at(), at(), at(day=NEXT_DAY)
    put_old(old, "kept", kept)
    key = put_old(old, "gone", gone)
    put_old(old, "tomorrow", tomorrow)
    old.s3.delete_object(Bucket=old.settings.bucket, Key=key)

    done = trailsink("reindex", "--from-files", "--yes", "--json")

    today, next_day = (json.loads(line) for line in done.stdout.splitlines())
    assert done.exit_code == 1
    assert (today["outcome"], next_day["outcome"]) == ("refused", "reindexed")
    assert f"/{key} brings 0 of 1 events (not_found)" in today["detail"]
    days = events_by_index(old)
    assert {id_ for id_, _ in days[f"{old.prefix}-{DAY}"]} == {kept["eventID"], gone["eventID"]}
    assert days[f"{old.prefix}-{NEXT_DAY}"] == expected(tomorrow)
    assert indices_and_marks(old) == []


def test_one_event_of_many_that_the_files_lack_is_found(old: Bench) -> None:
    """A sample would let it go."""
    events = [at(f"10:{number // 60:02}:{number % 60:02}") for number in range(900)]
    key = put_old(old, "many", *events)
    old.put(key, log_file(*map(text_of, [*events[:700], events[700] | {"eventName": "Other"}, *events[701:]])))

    done = trailsink("reindex", "--from-files", "--since", DAY, "--until", NEXT_DAY, "--yes", "--json")

    assert (done.exit_code, json.loads(done.stdout)["outcome"]) == (1, "refused")
    assert f"/{key}, record 700: the event is not" in done.stdout
    assert old.count() == 900


def test_a_file_that_was_changed_in_the_bucket_replaces_nothing(old: Bench) -> None:
    """It has as many events, but not those that are in the index."""
    true = at(sourceIPAddress="198.51.100.1")
    key = put_old(old, "changed", true)
    old.put(key, log_file(text_of(true | {"sourceIPAddress": "192.0.2.9"})))

    done = trailsink("reindex", "--from-files", "--since", DAY, "--until", NEXT_DAY, "--yes", "--json")

    assert (done.exit_code, json.loads(done.stdout)["outcome"]) == (1, "refused")
    assert f"/{key}, record 0: the event is not in the file as it is in the index" in done.stdout
    assert [hit["_source"]["sourceIPAddress"] for hit in old.hits()] == ["198.51.100.1"]


def test_an_interrupted_run_is_continued_and_a_copy_of_another_kind_is_discarded(old: Bench) -> None:
    """A copy with documents of both kinds would have each event twice."""
    several = [at() for _ in range(3)]
    for number, one in enumerate(several):
        put_old(old, f"one{number}", one)
    loader = CopyLoader(lambda wrap: make_consumer(old.settings, queue=InMemoryDeadLetters(), wrap_index=wrap))
    with closing(loader):
        for options in ({}, {"loader": loader}):
            with pytest.raises(KeyboardInterrupt):
                run(old, on_progress=interrupt, **options)

    done = trailsink("reindex", "--from-files", "--yes", "--json")

    assert done.exit_code == 0, done.output
    assert events_by_index(old) == {f"{old.prefix}-{DAY}": expected(*several)}


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_rate_is_refused() -> None:
    """It is the cluster's own limit of a copy."""
    done = trailsink("reindex", "--from-files", "--rate", "5")

    assert done.exit_code == 2
    assert "--rate limits copies inside the cluster" in done.output
