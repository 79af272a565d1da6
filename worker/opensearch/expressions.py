"""Texts and patterns as regular expressions of Lucene, in which any character may be of either case.

lucene.apache.org/core/9_12_0/core/org/apache/lucene/util/automaton/RegExp.html
"""

from __future__ import annotations

import re

_PIECE = re.compile(r"\\(.)|(.)", re.DOTALL)
_WILDCARDS = {"*": ".*", "?": "."}


def literal(text: str, *, ignore_case: bool = False) -> str:
    """Return an expression for exactly this text, in any case if asked."""
    return "".join(_character(character, ignore_case=ignore_case) for character in text)


def any_case_pattern(pattern: str) -> str:
    """Return an expression for a pattern with `*` and `?`, and escapes of them, in any case."""
    return "".join(
        _WILDCARDS.get(plain) or _character(plain or escaped, ignore_case=True)
        for escaped, plain in _PIECE.findall(pattern)
    )


def _character(character: str, *, ignore_case: bool) -> str:
    cases = sorted(cases_of(character)) if ignore_case else [character]
    if len(cases) > 1:
        return f"[{''.join(cases)}]"
    return character if character.isalnum() else f"\\{character}"


def cases_of(character: str) -> set[str]:
    """Return a character in both cases; some characters have a case of several characters, which is left out."""
    return {case for case in (character, character.lower(), character.upper()) if len(case) == 1}
