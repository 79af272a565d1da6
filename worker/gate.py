"""How many bulk requests may be under way at once: as many as the cluster bears, found out by its answers.

Additive increase, multiplicative decrease, as TCP does it (RFC 5681): one more for each full round of answers that went
well, half of them at the first sign of strain in a round, and never less than one. Once there was strain, a place more
takes eight rounds: a cluster at its limit is asked for more often enough, and seldom in vain.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# What a new connection to a cluster of unknown strength begins with.
_FIRST = 2.0

_CAREFUL = 1 / 8

# Between two looks at the clock: a consumer that is told to stop must not wait for a slow answer.
_SECONDS_BETWEEN_LOOKS = 0.5


class Window:
    """How many may be under way: the arithmetic, without threads. `round` ends with each decrease."""

    def __init__(self, most: int) -> None:
        self._most, self._places, self._step = most, min(_FIRST, most), 1.0
        self.round = 0

    @property
    def places(self) -> int:
        """So many may be under way now."""
        return int(self._places)

    def answered(self, asked: int, *, strained: bool, full: bool) -> None:
        """Take note of one answer to what was asked in a round, and whether all places were in use.

        Requests that were under way together are refused together: that is one sign of strain, not several.
        """
        if strained and asked == self.round:
            self._places, self._step = max(1.0, self._places / 2), _CAREFUL
            self.round += 1
        elif not strained and full:  # more places than are used prove nothing
            self._places = min(float(self._most), self._places + self._step / self._places)


class Gate:
    """Lets at most `most` requests through at once, and fewer while the cluster is strained. Safe between threads."""

    def __init__(self, most: int) -> None:
        self._window = Window(most)
        self._inside = self._waiting = 0
        self._changed = threading.Condition()

    @property
    def places(self) -> int:
        """So many may be inside now."""
        return self._window.places

    def enter(self, left: Callable[[], float]) -> int | None:
        """Wait for a place: returns what `leave` asks for, or None when no time is left."""
        with self._changed:
            self._waiting += 1
            try:
                while self._inside >= self._window.places:
                    seconds = left()
                    if seconds <= 0:
                        return None
                    self._changed.wait(min(seconds, _SECONDS_BETWEEN_LOOKS))
            finally:
                self._waiting -= 1
            self._inside += 1
            return self._window.round

    def leave(self, entered: int, *, strained: bool) -> None:
        """Give the place back, and say whether the answer was a sign of strain."""
        with self._changed:
            full = self._waiting > 0 or self._inside >= self._window.places
            self._inside -= 1
            self._window.answered(entered, strained=strained, full=full)
            self._changed.notify_all()
