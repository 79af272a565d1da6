"""Comparisons with numbers as expressions of Lucene, for values that are indexed as text."""

from __future__ import annotations

from enum import Enum

from worker.opensearch.number_ranges import integers_between

_FRACTION = "(\\.[0-9]*)?"
_ZEROS = "(\\.0*)?"
_MORE = "\\.[0-9]*[1-9][0-9]*"  # a fraction that is not zero


class Comparison(Enum):
    """How a value is compared with a number."""

    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"


def number_expression(comparison: Comparison, number: int) -> str:
    """Return an expression for the decimal numbers that compare so with a whole number from 0 on.

    It is one group, because the expression of a path in a flat_object begins with the path.
    """
    match comparison:
        case Comparison.GTE:
            parts = [f"({integers_between(number, None)}){_FRACTION}"]
        case Comparison.GT:
            parts = [f"({integers_between(number + 1, None)}){_FRACTION}", f"{number}{_MORE}"]
        case Comparison.LT:
            parts = [*_below(number)]
        case Comparison.LTE:
            parts = [*_below(number), f"{number}{_ZEROS}"]
    return f"({'|'.join(parts)})"


def _below(number: int) -> list[str]:
    if number:
        return [f"({integers_between(0, number - 1)}){_FRACTION}", f"-[0-9]+{_FRACTION}"]
    return [f"-[0-9]*[1-9][0-9]*{_FRACTION}", f"-0{_MORE}"]
