"""From the condition of a Sigma rule, as pySigma resolves it, to a clause of the DSL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)

from worker.detect.values import SigmaValues
from worker.opensearch.query_values import any_of, refuse

if TYPE_CHECKING:
    from sigma.rule import SigmaRule

    from worker.opensearch.field_kinds import FieldKinds

    Clause = dict[str, Any]


def rule_clause(rule: SigmaRule, kinds: FieldKinds) -> Clause:
    """Translate a rule to a clause; raises SetupError with one sentence for what cannot be searched.

    A rule may have several conditions, of which any is enough.
    """
    values = SigmaValues(kinds)
    return any_of([_clause(condition.parsed, values) for condition in rule.detection.parsed_condition])


def _clause(node: object, values: SigmaValues) -> Clause:
    match node:
        case ConditionAND():
            return {"bool": {"filter": [_clause(child, values) for child in node.args]}}
        case ConditionOR():
            return any_of([_clause(child, values) for child in node.args])
        case ConditionNOT():
            return {"bool": {"must_not": [_clause(node.args[0], values)]}}
        case ConditionFieldEqualsValueExpression():
            return values.clause(node.field, node.value)
        case ConditionValueExpression():
            return values.keyword(node.value)
        case _:
            return refuse("The rule has an empty condition")
