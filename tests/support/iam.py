"""IAM's evaluation of policies, as far as ours use it: what a test allows is what AWS would.

docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def as_list(value: Any) -> list[Any]:
    """Return what may be written as a single value or as a list."""
    return value if isinstance(value, list) else [value]


def allows(  # noqa: PLR0913 - what a request is
    policy: Mapping[str, Any],
    action: str,
    resource: str,
    *,
    principal: str = "",
    service: str = "",
    context: Mapping[str, str] | None = None,
) -> bool:
    """Return whether a policy allows an action; `principal` is a role's ARN, `service` that of an AWS service."""
    facts = {"aws:PrincipalArn": principal, **(context or {})}
    effects = [
        statement["Effect"]
        for statement in policy["Statement"]
        if any(_matches(action.lower(), pattern.lower()) for pattern in as_list(statement["Action"]))
        and any(_matches(resource, pattern) for pattern in as_list(statement.get("Resource", "*")))
        and _is_principal(statement.get("Principal"), principal, service)
        and all(_holds(operator, test, facts) for operator, test in statement.get("Condition", {}).items())
    ]
    return "Deny" not in effects and "Allow" in effects


def _matches(text: str, pattern: str) -> bool:
    return fnmatchcase(text, pattern.replace("[", "[[]"))


# An ARN in ArnEquals may have wildcards, too.
_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": str.__eq__,
    "StringLike": _matches,
    "ArnEquals": _matches,
    "ArnLike": _matches,
}


def _is_principal(written: Any, principal: str, service: str) -> bool:
    """Compare principals; the root of an account is every principal of that account."""
    if written in (None, "*"):
        return True
    if service:
        return service in as_list(written.get("Service", []))
    names = as_list(written.get("AWS", []))
    root = f"{':'.join(principal.split(':')[:5])}:root"
    return "*" in names or principal in names or root in names


def _holds(operator: str, test: Mapping[str, Any], facts: Mapping[str, str]) -> bool:
    """Evaluate one operator of a condition; a key that the request does not have fails it, unless it is IfExists."""
    optional = operator.endswith("IfExists")
    kind = operator.removesuffix("IfExists")
    compare = _OPERATORS[kind]
    return all(
        (optional and key not in facts) or (key in facts and any(compare(facts[key], one) for one in as_list(expected)))
        for key, expected in test.items()
    )
