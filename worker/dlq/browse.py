"""One pass over the dead-letter queue: every letter once, and every letter handed back at the end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from itertools import islice
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from worker.dlq.letters import LetterFilter
from worker.humanize import pluralize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from worker.dlq.letters import Attribute, Letter
    from worker.dlq.move_task import MoveTask
    from worker.dlq.summary import LetterSummary

# SQS allows 120,000 messages in flight for each queue. Beyond that, a long poll returns no messages and no error.
# docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html
MAX_HELD = 100_000

# Letters stay hidden no longer than a pass can take, in case the command is killed. A receive of ten takes some 20 ms,
# and a tenth of this speed is still enough.
_MIN_VISIBILITY_SECONDS = 60
_LETTERS_PER_SECOND = 50

_MAX_VISIBILITY_SECONDS = 43_200  # SQS's own limit

T = TypeVar("T")


class DeadLetterPort(Protocol):
    """The dead-letter queue and its source queue. All calls raise QueueUnavailable or SetupError."""

    def depth(self) -> tuple[int, int]:
        """Count the letters, approximately: visible ones, and in-flight or delayed ones."""

    def receive(self, visibility_seconds: int) -> list[Letter]:
        """Receive up to ten letters, hidden from others for `visibility_seconds`; [] when there are no more."""

    def release(self, receipt_handles: Sequence[str]) -> None:
        """Make letters visible again, as far as possible."""

    def delete(self, receipt_handles: Sequence[str]) -> int:
        """Delete letters; returns how many could not be deleted."""

    def send_to_source(self, bodies: Sequence[str]) -> list[bool]:
        """Send messages to the source queue; returns for each whether it was taken."""

    def send_to_dead_letters(self, letters: Sequence[tuple[str, Mapping[str, Attribute]]]) -> list[bool]:
        """Send letters, each a body with its attributes, to the dead-letter queue; returns for each the same."""

    def start_move_task(self, per_second: int | None) -> str:
        """Start SQS's own move of all letters; returns its task handle."""

    def list_move_tasks(self) -> list[MoveTask]:
        """List the last move tasks, the newest first."""

    def cancel_move_task(self, task_handle: str) -> int | None:
        """Cancel a move task; returns how many letters it had moved, None when it has already ended."""


class QueueBrowser:
    """One pass over the letters, each of them once. On exit it hands back every letter that was not dropped.

    `report_progress` takes one line for people. The pass ends early, not `complete`, when it holds `max_held` letters.
    `in_flight` counts the letters that another consumer held when the pass began.
    """

    def __init__(self, queue: DeadLetterPort, report_progress: Callable[[str], None], max_held: int) -> None:
        self._queue, self._report_progress, self._max_held = queue, report_progress, max_held
        self._receipt_handles: dict[str, str] = {}  # by letter id
        self._dropped: set[str] = set()
        self._receiver = ThreadPoolExecutor(1)
        self._visible, self.in_flight = queue.depth()
        self.complete = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._receiver.shutdown()
        if self._receipt_handles:
            self._report_progress(f"Handing {pluralize(len(self._receipt_handles), 'letter')} back ...")
        self._queue.release(list(self._receipt_handles.values()))

    def letters(self) -> Iterator[Letter]:
        """Receive letter by letter."""
        visibility_seconds = min(
            _MIN_VISIBILITY_SECONDS + self._visible // _LETTERS_PER_SECOND, _MAX_VISIBILITY_SECONDS
        )
        repeats = 0
        while letters := self._receive(visibility_seconds):
            fresh = [letter for letter in letters if not self._is_known(letter)]
            self._hold(letters)
            total = pluralize(max(self._visible, self.count), "letter")
            self._report_progress(f"Received {self.count:,} of about {total} ...")
            yield from fresh
            if len(fresh) < len(letters):
                # Slower than expected: the first letters are visible again, and could keep the last from ever coming.
                visibility_seconds = min(2 * visibility_seconds, _MAX_VISIBILITY_SECONDS)
            repeats = 0 if fresh else repeats + len(letters)
            if repeats > 2 * self.count:
                return
            if len(self._receipt_handles) >= self._max_held:
                self.complete = False
                return

    def _receive(self, visibility_seconds: int) -> list[Letter]:
        """Receive up to ten letters; an interrupt waits for the response, or the letters in it would stay hidden."""
        response = self._receiver.submit(self._queue.receive, visibility_seconds)
        try:
            return response.result()
        except KeyboardInterrupt:
            if not wait([response]).not_done and not response.exception():
                self._hold(response.result())
            raise

    def _is_known(self, letter: Letter) -> bool:
        return letter.id in self._receipt_handles or letter.id in self._dropped

    def _hold(self, letters: Iterable[Letter]) -> None:
        self._receipt_handles.update(
            (letter.id, letter.receipt_handle) for letter in letters if letter.id not in self._dropped
        )

    @property
    def count(self) -> int:
        """The number of letters received."""
        return len(self._receipt_handles) + len(self._dropped)

    def matching(self, letter_filter: LetterFilter) -> Iterator[Letter]:
        """Receive the letters that a filter selects; ends early when all ids that it names were received."""
        missing = set(letter_filter.ids)
        for letter in self.letters():
            if letter_filter.matches(letter):
                yield letter
            missing.discard(letter.id)
            if letter_filter.ids and not missing:
                return

    def with_ids(self, ids: set[str]) -> Iterator[Letter]:
        """Receive the letters of these ids: no letter for no ids, which a filter would take for no condition."""
        if ids:
            yield from self.matching(LetterFilter(ids=frozenset(ids)))

    def record_totals(self, summary: LetterSummary) -> None:
        """Record the totals of this pass in a summary."""
        summary.finish(received=self.count, in_flight=self.in_flight, complete=self.complete)

    def receipt_handle(self, letter: Letter) -> str:
        """Return the receipt handle that is valid: that of the last receive."""
        return self._receipt_handles[letter.id]

    def drop(self, letters: Iterable[Letter]) -> None:
        """Forget letters that are no longer in the queue."""
        for letter in letters:
            del self._receipt_handles[letter.id]
            self._dropped.add(letter.id)


def batched(letters: Iterator[T], size: int) -> Iterator[list[T]]:
    """Group what an iterator yields into lists of up to `size`, taking no more than that ahead."""
    while batch := list(islice(letters, size)):
        yield batch
