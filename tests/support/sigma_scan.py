"""What a Sigma rule means, computed from the records themselves and the rule's YAML: no pySigma, no index."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any

import yaml

Record = dict[str, Any]
Predicate = Callable[[Record], bool]

FREE_FORM = ("requestParameters", "responseElements", "serviceEventDetails")
_ABSENT = object()


def scan(rule: str, records: list[Record]) -> list[str]:
    """The ids of the events that a rule matches, sorted."""
    predicate = compile_rule(yaml.safe_load(rule))
    return sorted(record["eventID"] for record in records if predicate(record))


def compile_rule(rule: dict[str, Any]) -> Predicate:
    """The predicate of a parsed rule."""
    detection = dict(rule["detection"])
    conditions = detection.pop("condition")
    selections = {name: _selection(definition) for name, definition in detection.items()}
    parsed = [
        _Condition(text, selections).parse() for text in ([conditions] if isinstance(conditions, str) else conditions)
    ]
    return lambda record: any(predicate(record) for predicate in parsed)


class _Condition:
    """The grammar of conditions: not, and, or, parentheses, and `1 of`, `all of`."""

    def __init__(self, text: str, selections: dict[str, Predicate]) -> None:
        self._tokens = re.findall(r"[()]|[\w*-]+", text)
        self._selections = selections

    def parse(self) -> Predicate:
        predicate = self._alternatives()
        assert not self._tokens, self._tokens
        return predicate

    def _alternatives(self) -> Predicate:
        parts = [self._all()]
        while self._take("or"):
            parts.append(self._all())
        return lambda record: any(part(record) for part in parts)

    def _all(self) -> Predicate:
        parts = [self._negation()]
        while self._take("and"):
            parts.append(self._negation())
        return lambda record: all(part(record) for part in parts)

    def _negation(self) -> Predicate:
        if self._take("not"):
            part = self._negation()
            return lambda record: not part(record)
        if self._take("("):
            part = self._alternatives()
            assert self._take(")")
            return part
        token = self._tokens.pop(0)
        if self._tokens[:1] == ["of"]:
            self._tokens.pop(0)
            pattern = self._tokens.pop(0)
            names = [name for name in self._selections if pattern == "them" or _fits(name, pattern)]
            combine = all if token == "all" else any
            return lambda record: combine(self._selections[name](record) for name in names)
        return self._selections[token]

    def _take(self, token: str) -> bool:
        if self._tokens[:1] != [token]:
            return False
        self._tokens.pop(0)
        return True


def _fits(name: str, pattern: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name) is not None


def _selection(definition: Any) -> Predicate:
    if isinstance(definition, dict):
        items = [_item(name, value) for name, value in definition.items()]
        return lambda record: all(item(record) for item in items)
    values = definition if isinstance(definition, list) else [definition]
    parts = [_selection(value) if isinstance(value, dict) else _keyword(value) for value in values]
    return lambda record: any(part(record) for part in parts)


def _keyword(value: Any) -> Predicate:
    expression = re.compile(f"(?is).*{_wildcards(str(value))}.*")
    return lambda record: any(expression.fullmatch(text) for text in texts_below(record))


def _item(name: str, value: Any) -> Predicate:
    field, *modifiers = name.split("|")
    values = value if isinstance(value, list) else [value]
    parts = [_comparison(field, set(modifiers), element) for element in values]
    combine = all if "all" in modifiers else any
    return lambda record: combine(part(record) for part in parts)


def _comparison(field: str, modifiers: set[str], value: Any) -> Predicate:
    if "exists" in modifiers:
        return lambda record: bool(_below(record, field)) == value
    if value is None:
        return lambda record: not _below(record, field)
    if "cidr" in modifiers:
        return lambda record: any(_is_within(text, value) for text in values_of(record, field))
    for name, holds in _NUMBERS.items():
        if name in modifiers:
            return lambda record: any(
                holds(float(text), value) for text in values_of(record, field) if _is_number(text)
            )
    if "neq" in modifiers:
        return lambda record: str(value) not in values_of(record, field)
    expressions = [re.compile(text, re.DOTALL) for text in _expressions(modifiers, value)]
    match = "search" if "re" in modifiers else "fullmatch"
    return lambda record: any(
        getattr(expression, match)(text) for text in values_of(record, field) for expression in expressions
    )


_NUMBERS: dict[str, Callable[[float, float], bool]] = {
    "lt": lambda number, bound: number < bound,
    "lte": lambda number, bound: number <= bound,
    "gt": lambda number, bound: number > bound,
    "gte": lambda number, bound: number >= bound,
}


def _expressions(modifiers: set[str], value: Any) -> list[str]:
    """Regular expressions of which one must match: of the whole value or, with `re`, of a part."""
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    if "re" in modifiers:
        # Without `s`, a dot is no newline; the expressions are compiled with it.
        return [f"(?i:{text})" if "i" in modifiers else text]
    texts = [text]
    if "base64" in modifiers:
        texts = [base64.b64encode(text.encode()).decode()]
    if "base64offset" in modifiers:
        texts = [_at_offset(text.encode(), offset) for offset in range(3)]
    if "windash" in modifiers:
        texts += [text.replace("-", dash) for dash in ("/", "\u2013", "\u2014", "\u2015")]
    start = ".*" if modifiers & {"contains", "endswith"} else ""
    end = ".*" if modifiers & {"contains", "startswith"} else ""
    flags = "" if "cased" in modifiers else "(?i)"
    return [f"{flags}{start}{_wildcards(text)}{end}" for text in texts]


def _at_offset(content: bytes, offset: int) -> str:
    encoded = base64.b64encode(b"\0" * offset + content).decode().rstrip("=")
    return encoded[(0, 2, 3)[offset] : len(encoded) - (0, 1, 1)[(len(content) + offset) % 3]]


def _wildcards(text: str) -> str:
    """A Sigma value as an expression: * and ? are wildcards, a backslash escapes them and itself."""
    parts: list[str] = []
    position = 0
    while position < len(text):
        character = text[position]
        if character == "\\" and text[position + 1 : position + 2] in ("*", "?", "\\"):
            position += 1
            parts.append(re.escape(text[position]))
        else:
            parts.append({"*": ".*", "?": "."}.get(character, re.escape(character)))
        position += 1
    return "".join(parts)


def values_of(record: Record, field: str) -> list[str]:
    """The texts that a field's value is compared as; below an object that is not free-form, those of each member."""
    texts = [text for value in _walk(record, field) for text in _texts(value)]
    below_free_form = field.partition(".")[0] in FREE_FORM and "." in field
    return texts if below_free_form else texts + _below(record, field)


def _below(record: Record, field: str) -> list[str]:
    return [text for value in _walk(record, field) for text in texts_below(value)]


def _walk(node: Any, path: str) -> list[Any]:
    """The values at a dotted path; keys may hold dots, and lists are looked through."""
    if isinstance(node, list):
        return [value for element in node for value in _walk(element, path)]
    if not path:
        return [node]
    if not isinstance(node, dict):
        return []
    names = path.split(".")
    return [
        value
        for length in range(1, len(names) + 1)
        if (inner := node.get(".".join(names[:length]), _ABSENT)) is not _ABSENT
        for value in _walk(inner, ".".join(names[length:]))
    ]


def _texts(value: Any) -> list[str]:
    match value:
        case bool():
            return ["true" if value else "false"]
        case int() | float() | str():
            return [str(value)]
        case list():
            return [text for element in value for text in _texts(element)]
        case _:
            return []


def texts_below(node: Any) -> list[str]:
    """All texts at and below a value."""
    match node:
        case dict():
            return [text for value in node.values() for text in texts_below(value)]
        case list():
            return [text for value in node for text in texts_below(value)]
        case _:
            return _texts(node)


def _is_within(text: str, network: str) -> bool:
    try:
        return ip_address(text) in ip_network(network)
    except ValueError:
        return False


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text) is not None
