"""Reads resource policies: whether a statement allows a service an action. Deny statements are not evaluated."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Statement: TypeAlias = dict[str, Any]

# The services that announce files to a queue, as policies name them.
S3, SNS, EVENT_BRIDGE = "s3.amazonaws.com", "sns.amazonaws.com", "events.amazonaws.com"

# Keys that say on whose behalf a request is made, or who makes it.
# docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
_ACCOUNT_KEYS = ("aws:sourceaccount", "aws:sourceowner", "aws:sourceorgid", "aws:sourceorgpaths")
_PRINCIPAL_KEYS = ("aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths")
_NETWORK_KEYS = ("aws:sourcevpc", "aws:sourcevpce")
_RESTRICTING = ("aws:sourcearn", *_ACCOUNT_KEYS, *_PRINCIPAL_KEYS, *_NETWORK_KEYS)

# Operators that a request meets only if it has the key: those with IfExists, or that negate, do not restrict anybody.
_POSITIVE = re.compile(r"(foranyvalue:)?(arn|string)(equals|like)(ignorecase)?")

# A value that any ARN or account matches.
_ANYTHING = re.compile(r"[*?]*|arn:[^:]*:[^:]*:[^:]*:[*?]*:[*?]*")


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
    return all(any(fnmatchcase(source, pattern) for pattern in patterns) for patterns in _source_conditions(conditions))


def _source_conditions(conditions: dict[str, dict[str, Any]]) -> Iterator[list[str]]:
    """Yield the alternatives of each condition on the source's ARN."""
    for tests in conditions.values():
        for name, values in tests.items():
            if name.lower() == "aws:sourcearn":
                yield _as_list(values)


def _as_list(value: Any) -> list[str]:  # noqa: ANN401 - one value or a list, as policies allow
    if value is None:
        return []
    return [str(member) for member in value] if isinstance(value, list) else [str(value)]


def external_principals(statements: Iterable[Statement], actions: Sequence[str], account: str) -> Iterator[str]:
    """Yield who is allowed one of these actions and belongs neither to the account nor to a service that is bound.

    A service is bound by a condition on the source: without one, anybody may have it act on their behalf.
    """
    for statement in statements:
        if statement.get("Effect") != "Allow" or not _allows_one_of(statement, actions):
            continue
        if "NotPrincipal" in statement:
            yield "everybody but the principals of NotPrincipal"
        if _has_condition(statement, _RESTRICTING):
            continue
        principal = statement.get("Principal")
        named = principal if isinstance(principal, dict) else {"AWS": principal}
        for name in _as_list(named.get("AWS")):
            if name == "*":
                yield "anybody"
            elif account not in re.split("[:/]", name):
                yield name
        for service in _as_list(named.get("Service")):
            yield f"{service} on behalf of anybody"
        for name in (*_as_list(named.get("Federated")), *_as_list(named.get("CanonicalUser"))):
            yield name


def lacks_source_account(statements: Iterable[Statement], service: str, action: str, source: str) -> bool:
    """Return whether each statement that lets a service act for this source leaves open whose the source is."""
    allowing = [statement for statement in statements if allows([statement], service, action, source)]
    return bool(allowing) and not any(_has_condition(statement, _ACCOUNT_KEYS) for statement in allowing)


def named_sources(statements: Iterable[Statement], service: str, action: str) -> list[str]:
    """Return the source ARNs for which statements let a service act, patterns left out."""
    return [
        arn
        for statement in statements
        if allows([statement], service, action)
        for arns in _source_conditions(statement.get("Condition", {}))
        for arn in arns
        if not set("*?") & set(arn)
    ]


def _allows_one_of(statement: Statement, actions: Sequence[str]) -> bool:
    if "NotAction" in statement:
        return True
    patterns = [pattern.lower() for pattern in _as_list(statement.get("Action"))]
    return any(fnmatchcase(action.lower(), pattern) for action in actions for pattern in patterns)


def _has_condition(statement: Statement, keys: Sequence[str]) -> bool:
    """Return whether a statement applies only where one of these keys has a value that is named."""
    return any(
        name.lower() in keys and not any(map(_ANYTHING.fullmatch, _as_list(values)))
        for operator, tests in statement.get("Condition", {}).items()
        if _POSITIVE.fullmatch(operator.lower())
        for name, values in tests.items()
    )
