"""What a query means, computed from the records themselves: the truth that `trailsink search` is held against."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

Record = dict[str, list[str]]  # the texts of each path
Predicate = Callable[[Record], bool]

FREE_FORM = ("requestParameters", "responseElements", "serviceEventDetails")
BOOLEANS = ("readOnly", "managementEvent")
NUMBERS = ("additionalEventData.bytesTransferredIn", "additionalEventData.bytesTransferredOut")
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
    return re.sub(r"([^\w.-]|^-)", r"\\\1", text, flags=re.ASCII)


def plain_words(messages: list[str]) -> list[str]:
    """Words of these texts, in lower case, that always stand between spaces: any tokenizer sees them as one."""
    everything = " ".join(messages).lower()
    tokens = everything.split()
    words = {token for token in tokens if re.fullmatch(r"[a-z]{4,}", token)}
    return sorted(word for word in words if everything.count(word) == tokens.count(word))


class Clauses:
    """Makes clauses of each form from values that the records hold, each with its meaning.

    With `ignore_case`, letters of the queries are in another case than those of the records.
    """

    def __init__(self, records: list[Record], chance: Random, *, ignore_case: bool = False) -> None:
        self._records, self._chance, self._ignore_case = records, chance, ignore_case
        messages = [text for record in records for text in texts(record, "errorMessage")]
        self._words, self._messages = plain_words(messages), " ".join(messages).lower()
        self._other_kinds = [self._word, self._day, self._time_range, self._network, self._boolean, self._bare]
        if any(texts(record, name) for record in records for name in NUMBERS):
            self._other_kinds.append(self._number_range)

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
        if self._chance.random() < 0.25:
            return self._chance.choice(self._other_kinds)()
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

    def _asked(self, text: str) -> str:
        """The text as it is asked for."""
        return text.swapcase() if self._ignore_case and text.isascii() else text

    def _equal(self, asked: str) -> Callable[[str], bool]:
        if self._ignore_case:
            return lambda found: found.lower() == asked.lower()
        return lambda found: found == asked

    def _term(self, path: str, text: str) -> tuple[str, Predicate]:
        asked = self._asked(text)
        equal = self._equal(asked)
        query = f"{path}:{escaped(asked)}" if asked else f'{path}:""'
        return query, lambda record: any(map(equal, texts(record, path)))

    def _phrase(self, path: str, text: str) -> tuple[str, Predicate]:
        equal = self._equal(asked := self._asked(text))
        return f"{path}:{quoted(asked)}", lambda record: any(map(equal, texts(record, path)))

    def _wildcard(self, path: str, text: str) -> tuple[str, Predicate]:
        pattern, expression = self._pattern(text)
        return f"{path}:{pattern}", lambda record: any(expression.fullmatch(found) for found in texts(record, path))

    def _pattern(self, text: str) -> tuple[str, re.Pattern[str]]:
        start = self._chance.randrange(len(text) + 1)
        piece = self._asked(text[start : start + self._chance.randint(1, 12)])
        before, after = self._chance.choice((("*", "*"), ("*", ""), ("", "*"), ("?", "*")))
        plain = {"*": ".*", "?": ".", "": ""}
        expression = self._compiled(plain[before] + re.escape(piece) + plain[after])
        return f"{before}{escaped(piece)}{after}", expression

    def _compiled(self, expression: str) -> re.Pattern[str]:
        flags = re.DOTALL | (re.IGNORECASE | re.ASCII if self._ignore_case else 0)
        return re.compile(expression, flags)

    def _expression(self, path: str, text: str) -> tuple[str, Predicate]:
        start = self._chance.randrange(len(text) + 1)
        piece = re.sub(r"\W", ".", self._asked(text[start:][:8]), flags=re.ASCII)
        written = self._chance.choice((f".*{piece}.*", f".*{piece}.*|no-such-value", f"no-such-value|.*{piece}.*"))
        expression = self._compiled(written)
        return f"{path}:/{written}/", lambda record: any(expression.fullmatch(found) for found in texts(record, path))

    def _word(self) -> tuple[str, Predicate]:
        """Words of text are found in any case."""
        word = self._chance.choice(self._words)
        asked = self._chance.choice((word, word.upper()))
        return f"errorMessage:{asked}", lambda record: any(
            word in map(str.lower, text.split()) for text in texts(record, "errorMessage")
        )

    def _some(self, path: str) -> str:
        """A value that some record holds."""
        return self._chance.choice([text for record in self._records for text in texts(record, path)])

    def _day(self) -> tuple[str, Predicate]:
        day = self._some("eventTime")[: self._chance.choice((10, 16))]
        return f'eventTime:"{day}"', lambda record: any(time.startswith(day) for time in texts(record, "eventTime"))

    def _time_range(self) -> tuple[str, Predicate]:
        low = datetime.fromisoformat(self._some("eventTime"))
        high = low + timedelta(seconds=self._chance.randint(0, 3_600))
        bounds = [time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for time in (low, high)]
        return f'eventTime:["{bounds[0]}" TO "{bounds[1]}"]', lambda record: any(
            bounds[0] <= time <= bounds[1] for time in texts(record, "eventTime")
        )

    def _network(self) -> tuple[str, Predicate]:
        text = self._some("sourceIPAddress")
        if not re.fullmatch(r"[\d.]+", text):
            return self._term("sourceIPAddress", text)
        network = ip_network(f"{text}/{self._chance.choice((8, 16, 24, 32))}", strict=False)
        name = self._chance.choice(("sourceIPAddress", "source.ip"))
        return f'{name}:"{network}"', lambda record: any(
            re.fullmatch(r"[\d.]+|.*::.*", found) and ip_address(found) in network
            for found in texts(record, "sourceIPAddress")
        )

    def _boolean(self) -> tuple[str, Predicate]:
        path, text = self._chance.choice(BOOLEANS), self._chance.choice(("true", "false"))
        return f"{path}:{text}", lambda record: text in texts(record, path)

    def _bare(self) -> tuple[str, Predicate]:
        """A value without a field is searched in all of them."""
        _, text = self._value()
        equal = self._equal(asked := self._asked(text))
        # Words of messages are found as parts of them: what they are is the server's tokenizer's decision.
        if not asked or asked.lower() in self._messages:
            return self._boolean()
        return quoted(asked), lambda record: any(
            equal(found) for path, values in record.items() if path not in (*NUMBERS, "eventTime") for found in values
        )

    def _number_range(self) -> tuple[str, Predicate]:
        path = self._chance.choice([name for name in NUMBERS if any(texts(record, name) for record in self._records)])
        low = float(self._some(path))
        high = low + self._chance.randint(0, 5_000)
        return f"{path}:[{low:.0f} TO {high:.0f}]", lambda record: any(
            round(low) <= float(found) <= round(high) for found in texts(record, path)
        )

    def _exists(self, path: str, _text: str) -> tuple[str, Predicate]:
        return self._chance.choice((f"_exists_:{path}", f"{path}:*")), lambda record: bool(below(record, path))

    def _inner_exists(self, path: str, _text: str) -> tuple[str, Predicate]:
        parent = path.rpartition(".")[0]
        return f"_exists_:{parent}", lambda record: bool(below(record, parent))

    def _root_term(self, path: str, text: str) -> tuple[str, Predicate]:
        root = path.partition(".")[0]
        equal = self._equal(asked := self._asked(text))
        return f"{root}:{quoted(asked)}", lambda record: any(map(equal, below(record, root)))

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
