"""Promises about days that are rebuilt from files: only events of one index are sent, and only to its copy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from tests.support.event_files import event
from worker.cloudtrail.records import read_records
from worker.opensearch.reindex.copy_loader import RedirectedIndex
from worker.pipeline.bulk import DUPLICATE, INDEXED, DeliveryResult, Outcome, Verdict
from worker.pipeline.documents import IndexNaming, Provenance, simpler_form, to_actions
from worker.pipeline.limits import Partition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.pipeline.documents import Action

NAMING = IndexNaming("t", Partition.DAY, "2013-11", "2100", max_indices=10)
PROVENANCE = Provenance("s3://b/k", "2026-03-02T00:00:00Z", "2026-03-02T00:00:00Z")
REFUSED = Outcome(Verdict.REJECTED, "mapper_parsing_exception")


class Cluster:
    """Keeps what it gets, and answers with the outcomes that it was given."""

    def __init__(self, *outcomes: Outcome, refused: Sequence[int] = ()) -> None:
        self.outcomes, self.refused, self.got = outcomes, refused, list[Any]()

    def deliver(self, request: Sequence[Action], remaining: Callable[[], float]) -> DeliveryResult:
        assert remaining() == 1
        self.got += request
        return DeliveryResult(self.outcomes, refused=self.refused)


def text_of(day: str) -> bytes:
    record = event(eventTime=f"{day}T10:00:00Z", eventID=f"1a2b3c4d-0000-4000-8000-{day.replace('-', ''):0>12}")
    return json.dumps(record, separators=(",", ":")).encode()


def actions(*days: str, file: int = 0) -> list[Action]:
    """One action for each day, with the record's text as CloudTrail writes it."""
    raws = [msgspec.Raw(text_of(day)) for day in days]
    records = list(read_records(raws, 0, max_depth=50, max_bytes=1 << 20))
    return list(to_actions(records, file, PROVENANCE, NAMING))  # type: ignore[arg-type]


def deliver(cluster: Cluster, *request: Action) -> tuple[RedirectedIndex, DeliveryResult]:
    index = RedirectedIndex(cluster)
    index.redirect("t-2026-03-01", "copy-of-it")
    return index, index.deliver(request, lambda: 1)


def test_what_belongs_to_the_day_goes_to_the_alias_of_its_copy_only() -> None:
    """A name without `require_alias` would create an index without a mapping, once the copy is deleted."""
    cluster = Cluster(INDEXED)

    _, result = deliver(cluster, *actions("2026-02-28", "2026-03-01", "2026-03-02"))

    (sent,) = cluster.got
    head = json.loads(sent.lines.splitlines()[0])["create"]
    assert (head["_index"], head["require_alias"]) == ("copy-of-it", True)
    assert sent.record == text_of("2026-03-01")
    assert result.outcomes == [DUPLICATE, INDEXED, DUPLICATE]


def test_a_simpler_form_goes_there_too() -> None:
    """It is made of the action, by where the record is in it."""
    cluster = Cluster(INDEXED)
    deliver(cluster, *actions("2026-03-01"))

    simpler = simpler_form(cluster.got[0], "mapper_parsing_exception")

    assert simpler
    head, document = (json.loads(line) for line in simpler.lines.splitlines())
    assert head["create"]["_index"] == "copy-of-it"
    assert document["trailsink"]["raw"].encode() == text_of("2026-03-01")


def test_a_day_of_which_a_batch_has_nothing_costs_no_request() -> None:
    """A file of midnight has events of two days, and most have not."""
    cluster = Cluster()

    _, result = deliver(cluster, *actions("2026-02-28"))

    assert (cluster.got, result.requests, result.outcomes) == ([], 0, [DUPLICATE])


def test_what_the_copy_accepts_is_counted_by_file() -> None:
    """It proves that a file has brought all of its events; what is refused has its own place again."""
    request = [*actions("2026-03-02", "2026-03-01", file=0), *actions("2026-03-01", "2026-03-01", file=1)]

    index, result = deliver(Cluster(INDEXED, DUPLICATE, REFUSED, refused=[2]), *request)

    assert index.accepted == {0: 1, 1: 1}
    assert result.refused == [3]
    assert result.outcomes == [DUPLICATE, INDEXED, DUPLICATE, REFUSED]
