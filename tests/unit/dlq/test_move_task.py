"""Promises about SQS's own move task: followed to its end, cancelled on an interrupt, never mistaken for another."""

from __future__ import annotations

import pytest

from tests.support.fake_dlq import FakeDlq, fail_at, letter
from worker.dlq.move_task import MoveTask
from worker.errors import SetupError


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        (MoveTask("FAILED", 3, 9, failure="AccessDenied"), r"^The move task failed after 3 letters: AccessDenied\.$"),
        (MoveTask("FAILED", 0, 9), r"^The move task failed after 0 letters: SQS gives no reason\.$"),
        (MoveTask("CANCELLED", 1, 9), r"^Cancelled after 1 letter; about 8 remain\.$"),
        (MoveTask("COMPLETED", 1, 9, cancelled=True), r"^Cancelled after 1 letter; about 8 remain\.$"),
    ],
)
def test_a_move_task_that_did_not_move_all_letters_is_a_fault(task: MoveTask, sentence: str) -> None:
    """Whatever status SQS reports, when this command cancelled it."""
    with pytest.raises(SetupError, match=sentence):
        task.check(8)


def test_a_move_task_that_moved_all_letters_is_no_fault() -> None:
    """Letters that arrived meanwhile do not count against it."""
    MoveTask("COMPLETED", 9, 9).check(3)


@pytest.mark.parametrize(
    ("task", "progress"),
    [
        (MoveTask("RUNNING", 1_000, 2_000, "trail"), "1,000 of about 2,000 letters moved to trail"),
        (MoveTask("RUNNING", 0, 1), "0 of about 1 letter moved"),
        (MoveTask("RUNNING", 9, 0), "9 of about 9 letters moved"),  # the number to move is an estimate
    ],
)
def test_the_progress_of_a_move_task_is_one_line(task: MoveTask, progress: str) -> None:
    """It is all that an operator sees for minutes."""
    assert task.progress == progress


def test_a_move_task_is_followed_to_its_end(dlq: FakeDlq) -> None:
    """The progress is what SQS reports."""
    dlq.queue.add(*map(letter, range(9)))

    task = dlq.move_tasks.run(100)

    assert (task.status, task.moved, len(dlq.queue.source_bodies)) == ("COMPLETED", 9, 9)
    assert "4 of about 9 letters moved to trail ..." in dlq.progress


def test_an_interrupt_cancels_the_move_task_and_returns_what_it_has_moved(dlq: FakeDlq) -> None:
    """The other letters stay in the queue."""
    dlq.queue.add(*map(letter, range(20)))
    dlq.queue.before_call = fail_at("list_move_tasks", 4, KeyboardInterrupt())

    task = dlq.move_tasks.run(None)

    assert (task.status, task.cancelled, task.moved) == ("CANCELLED", True, len(dlq.queue.source_bodies))
    assert 0 < task.moved < 20
    assert len(dlq.queue.ids) == 20 - task.moved


def test_a_cancelled_task_that_is_no_longer_listed_ends_with_the_response_to_its_cancellation(dlq: FakeDlq) -> None:
    """Not every server keeps such a task."""
    dlq.queue.add(*map(letter, range(20)))
    dlq.queue.forgets_cancelled = True
    dlq.queue.start_move_task(None)

    task = dlq.move_tasks.cancel()

    assert task
    assert (task.status, task.cancelled, task.moved) == ("CANCELLED", True, 2)


def test_an_interrupt_after_the_last_letter_is_no_cancellation(dlq: FakeDlq) -> None:
    """SQS refuses to cancel a task that has ended; what counts is how it ended."""
    dlq.queue.add(letter(1))
    dlq.queue.before_call = fail_at("list_move_tasks", 2, KeyboardInterrupt())
    dlq.queue.moved_per_poll = 5

    task = dlq.move_tasks.run(None)

    assert (task.status, task.cancelled, task.moved) == ("COMPLETED", False, 1)


def test_an_interrupt_before_the_start_is_only_an_interrupt(dlq: FakeDlq) -> None:
    """No task is cancelled that was not started."""
    dlq.queue.add(letter(1))
    dlq.queue.before_call = fail_at("start_move_task", 1, KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        dlq.move_tasks.run(None)

    assert dlq.is_whole(1)


def test_a_task_of_another_operator_is_left_alone_and_can_be_followed_or_cancelled(dlq: FakeDlq) -> None:
    """SQS allows one task at a time; a second start would only be refused."""
    dlq.queue.add(*map(letter, range(20)))
    dlq.queue.start_move_task(None)

    with pytest.raises(
        SetupError, match=r"already running: 2 of about 20 letters moved to trail\. .*--attach.*--cancel"
    ):
        dlq.move_tasks.run(None)
    dlq.queue.before_call = fail_at("list_move_tasks", 3, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        dlq.move_tasks.attach()
    status_after_interrupt = dlq.queue.tasks[0].status
    task = dlq.move_tasks.cancel()

    assert status_after_interrupt == "RUNNING"
    assert task
    assert task.status == "CANCELLED"
    assert dlq.move_tasks.attach() is dlq.move_tasks.cancel() is None


def test_a_task_that_sqs_does_not_list_yet_is_waited_for_but_not_for_ever(dlq: FakeDlq) -> None:
    """The list lags behind, and a command still must end."""
    dlq.queue.add(letter(1))
    dlq.queue.unlisted_polls = 1_000

    with pytest.raises(SetupError, match="does not list"):
        dlq.move_tasks.run(None)

    assert 10 <= sum(dlq.pauses) <= 60


def test_the_end_of_an_earlier_task_is_not_taken_for_that_of_this_task(dlq: FakeDlq) -> None:
    """Ended tasks are listed without their handle: their start distinguishes them."""
    dlq.queue.add(*map(letter, range(3)))
    dlq.move_tasks.run(None)
    dlq.queue.add(*map(letter, range(5)))
    dlq.queue.before_call = lambda call: setattr(dlq.queue, "unlisted_polls", 9) if call == "start_move_task" else None

    assert dlq.move_tasks.run(None).moved == 5
