"""The clause of the DSL for a value of a Sigma rule, by the kind of its field.

Sigma compares text without regard to case, unless a rule says `cased`.
github.com/SigmaHQ/sigma-specification/blob/main/specification/sigma-rules-specification.md
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, ip_address
from typing import TYPE_CHECKING, Any

from sigma.types import (
    CompareOperators,
    Placeholder,
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaRegularExpressionFlag,
    SigmaString,
    SigmaTimestampPart,
    SpecialChars,
)

from worker.detect.expressions import to_lucene
from worker.detect.numbers import Comparison, number_expression
from worker.opensearch.expressions import literal
from worker.opensearch.field_kinds import Kind
from worker.opensearch.number_ranges import integers_between
from worker.opensearch.query import translate
from worker.opensearch.query_values import any_of, refuse, refuse_field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sigma.types import SigmaType

    from worker.opensearch.field_kinds import FieldKinds

    Clause = dict[str, Any]

# The default of index.max_regex_length.
_MAX_EXPRESSION = 1_000

_COMPARISONS = {
    CompareOperators.LT: Comparison.LT,
    CompareOperators.LTE: Comparison.LTE,
    CompareOperators.GT: Comparison.GT,
    CompareOperators.GTE: Comparison.GTE,
}
# In patterns of wildcard queries, and in regular expressions.
_WILDCARDS = {SpecialChars.WILDCARD_MULTI: ("*", ".*"), SpecialChars.WILDCARD_SINGLE: ("?", ".")}

_UNSUPPORTED = {
    SigmaFieldReference: "compares two fields of an event, which no search of the index can",
    SigmaTimestampPart: "compares a part of a time, such as the hour, which the index does not hold",
}


class SigmaValues:
    """Translates the values of rules; raises SetupError with one sentence for what cannot be searched."""

    def __init__(self, kinds: FieldKinds) -> None:
        self._kinds = kinds
        self._forms: dict[Kind, Callable[[str, SigmaType], Clause]] = {
            Kind.KEYWORD: self._text,
            Kind.TEXT: self._words,
            Kind.FREE_FORM: self._free_form,
            Kind.OBJECT: self._any_member,
            Kind.DATE: self._date,
            Kind.IP: self._ip,
            Kind.NUMBER: self._number,
            Kind.BOOLEAN: self._boolean,
        }

    def clause(self, field: str, value: SigmaType) -> Clause:
        """Return the clause for a field with this value."""
        match value:
            case SigmaNull():
                return _not(self._exists(field))
            case SigmaExists():
                return self._exists(field) if value.exists else _not(self._exists(field))
            case SigmaExpansion():
                return any_of([self.clause(field, expanded) for expanded in value.values])
        if sentence := next((text for type_, text in _UNSUPPORTED.items() if isinstance(value, type_)), ""):
            refuse(f"{field} {sentence}")
        return self._compare(field, value)

    def keyword(self, value: SigmaType) -> Clause:
        """Return the clause for a value without a field: it may be a part of any value."""
        if isinstance(value, SigmaExpansion):
            return any_of([self.keyword(expanded) for expanded in value.values])
        if isinstance(value, SigmaString):
            value = _contained(value)
        return any_of([self._compare(name, value) for name in self._kinds.bare])

    def _exists(self, field: str) -> Clause:
        escaped = re.sub(r"([^\w.])", r"\\\1", field, flags=re.ASCII)
        return translate(f"_exists_:{escaped}", self._kinds)

    def _compare(self, field: str, value: SigmaType) -> Clause:
        if isinstance(value, SigmaCompareExpression) and value.op is CompareOperators.NEQ:
            return _not(self._compare(field, value.number))
        kind = self._kinds.kind(field)
        if kind not in self._forms:
            refuse_field(self._kinds, field)
        return self._forms[kind](field, value)

    def _words(self, field: str, value: SigmaType) -> Clause:
        """Compare with the whole value of a text, which its keyword has."""
        if self._kinds.kind(f"{field}.keyword") is not Kind.KEYWORD:
            refuse(f"{field} is indexed by its words only, so that its value as a whole cannot be compared")
        return self._text(f"{field}.keyword", value)

    def _free_form(self, field: str, value: SigmaType) -> Clause:
        if not self._kinds.is_free_form_root(field):
            return self._text(field, value, below=True)
        return any_of([self._text(name, value) for name in self._kinds.searched(field)])

    def _any_member(self, field: str, value: SigmaType) -> Clause:
        """Compare with each text below an object: rules written for tools that keep an object as text mean that."""
        names = [
            name
            for name in self._kinds.leaves(field)
            if self._kinds.kind(name) in (Kind.KEYWORD, Kind.TEXT, Kind.FREE_FORM)
        ]
        return any_of([self._compare(name, value) for name in names])

    # Values that are indexed as text

    def _text(self, field: str, value: SigmaType, *, below: bool = False) -> Clause:
        """Return the clause for a keyword, or for a value in a flat_object; `below` for a path in one."""
        match value:
            case SigmaString():
                return self._string(field, value, below=below)
            case SigmaBool():
                return self._string(field, SigmaString("true" if value.boolean else "false"), below=below)
            case SigmaNumber():
                texts = [str(value.number), *([f"{value.number}.0"] if isinstance(value.number, int) else [])]
                return any_of([{"term": {field: {"value": text}}} for text in texts])
            case SigmaCIDRExpression():
                return self._network(field, value)
            case _:
                return _regexp(field, self._pattern_of(field, value))

    def _pattern_of(self, field: str, value: SigmaType) -> str:
        """Return the regular expression for a value that only such a one can compare."""
        if isinstance(value, SigmaRegularExpression):
            return _expression(value)
        if isinstance(value, SigmaCompareExpression):
            return self._comparison(field, value)
        return refuse(f"{field}: values of the type {type(value).__name__} are not supported")

    def _string(self, field: str, value: SigmaString, *, below: bool) -> Clause:
        if placeholder := next((part for part in value.s if isinstance(part, Placeholder)), None):
            refuse(f"{field} has a placeholder, %{placeholder.name}%, which needs a list of values of yours")
        if list(value.s) == [SpecialChars.WILDCARD_MULTI]:
            return self._exists(field)
        if below and not isinstance(value, SigmaCasedString):
            # Below a flat_object the path is a part of the term: a comparison of the whole without regard to case would
            # find the members whose names differ in case, too.
            return _regexp(field, _any_case(value))
        case = {} if isinstance(value, SigmaCasedString) else {"case_insensitive": True}
        if value.contains_special():
            return {"wildcard": {field: {"value": _pattern(value), **case}}}
        # An empty value has no letters, and at the root of a flat_object it is found only without the option.
        return {"term": {field: {"value": _plain(value), **(case if _plain(value) else {})}}}

    def _network(self, field: str, value: SigmaCIDRExpression) -> Clause:
        if self._kinds.kind(f"{field}.ip") is Kind.IP:
            return {"term": {f"{field}.ip": {"value": str(value.network)}}}
        if not isinstance(value.network, IPv4Network):
            refuse(f"{field} is indexed as text, in which a network of IPv6 has no pattern")
        low, high = value.network.network_address.packed, value.network.broadcast_address.packed
        octets = (f"({integers_between(first, last)})" for first, last in zip(low, high, strict=True))
        return _regexp(field, "\\.".join(octets))

    def _comparison(self, field: str, value: SigmaCompareExpression) -> str:
        number = value.number.number
        if not isinstance(number, int) or not 0 <= number < 10**18:
            refuse(f"{field} is indexed as text, and is compared with whole numbers from 0 on only")
        return number_expression(_COMPARISONS[value.op], number)

    # Values that are not text

    def _date(self, field: str, value: SigmaType) -> Clause:
        if not isinstance(value, SigmaString) or value.contains_special():
            refuse(f"{field} is a time, and can be compared with one only as a whole")
        return {"term": {field: {"value": _plain(value)}}}

    def _ip(self, field: str, value: SigmaType) -> Clause:
        if isinstance(value, SigmaCIDRExpression):
            return {"term": {field: {"value": str(value.network)}}}
        text = _plain(value) if isinstance(value, SigmaString) and not value.contains_special() else ""
        try:
            return {"term": {field: {"value": str(ip_address(text))}}}
        except ValueError:
            return refuse(f"{field} is an address, and can be compared with an address or a network only")

    def _number(self, field: str, value: SigmaType) -> Clause:
        match value:
            case SigmaCompareExpression():
                return {"range": {field: {_COMPARISONS[value.op].value: value.number.number}}}
            case SigmaNumber():
                return {"term": {field: {"value": value.number}}}
            case SigmaString() if re.fullmatch(r"-?[0-9]+", _plain(value)):
                return {"term": {field: {"value": int(_plain(value))}}}
            case _:
                return refuse(f"{field} is a number, and can be compared with numbers only")

    def _boolean(self, field: str, value: SigmaType) -> Clause:
        text = str(value.boolean) if isinstance(value, SigmaBool) else str(value)
        if text.lower() not in ("true", "false"):
            refuse(f"{field} is true or false")
        return {"term": {field: {"value": text.lower() == "true"}}}


def _not(clause: Clause) -> Clause:
    return {"bool": {"must_not": [clause]}}


def _regexp(field: str, expression: str) -> Clause:
    if len(expression) > _MAX_EXPRESSION:
        refuse(
            f"{field} is compared with a value or an expression that is too long for OpenSearch: as a regular"
            f" expression it has {len(expression):,} characters, and {_MAX_EXPRESSION:,} is the maximum"
        )
    return {"regexp": {field: {"value": expression}}}


def _expression(value: SigmaRegularExpression) -> str:
    flags = value.flags
    expression = str(value.regexp)
    if SigmaRegularExpressionFlag.MULTILINE in flags and re.search(r"[$^]", expression):
        refuse(f"The regular expression {expression} looks at single lines of a value, which no search can")
    # As one group: below a flat_object, the path stands before it.
    return "({})".format(
        to_lucene(
            expression,
            ignore_case=SigmaRegularExpressionFlag.IGNORECASE in flags,
            dot_all=SigmaRegularExpressionFlag.DOTALL in flags,
        )
    )


def _contained(value: SigmaString) -> SigmaString:
    """Return a string as a part of a value."""
    if not value.startswith(SpecialChars.WILDCARD_MULTI):
        value = SpecialChars.WILDCARD_MULTI + value
    return value if value.endswith(SpecialChars.WILDCARD_MULTI) else value + SpecialChars.WILDCARD_MULTI


def _plain(value: SigmaString) -> str:
    return "".join(part for part in value.s if isinstance(part, str))


def _pattern(value: SigmaString) -> str:
    """Return a string as a pattern of the DSL's wildcard queries."""
    return "".join(
        re.sub(r"([*?\\])", r"\\\1", part) if isinstance(part, str) else _WILDCARDS[part][0] for part in _parts(value)
    )


def _any_case(value: SigmaString) -> str:
    """Return a string as an expression for its text in any case."""
    return "".join(
        literal(part, ignore_case=True) if isinstance(part, str) else _WILDCARDS[part][1] for part in _parts(value)
    )


def _parts(value: SigmaString) -> Iterator[str | SpecialChars]:
    return (part for part in value.s if not isinstance(part, Placeholder))
