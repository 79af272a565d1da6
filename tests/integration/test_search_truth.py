"""Holds `trailsink search` against a scan of the records: the same events, whatever is asked.

`TRAILSINK_TEST_QUERIES=10000 make test` asks more.
"""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import trailsink
from tests.support.event_files import real_files, real_records
from tests.support.search_truth import Clauses, flatten
from worker.opensearch.field_kinds import read_field_kinds
from worker.opensearch.query import translate

if TYPE_CHECKING:
    from tests.conftest import Bench

QUERIES = int(os.environ.get("TRAILSINK_TEST_QUERIES", "300"))
SEED = 23


@pytest.mark.timeout(120 + QUERIES)
def test_a_search_finds_what_a_scan_of_the_records_finds(bench: Bench) -> None:
    """A contains-search that finds nothing where there are 162 events is worse than no search."""
    for key, body in real_files().items():
        bench.put(key, body)
    assert trailsink("run", "--until-idle", "--timeout", "150").returncode == 0
    bench.count()  # makes them searchable
    flat = {record["eventID"]: flatten(record) for record in real_records()}
    chance = Random(SEED)
    clauses = [Clauses(list(flat.values()), chance, ignore_case=ignored) for ignored in (False, True)]
    kinds = read_field_kinds(bench.opensearch, bench.prefix)
    for number in range(QUERIES):
        ignore_case = number % 3 == 0
        query, predicate = clauses[ignore_case].query()
        expected = sorted(id_ for id_, record in flat.items() if predicate(record))

        request = {"query": translate(query, kinds, ignore_case=ignore_case), "size": 10_000, "_source": ["eventID"]}
        response = bench.opensearch.search(index=f"{bench.prefix}-*", body=request)
        found = sorted(hit["_source"]["eventID"] for hit in response["hits"]["hits"])

        assert found == expected, (number, query, ignore_case, len(found), len(expected))
