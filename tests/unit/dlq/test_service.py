"""Promises about finding, exporting, discarding and importing dead letters: no letter is lost on the way."""

from __future__ import annotations

import pytest

from tests.support.fake_dlq import NO_RESPONSE, FakeDlq, fail_at, letter
from worker.dlq.export import decode_line
from worker.dlq.letters import LetterFilter
from worker.errors import SetupError

ALL = LetterFilter()


def test_an_id_of_no_letter_is_named(dlq: FakeDlq) -> None:
    """A typing error must not look like success."""
    dlq.queue.add(letter(1))

    with pytest.raises(SetupError, match=r"^No such letter: id-2\.$"):
        dlq.service.find("id-2")


def test_the_depth_counts_letters_that_others_hold(dlq: FakeDlq) -> None:
    """They are in the queue, too."""
    dlq.queue.add(*map(letter, range(12)))
    dlq.queue.receive(60)

    assert dlq.service.depth() == 12


def test_where_no_letter_is_selected_none_is_discarded(dlq: FakeDlq) -> None:
    """`discard --reason truncated` on a queue without such letters has to leave the others alone."""
    dlq.queue.add(letter(1, "", source="arn:q"))

    assert dlq.service.discard(set()) == (0, 0)

    assert dlq.queue.ids == ["id-1"]
    assert dlq.is_whole(1)


def test_discarding_deletes_what_was_written_and_nothing_that_came_since(dlq: FakeDlq) -> None:
    """A letter that nobody has read must not be deleted with the others."""
    dlq.queue.add(*map(letter, range(25)))
    lines: list[bytes] = []
    summary = dlq.service.export(ALL, lines.append)
    assert dlq.is_whole(25)
    dlq.queue.add(letter(99))

    counts = dlq.service.discard(summary.ids)

    assert counts == (25, 0)
    assert {decode_line(line, 1).body for line in lines} == {letter(number).body for number in range(25)}
    assert dlq.queue.ids == ["id-99"]
    assert dlq.is_whole(1)


def test_an_import_restores_what_was_exported(dlq: FakeDlq) -> None:
    """An export is a backup only if this holds, for a letter that SQS moved, too."""
    dlq.queue.add(*map(letter, range(25)), letter(50, "truncated", source="arn:q", receives=41))
    lines: list[bytes] = []
    dlq.service.export(ALL, lines.append)
    other = FakeDlq()

    sent = other.service.import_letters((decode_line(line, 1) for line in lines), to_source=False)

    def contents(queue: FakeDlq) -> set[tuple[object, ...]]:
        return {(letter.body, letter.reason, letter.rejected) for letter in queue.queue.letters}

    assert sent == 26
    assert contents(other) == contents(dlq)
    assert {letter.attempts for letter in other.queue.letters if letter.reason == "max_receives"} == {1}


def test_bodies_can_be_imported_to_the_source_queue(dlq: FakeDlq) -> None:
    """The consumer then tries them; nothing is sent to the dead-letter queue."""
    letters = [decode_line(b'{"body":"one"}', 1), decode_line(b'{"body":"two","id":"x","unknown":1}', 2)]

    assert dlq.service.import_letters(letters, to_source=True) == 2
    assert (dlq.queue.source_bodies, dlq.queue.ids) == (["one", "two"], [])


def test_an_import_that_fails_says_how_many_letters_were_sent(dlq: FakeDlq) -> None:
    """Then the operator knows which letters a second run sends twice."""
    dlq.queue.before_call = fail_at("send_to_dead_letters", 2, NO_RESPONSE)

    with pytest.raises(SetupError, match=r"; SQS took 10 letters before that\.$"):
        dlq.service.import_letters([decode_line(b'{"body":"x"}', 1)] * 15, to_source=False)


def test_an_import_names_the_first_line_that_sqs_does_not_take(dlq: FakeDlq) -> None:
    """The operator can remove the line, and those before it."""
    dlq.queue.refused_bodies = {"bad"}
    bodies = [*["good"] * 11, "bad", "good"]
    letters = [decode_line(b'{"body":"%s"}' % body.encode(), 1) for body in bodies]

    with pytest.raises(SetupError, match=r"^SQS did not take line 12; it took 12 letters\.$"):
        dlq.service.import_letters(letters, to_source=True)
