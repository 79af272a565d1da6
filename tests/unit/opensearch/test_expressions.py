"""Promises about expressions for texts, held against Python's own, which agree on what is used here."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.opensearch.expressions import any_case_pattern, literal

CHARACTERS = st.characters(exclude_categories=["Cs"])


@given(st.text(CHARACTERS, max_size=8))
def test_a_literal_finds_its_text_and_nothing_else(text: str) -> None:
    """Whatever means something in an expression is escaped."""
    expression = re.compile(literal(text), re.DOTALL)

    assert expression.fullmatch(text)
    assert not expression.fullmatch(f"{text}x")


@given(st.text('aB1.*?[]()|&~<>#@"\\ -^$', max_size=8))
def test_a_literal_of_any_case_finds_both_cases(text: str) -> None:
    """The path in front of a value keeps its case, so the option of the query is of no use."""
    expression = re.compile(literal(text, ignore_case=True), re.DOTALL)

    assert expression.fullmatch(text.upper())
    assert expression.fullmatch(text.lower())


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("*red*", "a RED team", True),
        ("re?", "Red", True),
        ("re?", "re", False),
        (r"re\?", "RE?", True),
        (r"re\?", "red", False),
        (r"a\\b*", "A\\B", True),
    ],
)
def test_a_pattern_of_any_case_keeps_its_wildcards(pattern: str, text: str, *, matches: bool) -> None:
    """Escaped wildcards are characters."""
    assert bool(re.compile(any_case_pattern(pattern), re.DOTALL).fullmatch(text)) is matches
