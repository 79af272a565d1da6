"""One pass over the dead-letter queue: every letter once, and all handed back at the end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Protocol, Self

from worker.dlq.letters import LetterFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from worker.dlq.letters import Attribute, Letter
    from worker.dlq.move_task import MoveTask
    from worker.dlq.summary import LetterSummary


# A queue lets 120,000 messages be in flight at once, and then silently gives none.
# docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html
MAX_HELD = 100_000


# Letters stay hidden no longer than a look can take, in case it is killed: a receive of ten takes some 20 ms, and a
# tenth of this speed is still enough.
_HIDDEN_SECONDS = 60


_LETTERS_PER_SECOND = 50


_LONGEST_HIDDEN = 43_200  # SQS's own limit


class DeadLetterPort(Protocol):
    """The dead-letter queue, and the way back to the source queue. All raise QueueUnavailable or SetupError."""

    def depth(self) -> tuple[int, int]:
        """Count the letters that can be received, and those in somebody's hands."""

    def receive(self, hidden_seconds: int) -> list[Letter]:
        """Receive some letters, hidden for so long; [] when there are no more."""

    def release(self, receipts: Sequence[str]) -> None:
        """Make letters visible again, as far as possible."""

    def delete(self, receipts: Sequence[str]) -> int:
        """Delete letters; returns how many could not be."""

    def send_back(self, bodies: Sequence[str]) -> list[bool]:
        """Send messages to the source queue; says of each whether it was taken."""

    def put(self, letters: Sequence[tuple[str, Mapping[str, Attribute]]]) -> list[bool]:
        """Send letters to the dead-letter queue; says of each whether it was taken."""

    def start_move(self, per_second: int | None) -> str:
        """Start SQS's own move of all letters; returns a handle."""

    def move_tasks(self) -> list[MoveTask]:
        """List the last moves, the newest first."""

    def cancel_move(self, handle: str) -> int | None:
        """Cancel a move; returns how many it had moved, None when it is over already."""


class QueueBrowser:
    """One pass over the letters, each once; what was not settled is handed back at its end, however that comes."""

    def __init__(self, queue: DeadLetterPort, say: Callable[[str], None], most: int) -> None:
        self._queue, self._say, self._most = queue, say, most
        self._held: dict[str, str] = {}  # receipts by id
        self._settled: set[str] = set()
        self._receiver = ThreadPoolExecutor(1)
        self._visible, self.hidden = queue.depth()
        self.complete = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._receiver.shutdown()
        if self._held:
            self._say(f"Handing {len(self._held):,} letters back ...")
        self._queue.release(list(self._held.values()))

    def letters(self) -> Iterator[Letter]:
        """Receive letter by letter."""
        hidden_seconds = min(_HIDDEN_SECONDS + self._visible // _LETTERS_PER_SECOND, _LONGEST_HIDDEN)
        again = 0
        while received := self._receive(hidden_seconds):
            fresh = [one for one in received if one.id not in self._held and one.id not in self._settled]
            self._hold(received)
            self._say(f"Looked at {self.count:,} of about {max(self._visible, self.count):,} letters ...")
            yield from fresh
            if len(fresh) < len(received):
                # Slower than was thought: the first letters come again, and could keep the last from ever coming.
                hidden_seconds = min(2 * hidden_seconds, _LONGEST_HIDDEN)
            again = 0 if fresh else again + len(received)
            if again > 2 * self.count:
                return
            if len(self._held) >= self._most:
                self.complete = False
                return

    def _receive(self, hidden_seconds: int) -> list[Letter]:
        """Receive some letters; an interrupt waits for the answer, or the letters in it would stay hidden."""
        answer = self._receiver.submit(self._queue.receive, hidden_seconds)
        try:
            return answer.result()
        except KeyboardInterrupt:
            if not wait([answer]).not_done and not answer.exception():
                self._hold(answer.result())
            raise

    def _hold(self, received: Iterable[Letter]) -> None:
        self._held.update((one.id, one.receipt) for one in received if one.id not in self._settled)

    @property
    def count(self) -> int:
        """How many letters were seen."""
        return len(self._held) + len(self._settled)

    def chosen(self, choice: LetterFilter) -> Iterator[Letter]:
        """Receive the letters that are meant; ends early when all that are named have come."""
        missing = set(choice.ids)
        for letter in self.letters():
            if choice.takes(letter):
                yield letter
            missing.discard(letter.id)
            if choice.ids and not missing:
                return

    def named(self, ids: set[str]) -> Iterator[Letter]:
        """Receive the letters of these ids: none for no ids, which a choice would take for no condition."""
        if ids:
            yield from self.chosen(LetterFilter(ids=frozenset(ids)))

    def sum_up(self, survey: LetterSummary) -> None:
        """Tell a survey what the look as a whole found."""
        survey.end(seen=self.count, hidden=self.hidden, complete=self.complete)

    def receipt(self, letter: Letter) -> str:
        """Return the receipt that counts: that of the last receive."""
        return self._held[letter.id]

    def settle(self, letters: Iterable[Letter]) -> None:
        """Let go of letters that are no longer in the queue."""
        for letter in letters:
            del self._held[letter.id]
            self._settled.add(letter.id)
