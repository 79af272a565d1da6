"""Promises about notifications of very many objects: announced again, acknowledged, and no batch is filled by them."""

from __future__ import annotations

import pytest

from tests.support.factories import BUCKET, cloudtrail_notice, event, key, log_file, message
from tests.support.fakes import FakePipeline, MemoryQueue, make_pipeline
from worker.pipeline.notifications import parse_notification
from worker.pipeline.objects import ObjectRef
from worker.pipeline.splitting import MAX_OBJECTS, split_bodies


def keys(count: int) -> list[str]:
    return [key(f"file-{n}") for n in range(count)]


def announced(queue: MemoryQueue) -> list[str]:
    return [ref.key for body in queue.announced for ref in parse_notification(body).objects]


@pytest.mark.parametrize("count", [MAX_OBJECTS + 1, 500])
def test_some_hundred_objects_are_announced_one_by_one(pipeline: FakePipeline, count: int) -> None:
    """Each gets receives and delays of its own: one that is missing or slow delays no other."""
    result = pipeline.consume(message(cloudtrail_notice(*keys(count))))

    assert (result.failed, result.files, result.ignored) == ((), (), {"announced_again": count})
    assert len(pipeline.queue.announced) == count
    assert announced(pipeline.queue) == keys(count)
    assert pipeline.store.fetched == []


def test_very_many_objects_are_announced_in_parts_and_those_one_by_one(pipeline: FakePipeline) -> None:
    """20,000 requests to SQS would not fit into an invocation; a hundredth does, and the parts are split in turn."""
    good = pipeline.announce("good", log_file(event(1)), 2)

    result = pipeline.consume(message(cloudtrail_notice(*keys(20_000))), good)

    assert (result.failed, len(pipeline.index.event_ids)) == ((), 1)
    assert len(pipeline.queue.announced) == 100
    assert announced(pipeline.queue) == keys(20_000)
    part = pipeline.queue.announced[0]
    pipeline.queue.announced.clear()
    pipeline.consume(message(part))
    assert (len(pipeline.queue.announced), announced(pipeline.queue)) == (200, keys(200))


def test_a_hundred_objects_are_loaded_as_they_are(pipeline: FakePipeline) -> None:
    """No notification of AWS names more, and none of them should take two turns."""
    for n in range(MAX_OBJECTS):
        pipeline.put(f"file-{n}", log_file(event(n)))

    result = pipeline.consume(message(cloudtrail_notice(*keys(MAX_OBJECTS))))

    assert (result.failed, len(pipeline.index.event_ids), pipeline.queue.announced) == ((), MAX_OBJECTS, [])


def test_a_notification_that_cannot_be_split_goes_back() -> None:
    """What was announced before the failure comes twice, which changes nothing."""
    with make_pipeline(queue=MemoryQueue(broken=True)) as pipeline:
        result = pipeline.consume(message(cloudtrail_notice(*keys(300))))

        assert (result.failed, [entry.seconds for entry in pipeline.queue.handed_back]) == (("message-1",), [30])


def test_a_notification_is_not_split_without_time(pipeline: FakePipeline) -> None:
    """A batch that begins too late hands everything back at once."""
    pipeline.left = lambda: 5.0

    result = pipeline.consume(message(cloudtrail_notice(*keys(300))))

    assert (result.failed, pipeline.queue.announced) == (("message-1",), [])


def test_parts_fit_into_a_message_whatever_the_keys() -> None:
    """A key has 1,024 bytes, and each may be written as three."""
    refs = [ObjectRef(BUCKET, f"{n:04}" + "\N{SNOWMAN}" * 340) for n in range(1_000)]

    bodies = list(split_bodies(refs))

    assert max(len(body.encode()) for body in bodies) <= 256 << 10
    assert [ref.key for body in bodies for ref in parse_notification(body).objects] == [ref.key for ref in refs]


def test_versions_and_sizes_are_announced_as_they_were() -> None:
    """The parts name exactly the objects of the whole."""
    refs = [ObjectRef(BUCKET, f"AWSLogs/{n}", f"v{n}", n, f"etag{n}") for n in range(600)]

    again = [ref for body in split_bodies(refs) for ref in parse_notification(body).objects]

    assert [(ref.key, ref.version_id, ref.size, ref.etag) for ref in again] == [
        (ref.key, ref.version_id, ref.size, ref.etag) for ref in refs
    ]
