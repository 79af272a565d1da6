"""What an operator does with dead letters: list, find, export, discard and import them; redrive and move tasks.

A command can only read a letter by receiving it. The letter is hidden from others meanwhile. Every letter that is still
held when a pass ends is handed back, however the pass ends.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from worker.dlq.browse import MAX_HELD, DeadLetterPort, QueueBrowser, batched
from worker.dlq.export import encode_line, sent_attributes
from worker.dlq.letters import LetterFilter
from worker.dlq.move_task import MoveTaskRunner
from worker.dlq.redrive import LETTERS_PER_SEND, ObjectHeads, Redriver
from worker.dlq.summary import LetterSummary
from worker.dlq.views import VerifyingStore, read_again
from worker.errors import QueueUnavailable, SetupError
from worker.humanize import pluralize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from worker.dlq.export import ExportedLetter
    from worker.dlq.letters import Letter

_LETTERS_PER_DELETE = 100


class LetterObjects(ObjectHeads, VerifyingStore, Protocol):
    """S3, as far as the objects of letters need it."""


class DeadLetterService:
    """Works on the letters of one queue; `report_progress` takes one line for people.

    An object that is read again may have `max_inflated` bytes.

    `redriver` moves letters back one by one, `move_tasks` has SQS move all of them.
    """

    def __init__(  # noqa: PLR0913 - two neighbours, two bounds, and how to wait and to report
        self,
        queue: DeadLetterPort,
        objects: LetterObjects,
        *,
        max_inflated: int,
        sleep: Callable[[float], None],
        report_progress: Callable[[str], None],
        max_held: int = MAX_HELD,
    ) -> None:
        self._queue, self._report_progress = queue, report_progress
        self._browse = partial(QueueBrowser, queue, report_progress, max_held)
        read = partial(read_again, objects, max_inflated=max_inflated, max_records=0, max_record_bytes=None)
        self.redriver = Redriver(queue, objects, browse=self._browse, read=read, sleep=sleep)
        self.move_tasks = MoveTaskRunner(queue, sleep=sleep, report_progress=report_progress)

    def depth(self) -> int:
        """Count the letters in the queue, approximately."""
        return sum(self._queue.depth())

    def list_letters(
        self, letter_filter: LetterFilter, on_letter: Callable[[Letter], object] = lambda _: None
    ) -> LetterSummary:
        """Call `on_letter` with each letter that a filter selects; returns a summary."""
        summary = LetterSummary()
        with self._browse() as browser:
            for letter in browser.matching(letter_filter):
                summary.add(letter)
                on_letter(letter)
            browser.record_totals(summary)
        return summary

    def find(self, id_: str) -> Letter:
        """Return the letter of this id, which is handed back already; raises SetupError when there is none."""
        letters: list[Letter] = []
        letter_filter = LetterFilter(ids=frozenset({id_}))
        self.list_letters(letter_filter, letters.append).require_ids(letter_filter)
        return letters[0]

    def export(self, letter_filter: LetterFilter, write: Callable[[bytes], object]) -> LetterSummary:
        """Write the letters that a filter selects, one line of JSON each; they stay in the queue."""
        return self.list_letters(letter_filter, lambda letter: write(encode_line(letter)))

    def discard(self, ids: set[str]) -> tuple[int, int]:
        """Delete the letters of these ids; returns how many were deleted, and how many SQS did not delete."""
        deleted = failed = 0
        with self._browse() as browser:
            for letters in batched(browser.with_ids(ids), _LETTERS_PER_DELETE):
                undeleted = self._queue.delete([browser.receipt_handle(letter) for letter in letters])
                browser.drop(letters)
                deleted += len(letters) - undeleted
                failed += undeleted
        return deleted, failed

    def import_letters(self, letters: Iterable[ExportedLetter], *, to_source: bool) -> int:
        """Send exported letters to the dead-letter queue, or their bodies to the source queue; returns how many.

        Raises SetupError that says how many were sent before it.
        """
        sent = 0
        for batch in batched(iter(letters), LETTERS_PER_SEND):
            try:
                accepted = self._send(batch, to_source=to_source)
            except QueueUnavailable as cause:
                raise SetupError(f"{cause}; SQS took {pluralize(sent, 'letter')} before that.") from cause
            if not all(accepted):
                line = sent + accepted.index(False) + 1
                sent += sum(accepted)
                raise SetupError(f"SQS did not take line {line}; it took {pluralize(sent, 'letter')}.")
            sent += len(batch)
            self._report_progress(f"Sent {pluralize(sent, 'letter')} ...")
        return sent

    def _send(self, letters: Sequence[ExportedLetter], *, to_source: bool) -> list[bool]:
        if to_source:
            return self._queue.send_to_source([letter.body for letter in letters])
        return self._queue.send_to_dead_letters([(letter.body, sent_attributes(letter)) for letter in letters])
