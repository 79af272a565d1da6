"""Suggests selectors for what is loud and only reads: the most common read-only events, and whose they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.cloudtrail.filters.selectors import Condition, EventSelector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.opensearch.filter_trial import IndexTrial

# A denied call may be somebody who tries what is allowed: it is never suggested to be left out.
# docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
_DENIED = ("AccessDenied", "Client.UnauthorizedOperation", "UnauthorizedOperation", "VpceAccessDenied")

# So large a part of the events of a name makes the selector one for this caller alone.
_MOST = 0.9
_CALLERS = ("userIdentity.invokedBy", "userIdentity.sessionContext.sessionIssuer.arn", "userIdentity.arn")

# Sign-ins, and questions that come first in most attacks, are worth their price.
_NEVER_SOURCES = frozenset({"signin.amazonaws.com", "sso.amazonaws.com"})
_NEVER_NAMES = frozenset({"GetCallerIdentity", "GetSecretValue", "GetParameter", "GetParameters", "ConsoleLogin"})


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A selector, and how many events it would leave out."""

    selector: EventSelector
    events: int


def suggest_selectors(trial: IndexTrial, *, limit: int, share: float) -> Iterator[Suggestion]:
    """Yield up to `limit` selectors for read-only events that are at least this share of all, the loudest first.

    Raises SetupError and IndexUnavailable.
    """
    total = trial.count({"match_all": {}})
    reads: dict[str, Any] = {
        "bool": {"filter": [{"term": {"readOnly": {"value": "true"}}}], "must_not": [{"terms": {"errorCode": _DENIED}}]}
    }
    groups = sorted(trial.groups(reads, ("eventSource", "eventName")), key=lambda group: (-group[1], group[0]))
    number = 0
    for (source, name), events in groups:
        if number == limit or events < share * total:
            return
        if source and name and source not in _NEVER_SOURCES and name not in _NEVER_NAMES:
            number += 1
            yield _suggestion(trial, reads, source, name, events)


def _suggestion(trial: IndexTrial, reads: dict[str, Any], source: str, name: str, events: int) -> Suggestion:
    conditions = [
        Condition("eventSource", frozenset([source])),
        Condition("eventName", frozenset([name])),
        Condition("readOnly", frozenset(["true"])),
        Condition("errorCode", not_equals=frozenset(_DENIED)),
    ]
    title = f"{name} of {source}"
    query = {
        "bool": {
            "filter": [
                reads,
                {"term": {"eventSource": {"value": source}}},
                {"term": {"eventName": {"value": name}}},
            ]
        }
    }
    for field in _CALLERS:
        caller, number = trial.most_common(query, field)
        if number >= _MOST * events:
            conditions.append(Condition(field, frozenset([caller])))
            return Suggestion(EventSelector(f"{title} by {caller}", tuple(conditions)), number)
    return Suggestion(EventSelector(title, tuple(conditions)), events)
