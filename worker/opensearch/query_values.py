"""The clause of the DSL for one value of a query, by the kind of its field."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, NoReturn

from luqum import tree

from worker.errors import SetupError
from worker.opensearch.expressions import any_case_pattern, literal
from worker.opensearch.field_kinds import Kind
from worker.opensearch.number_ranges import integers_between

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.opensearch.field_kinds import FieldKinds

    Clause = dict[str, Any]

_NOTHING: Clause = {"match_none": {}}

# The default of index.max_regex_length, with room for a group.
_MAX_EXPRESSION = 990

_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_WILDCARD = re.compile(r"(?:[^\\*?]|\\.)*[*?]", re.DOTALL)


class ValueTranslator:
    """Translates words, phrases, regular expressions and ranges of a field; raises SetupError where it has none."""

    def __init__(self, kinds: FieldKinds, *, ignore_case: bool) -> None:
        self._kinds, self._case = kinds, {"case_insensitive": True} if ignore_case else {}
        self._forms: dict[Kind, Callable[[tree.Item, str], Clause]] = {
            Kind.KEYWORD: self._keyword,
            Kind.TEXT: self._text,
            Kind.DATE: self._date,
            Kind.IP: self._ip,
            Kind.BOOLEAN: self._boolean,
            Kind.NUMBER: self._number,
            Kind.FREE_FORM: self._free_form,
        }

    def bare_clause(self, node: tree.Item, field: str) -> Clause:
        """Return the clause, for one of the fields that are searched, of a value that was written without a field.

        It is text: as a network, "0.0.0.0/0" would be every event that has an address.
        """
        if self._kinds.kind(field) is Kind.KEYWORD and isinstance(node, tree.Word | tree.Phrase):
            return self._keyword_text(node, field)
        return self.clause(node, field)

    def clause(self, node: tree.Item, field: str) -> Clause:
        """Return the clause of one value of a field."""
        kind = Kind.KEYWORD if field in ("_id", "_index", "_ignored") else self._kinds.kind(field)
        if kind not in self._forms:
            refuse_field(self._kinds, field)
        if not self._kinds.is_free_form_root(field):
            return self._forms[kind](node, field)
        if isinstance(node, tree.Range | tree.From | tree.To):
            refuse(f"A range needs one member of {field}, as in {field}.maxResults:>=100")
        return any_of([self._keyword(node, name) for name in self._kinds.searched(field)])

    def _keyword(self, node: tree.Item, field: str) -> Clause:
        match node:
            case tree.Word() | tree.Phrase():
                value = _text(node)
                if _is_network(value) and self._kinds.kind(f"{field}.ip") is Kind.IP:
                    return {"term": {f"{field}.ip": {"value": value}}}
                return self._keyword_text(node, field)
            case tree.Regex():
                return {"regexp": {field: {"value": _whole(_expression(node)), **self._case}}}
            case _:
                return {"range": {field: _bounds(node)}}

    def _keyword_text(self, node: tree.Word | tree.Phrase, field: str) -> Clause:
        if isinstance(node, tree.Word) and _is_pattern(node.value):
            return {"wildcard": {field: {"value": _pattern(node.value), **self._case}}}
        value = _text(node)
        # An empty value has no letters, and on a flat_object it is found only without the option.
        return {"term": {field: {"value": value, **(self._case if value else {})}}}

    def _text(self, node: tree.Item, field: str) -> Clause:
        """Words of a text, in any case; a pattern is compared with each word and with the whole value."""
        match node:
            case tree.Word() if _is_pattern(node.value):
                kind, value = "wildcard", _pattern(node.value)
            case tree.Word() | tree.Phrase():
                return {"match_phrase": {field: {"query": _text(node)}}}
            case tree.Regex():
                kind, value = "regexp", _expression(node)
            case _:
                refuse(f"{field} is text, and has no ranges")
        clauses = [{kind: {field: {"value": value, "case_insensitive": True}}}]
        if self._kinds.kind(f"{field}.keyword") is Kind.KEYWORD:
            clauses.append({kind: {f"{field}.keyword": {"value": value, **self._case}}})
        return any_of(clauses)

    def _date(self, node: tree.Item, field: str) -> Clause:
        if isinstance(node, tree.Range | tree.From | tree.To):
            return {"range": {field: _bounds(node)}}
        if isinstance(node, tree.Regex) or _is_pattern(str(node)):
            refuse(f"{field} is a time. Search for a day, as in {field}:2026-01-31, or for a range")
        return {"term": {field: {"value": _text(node)}}}

    def _ip(self, node: tree.Item, field: str) -> Clause:
        if isinstance(node, tree.Range | tree.From | tree.To):
            return {"range": {field: _bounds(node)}}
        value = "" if isinstance(node, tree.Regex) or _is_pattern(str(node)) else _text(node)
        if not (_is_address(value) or _is_network(value)):
            refuse(f'{field} is an address. Search for one, or for a network, as in {field}:"10.0.0.0/8"')
        return {"term": {field: {"value": value}}}

    def _boolean(self, node: tree.Item, field: str) -> Clause:
        value = _text(node).lower() if isinstance(node, tree.Word | tree.Phrase) else ""
        if value not in ("true", "false"):
            refuse(f"{field} is true or false")
        return {"term": {field: {"value": value == "true"}}}

    def _number(self, node: tree.Item, field: str) -> Clause:
        if isinstance(node, tree.Range | tree.From | tree.To):
            return {"range": {field: _bounds(node)}}
        value = _text(node) if isinstance(node, tree.Word | tree.Phrase) else ""
        if not re.fullmatch(r"-?\d+", value):
            refuse(f"{field} is a number")
        return {"term": {field: {"value": int(value)}}}

    def _free_form(self, node: tree.Item, field: str) -> Clause:
        if not isinstance(node, tree.Range | tree.From | tree.To):
            return self._path_in_any_case(node, field) if self._case else self._keyword(node, field)
        bounds = _bounds(node)
        if not all(re.fullmatch(r"\d{1,18}", bound) for bound in bounds.values()):
            refuse(f"A range of {field} compares whole numbers from 0 on, because its values are indexed as text")
        low = max((int(bounds[name]) + (name == "gt") for name in ("gte", "gt") if name in bounds), default=0)
        high = min((int(bounds[name]) - (name == "lt") for name in ("lte", "lt") if name in bounds), default=None)
        if high is not None and high < low:
            return _NOTHING
        return {"regexp": {field: {"value": _whole(integers_between(low, high))}}}

    def _path_in_any_case(self, node: tree.Item, field: str) -> Clause:
        """Compare a value below a flat_object in any case, and its path as it stands.

        The path is a part of the term: the option of the query would find `Name` where `name` was asked for.
        """
        if isinstance(node, tree.Regex):
            return {"bool": {"filter": [self._keyword(node, field), {"wildcard": {field: {"value": "*"}}}]}}
        is_pattern = isinstance(node, tree.Word) and _is_pattern(node.value)
        value = any_case_pattern(_pattern(node.value)) if is_pattern else literal(_text(node), ignore_case=True)
        if len(value) > _MAX_EXPRESSION:
            refuse(f"{field}: the value is too long to be compared in any case")
        return {"regexp": {field: {"value": _whole(value)}}}


def refuse(sentence: str) -> NoReturn:
    """Raise SetupError with a sentence."""
    raise SetupError(f"{sentence}.")


def refuse_field(kinds: FieldKinds, field: str) -> NoReturn:
    """Raise SetupError for a field without values that can be searched."""
    kind = kinds.kind(field)
    if kind is Kind.UNKNOWN:
        refuse(f"No index has a field {field}; names are case-sensitive")
    if kind is Kind.OBJECT:
        members = ", ".join(sorted(kinds.leaves(field))[:3])
        refuse(f"{field} is an object. Search for one of its members, such as {members}")
    refuse(f"{field} is stored with each event, but not indexed on this server, so it cannot be searched")


def any_of(clauses: list[Clause]) -> Clause:
    """Return a clause that holds when one of these does."""
    if len(clauses) == 1:
        return clauses[0]
    return {"bool": {"should": clauses, "minimum_should_match": 1}} if clauses else _NOTHING


def unescape(text: str) -> str:
    """Return text without the backslashes of its escapes."""
    return _ESCAPE.sub(r"\1", text)


def _text(node: tree.Item) -> str:
    """Return the value of a word or a phrase without escapes and quotes."""
    return unescape(node.value[1:-1] if isinstance(node, tree.Phrase) else node.value)


def _is_pattern(text: str) -> bool:
    return bool(_WILDCARD.match(text))


def _pattern(text: str) -> str:
    """Return a word as a pattern of the DSL, which has three escapes: of the wildcards and of the backslash."""
    return _ESCAPE.sub(lambda escaped: escaped[0] if escaped[1] in "*?\\" else escaped[1], text)


def _expression(node: tree.Regex) -> str:
    return str(node.value[1:-1].replace("\\/", "/"))


def _whole(expression: str) -> str:
    """Return an expression whose alternatives stay together.

    On a path of a flat_object, the server writes the path before it: of `a|b`, only `a` would belong to the path.
    """
    return f"({expression})"


def _bounds(node: tree.Item) -> dict[str, str]:
    """Return the bounds of a range by the DSL's names; an open end has none."""
    match node:
        case tree.From():
            return {"gte" if node.include else "gt": _text(node.children[0])}
        case tree.To():
            return {"lte" if node.include else "lt": _text(node.children[0])}
        case _:
            low, high = _text(node.low), _text(node.high)
            bounds = {"gte" if node.include_low else "gt": low, "lte" if node.include_high else "lt": high}
            return {name: bound for name, bound in bounds.items() if bound != "*"}


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text
