"""Promises about the limit of shards: the right one for the server, and the day on which it is reached."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.unit.health.fake_pipeline import (
    NOW,
    FakeCluster,
    make_health,
    make_index,
    make_node_settings,
    refusal,
)
from worker.health.cluster_facts import ClusterFacts
from worker.health.index_facts import IndexFacts
from worker.health.shard_facts import ShardFacts, growth
from worker.health.snapshot import IndexSize, Observed, ShardUsage, Unobserved
from worker.opensearch.client import Client
from worker.settings import Settings

INDICES = "/_cat/indices/cloudtrail-*"
GIB = 1 << 30
DAY = timedelta(days=1)


def usage(changes: dict[str, tuple[int, Any]], **settings: Any) -> Observed[ShardUsage | None]:
    with FakeCluster(changes).serving() as url:
        client = Client(url, sign_in=lambda: None, ca_file=None, seconds=60).connect()
        known = Settings(**({"opensearch_url": url} | settings))
        cluster = ClusterFacts(known, lambda: client)
        found = ShardFacts(known, cluster, IndexFacts(cluster, "cloudtrail", NOW), NOW).usage
        cluster.close()
        return found


def days(number: int, *, replicas: int = 1) -> list[dict[str, str]]:
    """An index of one shard for each of the last days, today's first."""
    return [make_index(f"cloudtrail-{NOW - day * DAY:%Y-%m-%d}", NOW - day * DAY, replicas) for day in range(number)]


def heaps(*gibs: int, manager: int = 0) -> tuple[int, Any]:
    nodes = {
        str(at): {"roles": ["data"], "jvm": {"mem": {"heap_max_in_bytes": gib * GIB}}} for at, gib in enumerate(gibs)
    }
    if manager:
        nodes["m"] = {"roles": ["cluster_manager"], "jvm": {"mem": {"heap_max_in_bytes": manager * GIB}}}
    return 200, {"nodes": nodes}


@pytest.mark.parametrize("scope", ["defaults", "persistent", "transient"])
def test_the_limit_is_per_data_node_and_may_be_set(scope: str) -> None:
    """Unassigned copies count, as the server counts them; a node that only manages holds none."""
    found = usage(
        {
            "/_cluster/health": (200, make_health("yellow", 5, active=20)),
            "/_cluster/settings": (200, make_node_settings(300, scope=scope)),
        }
    )

    assert found == ShardUsage(25, 600, 2.0, (600 - 25) / 2)


def test_a_managed_domain_is_limited_by_its_memory() -> None:
    """1,000 shards for 16 GiB of heap from 2.17 on: 250 for the heap of 4 GiB that the template's node has."""
    managed = {"opensearch_url": "https://search-x.eu-west-1.es.amazonaws.com"}

    found = usage({"/_nodes/stats/jvm": heaps(4, 4, manager=8), INDICES: (200, days(10))}, **managed)

    assert isinstance(found, ShardUsage)
    assert found.limit == 500
    assert found.per_day == pytest.approx(16 / 7)


def test_an_older_managed_domain_is_limited_by_its_setting() -> None:
    """Before 2.17 the number is the same for every node."""
    version = (200, {"version": {"distribution": "opensearch", "number": "2.15.0"}})

    found = usage({"/": version}, opensearch_url="https://search-x.eu-west-1.es.amazonaws.com")

    assert isinstance(found, ShardUsage)
    assert found.limit == 2_000


def test_the_limit_of_a_managed_node_ends_at_4000() -> None:
    """However much memory it has."""
    found = usage({"/_nodes/stats/jvm": heaps(128)}, opensearch_url="https://search-x.eu-west-1.es.amazonaws.com")

    assert isinstance(found, ShardUsage)
    assert found.limit == 2_000  # the setting of 1,000 for each of two nodes is lower


def test_a_retention_that_keeps_the_number_low_has_no_last_day() -> None:
    """Each day's index replaces one that is deleted."""
    rows = {INDICES: (200, days(30)), "/_cluster/health": (200, make_health("green", active=60))}

    kept = usage(rows, retention_days=90)
    crowded = usage(rows | {"/_cluster/settings": (200, make_node_settings(70))}, retention_days=90)

    assert isinstance(kept, ShardUsage)
    assert isinstance(crowded, ShardUsage)
    assert kept.days_left is None
    assert crowded.days_left == pytest.approx(80 / (16 / 7))


def test_without_the_indices_the_limit_is_still_known() -> None:
    """A role may read the one and not the other."""
    assert usage({INDICES: refusal("indices:monitor/stats")}) == ShardUsage(20, 2_000)


def test_a_limit_that_may_not_be_read_is_not_guessed() -> None:
    """A domain's default would be four times too high."""
    found = usage(
        {"/_nodes/stats/jvm": refusal("cluster:monitor/nodes/stats")}, opensearch_url="https://x.amazonaws.com"
    )

    assert isinstance(found, Unobserved)
    assert "cluster:monitor/nodes/stats" in found.why


def test_serverless_has_no_such_limit() -> None:
    """It has no shards to count."""
    assert usage({}, opensearch_service="aoss") is None


def test_growth_is_that_of_a_week_or_of_the_time_since_the_first_index() -> None:
    """A backfill of years in an hour counts as a day's growth: it may go on."""
    sizes = [IndexSize(str(day), 1, 1, 2, NOW - day * DAY) for day in range(30)]

    assert growth(sizes, NOW) == pytest.approx(16 / 7)
    assert growth(sizes[:2], NOW) == 4.0
    assert growth([IndexSize("x", 1, 1, 2, NOW - timedelta(hours=1))], NOW) == 2.0
    assert growth([IndexSize("closed", 0, 0)], NOW) == 0.0
