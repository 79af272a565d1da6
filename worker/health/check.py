"""The doctor's checks: a check has a name, and turns judgements, or the reason why there is none, into findings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from worker.health.findings import Finding
from worker.health.observe import EXPECTED_ERRORS, explain, judge_unobserved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from worker.health.findings import Judgement


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the doctor."""

    name: str
    judge: Callable[[], Iterable[Judgement]]

    def __call__(self) -> Iterator[Finding]:
        """Run it; a check that fails with an expected error is not checked, and harms no other."""
        try:
            for judgement in self.judge():
                yield self.finding(judgement)
        except EXPECTED_ERRORS as error:
            yield self.finding(judge_unobserved(explain(error)))

    def finding(self, judgement: Judgement) -> Finding:
        """Return a judgement under the name of this check."""
        return Finding(judgement.status, self.name, judgement.evidence, judgement.fix)


class CheckMethod:
    """A method that yields judgements; its objects have it as a Check."""

    def __init__(self, name: str, method: Callable[[Any], Iterable[Judgement]]) -> None:
        self._name, self._method = name, method

    def __get__(self, instance: object, owner: type) -> Check:
        """Bind the method to its object."""
        return Check(self._name, partial(self._method, instance))


def check(name: str) -> Callable[[Callable[[Any], Iterable[Judgement]]], CheckMethod]:
    """Make a method a check with this name, which is the only place where the name is written."""
    return partial(CheckMethod, name)
