"""`trailsink reindex` on a real node: each event exactly once at every look, however often it is killed.

`make reindex` runs the long form: 60 days, ten kills.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from infra.generate.json_documents import Reindexed, read
from tests.support.cli import TRAILSINK
from tests.support.event_files import ACCOUNT, event, log_file
from tests.support.index_documents import index
from tests.support.search_checker import Checker
from worker.cli.main import main
from worker.opensearch.index_names import public_name
from worker.opensearch.reindex.lease import Lease
from worker.opensearch.reindex.run import DayOutcome, Reindexing, ReindexOptions
from worker.opensearch.schema import VERSION
from worker.opensearch.teardown import indices_of, uninstall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Bench
    from worker.opensearch.reindex.filler import CopyProgress

DAYS = int(os.environ.get("TRAILSINK_TEST_REINDEX_DAYS", "6"))
KILLS = int(os.environ.get("TRAILSINK_TEST_REINDEX_KILLS", "3"))
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
EVENTS_PER_DAY = 60


@pytest.fixture(autouse=True)
def cleared(bench: Bench) -> Iterator[None]:
    """Delete the copies, which are not among `{prefix}-*`."""
    yield
    for name in bench.opensearch.indices.get(index=f"trailsink-re*{bench.prefix}*"):
        bench.opensearch.indices.delete(index=name)


def day_of(number: int) -> str:
    return f"{FIRST + timedelta(days=number):%Y-%m-%d}"


def create_old_index(bench: Bench, day: str, **mappings: Any) -> None:
    """Create the index of a day as an earlier trailsink did."""
    name = f"trailsink-{bench.prefix}"
    template = bench.opensearch.indices.get_index_template(name=name)["index_templates"][0]["index_template"]
    body = template["template"]
    body["mappings"] |= {"_meta": {"generation": 1, "profile": "flat"}} | mappings
    bench.opensearch.indices.create(index=f"{bench.prefix}-{day}", body=body)


def load_old_days(bench: Bench, days: int, events: int = EVENTS_PER_DAY) -> set[str]:
    """Create old indices with events; returns the events' ids."""
    ids = set()
    for number in range(days):
        day = day_of(number)
        create_old_index(bench, day)
        records = [event(eventTime=f"{day}T10:00:00Z") for _ in range(events)]
        index(bench, records, day=day)
        ids |= {record["eventID"] for record in records}
    return ids


def generations(bench: Bench) -> dict[str, int]:
    """The generation of each index that searches find, by its public name."""
    mappings = bench.opensearch.indices.get_mapping(index=f"{bench.prefix}-*")
    return {public_name(name): body["mappings"]["_meta"]["generation"] for name, body in mappings.items()}


def indices_and_marks(bench: Bench) -> list[str]:
    """All that reindexing may leave: indices that no search finds, and aliases that are no name of a day."""
    rows = bench.opensearch.cat.indices(index=f"*{bench.prefix}*", params={"format": "json", "h": "index"})
    searched = set(bench.opensearch.indices.get(index=f"{bench.prefix}-*"))
    aliases = bench.opensearch.cat.aliases(name=f"trailsink-*{bench.prefix}*", params={"format": "json"})
    names = [row["index"] for row in rows if not row["index"].startswith("trailsink-files-")]
    return [name for name in names if name not in searched] + [alias["alias"] for alias in aliases]


def run(bench: Bench, **options: Any) -> dict[str, DayOutcome]:
    results = Reindexing(bench.opensearch, ReindexOptions(bench.prefix), **options).run()
    return {result.index.removeprefix(f"{bench.prefix}-"): result.outcome for result in results}


@contextmanager
def consuming(environment: dict[str, str]) -> Iterator[None]:
    """A `trailsink run` beside the test."""
    process = subprocess.Popen(
        [TRAILSINK, "run"], env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(180)


class Uploader:
    """Uploads small files with events of all days, until it is stopped."""

    def __init__(self, bench: Bench, days: int) -> None:
        self._bench, self._days, self._stop = bench, days, threading.Event()
        self.ids: set[str] = set()
        self._thread = threading.Thread(target=self._upload)
        self._thread.start()

    def _upload(self) -> None:
        number = 0
        while not self._stop.wait(0.15):
            days = random.Random(number).sample(range(self._days), min(4, self._days))
            records = [event(eventTime=f"{day_of(day)}T12:00:00Z") for day in days]
            self._bench.put(f"{ACCOUNT}/2026/03/01/x_{number:06}_{uuid.uuid4().hex}.json.gz", log_file(*records))
            self.ids |= {record["eventID"] for record in records}
            number += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.timeout(9_000 if DAYS > 10 else 1_200)
def test_killed_again_and_again_it_brings_each_event_over_exactly_once(
    bench: Bench, environment: dict[str, str]
) -> None:
    """Consumers write and a checker searches all the while; a search may never miss an event, or find it twice."""
    dice = random.Random(21)
    ids = load_old_days(bench, DAYS)
    checker = Checker(bench.settings.opensearch_url, bench.prefix)
    command = [str(TRAILSINK), "reindex", "--yes", "--json"]

    with consuming(environment):
        uploader = Uploader(bench, DAYS)
        try:
            kills = 0
            while kills < KILLS:
                process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL)
                time.sleep(dice.uniform(1.5, 9))
                kills += process.poll() is None
                process.kill()
                if process.wait() != -signal.SIGKILL:
                    break  # all days are finished
            final = subprocess.run(
                command, env=os.environ | environment, capture_output=True, text=True, timeout=8_000, check=False
            )
        finally:
            uploader.stop()
        ids |= uploader.ids
        until = time.monotonic() + 180
        while bench.count() < len(ids):
            assert time.monotonic() < until, f"{len(ids) - bench.count()} events are missing"
            time.sleep(0.5)
    report = checker.report()

    assert final.returncode == 0, final.stdout + final.stderr
    read(final.stdout, Reindexed)
    assert (report["doubled"], report["lost"]) == ([], []), report
    assert report["looks"] > 20
    assert report["incomplete"] <= report["looks"] / 5, report
    assert kills or DAYS < KILLS
    assert Counter(hit["_source"]["eventID"] for hit in bench.hits()) == Counter(ids)
    assert set(generations(bench).values()) == {VERSION}
    assert len(generations(bench)) == DAYS
    assert indices_and_marks(bench) == [f"trailsink-consumers-{bench.prefix}"]
    assert bench.letters() == []
    sys.stdout.write(f"{DAYS} days, {kills} kills, {len(ids):,} events, {len(uploader.ids):,} meanwhile: {report}\n")


def test_a_run_that_was_killed_after_its_write_block_is_continued(bench: Bench) -> None:
    """To a block that is there already the cluster answers at once, and says that it did not wait for any shard."""
    ids = load_old_days(bench, 1, events=3)

    def block_and_die(name: str, _: CopyProgress) -> None:
        bench.opensearch.transport.perform_request("PUT", f"/{name}/_block/write")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(bench, on_progress=block_and_die)

    assert run(bench) == {day_of(0): DayOutcome.REINDEXED}
    assert {hit["_source"]["eventID"] for hit in bench.hits()} == ids
    index(bench, [event(eventTime=f"{day_of(0)}T11:00:00Z")], day=day_of(0))
    assert bench.count() == 4


def test_a_day_keeps_its_age_its_aliases_and_its_block(bench: Bench) -> None:
    """Retention counts from the creation, people name indices by aliases, and an archive stays read-only."""
    load_old_days(bench, 1, events=3)
    name = f"{bench.prefix}-{day_of(0)}"
    bench.opensearch.indices.put_alias(index=name, name=f"team{bench.prefix}", body={"filter": {"match_all": {}}})
    bench.opensearch.indices.put_settings(index=name, body={"index.blocks.write": True})
    created = bench.opensearch.indices.get_settings(index=name)[name]["settings"]["index"]["creation_date"]

    (result,) = Reindexing(bench.opensearch, ReindexOptions(bench.prefix)).run()

    (state,) = bench.opensearch.indices.get(index=f"{bench.prefix}-*").values()
    assert result.outcome is DayOutcome.REINDEXED
    is_as_old = state["settings"]["index"]["creation_date"] == created
    assert result.detail == ("" if is_as_old else "its age counts from now: this server sets no date of creation")
    assert is_as_old is not bench.opensearch.info()["version"]["number"].startswith("2.")
    assert state["settings"]["index"]["blocks"] == {"write": "true"}
    assert state["aliases"] == {name: {}, f"team{bench.prefix}": {"filter": {"match_all": {}}}}
    assert run(bench) == {}


def test_a_day_can_be_reindexed_again_and_is_deleted_with_the_stack_s_data(bench: Bench) -> None:
    """The next generation of the mapping meets days that stand behind an alias already; `destroy` deletes them."""
    load_old_days(bench, 2, events=3)
    run(bench)
    again = Reindexing(bench.opensearch, ReindexOptions(bench.prefix, force=True))

    outcomes = {result.outcome for result in again.run()}
    list(uninstall(bench.opensearch, bench.prefix, indices_of(bench.opensearch, bench.prefix)))

    assert outcomes == {DayOutcome.REINDEXED}
    assert indices_and_marks(bench) == []
    assert bench.opensearch.cat.indices(index=f"*{bench.prefix}-*", params={"format": "json"}) == []


def test_a_mapping_that_refuses_an_event_leaves_the_old_index_in_service(bench: Bench) -> None:
    """The other days are brought over; nothing is left beside the old one, and it takes events."""
    load_old_days(bench, 1, events=3)
    create_old_index(bench, day_of(1), enabled=False, properties={})
    document = {"@timestamp": f"{day_of(1)}T00:00:00Z", "userIdentity": "no object"}
    bench.opensearch.index(index=f"{bench.prefix}-{day_of(1)}", id="x", body=document, params={"refresh": "true"})

    result = CliRunner().invoke(main, ["reindex", "--yes"])

    assert result.exit_code == 1
    assert "refused: the new mapping refuses the event x (mapper_parsing_exception)" in result.stdout
    assert generations(bench) == {f"{bench.prefix}-{day_of(0)}": VERSION, f"{bench.prefix}-{day_of(1)}": 1}
    assert bench.count() == 4
    assert indices_and_marks(bench) == []
    bench.opensearch.create(index=f"{bench.prefix}-{day_of(1)}", id="y", body={"@timestamp": f"{day_of(1)}T00:00:01Z"})


def test_without_room_nothing_is_begun(bench: Bench) -> None:
    """Disk and shards are looked at before the first document."""
    load_old_days(bench, 1, events=3)
    disk = "cluster.routing.allocation.disk"
    marks = {"low": "99999gb", "high": "2b", "flood_stage": "1b"}
    full = {f"{disk}.watermark.{name}": value for name, value in marks.items()} | {f"{disk}.threshold_enabled": True}
    health = bench.opensearch.cluster.health()
    few = {"cluster.max_shards_per_node": health["active_shards"] + health["unassigned_shards"] + 1}
    printed = []
    for settings in (full, few):
        bench.opensearch.cluster.put_settings(body={"transient": settings})
        try:
            printed.append(CliRunner().invoke(main, ["reindex", "--yes"]))
        finally:
            bench.opensearch.cluster.put_settings(body={"transient": dict.fromkeys(settings)})

    assert [result.exit_code for result in printed] == [1, 1]
    assert "below the low watermark" in printed[0].stdout
    assert "shards" in printed[1].output
    assert set(generations(bench).values()) == {1}
    assert indices_and_marks(bench) == []


def test_a_disk_that_is_full_meanwhile_leaves_the_old_index_in_service(bench: Bench) -> None:
    """The cluster blocks what is on a full disk: the copy is deleted, the old index takes events once there is room."""
    load_old_days(bench, 1, events=3)
    name = f"{bench.prefix}-{day_of(0)}"

    def fill_disk(*_: object) -> None:
        bench.opensearch.create(index=name, id=uuid.uuid4().hex, body={"@timestamp": f"{day_of(0)}T01:00:00Z"})
        for index_ in (name, f"trailsink-reindexed1-{name}"):
            bench.opensearch.indices.put_settings(index=index_, body={"index.blocks.read_only_allow_delete": True})

    (result,) = Reindexing(bench.opensearch, ReindexOptions(bench.prefix), on_progress=fill_disk).run()

    assert result.outcome is DayOutcome.FAILED
    assert "block" in result.detail
    assert set(generations(bench).values()) == {1}
    assert indices_and_marks(bench) == []
    settings = bench.opensearch.indices.get_settings(index=name, name="index.blocks.*")
    assert json.dumps(settings).count("true") <= 1, "only the block of the full disk, if the cluster has set it again"


def test_what_was_deleted_meanwhile_leaves_no_copy(bench: Bench) -> None:
    """Retention may delete a day while it is copied."""
    load_old_days(bench, 1, events=3)
    name = f"{bench.prefix}-{day_of(0)}"

    outcomes = run(bench, on_progress=lambda *_: bench.opensearch.indices.delete(index=name))

    assert set(outcomes.values()) == {DayOutcome.FAILED}
    assert run(bench) == {}
    assert indices_and_marks(bench) == []


def test_a_stopped_run_goes_on_and_a_second_one_waits(bench: Bench) -> None:
    """What was copied is not copied again; two processes at a time would lift each other's blocks."""
    load_old_days(bench, 1, events=3)
    waited: list[str] = []

    stopped = run(bench, should_stop=lambda: True)
    holder = Lease(bench.opensearch, bench.prefix)
    holder.acquire()
    second = Reindexing(
        bench.opensearch,
        ReindexOptions(bench.prefix),
        on_wait=waited.append,
        sleep=lambda _: holder.release(),
    )
    outcomes = [result.outcome for result in second.run()]

    assert set(stopped.values()) == {DayOutcome.STOPPED}
    assert [name.endswith(f"process {os.getpid()}") for name in waited] == [True]
    assert outcomes == [DayOutcome.REINDEXED]
    assert indices_and_marks(bench) == []
