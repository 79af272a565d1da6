"""Regular expressions of Sigma, which are PCRE and match anywhere in a value, as expressions of Lucene.

Lucene's match a value as a whole, and have neither anchors nor look-around.
lucene.apache.org/core/9_12_0/core/org/apache/lucene/util/automaton/RegExp.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NoReturn

from worker.errors import SetupError
from worker.opensearch.expressions import cases_of, literal

_ANY = ".*"
_NOT_NEWLINE = "[^\n]"
_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": " \t\n\r\f\v"}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "e": "\x1b"}
_QUANTIFIER = re.compile(r"([*+?]|\{[0-9]+(?:,[0-9]*)?\})([?+]?)")
_GROUP = re.compile(r"\((?:\?(?::|P?<[A-Za-z_]\w*>))?")
_FLAGS = re.compile(r"\(\?([a-z]+)\)")
_CODE = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|x\{([0-9A-Fa-f]{1,6})\}")


def to_lucene(expression: str, *, ignore_case: bool = False, dot_all: bool = False) -> str:
    """Translate an expression that may match anywhere in a value; raises SetupError for what Lucene cannot express."""
    if flags := _FLAGS.match(expression):
        if set(flags[1]) - set("is"):
            _refuse(expression, "it has flags other than i and s")
        ignore_case, dot_all = ignore_case or "i" in flags[1], dot_all or "s" in flags[1]
        expression = expression[flags.end() :]
    return _Parser(expression, ignore_case=ignore_case, dot_all=dot_all).parse()


def _refuse(expression: str, why: str) -> NoReturn:
    raise SetupError(f"The regular expression {expression} cannot be searched for: {why}.")


@dataclass(slots=True)
class _Branch:
    """One alternative: its pieces, and whether it is bound to the start and the end of the value."""

    pieces: list[str] = field(default_factory=list)
    starts: bool = False
    ends: bool = False


class _Parser:
    """Reads one expression from left to right."""

    def __init__(self, expression: str, *, ignore_case: bool, dot_all: bool) -> None:
        self._text, self._position = expression, 0
        self._ignore_case, self._dot = ignore_case, "." if dot_all else _NOT_NEWLINE

    def parse(self) -> str:
        branches = self._branches()
        if self._position < len(self._text):
            self._refuse("it has a ) without a (")
        parts = [
            f"{'' if branch.starts else _ANY}{''.join(branch.pieces)}{'' if branch.ends else _ANY}"
            for branch in branches
        ]
        return parts[0] if len(parts) == 1 else f"({'|'.join(parts)})"

    def _branches(self) -> list[_Branch]:
        branches = [self._branch()]
        while self._peek() == "|":
            self._position += 1
            branches.append(self._branch())
        return branches

    def _branch(self) -> _Branch:
        branch = _Branch()
        while (character := self._peek()) and character not in "|)":
            if branch.ends:
                self._refuse("it has an anchor in the middle")
            if character == "^" or self._text.startswith("\\A", self._position):
                if branch.pieces or branch.starts:
                    self._refuse("it has an anchor in the middle")
                branch.starts = True
                self._position += 1 if character == "^" else 2
            elif character == "$" or self._text[self._position :][:2] in ("\\z", "\\Z"):
                branch.ends = True
                self._position += 1 if character == "$" else 2
            else:
                branch.pieces.append(self._atom() + self._quantifier())
        return branch

    def _atom(self) -> str:
        character = self._peek()
        if character == "(":
            return self._group()
        if character == "[":
            return self._class()
        if character == "\\":
            return self._escape()
        if character in "*+?":
            self._refuse("it repeats nothing")
        self._position += 1
        return self._dot if character == "." else literal(character, ignore_case=self._ignore_case)

    def _group(self) -> str:
        match = _GROUP.match(self._text, self._position)
        if match is None or self._text[match.end() : match.end() + 1] == "?":
            self._refuse("it looks around, or has another kind of group that Lucene lacks")
        self._position = match.end()
        branches = self._branches()
        if self._peek() != ")":
            self._refuse("it has a ( without a )")
        self._position += 1
        if any(branch.starts or branch.ends for branch in branches):
            self._refuse("it has an anchor in a group")
        return f"({'|'.join(''.join(branch.pieces) or '()' for branch in branches)})"

    def _quantifier(self) -> str:
        match = _QUANTIFIER.match(self._text, self._position)
        if match is None:
            return ""
        if match[2] == "+":
            self._refuse("it has a possessive quantifier")
        # A lazy quantifier matches the same values as a greedy one.
        self._position = match.end()
        return match[1]

    def _escape(self) -> str:
        name = self._text[self._position + 1 : self._position + 2]
        if name.lower() in _CLASSES and name:
            self._position += 2
            return f"[{'^' if name.isupper() else ''}{_CLASSES[name.lower()]}]"
        return literal(self._escaped_character(), ignore_case=self._ignore_case)

    def _escaped_character(self) -> str:
        """Read an escape that stands for one character."""
        if match := _CODE.match(self._text, self._position + 1):
            self._position = match.end()
            return chr(int(next(filter(None, match.groups())), 16))
        name = self._text[self._position + 1 : self._position + 2]
        if name.isalnum() and name not in _CONTROLS:
            self._refuse(f"it uses \\{name}")
        self._position += 2
        return _CONTROLS.get(name, name)

    def _class(self) -> str:
        self._position += 1
        negated = self._peek() == "^"
        self._position += negated
        members: list[str] = []
        while (character := self._peek()) != "]" or not members:
            if not character:
                self._refuse("it has a [ without a ]")
            members.append(self._member())
        self._position += 1
        return f"[{'^' if negated else ''}{''.join(members)}]"

    def _member(self) -> str:
        """Read a character, a range or a class inside brackets."""
        name = self._text[self._position + 1 : self._position + 2]
        if self._peek() == "\\" and name in _CLASSES:
            self._position += 2
            return _CLASSES[name]
        if self._text.startswith("[:", self._position):
            self._refuse("it has a POSIX class")
        first = self._class_character()
        if self._peek() != "-" or self._text[self._position + 1 : self._position + 2] in ("]", ""):
            return self._class_literal(first)
        self._position += 1
        return self._range(first, self._class_character())

    def _class_character(self) -> str:
        if self._peek() == "\\":
            return self._escaped_character()
        self._position += 1
        return self._text[self._position - 1]

    def _class_literal(self, character: str) -> str:
        cases = sorted(cases_of(character)) if self._ignore_case else [character]
        return "".join(case if case.isalnum() else f"\\{case}" for case in cases)

    def _range(self, first: str, last: str) -> str:
        written = f"{_class_bound(first)}-{_class_bound(last)}"
        if not self._ignore_case:
            return written
        for start, end in (("a", "z"), ("A", "Z")):
            low, high = max(first, start), min(last, end)
            if low <= high:
                written += f"{low.swapcase()}-{high.swapcase()}"
        return written

    def _peek(self) -> str:
        return self._text[self._position : self._position + 1]

    def _refuse(self, why: str) -> NoReturn:
        _refuse(self._text, why)


def _class_bound(character: str) -> str:
    return character if character.isalnum() else f"\\{character}"
