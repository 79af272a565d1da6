"""Promises about comparisons: text is compared as the number that it is."""

from __future__ import annotations

import operator
import re

import pytest

from worker.detect.numbers import Comparison, number_expression

TEXTS = [str(number) for number in (*range(-12, 130), 999, 1000, 1001, 2**40)] + [
    f"{number}.{fraction}" for number in (-3, 0, 5, 9, 10, 99, 100) for fraction in ("0", "5", "001", "10")
]
OPERATORS = {
    Comparison.LT: operator.lt,
    Comparison.LTE: operator.le,
    Comparison.GT: operator.gt,
    Comparison.GTE: operator.ge,
}


@pytest.mark.parametrize("comparison", OPERATORS, ids=lambda comparison: comparison.value)
@pytest.mark.parametrize("bound", [0, 1, 5, 9, 10, 42, 99, 100, 105, 1000])
def test_texts_compare_as_numbers(comparison: Comparison, bound: int) -> None:
    """As texts, 9 would be more than 10."""
    expression = number_expression(comparison, bound)

    for text in TEXTS:
        expected = OPERATORS[comparison](float(text), bound)
        assert bool(re.fullmatch(expression, text)) == expected, (text, expression)


def test_an_expression_is_one_group() -> None:
    """Below a flat_object the path stands before it, so that an alternative without a group would lose the path."""
    expression = number_expression(Comparison.GTE, 95)

    assert re.fullmatch(f"path={expression}", "path=100")
    assert not re.fullmatch(f"path={expression}", "100")
