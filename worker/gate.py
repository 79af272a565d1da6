"""How many bulk requests may be under way at once: as many as the cluster bears, found out by its answers.

Additive increase, multiplicative decrease, as TCP does it (RFC 5681): one more for each full round of answers that went
well, half of them at the first sign of strain in a round, and never less than one. Once there was strain, a place more
takes eight rounds: a cluster at its limit is asked for more often enough, and seldom in vain.

One at a time is still too much where twenty consumers share what bears eight. What is refused has been read by the
cluster, so asking in vain takes its time from the others: below one, requests go one by one with pauses between them,
at a half as long as an answer takes, at a quarter, the least, three times as long. Each good answer makes the window an
eighth larger, and so the pauses shorter; before the first one there are none, since nobody knows how long an answer
takes.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

# What a new connection to a cluster of unknown strength begins with.
_FIRST = 2.0

_LEAST = 1 / 4

_CAREFUL = 1 / 8

# Of the answers that were no sign of strain: so much of what is remembered of their time is the last one's (RFC 6298).
_LAST = 1 / 8

# A cluster that takes a minute for an answer is not asked less often for that. Chance makes it up to a half more.
_LONGEST_PAUSE = 20.0

# Between two looks at the clock: a consumer that is told to stop must not wait for a slow answer.
_SECONDS_BETWEEN_LOOKS = 0.5


class Window:
    """How many may be under way: the arithmetic, without threads or clock. `round` ends with each decrease."""

    def __init__(self, most: int) -> None:
        self._most, self._size, self._step = most, min(_FIRST, most), 1.0
        self._usual = 0.0  # seconds of an answer without strain
        self.round = 0

    @property
    def places(self) -> int:
        """So many may be under way now."""
        return max(1, int(self._size))

    @property
    def pause(self) -> float:
        """Seconds to wait after an answer before anything is asked."""
        return min(_LONGEST_PAUSE, self._usual * (1 / self._size - 1)) if self._size < 1 else 0.0

    def answered(self, asked: int, seconds: float, *, strained: bool, halved: bool, full: bool) -> None:
        """Take note of an answer to what was asked in a round, its time, and whether all places were in use.

        Requests that were under way together are refused together: that is one sign of strain, not several. What comes
        again in halves was too large, so it is no reason for pauses.
        """
        if strained:
            if asked == self.round:
                least = min(1.0, self._size) if halved else _LEAST
                self._size, self._step = max(least, self._size / 2), _CAREFUL
                self.round += 1
            return
        self._usual += (seconds - self._usual) * (_LAST if self._usual else 1)
        if full:  # more places than are used prove nothing
            self._size = min(float(self._most), self._size + self._step * min(self._size, 1 / self._size))


class Entered(NamedTuple):
    """In which round of the window a place was had, and when."""

    round: int
    at: float


class Gate:
    """Lets at most `most` requests through at once, and fewer while the cluster is strained. Safe between threads."""

    def __init__(self, most: int, tick: Callable[[], float] = time.monotonic) -> None:
        self._window, self._tick = Window(most), tick
        self._inside = self._waiting = 0
        self._opens = tick()  # after a pause
        self._changed = threading.Condition()

    @property
    def places(self) -> int:
        """So many may be inside now."""
        return self._window.places

    def enter(self, left: Callable[[], float]) -> Entered | None:
        """Wait for a place: returns what `leave` asks for, or None when no time is left."""
        with self._changed:
            self._waiting += 1
            try:
                while (pause := self._opens - self._tick()) > 0 or self._inside >= self._window.places:
                    seconds = left()
                    if seconds <= max(0.0, pause):
                        return None
                    self._changed.wait(min(seconds, pause if pause > 0 else seconds, _SECONDS_BETWEEN_LOOKS))
            finally:
                self._waiting -= 1
            self._inside += 1
            return Entered(self._window.round, self._tick())

    def leave(self, entered: Entered, *, strained: bool | None, halved: bool = False) -> None:
        """Give the place back, and say whether the answer was a sign of strain; None when nothing was asked.

        `halved` says that what was refused comes again in halves.
        """
        with self._changed:
            full = self._waiting > 0 or self._inside >= self._window.places
            self._inside -= 1
            if strained is not None:
                now = self._tick()
                self._window.answered(entered.round, now - entered.at, strained=strained, halved=halved, full=full)
                # At random: consumers that were refused together must not come back together.
                self._opens = now + self._window.pause * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
            self._changed.notify_all()
