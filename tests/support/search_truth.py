"""What a query means, computed from the records themselves: the truth that `trailsink search` is held against."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

Record = dict[str, list[str]]  # the texts of each path
Predicate = Callable[[Record], bool]

FREE_FORM = ("requestParameters", "responseElements", "serviceEventDetails")
KEYWORDS = (
    "eventName", "eventSource", "awsRegion", "errorCode", "sourceIPAddress", "userIdentity.arn", "userIdentity.type",
    "userIdentity.sessionContext.sessionIssuer.userName", "recipientAccountId", "resources.ARN", "resources.type",
)  # fmt: skip


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted path and the text of each value; the elements of a list have the path of the list."""
    match node:
        case dict():
            for name, value in node.items():
                yield from leaves(value, f"{path}.{name}" if path else name)
        case list():
            for element in node:
                yield from leaves(element, path)
        case bool():
            yield path, "true" if node else "false"
        case int() | float() | str():
            yield path, str(node)


def flatten(record: dict[str, Any]) -> Record:
    """The texts of each path of a record."""
    flat: Record = {}
    for path, text in leaves(record):
        flat.setdefault(path, []).append(text)
    return flat


def texts(record: Record, path: str) -> list[str]:
    return record.get(path, [])


def below(record: Record, path: str) -> list[str]:
    """The texts at a path and below it."""
    start = f"{path}."
    return [text for name, found in record.items() if name == path or name.startswith(start) for text in found]


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def escaped(text: str) -> str:
    """Text as a word: each character that means something in a query has a backslash before it."""
    return re.sub(r"([^\w.-])", r"\\\1", text, flags=re.ASCII)


class Clauses:
    """Makes clauses of each form from values that the records hold, each with its meaning."""

    def __init__(self, records: list[Record], chance: Random) -> None:
        self._records, self._chance = records, chance

    def query(self, depth: int = 2) -> tuple[str, Predicate]:
        """Make a query: one clause, or some of them combined."""
        if not depth or self._chance.random() < 0.5:
            return self.clause()
        (one, first), (two, second) = self.query(depth - 1), self.query(depth - 1)
        match self._chance.randrange(5):
            case 0:
                return f"({one}) AND ({two})", lambda record: first(record) and second(record)
            case 1:
                return f"({one}) OR ({two})", lambda record: first(record) or second(record)
            case 2:
                return f"({one}) ({two})", lambda record: first(record) or second(record)
            case 3:
                return f"+({one}) -({two})", lambda record: first(record) and not second(record)
            case _:
                return f"NOT ({one})", lambda record: not first(record)

    def clause(self) -> tuple[str, Predicate]:
        path, text = self._value()
        forms = [self._term, self._phrase, self._wildcard, self._expression, self._exists]
        if path.partition(".")[0] in FREE_FORM:
            forms += [self._root_term, self._root_wildcard, self._inner_exists, self._range]
        return self._chance.choice(forms)(path, text)

    def _value(self) -> tuple[str, str]:
        """A path and a value that some record holds there."""
        while True:
            record = self._chance.choice(self._records)
            paths = [
                (path, text)
                for path, found in record.items()
                for text in found
                if path in KEYWORDS
                or (path.partition(".")[0] in FREE_FORM and re.fullmatch(r"[\w.-]+", path, re.ASCII))
            ]
            path, text = self._chance.choice(paths)
            if "." in path or path in KEYWORDS:
                return path, text

    def _term(self, path: str, text: str) -> tuple[str, Predicate]:
        return (f"{path}:{escaped(text)}" if text else f'{path}:""'), lambda record: text in texts(record, path)

    def _phrase(self, path: str, text: str) -> tuple[str, Predicate]:
        return f"{path}:{quoted(text)}", lambda record: text in texts(record, path)

    def _wildcard(self, path: str, text: str) -> tuple[str, Predicate]:
        pattern, expression = self._pattern(text)
        return f"{path}:{pattern}", lambda record: any(expression.fullmatch(found) for found in texts(record, path))

    def _pattern(self, text: str) -> tuple[str, re.Pattern[str]]:
        start = self._chance.randrange(len(text) + 1)
        piece = text[start : start + self._chance.randint(1, 12)]
        before, after = self._chance.choice((("*", "*"), ("*", ""), ("", "*"), ("?", "*")))
        plain = {"*": ".*", "?": ".", "": ""}
        expression = re.compile(plain[before] + re.escape(piece) + plain[after], re.DOTALL)
        return f"{before}{escaped(piece)}{after}", expression

    def _expression(self, path: str, text: str) -> tuple[str, Predicate]:
        piece = re.sub(r"\W", ".", text[self._chance.randrange(len(text) + 1) :][:8], flags=re.ASCII)
        expression = re.compile(f".*{piece}.*", re.DOTALL)
        return f"{path}:/.*{piece}.*/", lambda record: any(expression.fullmatch(found) for found in texts(record, path))

    def _exists(self, path: str, _text: str) -> tuple[str, Predicate]:
        return self._chance.choice((f"_exists_:{path}", f"{path}:*")), lambda record: bool(below(record, path))

    def _inner_exists(self, path: str, _text: str) -> tuple[str, Predicate]:
        parent = path.rpartition(".")[0]
        return f"_exists_:{parent}", lambda record: bool(below(record, parent))

    def _root_term(self, path: str, text: str) -> tuple[str, Predicate]:
        root = path.partition(".")[0]
        return f"{root}:{quoted(text)}", lambda record: text in below(record, root)

    def _root_wildcard(self, path: str, text: str) -> tuple[str, Predicate]:
        root = path.partition(".")[0]
        pattern, expression = self._pattern(text)
        return f"{root}:{pattern}", lambda record: any(expression.fullmatch(found) for found in below(record, root))

    def _range(self, path: str, text: str) -> tuple[str, Predicate]:
        base = int(text) if text.isdecimal() and text.isascii() and len(text) < 17 else self._chance.randint(0, 5_000)
        low, high = max(0, base - self._chance.randint(0, 50)), base + self._chance.randint(0, 5_000)
        numbers: Callable[[Record], list[int]] = lambda record: [  # noqa: E731
            int(found) for found in texts(record, path) if re.fullmatch(r"0|[1-9][0-9]*", found)
        ]
        match self._chance.randrange(3):
            case 0:
                return f"{path}:[{low} TO {high}]", lambda record: any(
                    low <= number <= high for number in numbers(record)
                )
            case 1:
                return f"{path}:>={low}", lambda record: any(number >= low for number in numbers(record))
            case _:
                return f"{path}:{{{low} TO {high}}}", lambda record: any(
                    low < number < high for number in numbers(record)
                )
