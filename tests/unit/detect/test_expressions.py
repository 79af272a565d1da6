"""Promises about regular expressions: Lucene finds what PCRE would, or the rule is refused in words."""

from __future__ import annotations

import re

import pytest

from worker.detect.expressions import to_lucene
from worker.errors import SetupError
from worker.opensearch.expressions import literal

VALUES = (
    "",
    "a",
    "A",
    "ab",
    "abc",
    "xabcx",
    "b",
    "a.c",
    "a-c",
    "aXc",
    "a\nc",
    "\n",
    "foo=1",
    "FOO=12",
    "foo",
    "arn:aws:iam::1:user/x",
    "10.0.0.1",
    "10.0.0.12",
    'a"b',
    "<a>",
    "a@b.c",
    "~x",
    "#1",
    "a&b",
    "{x}",
    "a{2}",
    "aa",
    "aaa",
    "[x]",
    "a]",
    "a\\b",
    "a/b",
    "$a",
    "_",
    " ",
    "a\tb",
    "é",
    "É",
    "straße",
)
EXPRESSIONS = (
    "a",
    "^a",
    "a$",
    "^a$",
    "^$",
    "a.c",
    "a.*c",
    "^a|c$",
    "(a|b)c",
    "(?:foo|bar)=\\d+",
    "(?P<name>foo)=",
    "^[a-c]+$",
    "[^a-z]",
    "a{2}",
    "^a{2,}$",
    "^a{1,2}$",
    "a+?",
    "a*?b",
    "\\d{2}",
    "\\w+@\\w+",
    "\\s",
    "\\S",
    "^\\D+$",
    "\\.",
    "a\\-c",
    "[\\d.]+",
    "[\\w-]+=",
    "[a\\]]$",
    "[]x]",
    '"',
    "<a>",
    "~",
    "#",
    "&",
    "@",
    "\\x61",
    "[\\x61-\\x63]$",
    "^10\\.0\\.0\\.\\d{1,2}$",
    "\\\\",
    "\\/",
    "\\t",
    "é",
    "{x}",
    "\\$a",
    "\\Aa",
    "b\\Z",
    "user/|role/",
    "()",
    "a||b",
)


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("flags", [0, re.IGNORECASE, re.DOTALL, re.IGNORECASE | re.DOTALL], ids=str)
def test_an_expression_matches_the_same_values_as_a_whole(expression: str, flags: int) -> None:
    """What is written for Lucene has no anchors: Python, which shares the syntax used, reads it as a whole."""
    translated = to_lucene(expression, ignore_case=bool(flags & re.IGNORECASE), dot_all=bool(flags & re.DOTALL))

    # Python's $ also matches before a newline at the end, and PCRE's need not.
    expected_expression = re.sub(r"(?<!\\)\$", r"\\Z", expression)
    for value in VALUES:
        expected = bool(re.search(expected_expression, value, flags))
        assert bool(re.fullmatch(translated, value, re.DOTALL)) == expected, (translated, value)


def test_flags_at_the_start_are_understood() -> None:
    """Many rules write them into the expression."""
    assert to_lucene("(?i)ab") == to_lucene("ab", ignore_case=True)
    assert to_lucene("(?is)a.b") == to_lucene("a.b", ignore_case=True, dot_all=True)


@pytest.mark.parametrize(
    "expression",
    [
        "a(?=b)",
        "(?<!a)b",
        "\\bword\\b",
        "(a)\\1",
        "a++",
        "x^a",
        "a$b",
        "(^a)b",
        "(?m)a",
        "(?>a)",
        "[[:alpha:]]",
        "\\p{L}",
    ],
)
def test_what_lucene_cannot_express_is_refused_in_words(expression: str) -> None:
    """A rule that is silently never found is worse than none."""
    with pytest.raises(SetupError, match=r"^The regular expression .* cannot be searched for: .+\.$"):
        to_lucene(expression)


def test_a_literal_text_is_found_in_any_case_and_nothing_else() -> None:
    """Operators of Lucene in a value are text."""
    for text in VALUES:
        expression = re.compile(literal(text, ignore_case=True), re.DOTALL)

        assert expression.fullmatch(text)
        assert expression.fullmatch(text.lower())
        assert not expression.fullmatch(f"{text}!")
