"""Promises about the clock of a batch: nothing is started in the reserve, and the first reason to stop counts."""

from __future__ import annotations

import pytest

from worker.pipeline.deadline import Deadline


@pytest.mark.parametrize(("remaining", "stops"), [(11.0, False), (10.0, True), (3.0, True), (-1.0, True)])
def test_nothing_is_started_in_the_reserve(remaining: float, stops: bool) -> None:  # noqa: FBT001
    """The reserve is for handing back: without it, messages would stay hidden for their whole timeout."""
    deadline = Deadline(lambda: remaining, reserve=10.0)

    assert deadline.seconds() == remaining - 10.0
    assert deadline.must_stop() is stops
    assert deadline.stop_reason == ("deadline" if stops else "")


def test_the_first_reason_to_stop_counts() -> None:
    """A cluster that refuses is the cause, even if the time runs out while the batch ends."""
    left = [100.0]
    deadline = Deadline(lambda: left[0], reserve=10.0)

    deadline.stop("")
    assert not deadline.must_stop()
    deadline.stop("cluster_block_exception")
    left[0] = 0.0
    deadline.stop("later")

    assert deadline.must_stop()
    assert deadline.stop_reason == "cluster_block_exception"


def test_a_batch_that_had_to_stop_does_not_start_again() -> None:
    """A clock that jumps back must not make half a batch go on."""
    left = [1.0]
    deadline = Deadline(lambda: left[0], reserve=10.0)
    assert deadline.must_stop()

    left[0] = 100.0

    assert deadline.must_stop()
