"""Promises about objects that are fetched before their turn: in order, bounded, and never waited for in vain."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from tests.support.factories import cloudtrail_notice, event, event_id, key, log_file, message, s3_entry, s3_notice
from tests.support.fakes import DOWN, House, Way, house
from worker.pipeline.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.pipeline.objects import ObjectRef


@pytest.fixture
def asking() -> Iterator[House]:
    with house() as made:
        made.store.way = lambda _: Way.ASKED
        yield made


def test_small_objects_are_asked_for_ahead_and_taken_in_order(asking: House) -> None:
    """Without a thread that waits for each: that costs more than reading it."""
    batch = [asking.announce(f"file-{n}", log_file(event(n)), n) for n in range(20)]
    keys = [key(f"file-{n}") for n in range(20)]

    result = asking.consume(*batch)

    assert (result.failed, len(asking.index.ids)) == ((), 20)
    assert asking.store.asked == asking.store.taken == keys
    assert asking.store.fetched == asking.store.left == []


def test_what_was_asked_for_in_vain_is_fetched(asking: House) -> None:
    """An answer out of the ordinary is judged where objects are fetched, and costs its neighbours nothing."""
    asking.store.way = lambda ref: Way.ASKED_IN_VAIN if "file-1" in ref.key else Way.ASKED
    batch = [asking.announce(f"file-{n}", log_file(event(n)), n) for n in range(3)]
    gone = message(s3_notice(s3_entry(key("file-1-gone"))), 3)
    down = asking.announce("file-1-down", DOWN, 4)

    result = asking.consume(*batch, gone, down)

    assert result.failed == ("message-4",)
    assert asking.index.ids == {event_id(n) for n in range(3)}
    assert asking.queue.reasons == {"not_found": 1}
    assert asking.store.fetched == [key("file-1"), key("file-1-gone"), key("file-1-down")]


def test_what_was_asked_for_in_vain_is_fetched_side_by_side(asking: House) -> None:
    """A cluster of connections that fell silent must not be waited for one by one."""
    asking.store.way = lambda _: Way.ASKED_IN_VAIN
    together = threading.Barrier(8, timeout=10)

    def meet(_: ObjectRef) -> None:
        together.wait()

    asking.store.on_fetch = meet

    result = asking.consume(*(asking.announce(f"file-{n}", log_file(event(n)), n) for n in range(8)))

    assert (result.failed, result.crashes, len(asking.index.ids)) == ((), (), 8)


def test_what_no_thread_has_begun_to_take_is_left(asking: House) -> None:
    """Handed over, and then the time was over: its connection must not stay with an answer in it."""
    left, held = [900.0], threading.Event()
    asking.left = lambda: left[0]
    asking.store.way = lambda ref: Way.ASKED_IN_VAIN if "file-0" in ref.key else Way.ASKED
    asking.store.on_take = lambda: left.__setitem__(0, 12.0)

    def hang(_: ObjectRef) -> None:
        left[0] = 1.0
        held.wait(20)

    asking.store.on_fetch = hang
    for _ in range(asking.limits.fetch_ahead - 1):
        asking.consumer.fetchers.submit(held.wait, 20)

    result = asking.consume(*(asking.announce(f"file-{n}", log_file(event(n)), n) for n in range(4)))
    held.set()

    assert len(result.failed) == 4
    assert asking.store.left == asking.store.asked[1:]
    assert asking.store.taken == []


def test_an_object_larger_than_its_notice_said_is_fetched_whole() -> None:
    """The bound on what is asked for ahead is not the bound on what is read."""
    content = log_file(*(event(n) for n in range(50)))
    with house(Limits(fetch_ahead_bytes=64)) as here:
        here.store.way = lambda _: Way.ASKED
        here.store.put(key("one"), content)
        entry = s3_entry(key("one"))
        entry["s3"]["object"]["size"] = 10

        result = here.consume(message(s3_notice(entry)))

        assert result.failed == ()
        assert len(here.index.ids) == 50
        assert (here.store.taken, here.store.fetched) == ([], [key("one")] * 2)


@pytest.mark.parametrize("size", [None, (64 << 10) + 1])
def test_large_objects_and_those_of_unknown_size_are_not_asked_for(asking: House, size: int | None) -> None:
    """What does not fit into a socket's buffer would come only while it is read."""
    asking.store.put(key("one"), log_file(event(1)))
    entry = s3_entry(key("one"))
    entry["s3"]["object"]["size"] = size
    notice = cloudtrail_notice(key("one")) if size is None else s3_notice(entry)

    assert asking.consume(message(notice)).failed == ()

    assert (asking.store.asked, asking.store.fetched) == ([], [key("one")])


def test_what_was_asked_for_is_left_when_the_time_is_over(asking: House) -> None:
    """An answer that nobody reads must not stay on a connection that the next batch uses."""
    left = [900.0]
    asking.left = lambda: left[0]
    asking.index.on_deliver = lambda: left.__setitem__(0, 1.0)
    asking.consumer.limits = replace(asking.limits, bulk_actions=1, bulk_in_flight=1)
    batch = [asking.announce(f"file-{n}", log_file(event(n)), n) for n in range(20)]

    result = asking.consume(*batch)

    assert result.failed
    assert asking.store.left
    assert sorted(asking.store.taken + asking.store.left) == sorted(asking.store.asked)


def test_what_was_waited_for_to_the_end_is_not_fetched(asking: House) -> None:
    """No object is started without time."""
    left = [900.0]
    asking.left = lambda: left[0]
    asking.store.way = lambda _: Way.ASKED_IN_VAIN
    asking.store.on_take = lambda: left.__setitem__(0, 1.0)

    result = asking.consume(asking.announce("one", log_file(event(1))))

    assert (result.failed, result.files[0].unavailable) == (("message-1",), "deadline")
    assert asking.store.fetched == []


def test_a_fault_in_asking_is_reported_and_the_object_fetched(asking: House) -> None:
    """The shorter way is no reason to lose a batch."""

    def broken(_: object) -> Way:
        raise ZeroDivisionError

    asking.store.way = broken

    result = asking.consume(*(asking.announce(f"file-{n}", log_file(event(n)), n) for n in range(3)))

    assert (result.failed, len(asking.index.ids)) == ((), 3)
    assert [fault.partition(" ")[0] for fault in result.crashes] == ["ZeroDivisionError"] * 3


def lead(here: House) -> list[int]:
    """Note at each fetch how many files it is ahead of what was sent; each file is one record, each request too."""
    noted: list[int] = []
    here.store.on_fetch = lambda _: noted.append(len(here.store.fetched) - here.index.deliveries)
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
    with house(replace(limits, bulk_actions=1, bulk_in_flight=1)) as here:
        ahead = lead(here)
        batch = [here.announce(f"file-{n}", log_file(event()), n) for n in range(40)]

        result = here.consume(*batch)

        assert result.failed == ()
        assert max(ahead) <= most + under_way


def test_objects_of_unknown_size_are_fetched_one_at_a_time() -> None:
    """CloudTrail's own notice says no size: each may be the largest there is."""
    with house(Limits(bulk_actions=1, bulk_in_flight=1)) as here:
        ahead = lead(here)
        for n in range(40):
            here.put(f"file-{n}", log_file(event(n)))

        result = here.consume(message(cloudtrail_notice(*(key(f"file-{n}") for n in range(40)))))

        assert result.failed == ()
        assert max(ahead) <= 1 + 3


def test_an_object_above_the_bound_is_still_read() -> None:
    """The bound is on what lies ready beside it."""
    with house(Limits(fetch_ahead_bytes=10)) as here:
        batch = [here.announce(f"file-{n}", log_file(event(n)), n) for n in range(3)]

        assert here.consume(*batch).failed == ()
        assert len(here.index.documents) == 3
