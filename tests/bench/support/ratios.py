"""What every benchmark here tells: two things measured in turn in one run, as ratios, with their spread.

Absolute times mean nothing on a shared machine. Each round gives one ratio; the median of the rounds is the figure, the
smallest and the largest are its spread.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Figure = TypeVar("Figure")


@dataclass(frozen=True)
class Ratio:
    """How `what` relates to `beside`: a value for each round, and the bar that the median has to reach, if any."""

    what: str
    beside: str
    values: tuple[float, ...]
    at_least: float | None = None
    at_most: float | None = None

    @property
    def median(self) -> float:
        """The figure."""
        return statistics.median(self.values)

    @property
    def reached(self) -> bool:
        """Whether the bar is reached; true where there is none."""
        above = self.at_least is None or self.median >= self.at_least
        return above and (self.at_most is None or self.median <= self.at_most)

    @property
    def bar(self) -> str:
        """The bar in words."""
        if self.at_least is not None:
            return f">= {self.at_least:.2f}"
        return "" if self.at_most is None else f"<= {self.at_most:.2f}"

    @property
    def verdict(self) -> str:
        """`reached` or `missed`, "" where there is no bar."""
        return ("reached" if self.reached else "missed") if self.bar else ""


def in_turn(jobs: Mapping[str, Callable[[], Figure]], rounds: int) -> dict[str, list[Figure]]:
    """Measure each job once a round, in turn: what disturbs the machine disturbs all of them."""
    measured: dict[str, list[Figure]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            measured[name].append(job())
    return measured


def quotients(above: Sequence[float], below: Sequence[float]) -> tuple[float, ...]:
    """Divide round by round."""
    return tuple(one / other for one, other in zip(above, below, strict=True))


def console() -> Console:
    """The place to print to: as wide as the terminal, or wide enough for every table when piped."""
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)


def print_ratios(ratios: Iterable[Ratio]) -> None:
    """Print one row a ratio."""
    table = figures("what", "beside", "ratio", "spread", "bar", "")
    for one in ratios:
        spread = f"{min(one.values):.2f} to {max(one.values):.2f}"
        table.add_row(one.what, one.beside, f"{one.median:.2f}", spread, one.bar, one.verdict)
    console().print(table)


def figures(first: str, *others: str) -> Table:
    """Return an empty table: a name in each row, and figures beside it."""
    table = Table(box=None, pad_edge=False)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
