"""Facts of the indices, by searches."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.unit.health.fake_pipeline import BUCKET, FOLDER, INDEX, NOW, FakeCluster, FakeEvent
from worker.errors import IndexUnavailable
from worker.health.cluster_facts import ClusterFacts
from worker.health.index_facts import IndexFacts, per_minute
from worker.health.snapshot import IndexFreshness, IndexSize, Throughput, Unobserved
from worker.opensearch.client import Client
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

UNDATED = FakeEvent("cloudtrail-undated", NOW.replace(year=2099), NOW)


@contextmanager
def facts(cluster: FakeCluster) -> Iterator[IndexFacts]:
    with cluster.serving() as url:
        client = Client(url, sign_in=lambda: None, ca_file=None, seconds=60).connect()
        known = ClusterFacts(Settings(opensearch_url=url), lambda: client)
        yield IndexFacts(known, "cloudtrail", NOW)
        known.close()


def test_undated_events_do_not_count_as_the_newest() -> None:
    """Their times are absurd, which is why they have an index of their own."""
    event = FakeEvent()

    with facts(FakeCluster(events=[event, UNDATED])) as known:
        assert known.freshness == IndexFreshness(event.time, event.indexed_at)
        assert known.last_written == "cloudtrail-undated"


def test_a_part_of_the_events_gives_no_fact() -> None:
    """OpenSearch answers 200 with what the shards that it reaches hold: the newest event may be in another."""
    with facts(FakeCluster(failed_shards=1)) as known:
        for observed in (known.freshness, known.throughput, known.last_written):
            assert isinstance(observed, Unobserved)
            assert observed.why == "OpenSearch could not search all of its indices: check the cluster's health"
        for read in (lambda: known.last_files(NOW), lambda: known.indexed_files(["s3://b/k"])):
            with pytest.raises(IndexUnavailable):
                read()


def test_an_empty_index_has_neither_events_nor_a_last_index() -> None:
    """OpenSearch answers a search over no index."""
    with facts(FakeCluster(events=[])) as known:
        assert known.freshness == IndexFreshness(None, None)
        assert known.last_written is None
        assert known.last_files(NOW) == {}


def test_sizes_and_rates_are_parsed() -> None:
    """A closed index has neither events nor a size; another tool's is not one of ours."""
    rows = [
        {"index": INDEX, "docs.count": "7", "store.size": "900"},
        {"index": "cloudtrail-2026-02-28", "docs.count": None, "store.size": None},
        {"index": "cloudtrail-insights-2026", "docs.count": "3", "store.size": "100"},
    ]

    with facts(FakeCluster({"/_cat/indices/cloudtrail-*": (200, rows)})) as known:
        assert known.sizes == [IndexSize(INDEX, 7, 900), IndexSize("cloudtrail-2026-02-28", 0, 0)]
        assert known.throughput == Throughput(0.1, 0.1, "the index")


@pytest.mark.parametrize("names", [["cloudtrail-insights-2026"], ["cloudtrail-backup-2026-01-31"], []])
def test_another_index_is_not_the_one_written_last(names: list[str]) -> None:
    """The advice would be to delete it."""
    hits = [{"_index": name} for name in names]

    with facts(FakeCluster({"/cloudtrail-*/_search": (200, {"hits": {"hits": hits}})})) as known:
        assert known.last_written is None


def test_the_last_file_of_each_folder_is_the_greatest_key() -> None:
    """A folder is an account in a region; a file without a day in its key belongs to none."""
    other = FOLDER.replace("eu-west-1", "us-east-1")
    keys = [
        f"{FOLDER}2026/02/28/z.json.gz",
        f"{FOLDER}2026/03/01/a.json.gz",
        f"{other}2026/01/01/b.json.gz",
        "x.json.gz",
    ]

    with facts(FakeCluster(events=[FakeEvent(key=key) for key in keys])) as known:
        assert known.last_files(NOW - timedelta(hours=1)) == {(BUCKET, FOLDER): keys[1], (BUCKET, other): keys[2]}


def test_a_rate_is_per_minute_of_the_window() -> None:
    """A quarter of an hour."""
    assert (per_minute(0), per_minute(90), per_minute(1)) == (0.0, 6.0, 0.1)
