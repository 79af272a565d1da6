"""Promises about the flow: what consumes, what blocks, and what is missing is judged by what is, not by what was."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from worker.health.flow_rules import (
    judge_days,
    judge_fields,
    judge_files,
    judge_flow,
    judge_processes,
    judge_writes,
    missing_days,
)
from worker.health.flow_snapshot import BucketLag, ConsumerProcess, WriteBlocks
from worker.health.snapshot import IndexFreshness

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
FRESH, OLD = (IndexFreshness(NOW - age, NOW - age) for age in (MINUTE, 20 * MINUTE))


def process(beat: float, stopped: float | None = None) -> ConsumerProcess:
    ended = None if stopped is None else NOW - stopped * MINUTE
    return ConsumerProcess("web-1", 7, "0.1.0", NOW - beat * MINUTE, ended)


@pytest.mark.parametrize(
    ("processes", "waiting", "freshness", "status", "words"),
    [
        ([process(1)], 9, OLD, "ok", "on web-1, last heard of 1m ago"),
        ([process(60), process(1)], 9, OLD, "ok", "last heard of 1m ago"),
        ([process(3)], 0, FRESH, "fault", "ended without stopping"),
        ([process(3, 3)], 0, FRESH, "ok", "was stopped 3m ago, no message waits"),
        ([process(3, 3)], 1, FRESH, "fault", "was stopped 3m ago, 1 message waits"),
        ([], 0, OLD, "not checked", "trailsink run has to consume"),
        ([], 6, FRESH, "warning", "no trailsink run are known, 6 messages wait"),
        ([], 6, OLD, "fault", "6 messages wait"),
        ([], 6, None, "fault", "6 messages wait"),
    ],
)  # fmt: skip
def test_a_consumer_is_known_by_its_heartbeat(
    processes: list[ConsumerProcess], waiting: int, freshness: IndexFreshness | None, status: str, words: str
) -> None:
    """A dead process writes no more, whatever a backfill puts into the index meanwhile."""
    judgement = judge_processes(processes, waiting, freshness, NOW)

    assert (judgement.status, words in judgement.evidence) == (status, True), judgement
    assert judgement.fix == ("trailsink run" if status in ("fault", "warning") else "")


@pytest.mark.parametrize(
    ("freshness", "waiting", "status"),
    [
        (FRESH, 9, "ok"),
        (OLD, 0, "ok"),
        (OLD, 9, "fault"),
        (IndexFreshness(None, None), 0, "warning"),
        (IndexFreshness(None, None), 1, "fault"),
    ],
)
def test_messages_that_wait_while_nothing_is_indexed_are_a_fault(
    freshness: IndexFreshness, waiting: int, status: str
) -> None:
    """Whatever CloudWatch says, which is minutes late and absent outside AWS."""
    assert judge_flow(freshness, waiting, NOW).status == status


@pytest.mark.parametrize(
    ("blocks", "status", "fix"),
    [
        (WriteBlocks(), "ok", ""),
        (WriteBlocks(by_policy=3), "ok", ""),
        (WriteBlocks(held=3), "ok", ""),
        (None, "not checked", ""),
        (
            WriteBlocks({"c-2026-02-27": ["index.blocks.write"]}, newest="c-2026-03-01"), "warning",
            'PUT /c-2026-02-27/_settings {"index.blocks.write": null}',
        ),
        (
            WriteBlocks({"c-2026-03-01": ["index.blocks.write"]}, newest="c-2026-03-01"), "fault",
            'PUT /c-2026-03-01/_settings {"index.blocks.write": null}',
        ),
        (
            WriteBlocks({"c-2026-02-27": ["index.blocks.read_only_allow_delete"]}, newest="c-2026-03-01"), "fault",
            '{"index.blocks.read_only_allow_delete": null}',
        ),
        (
            WriteBlocks(cluster=["cluster.blocks.create_index"]), "fault",
            'PUT /_cluster/settings {"persistent": {"cluster.blocks.create_index": null}, "transient":',
        ),
        (
            WriteBlocks({"c-2026-03-01": ["index.blocks.read_only_allow_delete"]}, ["cluster.blocks.create_index"]),
            "fault", '"cluster.blocks.create_index": null}}, then PUT /c-2026-03-01/_settings {',
        ),
        (WriteBlocks({"f-2026-03": ["index.blocks.write"]}, newest_ledger="f-2026-03"), "fault", "PUT /f-2026-03/"),
        (WriteBlocks(closed=["c-2026-02-27"], newest="c-2026-03-01"), "warning", "POST /c-2026-02-27/_open"),
        (WriteBlocks(closed=["c-2026-03-01"], newest="c-2026-03-01"), "fault", "POST /c-2026-03-01/_open"),
    ],
)  # fmt: skip
def test_what_refuses_writes_is_named_with_the_request_that_ends_it(
    blocks: WriteBlocks | None, status: str, fix: str
) -> None:
    """A full disk blocks all indices: everything else looks well then."""
    judgement = judge_writes(blocks)

    assert (judgement.status, fix in judgement.fix) == (status, True), judgement


@pytest.mark.parametrize("state", ["closed", "indices"])
def test_advice_for_more_indices_than_a_url_can_name_says_so(state: str) -> None:
    """A full disk blocks a year of days at once."""
    names = [f"c-2026-{day:03}" for day in range(1, 46)]
    blocks = {
        "closed": WriteBlocks(closed=names),
        "indices": WriteBlocks({name: ["index.blocks.write"] for name in names}),
    }

    fix = judge_writes(blocks[state]).fix

    assert ",".join(names[:40]) in fix
    assert names[40] not in fix
    assert fix.endswith(" for the first 40 of 45 indices; trailsink doctor names the next ones")


def test_a_day_without_an_index_between_others_is_a_gap() -> None:
    """Somebody deleted it: `backfill --incomplete` loads it again."""
    names = ["c-2026-02-24", "c-2026-02-26", "c-2026-02-27", "c-2026-03-01", "c-undated-2026-02-25", "c-2026-02", "c-x"]

    days = missing_days(names, NOW)
    judgement = judge_days(days)

    assert days == [date(2026, 2, 25), date(2026, 2, 28)]
    assert judgement.status == "warning"
    assert judgement.fix == "trailsink backfill --incomplete --since 2026-02-25 --until 2026-03-01"


def test_what_the_retention_deleted_is_no_gap() -> None:
    """An older index that is held stays, and what lay between would be loaded again."""
    names = ["c-2026-02-10", "c-2026-02-25", "c-2026-02-26"]

    assert len(missing_days(names, NOW)) == 14
    assert missing_days(names, NOW, retention_days=7) == []


@pytest.mark.parametrize("names", [[], ["c-2026-02-28"], ["c-2019-01-01", "c-2026-02-28"], ["c-2026-13-45"]])
def test_days_before_the_first_one_are_no_gap(names: list[str]) -> None:
    """A backfill of single days years ago is the operator's own choice."""
    assert judge_days(missing_days(names, NOW)).status == "ok"


def test_a_missing_field_can_be_added_and_another_type_cannot_be_changed() -> None:
    """An upgrade must not end in the advice to delete the index of today."""
    added, changed = judge_fields("c", ["new"], []), judge_fields("c", [], ["eventName"])

    assert (added.status, added.fix) == ("warning", "trailsink setup --existing")
    assert changed.status == "fault"
    assert judge_fields("c", [], []).status == "ok"


HOUR = 60 * MINUTE
LOST = BucketLag(newest=NOW - MINUTE, unindexed=3, oldest_unindexed=NOW - 40 * MINUTE)


@pytest.mark.parametrize(
    ("silence", "messages", "status", "words", "advice"),
    [
        (MINUTE, (0, 0), "warning", "3 not in the index", "trailsink backfill --missing"),
        (MINUTE, (0, 5), "warning", "3 not in the index", "trailsink backfill --missing"),  # others are indexed
        (90 * MINUTE, (0, 5), "fault", "indexed for 1h 30m, 5 messages in flight or handed back", "consumer"),
        (90 * MINUTE, (5, 0), "warning", "3 not in the index", "consumer"),  # the other check says that they wait
        (90 * MINUTE, (0, 0), "warning", "3 not in the index", "trailsink backfill --missing"),
        (3 * HOUR, (0, 0), "fault", "nothing was indexed for 3h", "trailsink backfill --missing"),
        (None, (0, 0), "fault", "nothing was ever indexed", "trailsink backfill --missing"),
    ],
)
def test_files_that_come_while_nothing_is_indexed_are_a_fault(
    silence: timedelta | None, messages: tuple[int, int], status: str, words: str, advice: str
) -> None:
    """A loader that the cluster refuses hands its messages back for an hour: none of them is visible."""
    freshness = IndexFreshness(NOW, NOW - silence) if silence else IndexFreshness(None, None)
    waiting, in_flight = messages

    judgement = judge_files(LOST, freshness, NOW, waiting=waiting, in_flight=in_flight)

    assert (judgement.status, words in judgement.evidence, advice in judgement.fix) == (status, True, True), judgement
