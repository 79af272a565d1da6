"""How many bulk requests may be under way at once: as many as the cluster bears, found out by its answers.

Additive increase, multiplicative decrease, as TCP does it (RFC 5681): one more for each full round of answers that went
well; at the first sign of strain in a round half of what was under way. Once there was strain, a place more takes eight
rounds: a cluster at its limit is asked for more often enough, and seldom in vain.

One at a time is still too much where twenty consumers share what bears eight. What is refused for want of room has been
read by the cluster, so it takes its time from the others: below one, requests go one by one with pauses between them,
at a half as long as an answer takes, at a quarter three times as long, at an eighth, the least, seven times. Good
answers make the window larger and so the pauses shorter: a little at first, since among many others there is little to
gain, and more with each that follows; and at once where one comes so quickly that the cluster must have time again.
Before the first one there are no pauses, since nobody knows how long an answer takes.
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

_LEAST = 1 / 8

_CAREFUL = 1 / 8

# Below one place: what the first good answer after strain adds, and by how much more the next one does.
_LITTLE, _MORE = 1 / 32, 1.25

# An answer is quick, and doubles what is below one place, when it takes less than so much of the usual time, or than so
# many seconds: pauses of such a length are nothing beside the waits of tenacity.
_QUICK, _QUICK_SECONDS = 1 / 4, 0.05

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

    def strained(self, asked: int, under_way: int, *, crowded: bool = True) -> None:
        """Take note of a sign of strain, in answer to what was asked in a round and to so many requests under way.

        Requests that were under way together are refused together: that is one sign of strain, not several. `crowded`
        says that there was no room beside what others have under way, which alone is a reason for pauses.
        """
        if asked != self.round:
            return
        self.round += 1
        if self._size <= 1 and not crowded:
            return
        self._size = max(_LEAST if crowded else 1.0, min(self._size, under_way) / 2)
        self._step = _CAREFUL if self._size >= 1 else _LITTLE

    def went_well(self, seconds: float, *, full: bool) -> None:
        """Take note of an answer without strain, its time, and whether all places were in use."""
        quick = seconds < max(_QUICK_SECONDS, _QUICK * self._usual)
        self._usual += (seconds - self._usual) * (_LAST if self._usual else 1)
        if not full:  # more places than are used prove nothing
            return
        if self._size < 1:
            self._size *= 2 if quick else 1 + self._step
            self._step = self._step * _MORE if self._size < 1 else _CAREFUL
        else:
            self._size = min(float(self._most), self._size + self._step / self._size)


class Entered(NamedTuple):
    """In which round of the window a place was had, when, and how many had one then."""

    round: int
    at: float
    inside: int


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
            return Entered(self._window.round, self._tick(), self._inside)

    def leave(self, entered: Entered, *, strained: bool | None, crowded: bool = True) -> None:
        """Give the place back, and say whether the answer was a sign of strain; None when it tells nothing of that.

        `crowded` says of strain that there was no room beside what others have under way.
        """
        with self._changed:
            now, under_way = self._tick(), self._inside
            self._inside -= 1
            if strained is not None:
                if strained:
                    # Those asked together are answered one after the other: the last one was not alone.
                    self._window.strained(entered.round, max(entered.inside, under_way), crowded=crowded)
                else:
                    self._window.went_well(now - entered.at, full=self._waiting > 0 or under_way >= self._window.places)
                # At random: consumers that were refused together must not come back together.
                self._opens = now + self._window.pause * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
            self._changed.notify_all()
