"""Which times the valid digests of an account and region cover, and what that says of a file in no digest."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from worker.verify.states import ProofState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.verify.chain import LoadedDigest
    from worker.verify.digests import Chain

# A log file's name holds only the minute of its delivery.
_MINUTE = timedelta(minutes=1)


@dataclass(slots=True)
class Coverage:
    """The intervals of valid digests, by chain, and the end of each chain. Backfill digests cover nothing."""

    intervals: dict[Chain, list[tuple[datetime, datetime]]] = field(default_factory=dict)
    kinds: set[str] = field(default_factory=set)

    def add(self, digests: Iterable[LoadedDigest]) -> None:
        """Add the digests of a chain, in order."""
        for loaded in digests:
            if loaded.key.chain.backfill:
                continue
            intervals = self.intervals.setdefault(loaded.key.chain, [])
            if loaded.digest and not loaded.problem:
                start, end = loaded.digest.started_at, loaded.digest.ended_at
                if intervals and intervals[-1][1] >= start:
                    intervals[-1] = intervals[-1][0], max(end, intervals[-1][1])
                else:
                    intervals.append((start, end))

    def judge_unnamed(self, kind: str, delivered_at: datetime | None, limit: datetime) -> ProofState:
        """Return what a file is that no digest names; `limit` is the time until which digests must exist."""
        if self.kinds and kind not in self.kinds:
            return ProofState.UNNAMED
        if delivered_at is None:
            return ProofState.UNNAMED
        first, last = delivered_at, delivered_at + _MINUTE
        ends = [intervals[-1][1] for intervals in self.intervals.values() if intervals]
        if (
            ends
            and len(ends) == len(self.intervals)
            and all(self._covers(chain, first, last) for chain in self.intervals)
        ):
            return ProofState.PLANTED
        if last > max(ends, default=limit) and last > limit:
            return ProofState.NOT_COVERED
        return ProofState.UNSIGNED

    def _covers(self, chain: Chain, first: datetime, last: datetime) -> bool:
        return any(start <= first and last <= end for start, end in self.intervals[chain])
