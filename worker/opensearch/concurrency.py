"""How many bulk requests may be in flight at once: as many as the cluster can take, learned from its responses.

Additive increase, multiplicative decrease, as in TCP (RFC 5681): one more for each full round of good responses; at the
first overload in a round, half of what was in flight. After the first overload the increase is an eighth per round: a
cluster at its limit should rarely get a request that it rejects.

One at a time is still too much where twenty consumers share what takes eight. A rejected request still costs the node:
it was read and parsed. So below one, requests go one by one with pauses between them: at a limit of a half as long as a
response takes, at a quarter three times as long, at an eighth, the minimum, seven times. Below one slot the limit grows
by 1/32 and the step by 25 % per success; a response faster than a quarter of the smoothed response time, or than 50 ms,
doubles it. Before the first good response there are no pauses, because nobody knows how long a response takes.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

# What a new connection to a cluster of unknown strength starts with.
_FIRST_LIMIT = 2.0

MIN_LIMIT = 1 / 8

CAUTIOUS_STEP = 1 / 8

# Below one slot: what the first good response after an overload adds, and how much larger each further step is.
FIRST_STEP, STEP_GROWTH = 1 / 32, 1.25

# A response is quick, and doubles a limit below one slot, when it takes less than this part of the smoothed response
# time, or less than this many seconds: such pauses are short compared with tenacity's waits.
QUICK_FRACTION, QUICK_SECONDS = 1 / 4, 0.05

# The weight of the last response in the smoothed response time (RFC 6298). Overloads do not count.
SRTT_WEIGHT = 1 / 8

# The maximum pause, however slowly the cluster responds. Jitter adds up to 50 %.
_MAX_PAUSE = 20.0

# A consumer that is told to stop must not wait for a slow response.
_SECONDS_PER_CLOCK_CHECK = 0.5


class AimdWindow:
    """The arithmetic of the limit, without threads or clock. `round` ends with each decrease."""

    def __init__(self, maximum: int) -> None:
        self._maximum, self._size, self._step = maximum, min(_FIRST_LIMIT, maximum), 1.0
        self._smoothed_rtt = 0.0  # seconds of a response without overload
        self.round = 0

    @property
    def limit(self) -> int:
        """The number of requests that may be in flight now."""
        return max(1, int(self._size))

    @property
    def pause(self) -> float:
        """Seconds to wait after a response before the next request."""
        return min(_MAX_PAUSE, self._smoothed_rtt * (1 / self._size - 1)) if self._size < 1 else 0.0

    def on_overload(self, sent_in: int, in_flight: int, *, over_capacity: bool = True) -> None:
        """Decrease after an overload, in response to a request of round `sent_in`, with `in_flight` requests in flight.

        Requests that were in flight together are rejected together: that is one overload, not several. `over_capacity`
        says that there was no room beside what others have in flight; only that is a reason for pauses.
        """
        if sent_in != self.round:
            return
        self.round += 1
        if self._size <= 1 and not over_capacity:
            return
        self._size = max(MIN_LIMIT if over_capacity else 1.0, min(self._size, in_flight) / 2)
        self._step = CAUTIOUS_STEP if self._size >= 1 else FIRST_STEP

    def on_success(self, seconds: float, *, full: bool) -> None:
        """Increase after a response without overload that took `seconds`; `full` says that all slots were in use."""
        quick = seconds < max(QUICK_SECONDS, QUICK_FRACTION * self._smoothed_rtt)
        self._smoothed_rtt += (seconds - self._smoothed_rtt) * (SRTT_WEIGHT if self._smoothed_rtt else 1)
        if not full:  # more slots than are used prove nothing
            return
        if self._size < 1:
            self._size *= 2 if quick else 1 + self._step
            self._step = self._step * STEP_GROWTH if self._size < 1 else CAUTIOUS_STEP
        else:
            self._size = min(float(self._maximum), self._size + self._step / self._size)


class Permit(NamedTuple):
    """A slot: the round of the window in which it was acquired, when, and how many were in use then."""

    round: int
    acquired_at: float
    in_flight: int


class AdaptiveLimiter:
    """Lets at most `maximum` requests through at once, and fewer while the cluster is overloaded. Thread-safe."""

    def __init__(self, maximum: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._window, self._monotonic = AimdWindow(maximum), monotonic
        self._in_flight = self._waiting = 0
        self._paused_until = monotonic()
        self._changed = threading.Condition()

    @property
    def limit(self) -> int:
        """The number of requests that may be in flight now."""
        return self._window.limit

    def acquire(self, remaining: Callable[[], float]) -> Permit | None:
        """Wait for a slot; returns what `release` asks for, or None when no time remains."""
        with self._changed:
            self._waiting += 1
            try:
                while (pause := self._paused_until - self._monotonic()) > 0 or self._in_flight >= self._window.limit:
                    seconds = remaining()
                    if seconds <= max(0.0, pause):
                        return None
                    self._changed.wait(min(seconds, pause if pause > 0 else seconds, _SECONDS_PER_CLOCK_CHECK))
            finally:
                self._waiting -= 1
            self._in_flight += 1
            return Permit(self._window.round, self._monotonic(), self._in_flight)

    def release(self, permit: Permit, *, overload: bool | None, over_capacity: bool = True) -> None:
        """Give the slot back, and say whether the response was an overload; None when it tells nothing of that.

        `over_capacity` says of an overload that there was no room beside what others have in flight.
        """
        with self._changed:
            now, in_flight = self._monotonic(), self._in_flight
            self._in_flight -= 1
            if overload is not None:
                if overload:
                    # Those sent together are answered one after the other: the last one was not alone.
                    self._window.on_overload(
                        permit.round, max(permit.in_flight, in_flight), over_capacity=over_capacity
                    )
                else:
                    full = self._waiting > 0 or in_flight >= self._window.limit
                    self._window.on_success(now - permit.acquired_at, full=full)
                # At random: consumers that were rejected together must not come back together.
                self._paused_until = now + self._window.pause * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
            self._changed.notify_all()
