"""Promises about one pass over the dead letters: each letter once, and nothing changed."""

from __future__ import annotations

import pytest

from tests.support.fake_dlq import NO_RESPONSE, FakeDlq, MemoryDeadLetterQueue, fail_at, letter
from worker.dlq.browse import QueueBrowser, batched
from worker.dlq.letters import LetterFilter

ALL = LetterFilter()


def test_a_pass_shows_each_letter_once_and_hands_all_back(dlq: FakeDlq) -> None:
    """The next operator must see the same."""
    reasons = ["empty" if number % 2 == 0 else "truncated" for number in range(237)]
    dlq.queue.add(*(letter(number, reason) for number, reason in enumerate(reasons)))
    ids: list[str] = []

    summary = dlq.service.list_letters(ALL, lambda letter: ids.append(letter.id))

    assert sorted(ids) == dlq.queue.ids
    assert summary.count == 237
    assert {group.reason: group.letters for group in summary.groups} == {"empty": 119, "truncated": 118}
    assert dlq.is_whole(237)
    assert dlq.queue.receive_counts == {1}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), NO_RESPONSE], ids=["interrupt", "no response"])
@pytest.mark.parametrize("number", [1, 3, 6])
def test_a_pass_that_is_interrupted_hands_everything_back(dlq: FakeDlq, error: BaseException, number: int) -> None:
    """An operator who stops a command must not hide letters from the next one."""
    dlq.queue.add(*map(letter, range(50)))
    dlq.queue.before_call = fail_at("receive", number, error)

    with pytest.raises(type(error)):
        dlq.service.list_letters(ALL)

    assert dlq.is_whole(50)


def test_a_caller_that_fails_hands_everything_back(dlq: FakeDlq) -> None:
    """The most common case is a pipe whose reader has ended."""
    dlq.queue.add(*map(letter, range(50)))

    def on_letter(_: object) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        dlq.service.list_letters(ALL, on_letter)

    assert dlq.is_whole(50)


def test_a_slow_pass_shows_each_letter_once_although_letters_become_visible_again(dlq: FakeDlq) -> None:
    """A letter is received again after its visibility timeout; only the last receipt handle hands it back."""
    dlq.queue.add(*map(letter, range(300)))
    dlq.queue.receive_seconds = 5.0
    ids: list[str] = []

    summary = dlq.service.list_letters(ALL, lambda letter: ids.append(letter.id))

    assert (len(ids), set(ids)) == (summary.count, set(dlq.queue.ids))
    assert max(dlq.queue.receive_counts) > 1
    assert dlq.is_whole(300)


def test_the_more_letters_the_longer_they_are_hidden(dlq: FakeDlq) -> None:
    """A command that is killed hides letters no longer than it would have taken."""
    dlq.queue.add(*map(letter, range(3_000)))

    dlq.service.list_letters(ALL)

    assert set(dlq.queue.visibility_timeouts) == {60 + 3_000 // 50}


class _DeepQueue(MemoryDeadLetterQueue):
    """A queue that reports ten million letters."""

    def depth(self) -> tuple[int, int]:
        return 10_000_000, 0


def test_letters_are_never_hidden_longer_than_sqs_allows() -> None:
    """SQS would refuse the receive."""
    dlq = FakeDlq(queue=_DeepQueue())
    dlq.queue.add(letter(1))

    dlq.service.list_letters(ALL)

    assert set(dlq.queue.visibility_timeouts) == {43_200}


def test_a_pass_ends_before_sqs_returns_no_more() -> None:
    """With 120,000 messages in flight SQS returns nothing, and a part would be taken for all letters."""
    dlq = FakeDlq(max_held=30)
    dlq.queue.add(*map(letter, range(50)))

    summary = dlq.service.list_letters(ALL)

    assert (summary.count, summary.complete) == (30, False)
    assert dlq.is_whole(50)


def test_letters_that_another_consumer_holds_are_counted(dlq: FakeDlq) -> None:
    """`No dead letters` would be wrong."""
    dlq.queue.add(letter(1), letter(2))
    dlq.queue.receive(60)

    summary = dlq.service.list_letters(ALL)

    assert (summary.count, summary.in_flight) == (0, 2)


def test_a_pass_for_ids_ends_when_it_has_them(dlq: FakeDlq) -> None:
    """One letter can be shown without receiving all of them."""
    dlq.queue.add(*map(letter, range(200)))

    assert dlq.service.find("id-3").id == "id-3"

    assert dlq.queue.visibility_timeouts == [64]
    assert dlq.is_whole(200)


def test_a_pass_for_no_ids_receives_nothing(dlq: FakeDlq) -> None:
    """A filter without ids selects every letter."""
    dlq.queue.add(letter(1))

    with QueueBrowser(dlq.queue, dlq.progress.append, 100) as browser:
        letters = list(browser.with_ids(set()))

    assert letters == []
    assert dlq.queue.visibility_timeouts == []


def test_letters_that_were_dropped_are_not_handed_back(dlq: FakeDlq) -> None:
    """They were deleted, and SQS would refuse their receipt handles."""
    dlq.queue.add(*map(letter, range(3)))

    with QueueBrowser(dlq.queue, dlq.progress.append, 100) as browser:
        dropped = [letter for letter in browser.letters() if letter.id != "id-1"]
        browser.drop(dropped)

    assert (browser.count, dlq.queue.depth()) == (3, (1, 2))
    assert dlq.progress == ["Received 3 of about 3 letters ...", "Handing 1 letter back ..."]


def test_batches_are_read_only_as_far_as_they_are_used() -> None:
    """What is read ahead is held in memory, and hidden from others."""
    numbers = iter(range(5))

    batches = batched(numbers, 2)

    assert next(batches) == [0, 1]
    assert next(numbers) == 2
    assert list(batches) == [[3, 4]]
