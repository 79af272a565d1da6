"""Remembers which files the cluster keeps refusing, to tell a document's own fault from a faulty set-up."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.pipeline.accounting import FileTally
    from worker.pipeline.objects import ObjectRef

# This many refusals prove it. With delays that double from 30 s, they take an hour: time to fix a set-up.
_PROOF = 8
_MAX_FILES = 1_000


class _Refusal(NamedTuple):
    cause: str
    times: int
    accepted: int  # how much the cluster had accepted then


class Refusals:
    """Counts, by file, how often records were refused for the same cause while the cluster accepted others.

    An index that refuses everything is not set up as it should be, and no record is to blame. But a record that is
    alone in its index can never be compared with another one of it.
    """

    def __init__(self) -> None:
        self._accepted = 0
        self._files: OrderedDict[ObjectRef, _Refusal] = OrderedDict()

    def judge(self, tallies: Iterable[FileTally]) -> None:
        """Judge the records of a batch that were refused without proof."""
        tallies = list(tallies)
        self._accepted += sum(tally.indexed + tally.duplicate + tally.degraded for tally in tallies)
        for tally in tallies:
            if tally.unproven:
                tally.judge_unproven(rejected=self._is_proven(tally.ref, tally.unproven[0][1]))

    def _is_proven(self, ref: ObjectRef, cause: str) -> bool:
        before = self._files.pop(ref, None)
        if before is None or before.cause != cause:
            before = _Refusal(cause, 0, 0)
        times = before.times + (self._accepted > before.accepted)
        if times >= _PROOF:
            return True
        self._files[ref] = _Refusal(cause, times, self._accepted)
        if len(self._files) > _MAX_FILES:
            self._files.popitem(last=False)
        return False
