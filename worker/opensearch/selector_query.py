"""Selectors of records as clauses of the DSL, by the kind of each field, so that they can be tried on the index."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from worker.opensearch.field_kinds import Kind
from worker.opensearch.query_values import any_of, refuse, refuse_field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.cloudtrail.filters.selectors import Condition, EventSelector
    from worker.opensearch.field_kinds import FieldKinds

    Clause = dict[str, Any]

# Records that a consumer never leaves out, by what their documents say of them: worker.cloudtrail.records.
NEVER_LEFT_OUT = (
    "event_time_missing",
    "event_time_unreadable",
    "not_representable",
    "reserved_field",
    "too_deep",
    "too_long",
    "too_many_members",
)
_ODD: Clause = {"terms": {"trailsink.degraded": list(NEVER_LEFT_OUT)}}

_WILDCARDS = re.compile(r"[*?\\]")


def left_out_clauses(selectors: Sequence[EventSelector], kinds: FieldKinds) -> list[Clause]:
    """Return for each selector the clause for the events that it leaves out: those of an earlier one are not its own.

    Raises SetupError for a field whose values the index cannot compare in this way.
    """
    clauses = [_selector_clause(selector, kinds) for selector in selectors]
    return [
        {"bool": {"filter": [clause], "must_not": [*clauses[:number], _ODD]}} for number, clause in enumerate(clauses)
    ]


def _selector_clause(selector: EventSelector, kinds: FieldKinds) -> Clause:
    return {"bool": {"filter": [_condition_clause(condition, kinds) for condition in selector.conditions]}}


def _condition_clause(condition: Condition, kinds: FieldKinds) -> Clause:
    field = _searched_field(condition, kinds)
    selects = _clauses(field, kinds, condition.equals, condition.starts_with, condition.ends_with)
    deselects = _clauses(field, kinds, condition.not_equals, condition.not_starts_with, condition.not_ends_with)
    return {"bool": {"filter": [any_of(selects)] if selects else [], "must_not": deselects}}


def _searched_field(condition: Condition, kinds: FieldKinds) -> str:
    """Return the field whose whole values can be compared: of a text it is its keyword."""
    field = condition.field
    match kinds.kind(field):
        case Kind.KEYWORD | Kind.FREE_FORM:
            return field
        case Kind.TEXT if kinds.kind(f"{field}.keyword") is Kind.KEYWORD:
            return f"{field}.keyword"
        case Kind.NUMBER if not (
            condition.starts_with or condition.ends_with or condition.not_starts_with or condition.not_ends_with
        ):
            return field
        case Kind.DATE | Kind.NUMBER | Kind.IP | Kind.BOOLEAN | Kind.TEXT:
            return refuse(
                f"The index does not compare {field} as text: try the filter on files, with --bucket or --local"
            )
        case _:
            return refuse_field(kinds, field)


def _clauses(
    field: str, kinds: FieldKinds, equals: frozenset[str], starts: Sequence[str], ends: Sequence[str]
) -> list[Clause]:
    if kinds.kind(field) is Kind.NUMBER:
        # The index holds the number, whatever its text was.
        return [{"term": {field: {"value": value}}} for value in sorted(equals) if re.fullmatch(r"-?\d{1,18}", value)]
    return [
        *({"term": {field: {"value": value}}} for value in sorted(equals)),
        *({"prefix": {field: {"value": value}}} for value in starts),
        *({"wildcard": {field: {"value": f"*{_escape(value)}"}}} for value in ends),
    ]


def _escape(text: str) -> str:
    return _WILDCARDS.sub(r"\\\g<0>", text)
