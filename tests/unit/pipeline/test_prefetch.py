"""Promises about objects that are fetched before their turn: in order, bounded, and never waited for in vain."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from tests.support.factories import cloudtrail_notice, event, event_id, key, log_file, message, s3_entry, s3_notice
from tests.support.fakes import DOWN, FakePipeline, FetchMode, make_pipeline
from worker.pipeline.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.pipeline.objects import ObjectRef


@pytest.fixture
def pending() -> Iterator[FakePipeline]:
    with make_pipeline() as pipeline:
        pipeline.store.fetch_mode = lambda _: FetchMode.PENDING
        yield pipeline


def test_small_objects_are_requested_ahead_and_read_in_order(pending: FakePipeline) -> None:
    """Without a thread that waits for each: that costs more than reading it."""
    batch = [pending.announce(f"file-{n}", log_file(event(n)), n) for n in range(20)]
    keys = [key(f"file-{n}") for n in range(20)]

    result = pending.consume(*batch)

    assert (result.failed, len(pending.index.event_ids)) == ((), 20)
    assert pending.store.started == pending.store.finished == keys
    assert pending.store.fetched == pending.store.cancelled == []


def test_a_pending_get_that_failed_is_fetched_again(pending: FakePipeline) -> None:
    """An answer out of the ordinary is judged where objects are fetched, and costs its neighbours nothing."""
    pending.store.fetch_mode = lambda ref: FetchMode.PENDING_FAILS if "file-1" in ref.key else FetchMode.PENDING
    batch = [pending.announce(f"file-{n}", log_file(event(n)), n) for n in range(3)]
    gone = message(s3_notice(s3_entry(key("file-1-gone"))), 3)
    down = pending.announce("file-1-down", DOWN, 4)

    result = pending.consume(*batch, gone, down)

    assert result.failed == ("message-4",)
    assert pending.index.event_ids == {event_id(n) for n in range(3)}
    assert pending.queue.reasons == {"not_found": 1}
    assert pending.store.fetched == [key("file-1"), key("file-1-gone"), key("file-1-down")]


def test_pending_gets_that_failed_are_fetched_in_parallel(pending: FakePipeline) -> None:
    """A cluster of connections that fell silent must not be waited for one by one."""
    pending.store.fetch_mode = lambda _: FetchMode.PENDING_FAILS
    together = threading.Barrier(8, timeout=60)

    def meet(_: ObjectRef) -> None:
        together.wait()

    pending.store.on_fetch = meet

    result = pending.consume(*(pending.announce(f"file-{n}", log_file(event(n)), n) for n in range(8)))

    assert (result.failed, result.crashes, len(pending.index.event_ids)) == ((), (), 8)


def test_a_silent_get_is_sent_again_and_delays_no_other(pending: FakePipeline) -> None:
    """What is ready is taken whatever is still missing; something on the way forgot that one connection."""
    pending.store.silent = lambda ref: "file-0" in ref.key
    clock = [0.0]

    def tick() -> float:
        clock[0] += 0.05
        return clock[0]

    pending.consumer.monotonic = tick
    batch = [pending.announce(f"file-{n}", log_file(event(n)), n) for n in range(4)]

    result = pending.consume(*batch)

    assert (result.failed, len(pending.index.event_ids)) == ((), 4)
    assert pending.store.finished == [key(f"file-{n}") for n in range(1, 4)]
    assert (pending.store.cancelled, pending.store.fetched) == ([key("file-0")], [key("file-0")])


def test_an_object_larger_than_its_notice_said_is_fetched_whole() -> None:
    """The bound on what is asked for ahead is not the bound on what is read."""
    content = log_file(*(event(n) for n in range(50)))
    with make_pipeline(Limits(fetch_ahead_bytes=64)) as pipeline:
        pipeline.store.fetch_mode = lambda _: FetchMode.PENDING
        pipeline.store.put(key("one"), content)
        entry = s3_entry(key("one"))
        entry["s3"]["object"]["size"] = 10

        result = pipeline.consume(message(s3_notice(entry)))

        assert result.failed == ()
        assert len(pipeline.index.event_ids) == 50
        assert (pipeline.store.finished, pipeline.store.fetched) == ([], [key("one")] * 2)


@pytest.mark.parametrize("size", [None, (64 << 10) + 1])
def test_large_objects_and_those_of_unknown_size_are_not_requested_ahead(
    pending: FakePipeline, size: int | None
) -> None:
    """What does not fit into a socket's buffer would come only while it is read."""
    pending.store.put(key("one"), log_file(event(1)))
    entry = s3_entry(key("one"))
    entry["s3"]["object"]["size"] = size
    notice = cloudtrail_notice(key("one")) if size is None else s3_notice(entry)

    assert pending.consume(message(notice)).failed == ()

    assert (pending.store.started, pending.store.fetched) == ([], [key("one")])


def test_pending_gets_are_cancelled_at_the_deadline(pending: FakePipeline) -> None:
    """An answer that nobody reads must not stay on a connection that the next batch uses."""
    left = [900.0]
    pending.left = lambda: left[0]
    pending.index.on_deliver = lambda: left.__setitem__(0, 1.0)
    pending.consumer.limits = replace(pending.limits, bulk_actions=1, bulk_in_flight=1)
    batch = [pending.announce(f"file-{n}", log_file(event(n)), n) for n in range(20)]

    result = pending.consume(*batch)

    assert result.failed
    assert pending.store.cancelled
    assert sorted(pending.store.finished + pending.store.cancelled) == sorted(pending.store.started)


def test_a_get_that_used_up_the_time_is_not_fetched_again(pending: FakePipeline) -> None:
    """No object is started without time."""
    left = [900.0]
    pending.left = lambda: left[0]
    pending.store.fetch_mode = lambda _: FetchMode.PENDING_FAILS
    pending.store.on_wait = lambda: left.__setitem__(0, 1.0)

    result = pending.consume(pending.announce("one", log_file(event(1))))

    assert (result.failed, result.files[0].unavailable) == (("message-1",), "deadline")
    assert pending.store.fetched == []


def test_an_error_while_starting_a_get_is_reported_and_the_object_fetched(pending: FakePipeline) -> None:
    """The shorter way is no reason to lose a batch."""

    def broken(_: object) -> FetchMode:
        raise ZeroDivisionError

    pending.store.fetch_mode = broken

    result = pending.consume(*(pending.announce(f"file-{n}", log_file(event(n)), n) for n in range(3)))

    assert (result.failed, len(pending.index.event_ids)) == ((), 3)
    assert [fault.partition(" ")[0] for fault in result.crashes] == ["ZeroDivisionError"] * 3


def lead(pipeline: FakePipeline) -> list[int]:
    """Note at each fetch how many files it is ahead of what was sent; each file is one record, each request too."""
    noted: list[int] = []
    pipeline.store.on_fetch = lambda _: noted.append(len(pipeline.store.fetched) - pipeline.index.deliveries)
    return noted


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        pytest.param(Limits(fetch_ahead=4), 4, id="so many objects"),
        pytest.param(Limits(fetch_ahead_bytes=3 * len(log_file(event()))), 3, id="so many bytes"),
    ],
)
def test_objects_are_fetched_ahead_within_a_bound(limits: Limits, most: int) -> None:
    """However large the batch: so many objects and so many bytes lie ready, and no more."""
    under_way = 3  # one is being read, one waits for its request to be full, one is being sent
    with make_pipeline(replace(limits, bulk_actions=1, bulk_in_flight=1)) as pipeline:
        ahead = lead(pipeline)
        batch = [pipeline.announce(f"file-{n}", log_file(event()), n) for n in range(40)]

        result = pipeline.consume(*batch)

        assert result.failed == ()
        assert max(ahead) <= most + under_way


def test_objects_of_unknown_size_are_fetched_one_at_a_time() -> None:
    """CloudTrail's own notice says no size: each may be the largest there is."""
    with make_pipeline(Limits(bulk_actions=1, bulk_in_flight=1)) as pipeline:
        ahead = lead(pipeline)
        for n in range(40):
            pipeline.put(f"file-{n}", log_file(event(n)))

        result = pipeline.consume(message(cloudtrail_notice(*(key(f"file-{n}") for n in range(40)))))

        assert result.failed == ()
        assert max(ahead) <= 1 + 3


def test_an_object_above_the_bound_is_still_read() -> None:
    """The bound is on what lies ready beside it."""
    with make_pipeline(Limits(fetch_ahead_bytes=10)) as pipeline:
        batch = [pipeline.announce(f"file-{n}", log_file(event(n)), n) for n in range(3)]

        assert pipeline.consume(*batch).failed == ()
        assert len(pipeline.index.documents) == 3
