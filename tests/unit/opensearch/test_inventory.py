"""Promises about the inventory: which files are indexed, which of them incompletely, and no guess when it fails."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fake_ledger import FakeLedger, entry
from tests.support.opensearch_server import connected
from worker.errors import IndexUnavailable, SetupError
from worker.opensearch.inventory import IndexedFile, IndexInventory, LedgerInventory
from worker.opensearch.ledger import LedgerReader


class FakeIndex:
    """A cluster that counts the documents of files by their positions."""

    def __init__(self, positions: dict[str, list[int | None]], shards: dict[str, int] | None = None) -> None:
        self.positions, self.shards = positions, shards or {"total": 1, "failed": 0}
        self.paths: list[str] = []

    def answer(self, _method: str, path: str, _query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        self.paths.append(path)
        uris = body["query"]["terms"]["trailsink.object"]
        assert body["aggs"]["files"]["terms"]["size"] == len(uris)
        buckets = []
        for uri in uris:
            if positions := self.positions.get(uri):
                last = max((position for position in positions if position is not None), default=None)
                buckets.append({"key": uri, "doc_count": len(positions), "last": {"value": last}})
        return 200, {"_shards": self.shards, "aggregations": {"files": {"buckets": buckets}}}


def test_a_file_is_incomplete_when_a_position_before_its_last_is_missing() -> None:
    """A file that ends early cannot be recognised: nothing says how many records it had."""
    index = FakeIndex(
        {
            "s3://b/whole": [0, 1, 2],
            "s3://b/gap": [0, 2],
            "s3://b/no-start": [1],
            "s3://b/without-position": [None],
        }
    )

    with connected(index.answer) as client:
        indexed = IndexInventory(client, "trail", "b").lookup(["whole", "gap", "no-start", "without-position", "none"])

    assert indexed == {
        "whole": IndexedFile(incomplete=False),
        "gap": IndexedFile(incomplete=True),
        "no-start": IndexedFile(incomplete=True),
        "without-position": IndexedFile(incomplete=False),
    }
    assert index.paths == ["/trail-*/_search"]


def test_an_empty_cluster_has_no_files() -> None:
    """Without any index, the response has no aggregations."""
    with connected(lambda *_: (200, {"_shards": {"total": 0, "failed": 0}})) as client:
        assert IndexInventory(client, "trail", "b").lookup(["a"]) == {}


def test_half_an_answer_is_no_answer() -> None:
    """Files of the other half would be loaded again, or be called incomplete."""
    index = FakeIndex({"s3://b/a": [0]}, {"total": 2, "failed": 1})

    with (
        connected(index.answer) as client,
        pytest.raises(IndexUnavailable, match="could not search all of its indices"),
    ):
        IndexInventory(client, "trail", "b").lookup(["a"])


@pytest.mark.parametrize(("status", "error"), [(403, SetupError), (500, IndexUnavailable)])
def test_a_refusal_says_whether_waiting_helps(status: int, error: type[Exception]) -> None:
    """A backfill can be started again after an outage; a missing permission is the operator's."""
    body = {"error": {"type": "some_exception", "reason": "no"}, "status": status}

    with (
        connected(lambda *_: (status, body)) as client,
        pytest.raises(error, match=f"OpenSearch refuses with {status}: some_exception"),
    ):
        IndexInventory(client, "trail", "b").lookup(["a"])


def test_a_busy_cluster_is_asked_again() -> None:
    """A backfill of hours must not end with one refused page."""
    index, refusals = FakeIndex({"s3://b/a": [0]}), [(429, {"error": {"type": "busy", "reason": "x"}})]

    with connected(lambda *request: refusals.pop() if refusals else index.answer(*request)) as client:
        assert IndexInventory(client, "trail", "b").lookup(["a"]) == {"a": IndexedFile(incomplete=False)}


def test_the_ledger_says_what_the_index_cannot() -> None:
    """A file of no records, or of duplicates only, is done; a lost tail is seen; a dead letter is loaded again."""
    index = FakeIndex({"s3://b/whole": [0, 1, 2], "s3://b/lost-tail": [0, 1], "s3://b/before": [0, 2]})
    ledger = FakeLedger(
        [
            entry("whole", read=3, indexed=3),
            entry("lost-tail", read=3, indexed=3),
            entry("all-lost", read=3, indexed=3),
            entry("duplicates", read=3, indexed=0, duplicate=3),
            entry("empty", read=0, indexed=0),
            entry("dead", read=0, indexed=0, reason="truncated"),
        ]
    )

    def answer(method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        return (ledger if "trailsink-files" in path else index).answer(method, path, query, body)

    keys = ["whole", "lost-tail", "all-lost", "duplicates", "empty", "dead", "before", "none"]
    with connected(answer) as client:
        indexed = LedgerInventory(LedgerReader(client, "trail"), IndexInventory(client, "trail", "b"), "b").lookup(keys)

    assert {key: file.incomplete for key, file in indexed.items()} == {
        "whole": False,
        "lost-tail": True,
        "duplicates": False,
        "empty": False,
        "before": True,
    }


def test_a_file_whose_dead_letter_was_discarded_is_not_missing() -> None:
    """A nightly job would page for ever; what was loaded later all the same counts by what was loaded."""
    index = FakeIndex({"s3://b/loaded": [0], "s3://b/in-part": [0, 2]})
    discarded = {"read": 0, "indexed": 0, "reason": "discarded", "sha256": ""}
    ledger = FakeLedger(
        [
            *(entry(name, read=0, indexed=0, reason="not_json") for name in ("poison", "waits")),
            *(entry(name, **discarded) for name in ("poison", "never-read", "loaded", "in-part", "all-lost")),
            entry("loaded"),
            entry("all-lost"),
        ]
    )

    def answer(method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        return (ledger if "trailsink-files" in path else index).answer(method, path, query, body)

    keys = ["poison", "never-read", "loaded", "in-part", "all-lost", "waits"]
    with connected(answer) as client:
        indexed = LedgerInventory(LedgerReader(client, "trail"), IndexInventory(client, "trail", "b"), "b").lookup(keys)

    assert indexed == {
        "poison": IndexedFile(incomplete=False, discarded=True),
        "never-read": IndexedFile(incomplete=False, discarded=True),
        "loaded": IndexedFile(incomplete=False),
        "in-part": IndexedFile(incomplete=True),
    }


def test_a_file_that_was_loaded_in_two_attempts_is_whole() -> None:
    """The first attempt created some of its documents, the second one's entry counts them as duplicates."""
    index, ledger = FakeIndex({"s3://b/a": [0, 1, 2]}), FakeLedger([entry("a", read=3, indexed=1, duplicate=2)])

    def answer(method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        return (ledger if "trailsink-files" in path else index).answer(method, path, query, body)

    with connected(answer) as client:
        indexed = LedgerInventory(LedgerReader(client, "trail"), IndexInventory(client, "trail", "b"), "b").lookup(
            ["a"]
        )

    assert indexed == {"a": IndexedFile(incomplete=False)}


def test_a_file_that_filters_left_records_out_of_is_not_missing_and_says_so() -> None:
    """`--missing` must not load it for ever; `--missing --no-filters` brings back what was left out."""
    entries = [
        entry("all", read=3, indexed=0, filtered=3, selectors="a"),
        entry("some", read=3, indexed=1, filtered=2, selectors="a"),
        entry("back", read=3, indexed=1, filtered=2, selectors="a"),
        entry("back", read=3, indexed=2, duplicate=1),
        entry("lost", read=3, indexed=1, filtered=2, selectors="a"),
    ]
    index = FakeIndex({"s3://b/some": [2], "s3://b/back": [0, 1, 2]})

    with connected(index.answer) as documents, connected(FakeLedger(entries).answer) as ledger:
        inventory = LedgerInventory(LedgerReader(ledger, "trail"), IndexInventory(documents, "trail", "b"), "b")
        indexed = inventory.lookup(["all", "some", "back", "lost"])

    assert indexed == {
        "all": IndexedFile(incomplete=False, filtered=True),
        "some": IndexedFile(incomplete=False, filtered=True),
        "back": IndexedFile(incomplete=False),
    }
