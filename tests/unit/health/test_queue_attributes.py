"""A queue as SQS describes it."""

from __future__ import annotations

from worker.health.queue_attributes import QueueAttributes


def test_absent_attributes_of_a_queue_are_nothing() -> None:
    """SQS leaves out what is not set."""
    queue = QueueAttributes("u", {"QueueArn": "arn:q"})

    assert (queue.waiting, queue.in_flight, queue.delayed, queue.messages, queue.visibility_seconds) == (0, 0, 0, 0, 0)
    assert queue.policy("RedrivePolicy") == QueueAttributes("u", {"RedrivePolicy": ""}).policy("RedrivePolicy") == {}
