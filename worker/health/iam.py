"""Reads resource policies: whether a statement allows a service an action. Deny statements are not evaluated."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

Statement: TypeAlias = dict[str, Any]


def parse_statements(policy: str | None) -> list[Statement]:
    """Return the statements of a policy document; none where there is no policy."""
    statements: Any = msgspec.json.decode(policy or "{}").get("Statement", [])
    return statements if isinstance(statements, list) else [statements]


def allows(statements: Iterable[Statement], service: str, action: str, source: str = "") -> bool:
    """Return whether a statement allows a service an action, on behalf of the resource with the ARN `source`."""
    return any(
        statement.get("Effect") == "Allow"
        and _names_service(statement.get("Principal"), service)
        and any(fnmatchcase(action.lower(), pattern.lower()) for pattern in _as_list(statement.get("Action")))
        and (not source or _meets_conditions(statement.get("Condition", {}), source))
        for statement in statements
    )


def _names_service(principal: Any, service: str) -> bool:  # noqa: ANN401 - as the policy has it
    if not isinstance(principal, dict):
        return bool(principal == "*")
    return "*" in _as_list(principal.get("AWS")) or service in _as_list(principal.get("Service"))


def _meets_conditions(conditions: dict[str, dict[str, Any]], source: str) -> bool:
    """Return whether the source's ARN meets all conditions on it; other conditions are not evaluated."""
    alternatives = [
        _as_list(values)
        for tests in conditions.values()
        for name, values in tests.items()
        if name.lower() == "aws:sourcearn"
    ]
    return all(any(fnmatchcase(source, pattern) for pattern in patterns) for patterns in alternatives)


def _as_list(value: Any) -> list[str]:  # noqa: ANN401 - one value or a list, as policies allow
    if value is None:
        return []
    return [str(member) for member in value] if isinstance(value, list) else [str(value)]
